"""MAIL, RCPT, DATA and BDAT: the envelope grows, each step judged at once (RFC 5321 4.1.1.2-4, RFC 3030)."""

from __future__ import annotations

import re
from dataclasses import replace

from core.address import Address
from core.envelope import Listener
from core.errors import TemporaryError
from core.log import get
from delivery.types import BINARY, Transaction
from smtp import replies
from smtp.conversation import Blame, Chunk, Conversation, Step, Then, judged, stranger
from smtp.parameters import ArgumentError, MailArgument, RcptArgument, parse_mail, parse_rcpt
from smtp.replies import Reply

log = get(__name__)

# RCPT commands of one transaction, counted in its limit of recipients, past which they are an idle game (row 15): a
# list server that takes no notice of 452 is not.
FLOOD = 4

# What nearly every message hears.
_SENDER_OK, _RECIPIENT_OK = Step(replies.SENDER_OK), Step(replies.RECIPIENT_OK)
_START_MAIL = Step(replies.START_MAIL, Then.DATA)

_BDAT = re.compile(r"(?P<size>[0-9]{1,20})(?: +(?P<last>LAST))?", re.IGNORECASE)


async def mail(talk: Conversation, argument: str) -> Step:
    refusal = _mail_order(talk) or (await _login_order(talk) if talk.service.submission else None)
    if refusal:
        return refusal
    try:
        wanted: MailArgument = parse_mail(argument, talk.offers)
    except ArgumentError as error:
        return Step(error.reply, blame=Blame.ERROR)
    status = await judged(talk.service.acceptor.sender(talk.peer, wanted.sender, wanted.parameters))
    if not status.ok:
        return Step(replies.of(status), blame=Blame.ERROR if status.permanent else Blame.NONE)
    highest, asked = talk.service.limits.priority, wanted.parameters.schedule
    lowered = asked.priority > highest
    parameters = wanted.parameters
    if lowered:
        parameters = replace(parameters, schedule=replace(asked, priority=highest))
    talk.open(Transaction(talk.service.ids.queue_id(), talk.peer, wanted.sender, parameters))
    return Step(replies.priority(highest)) if lowered else _SENDER_OK


def _mail_order(talk: Conversation) -> Step | None:
    if not talk.greeted:
        return Step(replies.HELO_FIRST, blame=Blame.ERROR)
    if talk.transaction is not None:
        return Step(replies.NESTED_MAIL, blame=Blame.ERROR)
    return None


async def _login_order(talk: Conversation) -> Step | None:
    try:
        return None if await talk.login_holds() else Step(replies.AUTH_FIRST, blame=Blame.ERROR)
    except TemporaryError as error:
        log.warning("smtp-login-unavailable", code=error.code, **error.fields)
        return Step(replies.AUTH_UNAVAILABLE)


async def rcpt(talk: Conversation, argument: str) -> Step:
    transaction = talk.transaction
    if transaction is None:
        return Step(replies.MAIL_FIRST, blame=Blame.ERROR)
    if talk.chunking:
        return Step(replies.CHUNKS_FIRST, blame=Blame.ERROR)
    try:
        wanted = parse_rcpt(
            argument,
            extended=talk.peer.extended,
            smtputf8=transaction.parameters.smtputf8,
            hostname=talk.service.hostname,
        )
    except ArgumentError as error:
        return Step(error.reply, blame=Blame.ERROR)
    talk.attempted += 1
    flood = Blame.JUNK if talk.attempted > FLOOD * talk.service.recipients_limit else Blame.NONE
    refusal = _full(talk, transaction)
    if refusal is not None and not _named(transaction, wanted.recipient):  # who is named twice takes no second place
        return Step(refusal, blame=flood)
    return await _judge(talk, transaction, wanted, flood)


def _full(talk: Conversation, transaction: Transaction) -> Reply | None:
    count = len(transaction.recipients)
    if count >= talk.service.recipients_limit:
        return replies.TOO_MANY_RECIPIENTS
    # A bounce concerns one sender; the rest may come one by one (row 53).
    if count and transaction.sender is None and talk.service.role is Listener.MX:
        return replies.ONE_PER_BOUNCE
    return None


def _named(transaction: Transaction, recipient: Address) -> bool:
    return any(address == recipient for address, _ in transaction.recipients)


async def _judge(talk: Conversation, transaction: Transaction, wanted: RcptArgument, flood: Blame) -> Step:
    status = await judged(talk.service.acceptor.recipient(transaction, wanted.recipient, wanted.dsn))
    if not status.ok:
        return Step(replies.of(status), blame=Blame.RECIPIENT if status.permanent else flood)
    if not _named(transaction, wanted.recipient):
        transaction.recipients.append((wanted.recipient, wanted.dsn))
    talk.taken += 1
    return Step(replies.RECIPIENT_OK, blame=flood) if flood is not Blame.NONE else _RECIPIENT_OK


async def data(talk: Conversation, argument: str) -> Step:
    if argument:
        return Step(replies.NO_ARGUMENTS, blame=Blame.ERROR)
    if talk.chunking:  # RFC 3030 2: DATA after BDAT
        return Step(replies.CHUNKS_FIRST, blame=Blame.ERROR)
    if talk.transaction is not None and talk.transaction.parameters.body == BINARY:  # RFC 3030 3
        return Step(replies.CHUNKS_ONLY, blame=Blame.ERROR)
    return _not_ready(talk) or _START_MAIL


def _not_ready(talk: Conversation) -> Step | None:
    transaction = talk.transaction
    if transaction is None:
        return Step(replies.MAIL_FIRST, blame=Blame.ERROR)
    if not transaction.recipients:
        # RFC 5321 3.3: 503 when none was named, 554 when all were refused; RFC 2033 4.2: always 503.
        refused = talk.attempted and talk.service.role is not Listener.LMTP
        # Whose group of commands found no recipient made no mistake; whoever goes on asking plays (row 15).
        return Step(replies.NO_RECIPIENTS if refused else replies.RCPT_FIRST, blame=Blame.JUNK)
    return None


async def bdat(talk: Conversation, argument: str) -> Step:
    """BDAT size [LAST]: its octets follow whatever we answer, so a size that cannot be read ends the session."""
    match = _BDAT.fullmatch(argument)
    if match is None:
        return Step(replies.BAD_CHUNK, Then.CLOSE, Blame.ERROR)
    chunk = Chunk(int(match["size"]), match["last"] is not None)
    refused = stranger(talk) or _not_ready(talk)
    if refused is not None:
        return replace(refused, then=Then.CHUNK, chunk=chunk)
    return Step(replies.chunk(chunk.size), Then.CHUNK, chunk=chunk)
