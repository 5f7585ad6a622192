"""Everything known about one message before it is judged, gathered concurrently, each source within its own time.

A source that is away or slow gives its "unknown" value (promise P6). Refuses to judge: that is `delivery.policy`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol, TypeVar

from antispam.types import Authentication, Dmarc, Iprev, Origin, Result, Spf, Unscanned, Verdict
from core import log
from core.address import Address
from core.envelope import Envelope, Peer
from core.frozen import dataclass
from core.waiting import within
from message.address_list import From
from message.content import Content
from message.header import Head

BUG = "internal-error"  # the reason of results that a fault of ours left open

_log = log.get(__name__)


class BodyVerification(Protocol):
    """Signatures being checked while the body arrives: `antispam.authentication` makes them from the head."""

    def feed(self, block: bytes) -> None:
        """Octets of the body, in order."""


V = TypeVar("V", bound=BodyVerification)


class Authenticator(Protocol[V]):
    """Who vouches for a message: SPF, DKIM, DMARC, iprev."""

    def origin(self, peer: Peer, sender: Address | None) -> Origin | None:
        """While the message comes: what is known of who sends it, None where DNS must be waited for. Never raises."""

    def begin(self, head: Head, origin: Origin | None = None) -> V: ...

    async def authenticate(
        self, peer: Peer, sender: Address | None, authors: Sequence[str], verification: V
    ) -> Authentication: ...


class Scanner(Protocol):
    """What the content looks like: Rspamd. `prefix`: header lines the message will carry in front."""

    async def scan(
        self, content: Content, prefix: bytes, envelope: Envelope, peer: Peer, user: str = ""
    ) -> Verdict | Unscanned: ...


@dataclass(frozen=True, slots=True)
class Evidence:
    authentication: Authentication
    scan: Verdict | Unscanned
    author: From


@dataclass(frozen=True, slots=True)
class Case:
    """One message before the judges."""

    envelope: Envelope
    peer: Peer
    content: Content
    prefix: bytes
    author: From


async def gather(
    case: Case, authenticator: Authenticator[V], verification: V, scanner: Scanner | None, *, timeout: float
) -> Evidence:
    """Ask all at once. Never raises for what is ordinary; takes at most `timeout` seconds."""
    if scanner is None:
        return Evidence(
            await _authenticated(case, authenticator, verification, timeout), Unscanned("disabled"), case.author
        )
    async with asyncio.TaskGroup() as group:
        vouched = group.create_task(_authenticated(case, authenticator, verification, timeout))
        scanned = group.create_task(_scanned(case, scanner, timeout))
    return Evidence(vouched.result(), scanned.result(), case.author)


def trusted(case: Case) -> Evidence:
    """Mail that the operator's own gateway hands over (LMTP): it has been looked at, and its peer is no sender."""
    domain = case.envelope.sender.domain if case.envelope.sender else ""
    none = Authentication(
        spf=Spf(Result.NONE, "mailfrom", domain),
        dkim=(),
        dmarc=Dmarc(Result.NONE, case.author.domains[0] if case.author.domains else ""),
        iprev=Iprev(Result.NONE),
    )
    return Evidence(none, Unscanned("disabled"), case.author)


async def _authenticated(
    case: Case, authenticator: Authenticator[V], verification: V, timeout: float
) -> Authentication:
    envelope = case.envelope
    try:
        asked = authenticator.authenticate(case.peer, envelope.sender, case.author.domains, verification)
        return await within(timeout, asked)
    except TimeoutError:
        _log.warning("authentication-timeout", queue_id=envelope.queue_id)
        reason = "timeout"
    except Exception:  # a bug met by hostile mail: unknown, and told apart from a DNS that is away
        _log.exception("authentication-failed", queue_id=envelope.queue_id)
        reason = BUG
    domain = case.author.domains[0] if case.author.domains else ""
    return unknown_authentication(envelope.sender, domain, reason)


async def _scanned(case: Case, scanner: Scanner, timeout: float) -> Verdict | Unscanned:
    try:
        async with asyncio.timeout(timeout):
            return await scanner.scan(case.content, case.prefix, case.envelope, case.peer)
    except TimeoutError:
        return Unscanned("timeout")
    except Exception:  # likewise: what nobody has scanned is told as such
        _log.exception("scan-failed", queue_id=case.envelope.queue_id)
        return Unscanned("unavailable")


def unknown_authentication(sender: Address | None, author_domain: str, reason: str) -> Authentication:
    """Nobody could be asked (RFC 8601 2.7: temperror)."""
    domain = sender.domain if sender else ""
    return Authentication(
        spf=Spf(Result.TEMPERROR, "mailfrom", domain, reason),
        dkim=(),
        dmarc=Dmarc(Result.TEMPERROR, author_domain, reason=reason),
        iprev=Iprev(Result.TEMPERROR),
    )
