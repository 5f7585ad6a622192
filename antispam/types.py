"""Opinions about a message, as values: what SPF, DKIM, DMARC, iprev and the scanner said."""

from __future__ import annotations

from dataclasses import field
from enum import Enum

from core.frozen import dataclass


class Result(Enum):
    """Result words of RFC 8601 2.7."""

    # A member is one object: its hash need not be Python's of its name. Each message's results are looked up by it.
    __hash__ = object.__hash__

    NONE = "none"
    PASS = "pass"
    FAIL = "fail"
    SOFTFAIL = "softfail"
    NEUTRAL = "neutral"
    POLICY = "policy"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class Spf:
    """`identity` is "mailfrom" or "helo" (RFC 7208 2.3, 2.4); `domain` the one that was checked; `explanation`: its
    owner's words about a fail that the message is refused for, printable ASCII, else ""."""

    result: Result
    identity: str
    domain: str
    reason: str = ""
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class Dkim:
    """One signature, in header order. `weak`: it verifies but must not count (l=, short key; security.md 77, 78)."""

    result: Result
    domain: str
    selector: str
    algorithm: str = ""
    identity: str = ""
    reason: str = ""
    weak: bool = False
    signature: str = ""  # first characters of b=, RFC 6008


@dataclass(frozen=True, slots=True)
class Dmarc:
    """`policy`: what the domain asks for ("none", "quarantine", "reject", "" without record); `disposition`: what it
    comes to for this message after t=, sp, np. `domain`: the From domain; `organisation`: where the record was."""

    result: Result
    domain: str
    policy: str = ""
    disposition: str = "none"
    organisation: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Iprev:
    """RFC 8601 3: does the address lead to a name that leads back."""

    result: Result
    hostname: str = ""


@dataclass(frozen=True, slots=True)
class Arc:
    """RFC 8617: the chain of those who passed the message on. `sets` in it, `sealers` the d= of their seals from the
    first; `oldest_dmarc`: what the first says DMARC came to where it stood ("pass", "" when it does not say)."""

    result: Result
    sets: int = 0
    sealers: tuple[str, ...] = ()
    reason: str = ""
    oldest_dmarc: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """What DNS says of who sends, whatever the message will be: `spf`, `iprev`, `null_mx` and `helo` as below."""

    spf: Spf
    iprev: Iprev
    null_mx: bool
    helo: Spf | None

    @property
    def uncertain(self) -> bool:
        """Whether SPF or the peer's name could not be asked. An MX that is not known refuses nobody."""
        return Result.TEMPERROR in (self.spf.result, self.iprev.result)


@dataclass(frozen=True, slots=True)
class Authentication:
    """Who vouches for the message. `spf`: of the reverse-path, or of HELO when that is null, and what DMARC looks at;
    `helo`: of HELO beside a reverse-path (RFC 7208 2.3), None when it is no name to ask about. Told, nothing more."""

    spf: Spf
    dkim: tuple[Dkim, ...]
    dmarc: Dmarc
    iprev: Iprev
    arc: Arc = Arc(Result.NONE)
    null_mx: bool = False  # the domain of the reverse-path says that it takes no mail (RFC 7505)
    helo: Spf | None = None


class Action(Enum):
    """What the scanner asks for."""

    ACCEPT = "accept"
    JUNK = "junk"
    DEFER = "defer"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`text`: what the scanner wants the peer to read, checked printable ASCII, or ""."""

    action: Action
    score: float = 0.0
    required: float = 0.0
    symbols: tuple[str, ...] = field(default_factory=tuple)
    text: str = ""


@dataclass(frozen=True, slots=True)
class Unscanned:
    """The scanner was away, slow or talked nonsense; `reason`: "disabled", "unavailable", "timeout", "bad-answer"."""

    reason: str
