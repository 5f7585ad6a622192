"""Outcomes in the field's own terms: SMTP reply code, enhanced status code, and the reason we name everywhere.

A `Status` is a value, not an exception: an unknown recipient or a deferred host is ordinary. The `reason` is a stable
lower-case word that reaches log, header and API alike (RFC 5321 4.2, RFC 3463).
"""

from __future__ import annotations

from core.frozen import dataclass

ENHANCED_CLASS = {2: "2", 4: "4", 5: "5"}


@dataclass(frozen=True, slots=True)
class Status:
    """One answer to one request: `code` is the SMTP reply code, `enhanced` "x.y.z" of RFC 3463, `text` is short and
    safe to show to a stranger (printable ASCII), `reason` is our stable name for the cause."""

    code: int
    enhanced: str
    text: str
    reason: str

    def __post_init__(self) -> None:
        if ENHANCED_CLASS.get(self.code // 100) != self.enhanced[:1]:
            raise ValueError(f"code {self.code} and enhanced status {self.enhanced} disagree (RFC 2034 4)")

    @property
    def ok(self) -> bool:
        return self.code < 400

    @property
    def temporary(self) -> bool:
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        return self.code >= 500

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}"


def accepted(text: str = "OK", reason: str = "accepted", enhanced: str = "2.0.0") -> Status:
    return Status(250, enhanced, text, reason)


def deferred(text: str, reason: str, enhanced: str = "4.3.0", code: int = 451) -> Status:
    return Status(code, enhanced, text, reason)


def refused(text: str, reason: str, enhanced: str = "5.7.1", code: int = 550) -> Status:
    return Status(code, enhanced, text, reason)
