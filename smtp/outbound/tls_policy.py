"""How much TLS a delivery needs, as a value; and the policy of who knows no better: opportunistic (RFC 7435, RFC 8689).

What DANE and MTA-STS ask is put together in `tls_policies`. Here are the contexts of handshakes and what a policy is.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.status import Status
from core.tls import harden
from delivery.types import Job
from smtp.outbound.dialogue import Encryption
from smtp.outbound.mx import Target
from smtp.outbound.tls_results import Applied


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """`label` names it for the log and the pool: connections are shared only between equal labels. `context` makes the
    handshake, `name` is its SNI ("": the host's name), `judge` looks at the peer's chain (DER, leaf first) after it and
    says what is wrong, "" for nothing. `fallback`: how to go on where TLS does not come about; None: not at all."""

    encryption: Encryption
    context: ssl.SSLContext
    label: str
    fallback: TlsPolicy | None = None
    name: str = ""
    judge: Callable[[Sequence[bytes]], str] | None = None
    applied: Applied | None = None


class TlsPolicies(Protocol):
    async def policy(self, job: Job, target: Target) -> TlsPolicy | Status:
        """A status: this target may not be used for this job, and why."""

    async def close(self) -> None: ...


def unverified_context() -> ssl.SSLContext:
    # A weak cipher is still better than the clear text that would be next; a floor there is all the same.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def verified_context(ca_file: str = "") -> ssl.SSLContext:
    """`ca_file`: PEM authorities in place of the system's. Raises `OSError` when it cannot be read."""
    context = harden(ssl.create_default_context(cafile=ca_file or None))
    context.hostname_checks_common_name = False  # RFC 8461 3.3, 4.2: an alternative name has to fit
    # The same under every Python. From 3.13 on one's own authority would be refused for what RFC 5280 wants written
    # into its certificate (key usage, key identifiers), and a chain may end at an authority between that is trusted.
    context.verify_flags = context.verify_flags & ~ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


class Opportunistic:
    """TLS when offered; verified against the host name when the message requires TLS (RFC 8689 4.2.1)."""

    def __init__(self, ca_file: str = "") -> None:
        self.unverified = unverified_context()
        self.verified = verified_context(ca_file)
        # RFC 7435 3: what is only opportunistic falls back to what would have been without it.
        self.clear = TlsPolicy(Encryption.NEVER, self.unverified, "clear")
        self.offered = TlsPolicy(Encryption.OFFERED, self.unverified, "opportunistic", self.clear)
        self.required = TlsPolicy(Encryption.REQUIRED, self.verified, "verified")

    async def policy(self, job: Job, target: Target) -> TlsPolicy | Status:
        return self.required if job.require_tls else self.offered

    async def close(self) -> None:
        pass
