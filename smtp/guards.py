"""What keeps one peer from being a burden to the others: counters and rules, pure, with the clock as an argument.

Errors, junk and refused recipients per session, the least speed of DATA, and foreign protocols (security.md rows 15,
16, 36, 39). Defaults are Postfix's; the bounds come from `core.config`. What all sessions share is `smtp.gate`'s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.config import Limits
from smtp.gate import HARVEST_MINIMUM, HARVEST_SHARE

TARPIT = 1.0  # seconds before each reply once a session has made too many errors
MAX_TARPIT = 10.0  # for recipients that do not exist the wait grows up to here
LOGIN_FAILURES = 3  # per session; the directory slows down across sessions
SUSPECT_SHARE = 0.5  # refused among asked recipients above which each further refusal takes longer
STRESSED_ERRORS = 1  # what a stranger may get wrong when nearly all places are taken (Postfix's stress mode)
STRESSED_JUNK = 1
STRESSED_PATIENCE = 10.0  # seconds it may be silent then
RATE_GRACE = 30.0  # seconds of waiting for data before its speed is judged

# What other protocols say first: HTTP, HTTP/2, PROXY, SSH, a TLS ClientHello (row 16; ALPACA, row 33).
_FOREIGN = re.compile(
    rb"(?:GET|POST|HEAD|PUT|DELETE|OPTIONS|CONNECT|TRACE|PATCH|PRI) [^\r\n]*HTTP/|PRI \* |PROXY |\r\n\r\n\0\r\nQUIT\n"
    rb"|SSH-|\x16\x03",
    re.IGNORECASE,
)


def foreign_protocol(first: bytes) -> bool:
    """Whether the first octets of a connection belong to another protocol than SMTP."""
    return _FOREIGN.match(first) is not None


@dataclass(slots=True)
class Budget:
    """What one session has used up. Each method says what to do now: wait (seconds) and whether to end it. `stressed`:
    it came when nearly all places were taken."""

    limits: Limits
    stressed: bool = False
    errors: int = 0
    junk: int = 0
    login_failures: int = 0
    refused_recipients: int = 0
    accepted_recipients: int = 0

    def error(self) -> tuple[float, bool]:
        self.errors += 1
        wait = TARPIT if self.errors > self.limits.errors_soft else 0.0
        return wait, self.errors >= (STRESSED_ERRORS if self.stressed else self.limits.errors_hard)

    def login_failed(self) -> tuple[float, bool]:
        self.login_failures += 1
        return TARPIT, self.login_failures >= LOGIN_FAILURES

    def junk_command(self) -> bool:
        """NOOP, RSET, HELP and their like since the last message; True: end the session."""
        self.junk += 1
        return self.junk > (STRESSED_JUNK if self.stressed else self.limits.junk_commands)

    def recipient_refused(self) -> tuple[float, bool]:
        """A list with a few dead addresses is ordinary; many unknown among few known is harvesting (row 39)."""
        self.refused_recipients += 1
        beyond = self.refused_recipients - self.limits.errors_soft
        asked = self.refused_recipients + self.accepted_recipients
        suspect = beyond > 0 and self.refused_recipients > SUSPECT_SHARE * asked
        wait = min(TARPIT * beyond, MAX_TARPIT) if suspect else 0.0
        harvesting = self.refused_recipients > HARVEST_MINIMUM and self.refused_recipients > HARVEST_SHARE * asked
        return wait, harvesting

    def recipient_accepted(self) -> None:
        self.accepted_recipients += 1

    def mail_received(self) -> None:
        self.junk = 0


@dataclass(slots=True)
class RateMeter:
    """The speed of a peer, counting only the time in which we waited for it (`minimum` in octets per second)."""

    minimum: float
    waited: float = 0.0
    octets: int = 0

    def add(self, seconds: float, octets: int) -> None:
        self.waited += seconds
        self.octets += octets

    @property
    def too_slow(self) -> bool:
        return self.waited > RATE_GRACE and self.octets < self.minimum * self.waited
