"""HELO, EHLO and STARTTLS: who speaks, what we offer (RFC 5321 4.1.1.1, RFC 3207).

`KEYWORDS` is the table of extensions; a test compares it with docs and with what the parsers accept.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from core.envelope import Listener
from smtp import replies
from smtp.conversation import Blame, Conversation, Step, Then
from smtp.replies import Reply
from smtp.schedule import future_release

NOT_HERE = replies.UNKNOWN_COMMAND  # RFC 2033 4.1: each protocol refuses the other's greeting
MAX_HELO = 255
# Domain or address literal (RFC 5321 4.1.3), with the underscores that real hosts have.
_HELO = re.compile(r"[A-Za-z0-9_.-]+|\[[A-Za-z0-9:._-]+\]")


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


def _always(keyword: str) -> Callable[[Conversation], str]:
    return lambda talk: keyword


# In the order sent; an empty answer leaves the keyword out.
KEYWORDS: tuple[Callable[[Conversation], str], ...] = (
    _always("PIPELINING"),
    _size,
    _starttls,
    _auth,
    _always("8BITMIME"),
    _always("CHUNKING"),
    _always("BINARYMIME"),
    _always("SMTPUTF8"),
    _always("ENHANCEDSTATUSCODES"),
    _always("DSN"),
    _requiretls,
    _limits,
    _future_release,
    _deliver_by,
    _priority,
    _always("HELP"),
)


async def smtp_ehlo(talk: Conversation, argument: str) -> Step:
    return await ehlo(talk, argument) if talk.service.role is not Listener.LMTP else Step(NOT_HERE, blame=Blame.ERROR)


async def ehlo(talk: Conversation, argument: str) -> Step:
    name = _name(talk, argument)
    if name is None:
        return Step(replies.BAD_HELO, blame=Blame.ERROR)
    talk.greet(name, extended=True)
    keywords = tuple(filter(None, (keyword(talk) for keyword in KEYWORDS)))
    return Step(Reply(250, (talk.service.hostname, *keywords)))


async def lhlo(talk: Conversation, argument: str) -> Step:
    """LMTP's greeting, and the only one there (RFC 2033 4.1)."""
    return await ehlo(talk, argument) if talk.service.role is Listener.LMTP else Step(NOT_HERE, blame=Blame.ERROR)


async def helo(talk: Conversation, argument: str) -> Step:
    if talk.service.role is Listener.LMTP:
        return Step(NOT_HERE, blame=Blame.ERROR)
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
    if len(argument) <= MAX_HELO and _HELO.fullmatch(argument):
        return argument
    return "unknown" if argument and talk.service.submission and len(argument) <= MAX_HELO else None
