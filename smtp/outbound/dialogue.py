"""The client's side of SMTP, sans-I/O (RFC 5321 3 and 4): generators that say what to send and await.

`opening` goes from the banner to a session with known capabilities, TLS among them; `transaction` brings one message
to its recipients, pipelined when offered (RFC 2920). They yield `Op`s and are sent the reply to each `Receive`;
`connection` does the I/O. Answers per recipient are put into a dict of the caller's, so that what was learnt before a
connection broke is kept.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from core.log import Secret
from core.status import Status
from delivery.types import Job, JobRecipient
from smtp.outbound.arguments import Capabilities, mail_line, rcpt_line, submitter
from smtp.outbound.reply_parser import RemoteReply
from smtp.outbound.requirements import unmet

Value = TypeVar("Value")
NUL = "\0"
Answers = dict[int, RemoteReply | Status]  # by recipient id


class Stage(Enum):
    """What is waited for; RFC 5321 4.5.3.2 gives each its patience."""

    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    RESET = "reset"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BLOCK = "block"
    FINAL = "final"
    QUIT = "quit"


@dataclass(frozen=True, slots=True)
class Send:
    data: bytes


@dataclass(frozen=True, slots=True)
class Receive:
    stage: Stage


@dataclass(frozen=True, slots=True)
class StartTls:
    """Handshake now; whoever drives raises when it fails."""


@dataclass(frozen=True, slots=True)
class SendBody:
    """The message, dot-stuffed, with its final dot."""


Op = Send | Receive | StartTls | SendBody
Talk = Generator[Op, RemoteReply | None, Value]


class Refused(Exception):
    """The server will not serve this session; `reply` is its word."""

    def __init__(self, reply: RemoteReply, stage: Stage) -> None:
        super().__init__(reply.diagnostic)
        self.reply = reply
        self.stage = stage


class NoTls(Exception):
    """TLS is required and not offered, or was refused. `source`: the address we called from, once that is known."""

    source = ""


class NoLogin(Exception):
    """A password is to be shown and no way that we know is offered."""


class Gone(Exception):
    """A connection that served before does not any more; nothing of this transaction was taken."""


class Encryption(Enum):
    NEVER = "never"  # a second try after a failed opportunistic handshake
    OFFERED = "offered"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Manner:
    """How a server wants to be spoken to: LMTP's greeting and replies, a login (only once TLS stands)."""

    lmtp: bool = False
    user: str = ""
    password: Secret = field(default_factory=lambda: Secret(""))


PLAIN = Manner()


def opening(hostname: str, encryption: Encryption, manner: Manner = PLAIN) -> Talk[Capabilities]:
    """Banner to capabilities, TLS and login on the way. Raises `Refused`, `NoTls`, `NoLogin`."""
    capabilities = yield from _greeted(hostname, encryption, manner)
    if manner.user:
        yield from _log_in(capabilities, manner)
    return capabilities


def _log_in(capabilities: Capabilities, manner: Manner) -> Talk[None]:
    """RFC 4954 4, RFC 4616; LOGIN where nothing else is known."""
    offered = capabilities.keywords.get("AUTH", "").upper().split()
    password = manner.password.reveal()
    if "PLAIN" in offered:
        answer = yield from _ask(f"AUTH PLAIN {_base64(f'{NUL}{manner.user}{NUL}{password}')}", Stage.AUTH)
    elif "LOGIN" in offered:
        answer = yield from _ask("AUTH LOGIN", Stage.AUTH)
        for text in (manner.user, password):
            if answer.code != 334:
                break
            answer = yield from _ask(_base64(text), Stage.AUTH)
    else:
        raise NoLogin
    if answer.code != 235:
        raise Refused(answer, Stage.AUTH)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8")).decode("ascii")


def _greeted(hostname: str, encryption: Encryption, manner: Manner) -> Talk[Capabilities]:
    greeting = yield from _receive(Stage.GREETING)
    if not greeting.ok:
        raise Refused(greeting, Stage.GREETING)
    capabilities = yield from _hello(hostname, manner)
    if encryption is Encryption.NEVER:
        return capabilities
    if "STARTTLS" not in capabilities:
        if encryption is Encryption.REQUIRED:
            raise NoTls
        return capabilities
    answer = yield from _ask("STARTTLS", Stage.STARTTLS)
    if answer.code != 220:
        if encryption is Encryption.REQUIRED:
            raise NoTls
        return capabilities
    yield StartTls()
    return (yield from _hello(hostname, manner))  # RFC 3207 4.2: what was said in clear is forgotten


def transaction(
    job: Job,
    recipients: tuple[JobRecipient, ...],
    capabilities: Capabilities,
    answers: Answers,
    *,
    eight_bit: bool = False,
    lmtp: bool = False,
    now: float = 0.0,
    again: bool = False,
    known: bool = False,
    size: int = 0,
    once_more: Callable[[], bool] = lambda: True,
) -> Talk[bool]:
    """One message of `size` octets (need only be known where SIZE is offered). `now` tells what is left of its time
    limit; `again`: the connection carried others, which are to be forgotten first (RFC 5321 3.3: a MAIL whose
    recipients were all refused may still stand); `known`: we logged in, hence say who submitted the message (RFC 4954
    5), and where that cannot be read ask `once_more` whether this connection may carry another MAIL. Fills `answers`
    for every recipient it learns about; True when the connection is good for more; may raise `Gone`."""
    obstacle = unmet(job, recipients, capabilities, eight_bit, size, now)
    if obstacle is not None:
        answers.update({recipient.id: obstacle for recipient in recipients})
        return True
    mail = mail_line(job, recipients, capabilities, size, now)
    rcpts = [rcpt_line(recipient, capabilities, job.schedule) for recipient in recipients]
    if not known or "AUTH" not in capabilities:
        return (yield from _offered(mail, rcpts, recipients, capabilities, answers, lmtp, again))
    named = f"{mail} AUTH={submitter(job)}"
    good = yield from _offered(named, rcpts, recipients, capabilities, answers, lmtp, again)
    if not good or not _unread(recipients, answers):
        return good
    # A server that offers logins and cannot read the parameter: rather unnamed than not at all (docs/quirks.md).
    answers.clear()
    if not once_more():
        raise Gone
    try:
        return (yield from _offered(mail, rcpts, recipients, capabilities, answers, lmtp, again=True))
    except Gone:
        return False


def _unread(recipients: tuple[JobRecipient, ...], answers: Answers) -> bool:
    """Whether everybody was refused with words for a parameter (RFC 5321 4.2.2)."""
    found = [answers.get(recipient.id) for recipient in recipients]
    return all(isinstance(item, RemoteReply) and item.code in (501, 504, 555) for item in found)


def _offered(
    mail: str,
    rcpts: list[str],
    recipients: tuple[JobRecipient, ...],
    capabilities: Capabilities,
    answers: Answers,
    lmtp: bool,
    again: bool,
) -> Talk[bool]:
    first = ("RSET",) if again else ()
    if "PIPELINING" in capabilities:
        yield Send(_lines(*first, mail, *rcpts, "DATA"))
        yield from _forgotten(again)
        return (yield from _pipelined(recipients, answers, lmtp))
    if again:
        yield Send(_lines(*first))
        yield from _forgotten(again)
    return (yield from _stepwise(mail, rcpts, recipients, answers, lmtp))


def _forgotten(again: bool) -> Talk[None]:
    """The answer to RSET, which tells whether a kept connection is still there: RFC 2920 3.1 lets it stand before the
    next MAIL, and until the final dot nothing that follows it counts."""
    if again and not (yield from _receive(Stage.RESET)).ok:
        raise Gone


def _pipelined(recipients: tuple[JobRecipient, ...], answers: Answers, lmtp: bool) -> Talk[bool]:
    refusal = _refusal((yield from _receive(Stage.MAIL)))
    if refusal is not None:  # noted before the other replies, which may never come
        answers.update({recipient.id: refusal for recipient in recipients})
    taken: list[int] = []
    for recipient in recipients:
        reply = yield from _receive(Stage.RCPT)
        _note(recipient, refusal or reply, taken, answers)
    data = yield from _receive(Stage.DATA)
    if data.code == 354 and not taken:
        # RFC 2920 3.1: nobody is left, yet the server waits for a message: an empty one, for nobody. Nothing depends on
        # its answer, for which all results would wait.
        yield Send(b".\r\n")
        yield from _receive(Stage.RESET)
        return True
    return (yield from _body(data, taken, answers, lmtp))


def _stepwise(
    mail: str, rcpts: list[str], recipients: tuple[JobRecipient, ...], answers: Answers, lmtp: bool
) -> Talk[bool]:
    refusal = _refusal((yield from _ask(mail, Stage.MAIL)))
    taken: list[int] = []
    for recipient, line in zip(recipients, rcpts, strict=True):
        reply = refusal or (yield from _ask(line, Stage.RCPT))
        _note(recipient, reply, taken, answers)
    if not taken:
        return True
    return (yield from _body((yield from _ask("DATA", Stage.DATA)), taken, answers, lmtp))


def _body(data: RemoteReply, taken: list[int], answers: Answers, lmtp: bool) -> Talk[bool]:
    if data.code != 354:
        answers.update({recipient: _no_success(data) for recipient in taken})
        return data.code not in (421, 250)
    yield SendBody()
    if lmtp:
        return (yield from _one_by_one(taken, answers))
    final = yield from _receive(Stage.FINAL)
    answers.update(dict.fromkeys(taken, final if final.ok else _no_success(final)))
    return final.code != 421


def _one_by_one(taken: list[int], answers: Answers) -> Talk[bool]:
    """RFC 2033 4.2: a reply for each recipient that was taken, in their order."""
    good = True
    for recipient in taken:
        final = yield from _receive(Stage.FINAL)
        answers[recipient] = final if final.ok else _no_success(final)
        good = good and final.code != 421
    return good


def _refusal(mail: RemoteReply) -> RemoteReply | None:
    return None if mail.ok else _no_success(mail)


def _note(recipient: JobRecipient, reply: RemoteReply, taken: list[int], answers: Answers) -> None:
    if reply.ok:
        taken.append(recipient.id)
    else:
        answers[recipient.id] = _no_success(_crowded(reply) if taken else reply)


def _crowded(reply: RemoteReply) -> RemoteReply:
    """RFC 5321 4.5.3.1.10: 552 of a server that takes no more recipients, as it once was, means 452."""
    return RemoteReply(452, reply.lines) if reply.code == 552 and reply.enhanced in ("", "5.5.3") else reply


def _no_success(reply: RemoteReply) -> RemoteReply:
    """A 2xx or 3xx where it makes no sense is no delivery: try again later."""
    return reply if reply.code >= 400 else RemoteReply(451, reply.lines)


def _hello(hostname: str, manner: Manner) -> Talk[Capabilities]:
    reply = yield from _ask(f"{'LHLO' if manner.lmtp else 'EHLO'} {hostname}", Stage.EHLO)
    if reply.ok:
        return Capabilities(dict(_keyword(line) for line in reply.lines[1:]))
    if manner.lmtp or not reply.permanent or reply.code == 554:
        raise Refused(reply, Stage.EHLO)
    reply = yield from _ask(f"HELO {hostname}", Stage.EHLO)  # RFC 5321 3.2: fall back
    if not reply.ok:
        raise Refused(reply, Stage.EHLO)
    return Capabilities({})


def _keyword(line: str) -> tuple[str, str]:
    keyword, _, parameters = line.partition(" ")
    if keyword.upper().startswith("AUTH="):  # as it was first written, and still is (docs/quirks.md)
        keyword, parameters = "AUTH", f"{keyword[5:]} {parameters}".strip()
    return keyword.upper(), parameters


def _ask(line: str, stage: Stage) -> Talk[RemoteReply]:
    yield Send(_lines(line))
    return (yield from _receive(stage))


def _receive(stage: Stage) -> Talk[RemoteReply]:
    reply = yield Receive(stage)
    if reply is None:
        raise RuntimeError("a Receive must be answered with a reply")
    return reply


def _lines(*lines: str) -> bytes:
    """The last guard against a command inside a command (aiosmtplib GHSA-v3q9-hj7j-63hq; security.md finding 6)."""
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        raise ValueError("a command line holds a line end")
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8")
