"""How much TLS a delivery needs (RFC 3207, RFC 7435, RFC 8689).

Opportunistic for now: used when offered, unverified, since the alternative is clear text. DANE and MTA-STS plug in
behind `TlsPolicies` with their own answer.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Protocol

from core.tls import harden
from delivery.types import Job
from smtp.outbound.dialogue import Encryption
from smtp.outbound.mx import Target


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """`label` goes to the log: "opportunistic", "verified", later "dane" and "sts". `context` makes the handshake;
    connections are shared only between equal labels."""

    encryption: Encryption
    context: ssl.SSLContext
    label: str


class TlsPolicies(Protocol):
    async def policy(self, job: Job, target: Target) -> TlsPolicy: ...


class Opportunistic:
    """TLS when offered; verified against the host name when the message requires TLS (RFC 8689 4.2.1)."""

    def __init__(self, ca_file: str = "") -> None:
        """`ca_file`: PEM authorities in place of the system's. Raises `OSError` when it cannot be read."""
        # A weak cipher is still better than the clear text that would be next; a floor there is all the same.
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.minimum_version = ssl.TLSVersion.TLSv1_2
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        self._unverified = TlsPolicy(Encryption.OFFERED, unverified, "opportunistic")
        verified = harden(ssl.create_default_context(cafile=ca_file or None))
        self._verified = TlsPolicy(Encryption.REQUIRED, verified, "verified")

    async def policy(self, job: Job, target: Target) -> TlsPolicy:
        return self._verified if job.require_tls else self._unverified
