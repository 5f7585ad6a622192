"""AUTH: which mechanism when, and what a login's outcome sounds like (RFC 4954).

The exchanges themselves are `directory.sasl`, shared with IMAP; passwords are judged by the directory. Nothing here is
logged but the outcome and the name; a password exists as `Secret` only (promise P10; security.md rows 24, 113-116).
"""

from __future__ import annotations

from core.errors import TemporaryError
from core.log import get
from directory import sasl
from directory.authentication import Authentication, Door
from directory.types import LoggedIn, LoginRefused, LoginUnavailable
from smtp import replies
from smtp.conversation import Blame, Conversation, Pending, Step, Then
from smtp.replies import Reply

log = get(__name__)

# What `directory.sasl.Failed.reason` comes to.
FAILURES: dict[str, Reply] = {
    "cancelled": replies.AUTH_CANCELLED,
    "invalid-base64": replies.AUTH_MALFORMED,
    "malformed": replies.AUTH_MALFORMED,
    "too-long": replies.AUTH_LINE_TOO_LONG,
    "unsupported-mechanism": replies.AUTH_MECHANISM,
    "authorization": replies.AUTH_REFUSED,
}


async def authenticate(talk: Conversation, argument: str) -> Step:
    """AUTH mechanism [initial-response]."""
    refusal = _order(talk)
    if refusal or talk.service.logins is None:
        return Step(refusal or replies.AUTH_NOT_HERE, blame=Blame.ERROR)
    mechanism, _, initial = argument.partition(" ")
    if not mechanism:
        return Step(replies.BAD_AUTH, blame=Blame.ERROR)
    exchange = Authentication(talk.service.logins, Door("smtp", talk.peer.address, talk.certificate))
    return await _advance(talk, exchange, exchange.start(mechanism, initial.encode() if initial else None))


async def resume(talk: Conversation, line: bytes) -> Step:
    """The client's next line of the exchange."""
    pending = talk.exchange
    if pending is None:
        return Step(replies.BAD_SYNTAX, blame=Blame.ERROR)
    talk.exchange = None
    return await _advance(talk, pending.exchange, pending.challenge.respond(line))


def _order(talk: Conversation) -> Reply | None:
    """RFC 4954 4: once, after EHLO, outside a transaction; and only where a password may travel."""
    if not talk.service.submission or talk.service.logins is None:
        return replies.AUTH_NOT_HERE
    if not talk.private:
        return replies.AUTH_NEEDS_TLS
    if not talk.greeted or not talk.peer.extended:
        return replies.HELO_FIRST
    if talk.peer.account_id is not None:
        return replies.AUTH_AGAIN
    return replies.AUTH_IN_TRANSACTION if talk.transaction is not None else None


async def _advance(talk: Conversation, exchange: Authentication, step: sasl.Step) -> Step:
    try:
        outcome = await exchange.settle(step)
    except TemporaryError as error:
        log.warning("smtp-login-unavailable", code=error.code, **error.fields)
        return Step(replies.AUTH_UNAVAILABLE)
    match outcome:
        case sasl.Challenge():
            talk.exchange = Pending(exchange, outcome)
            return Step(replies.challenge(outcome.text.decode("ascii")), Then.AUTH)
        case sasl.Failed():
            return Step(FAILURES.get(outcome.reason, replies.AUTH_MALFORMED), blame=Blame.ERROR)
        case LoggedIn():
            if not talk.take_seat(outcome):
                return Step(replies.TOO_MANY_SESSIONS, Then.CLOSE)
            talk.logged_in(outcome)
            return Step(replies.AUTH_OK)
        case LoginRefused():
            return Step(replies.AUTH_REFUSED, blame=Blame.LOGIN)
        case LoginUnavailable():
            return Step(replies.AUTH_UNAVAILABLE)
