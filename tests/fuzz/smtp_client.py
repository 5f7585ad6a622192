"""Whole sessions of our client with a server that says anything: it delivers, gives up or tries later, and knows which.

A recipient counts as delivered only after the whole message was sent; whatever is told of a server is printable.
"""

from __future__ import annotations

import asyncio
import re
from typing import cast

from core.status import Status
from delivery.types import ResultKind
from message.content import BytesContent
from smtp.outbound.connection import Broken, Caller, Connection
from smtp.outbound.dialogue import PLAIN, Answers, Encryption, Manner, NoLogin, NoTls, Refused, opening, transaction
from smtp.outbound.mx import Target
from smtp.outbound.results import from_answer, session_refused
from smtp.outbound.tls_policy import TlsPolicy
from tests.fakes.scripted_smtp import job

MAIL = b"Subject: x\r\n\r\n.body\r\n"
SENT = b"Subject: x\r\n\r\n..body\r\n.\r\n"
SEEDS = (
    b"\xc8220 hi\r\n250-far.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 DSN\r\n250 ok\r\n250 ok\r\n"
    b"550 5.1.1 no\r\n450 later\r\n354 go\r\n250 2.0.0 done\r\n",
    b"\xc8220 hi\r\n500 what\r\n250 old\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n421 bye\r\n",
    b"\xc9220 hi\r\n250-far\r\n250 PIPELINING\r\n250 a\r\n250 b\r\n250 c\r\n250 d\r\n354 e\r\n"
    b"250 f\r\n552 g\r\n451 h\r\n",
    b"\xc8554-no\r\n554 5.7.1 never\x1b[31m\r\n",
)
_runner = asyncio.Runner()


# A reply ends with its first line that has no hyphen behind the code.
_REPLY = re.compile(rb"(?:[^\n]{3}-[^\n]*\n)*[^\n]*\n?")


class Server(asyncio.StreamReader):
    """Says one reply whenever it is waited for, in pieces: what nobody asked for would end the session at once."""

    def __init__(self, script: bytes, cut: int) -> None:
        super().__init__()
        self._pieces = [
            reply[start : start + cut]
            for reply in _REPLY.findall(script)
            for start in range(0, len(reply), cut)
        ]  # fmt: skip

    async def read(self, n: int = -1) -> bytes:
        if self._pieces:  # a client reads all there is at a time
            self.feed_data(self._pieces.pop(0))
        else:
            self.feed_eof()
        return await super().read(n)


class Paper:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.said = bytearray()
        self.transport = self

    def write(self, data: bytes) -> None:
        self.said += data

    async def drain(self) -> None: ...

    def abort(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


def one_input(data: bytes) -> None:
    """The first octet chooses: SMTP or LMTP, and how the rest is cut."""
    _runner.run(_session(data[0] if data else 0, data[1:]))


def outcomes(data: bytes) -> set[ResultKind]:
    """What came of the recipients of one input."""
    return _runner.run(_session(data[0], data[1:]))


async def _session(choice: int, data: bytes) -> set[ResultKind]:
    lmtp = bool(choice & 1)
    reader, paper = Server(data, 1 + choice // 2), Paper()
    work = job("far.test", "a@far.test", "b@far.test", "c@far.test", content=MAIL)
    policy = cast(TlsPolicy, None)  # no TLS is begun
    connection = Connection(
        Caller("mx.test"), Target("far.test", "192.0.2.1", 25), policy, reader, cast(asyncio.StreamWriter, paper)
    )
    answers: Answers = {}
    try:
        talk = opening("mx.test", Encryption.NEVER, Manner(lmtp) if lmtp else PLAIN)
        connection.capabilities = await connection.drive(talk)
        paper.said.clear()
        talk2 = transaction(work, work.recipients, connection.capabilities, answers, lmtp=lmtp)
        await connection.drive(talk2, BytesContent(MAIL))
    except Refused as error:
        _printable(str(session_refused(error.reply)))
    except (Broken, NoTls, NoLogin):
        pass
    found: set[ResultKind] = set()
    for recipient in work.recipients:
        if (answer := answers.get(recipient.id)) is None:
            continue
        result = from_answer(recipient, answer, "far.test", connection.capabilities)
        _printable(str(result.status) + result.diagnostic)
        if result.kind is ResultKind.DELIVERED and (isinstance(answer, Status) or SENT not in paper.said):
            raise AssertionError(f"delivered without a message: {bytes(paper.said)!r}")
        found.add(result.kind)
    return found


def _printable(text: str) -> None:
    if not (text.isascii() and text.isprintable()):
        raise AssertionError(f"not printable: {text!r}")
