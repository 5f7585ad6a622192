"""What became of TLS with each server, for the reports of RFC 8460: words and the face of who counts.

The counting itself is `tls_counts`; the report is `tls_report`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class PolicyKind(Enum):
    """RFC 8460 4.2, policy-type."""

    TLSA = "tlsa"
    STS = "sts"
    NONE = "no-policy-found"


@dataclass(frozen=True, slots=True)
class Applied:
    """Which policy a session was held under. `domain`: the recipients' (the TLSA base domain for DANE); `strings`: the
    policy as it was found; `patterns`: the mx-host of RFC 8460 4.2, for MTA-STS."""

    kind: PolicyKind
    domain: str
    strings: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Session:
    """One attempt at a session. `failure`: a result-type of RFC 8460 4.3, "" for success; `reason`: our word for it."""

    recipient_domain: str
    applied: Applied
    host: str = ""
    address: str = ""
    source: str = ""  # the address we called from
    failure: str = ""
    reason: str = ""


class TlsResults(Protocol):
    def note(self, session: Session) -> None:
        """Counts; never blocks, never raises."""


class Uncounted:
    """For who reports nothing."""

    def note(self, session: Session) -> None:
        pass
