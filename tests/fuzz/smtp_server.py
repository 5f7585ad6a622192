"""Whole sessions of a stranger with our server, over a connection in memory: MX, submission and LMTP.

Whatever the octets and however they are cut: no bug is met, every reply is one of SMTP's, a message is kept whole or
not at all, what is kept has strict line ends, and no more is kept than was answered 250.
"""

from __future__ import annotations

import asyncio
import re
from unittest import mock

from core.config import Auth, Limits
from core.envelope import Listener
from smtp import guards
from smtp.gate import OpenGate
from tests.fakes.smtp_pipe import MemorySession
from tests.fakes.smtp_server import FakeAcceptor, service

ROLES = (Listener.MX, Listener.SUBMISSION, Listener.LMTP)
LIMITS = Limits(message_size="64K", errors_soft=500, errors_hard=1000, junk_commands=1000)
AUTH = Auth(plaintext_on_loopback=True)
MOST_SEGMENTS = 200
_HELLO, _ENVELOPE = b"EHLO c.test\r\n", b"MAIL FROM:<a@c.test>\r\nRCPT TO:<agent@mairie.test>\r\n"
SEEDS = (
    b"\x00" + _HELLO + b"MAIL FROM:<a@c.test> SIZE=9 BODY=8BITMIME\r\nRCPT TO:<agent@mairie.test> NOTIFY=NEVER\r\n"
    b"DATA\r\na: b\r\n\r\n..c\r\n.\r\nRSET\r\nQUIT\r\n",
    b"\x00" + _HELLO + _ENVELOPE + b"BDAT 6\r\na: b\r\nBDAT 5 LAST\r\n\r\nc\r\nBDAT 0 LAST\r\n",
    b"\x00"
    + _HELLO
    + _ENVELOPE
    + b"BDAT 3\r\na\nbBDAT 2 LAST\r\n\r\nDATA\r\nRSET\r\n"
    + _ENVELOPE
    + b"DATA\r\nx\r\n.\r\n",
    b"\x01" + _HELLO + b"AUTH PLAIN AGFnZW50QG1haXJpZS50ZXN0AG1vdCBkZSBwYXNzZSBkZSB0ZXN0\r\n"
    b"MAIL FROM:<agent@mairie.test> SMTPUTF8\r\nRCPT TO:<agent@mairie.test>\r\nDATA\r\nb\r\n.\r\n",
    b"\x01" + _HELLO + b"AUTH LOGIN\r\nYWdlbnRAbWFpcmllLnRlc3Q=\r\n*\r\nSTARTTLS\r\nNOOP x\r\nVRFY y\r\nHELP\r\n",
    b"\x02LHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<a@mairie.test>\r\nRCPT TO:<b@mairie.test>\r\nDATA\r\nx\r\n.\r\n",
    b"\x06" + _HELLO + _ENVELOPE + b"DATA\r\nx\r\n.\r\n",
)
_REPLY = re.compile(rb"(?:[2-5][0-9]{2}[ -][ -~]*\r\n)*")
_runner = asyncio.Runner()


def one_input(data: bytes) -> None:
    """The first octet chooses the door and how the rest is cut: line by line, in pieces, or not at all."""
    with mock.patch.object(guards, "TARPIT", 0.0), mock.patch.object(guards, "MAX_TARPIT", 0.0):
        _runner.run(_session(data[:1] or b"\0", data[1:]))


def segments(choice: int, data: bytes) -> list[bytes]:
    way = choice // len(ROLES) % 3
    if way == 0:
        return data.splitlines(keepends=True)[:MOST_SEGMENTS]
    if way == 1:
        size = 1 + choice // 9
        return [data[at : at + size] for at in range(0, min(len(data), size * MOST_SEGMENTS), size)]
    return [data]


async def _session(choice: bytes, data: bytes) -> None:
    role = ROLES[choice[0] % len(ROLES)]
    acceptor = FakeAcceptor()
    what = service(role, acceptor=acceptor, limits=LIMITS, auth=AUTH, gate=OpenGate())
    session = MemorySession(what)
    await session.say(b"")
    for segment in segments(choice[0], data):
        if session.over:
            break
        await session.say(segment)
    await session.leave()
    _judge(acceptor, bytes(session.pipe.said))


def _judge(acceptor: FakeAcceptor, said: bytes) -> None:
    if not _REPLY.fullmatch(said):
        raise AssertionError(f"no reply: {said!r}")
    if b" 4.3.0 Internal" in said:
        raise AssertionError(f"a bug: {said!r}")
    if open_ones := [each for each in acceptor.receptions if not each.ended]:
        raise AssertionError(f"neither kept nor forgotten: {open_ones}")
    messages = acceptor.messages
    if len(messages) > said.count(b" Queued"):
        raise AssertionError(f"{len(messages)} kept: {said!r}")
    for message in messages:
        if message.count(b"\n") != message.count(b"\r\n") or message.count(b"\r") != message.count(b"\r\n"):
            raise AssertionError("a bare line end was kept")
        if b"\0" in message:
            raise AssertionError("a NUL was kept")
