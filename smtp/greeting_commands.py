"""HELO, EHLO and STARTTLS: who speaks, what we offer (RFC 5321 4.1.1.1, RFC 3207).

`KEYWORDS` is the table of extensions; a test compares it with docs and with what the parsers accept.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from ipaddress import ip_address

from core.envelope import Listener
from smtp import replies
from smtp.conversation import Blame, Conversation, Step, Then
from smtp.replies import Reply
from smtp.schedule import future_release

MAX_HELO = 255
# A domain as real hosts have it: with underscores, a hyphen or a dot at its end.
_DOMAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_][A-Za-z0-9_-]*)*\.?")


def _size(talk: Conversation) -> str:
    return f"SIZE {talk.service.limits.message_octets}"


def _starttls(talk: Conversation) -> str:
    return "STARTTLS" if talk.offers_tls else ""


def _auth(talk: Conversation) -> str:
    logins = talk.service.logins
    if logins is None or not talk.offers_auth or talk.peer.account_id is not None:
        return ""
    return " ".join(("AUTH", *logins.mechanisms(certificate=bool(talk.certificate))))


def _requiretls(talk: Conversation) -> str:
    return "REQUIRETLS" if talk.peer.tls is not None else ""  # RFC 8689 2: only once TLS is there


def _limits(talk: Conversation) -> str:
    return f"LIMITS RCPTMAX={talk.service.recipients_limit}"  # RFC 9422


def _future_release(talk: Conversation) -> str:
    return future_release(talk.terms) if talk.terms is not None else ""


def _deliver_by(talk: Conversation) -> str:
    return f"DELIVERBY {talk.terms.shortest_by}" if talk.terms is not None else ""


def _priority(talk: Conversation) -> str:
    return "MT-PRIORITY" if talk.terms is not None else ""


# In the order sent: what is offered always, or who decides; an empty answer leaves the keyword out.
KEYWORDS: tuple[str | Callable[[Conversation], str], ...] = (
    "PIPELINING",
    _size,
    _starttls,
    _auth,
    "8BITMIME",
    "CHUNKING",
    "BINARYMIME",
    "SMTPUTF8",
    "ENHANCEDSTATUSCODES",
    "DSN",
    _requiretls,
    _limits,
    _future_release,
    _deliver_by,
    _priority,
    "HELP",
)


async def smtp_ehlo(talk: Conversation, argument: str) -> Step:
    """RFC 2033 4.1: each protocol refuses the other's greeting."""
    if talk.service.role is Listener.LMTP:
        return Step(replies.NOT_HERE, blame=Blame.ERROR)
    return await ehlo(talk, argument)


async def ehlo(talk: Conversation, argument: str) -> Step:
    name = _name(talk, argument)
    if name is None:
        return Step(replies.BAD_HELO, blame=Blame.ERROR)
    talk.greet(name, extended=True)
    if talk.service.submission:  # what is offered there depends on the hour, the login and the certificate
        return Step(_greeting(talk))
    known, tls = talk.service.greetings, talk.peer.tls is not None
    if tls not in known:
        known[tls] = Step(_greeting(talk))
    return known[tls]


def _greeting(talk: Conversation) -> Reply:
    offered = [keyword if isinstance(keyword, str) else keyword(talk) for keyword in KEYWORDS]
    return Reply(250, (talk.service.hostname, *filter(None, offered)))


async def lhlo(talk: Conversation, argument: str) -> Step:
    """LMTP's greeting, and the only one there (RFC 2033 4.1)."""
    if talk.service.role is not Listener.LMTP:
        return Step(replies.UNKNOWN_COMMAND, blame=Blame.ERROR)
    return await ehlo(talk, argument)


async def helo(talk: Conversation, argument: str) -> Step:
    if talk.service.role is Listener.LMTP:
        return Step(replies.NOT_HERE, blame=Blame.ERROR)
    name = _name(talk, argument)
    if name is None:
        return Step(replies.BAD_HELO, blame=Blame.ERROR)
    talk.greet(name, extended=False)
    return Step(Reply(250, (talk.service.hostname,)))


async def starttls(talk: Conversation, argument: str) -> Step:
    if argument:
        return Step(replies.NO_ARGUMENTS, blame=Blame.ERROR)
    if talk.peer.tls is not None:
        return Step(replies.TLS_ACTIVE, blame=Blame.ERROR)
    if talk.service.tls is None:
        return Step(replies.NOT_IMPLEMENTED, blame=Blame.ERROR)
    if talk.transaction is not None:
        return Step(replies.TLS_IN_TRANSACTION, blame=Blame.ERROR)  # row 23
    return Step(replies.READY_FOR_TLS, Then.STARTTLS)


def _name(talk: Conversation, argument: str) -> str | None:
    """The name to remember. A person's mail program may call its computer anything: on submission a name that is no
    host name is forgiven and forgotten; a stranger is refused (row 18)."""
    if not 0 < len(argument) <= MAX_HELO:
        return None
    if _DOMAIN.fullmatch(argument) or _literal(argument):
        return argument
    return "unknown" if talk.service.submission else None


def _literal(text: str) -> bool:
    """RFC 5321 4.1.3: [192.0.2.1] or [IPv6:2001:db8::1]; no other tag was ever registered."""
    if not (text.startswith("[") and text.endswith("]")) or "%" in text:  # a scope is no part of an address on the wire
        return False
    tagged = text[1:6].upper() == "IPV6:"
    with contextlib.suppress(ValueError):
        return ip_address(text[6:-1] if tagged else text[1:-1]).version == (6 if tagged else 4)
    return False
