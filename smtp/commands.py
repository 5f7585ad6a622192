"""The command table of the server: verb, handler, and where it may stand in a pipelined group.

One visible table; nothing is looked up by name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from smtp import envelope_commands, greeting_commands, replies
from smtp.auth import authenticate
from smtp.conversation import Blame, Conversation, Step, Then, stranger

Handler = Callable[[Conversation, str], Awaitable[Step]]
_GOODBYE = Step(replies.GOODBYE, Then.CLOSE)


@dataclass(frozen=True, slots=True)
class Command:
    """`last`: nothing may follow it unanswered (RFC 2920 3.1). `junk`: counts until a message arrives. `plain`: allowed
    before STARTTLS and AUTH on submission (RFC 3207 4, RFC 4954 6, RFC 8314)."""

    handle: Handler
    last: bool = False
    junk: bool = False
    plain: bool = False


async def _noop(talk: Conversation, argument: str) -> Step:
    return Step(replies.OK)


async def _rset(talk: Conversation, argument: str) -> Step:
    if argument:
        return Step(replies.NO_ARGUMENTS, blame=Blame.ERROR)
    talk.reset()
    return Step(replies.OK)


async def _quit(talk: Conversation, argument: str) -> Step:
    if argument:
        return Step(replies.NO_ARGUMENTS, blame=Blame.ERROR)
    return _GOODBYE


async def _vrfy(talk: Conversation, argument: str) -> Step:
    """The same answer for all, known or not (row 55); with SMTPUTF8 behind it in any letters (RFC 6531 3.7.4.2)."""
    if not argument:
        return Step(replies.BAD_VRFY, blame=Blame.ERROR)
    if not argument.isascii() and not argument.upper().endswith(" SMTPUTF8"):
        return Step(replies.RECIPIENT_NEEDS_UTF8, blame=Blame.ERROR)
    return Step(replies.CANNOT_VERIFY)


async def _not_implemented(talk: Conversation, argument: str) -> Step:
    return Step(replies.NOT_IMPLEMENTED, blame=Blame.ERROR)


async def _help(talk: Conversation, argument: str) -> Step:
    return Step(replies.HELP)


async def _unknown(talk: Conversation, argument: str) -> Step:
    return Step(replies.UNKNOWN_COMMAND, blame=Blame.ERROR)


COMMANDS: dict[str, Command] = {
    "LHLO": Command(greeting_commands.lhlo, last=True, junk=True, plain=True),
    "EHLO": Command(greeting_commands.smtp_ehlo, last=True, junk=True, plain=True),
    "HELO": Command(greeting_commands.helo, last=True, junk=True, plain=True),
    "STARTTLS": Command(greeting_commands.starttls, last=True, plain=True),
    "AUTH": Command(authenticate, last=True, plain=True),
    "MAIL": Command(envelope_commands.mail),
    "RCPT": Command(envelope_commands.rcpt),
    "DATA": Command(envelope_commands.data, last=True),
    "BDAT": Command(envelope_commands.bdat, plain=True),  # it refuses by itself: octets follow
    "RSET": Command(_rset, junk=True, plain=True),
    "NOOP": Command(_noop, junk=True, plain=True),
    "HELP": Command(_help, junk=True, plain=True),
    "VRFY": Command(_vrfy, last=True, junk=True),
    "EXPN": Command(_not_implemented, last=True, junk=True),
    "QUIT": Command(_quit, plain=True),
}
UNKNOWN = Command(_unknown, plain=True)


async def perform(talk: Conversation, command: Command, argument: str) -> Step:
    """One command in the order that RFC 5321 4.1.4 and the listener's role allow."""
    talk.commands += 1
    refusal = stranger(talk) if talk.service.submission and not command.plain else None
    return refusal or await command.handle(talk, argument)
