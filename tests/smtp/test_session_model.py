"""Whole sessions at three doors against a model: logins, TLS, messages by DATA and by BDAT, and what failed before.

Security.md finding 5: state that survives a failed BDAT, a refused message, a greeting or a handshake is where mail
servers break. Each step is sent only when the one before is answered, so each has exactly the replies the model says.
"""

from __future__ import annotations

import asyncio
import base64
import re
from dataclasses import dataclass, field
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from core.config import Auth, Limits
from core.envelope import Listener, Tls
from core.status import accepted, refused
from core.tls import ServerTls
from smtp import guards
from smtp.protocol import SmtpProtocol
from tests.fakes.smtp_pipe import MemorySession
from tests.fakes.smtp_server import PASSWORD, FakeAcceptor, service

ROLES = (Listener.MX, Listener.SUBMISSION, Listener.LMTP)
LIMITS = Limits(message_size="64K", errors_soft=500, errors_hard=1000, junk_commands=1000)
GOOD, BAD = b"Subject: x\r\n\r\n..un point\r\n.\r\n", b"Subject: x\r\n\r\nun saut nu\nici\r\n.\r\n"
KEPT = b"Subject: x\r\n\r\n.un point\r\n"
PIECE, LAST, BARE = b"Subject: y\r\n\r\n", b"fin\r\n", b"un saut nu\nici\r\n"
NO = refused("Not this one", "no", "5.7.1")
STEPS = (
    "EHLO", "LHLO", "HELO", "STARTTLS", "AUTH", "AUTH wrong", "AUTH cancelled", "MAIL", "RCPT one", "RCPT two",
    "RCPT unknown", "DATA", "DATA bare", "DATA refused", "BDAT piece", "BDAT bare", "BDAT last", "BDAT last bare",
    "BDAT last refused", "RSET", "NOOP", "VRFY", "nonsense",
)  # fmt: skip

FOR_PEOPLE = ("MAIL", "RCPT", "DATA", "BDAT", "VRFY")  # on submission: under TLS and after a login (RFC 4954 6)


def plain(password: str) -> bytes:
    return b"AUTH PLAIN " + base64.b64encode(f"\0agent@mairie.test\0{password}".encode()) + b"\r\n"


LINES = {
    "EHLO": b"EHLO c.test\r\n", "LHLO": b"LHLO c.test\r\n", "HELO": b"HELO c.test\r\n", "STARTTLS": b"STARTTLS\r\n",
    "AUTH": plain(PASSWORD), "AUTH wrong": plain("autre"), "AUTH cancelled": b"AUTH LOGIN\r\n",
    "MAIL": b"MAIL FROM:<agent@mairie.test>\r\n", "RCPT one": b"RCPT TO:<un@mairie.test>\r\n",
    "RCPT two": b"RCPT TO:<deux@mairie.test>\r\n", "RCPT unknown": b"RCPT TO:<unknown@mairie.test>\r\n",
    "RSET": b"RSET\r\n", "NOOP": b"NOOP\r\n", "VRFY": b"VRFY un\r\n", "nonsense": b"XYZZY\r\n",
}  # fmt: skip


@dataclass
class Model:
    """What must be true of a session. Each step's answer: the first digits of its replies, in their order."""

    role: Listener
    greeted: bool = False
    extended: bool = False
    tls: bool = False
    login: bool = False
    open: bool = False
    attempted: bool = False
    people: list[str] = field(default_factory=list)
    chunks: bytes | None = None
    owed: int = 0  # recipients of a message whose chunk was refused: LMTP answers its last one for each (RFC 2033 4.3)
    handed: list[bytes] = field(default_factory=list)  # whole messages that reached delivery, whatever it answered

    def expect(self, step: str) -> list[str]:
        verb = step.partition(" ")[0]
        stranger = not self.tls or (self.greeted and not self.login)
        if self.role is Listener.SUBMISSION and verb in FOR_PEOPLE and stranger:
            return ["530"]
        match verb:
            case "EHLO" | "LHLO" | "HELO":
                return self._greeting(verb)
            case "STARTTLS":
                return self._starttls()
            case "AUTH":
                return self._auth(step)
            case "MAIL":
                return self._mail()
            case "RCPT":
                return self._rcpt(step)
            case "DATA":
                return self._data(step)
            case "BDAT":
                return self._bdat(step)
            case "RSET":
                self._forget()
        return {"RSET": ["250"], "NOOP": ["250"], "VRFY": ["252"]}.get(verb, ["500"])

    def _forget(self) -> None:
        self.open, self.attempted, self.people, self.chunks, self.owed = False, False, [], None, 0

    def _greeting(self, verb: str) -> list[str]:
        if (verb == "LHLO") is not (self.role is Listener.LMTP):
            return ["500"]
        self._forget()
        self.greeted, self.extended = True, verb != "HELO"
        return ["250"]

    def _starttls(self) -> list[str]:
        if self.tls or self.open:
            return ["503"]
        self._forget()
        self.greeted, self.login, self.tls, self.extended = False, False, True, True
        return ["220"]

    def _auth(self, step: str) -> list[str]:
        allowed = self.tls and self.greeted and self.extended and not self.login and not self.open
        if self.role is not Listener.SUBMISSION or not allowed:
            return ["5"]
        if step == "AUTH cancelled":
            return ["334", "501"]
        self.login = step == "AUTH"
        return ["235"] if self.login else ["535"]

    def _mail(self) -> list[str]:
        if not self.greeted or self.open:
            return ["503"]
        self.open, self.owed = True, 0
        return ["250"]

    def _rcpt(self, step: str) -> list[str]:
        if not self.open or self.chunks is not None:
            return ["503"]
        self.attempted = True
        if step == "RCPT unknown":
            return ["550"]
        self.people.append(step)
        return ["250"]

    def _not_ready(self) -> str:
        if not self.open:
            return "503"
        return "" if self.people else "554" if self.attempted and self.role is not Listener.LMTP else "503"

    def _final(self, code: str) -> list[str]:
        """RFC 2033 4.2: a reply for each recipient that was accepted."""
        count = len(self.people) if self.role is Listener.LMTP else 1
        self._forget()
        return [code] * count

    def _data(self, step: str) -> list[str]:
        if self.chunks is not None:
            return ["503"]
        if refusal := self._not_ready():
            return [refusal]
        if step != "DATA bare":
            self.handed.append(KEPT)
        return ["354", *self._final("250" if step == "DATA" else "550")]

    def _bdat(self, step: str) -> list[str]:
        if self.role is Listener.LMTP and "last" in step and not self.people:
            owed, self.owed = self.owed, 0
            return ["503"] * owed  # RFC 2033 4.3: none where nobody was accepted
        if refusal := self._not_ready():
            return [refusal]
        if step == "BDAT piece":
            self.chunks = (self.chunks or b"") + PIECE
            return ["250"]
        if step == "BDAT bare":
            # RFC 3030 2: one reply for each BDAT; RFC 2033 4.3 multiplies that of the last one only.
            people = len(self.people)
            self._forget()
            self.owed = people
            return ["550"]
        if step != "BDAT last bare":
            self.handed.append((self.chunks or b"") + LAST)
        return self._final("250" if step == "BDAT last" else "550")


class Upgrading(SmtpProtocol):
    """TLS without a handshake: what it changes in a session is what is asked here."""

    async def handshake(self, first: bytes) -> bool:
        self._writer.write(first)
        self.source.forget()
        assert self._dialogue is not None
        self._dialogue.talk.secured(Tls("TLSv1.3", "x", 256))
        return True


async def answered(session: MemorySession, acceptor: FakeAcceptor, step: str) -> bytes:
    acceptor.verdict = NO if step.endswith("refused") else accepted("Queued", "queued")
    if step.startswith("DATA"):
        said = await session.say(b"DATA\r\n")
        if said.startswith(b"354"):
            said += await session.say(BAD if step == "DATA bare" else GOOD)
        return said
    if step.startswith("BDAT"):
        octets = BARE if step.endswith("bare") else LAST if "last" in step else PIECE
        return await session.say(b"BDAT %d%s\r\n%s" % (len(octets), b" LAST" if "last" in step else b"", octets))
    said = await session.say(LINES[step])
    if step == "AUTH cancelled" and said.startswith(b"334"):
        said += await session.say(b"*\r\n")
    return said


async def play(role: Listener, steps: list[str], tls: ServerTls) -> None:
    acceptor, model = FakeAcceptor(), Model(role)
    session = MemorySession(service(role, acceptor=acceptor, limits=LIMITS, auth=Auth(), tls=tls), Upgrading)
    assert (await session.say(b"")).startswith(b"220 ")
    for number, step in enumerate(steps):
        if step.startswith("BDAT") and not (model.greeted and model.extended):
            continue  # its octets would be pipelined before anybody offered that (row 10)
        said = await answered(session, acceptor, step)
        codes = [code.decode() for code in re.findall(rb"(?m)^([0-9]{3}) ", said)]
        expected = model.expect(step)
        assert len(codes) == len(expected), (role, steps[: number + 1], said, expected)
        for code, start in zip(codes, expected, strict=True):
            assert code.startswith(start), (role, steps[: number + 1], said, expected)
        assert not session.over, (role, steps[: number + 1])
    await session.leave()
    assert acceptor.messages == model.handed
    assert all(each.ended for each in acceptor.receptions)


@given(st.sampled_from(ROLES), st.booleans(), st.lists(st.sampled_from(STEPS), max_size=30))
@settings(max_examples=250, deadline=None)
def test_h011_h012_h015_h022_h023_every_session_at_every_door_answers_as_the_model_says(
    role: Listener, ready: bool, steps: list[str]
) -> None:
    """`ready`: the session begins with what lets mail be sent at that door, so that half the runs get far."""
    greeting = "LHLO" if role is Listener.LMTP else "EHLO"
    opening = [greeting, *(["STARTTLS", greeting, "AUTH"] if role is Listener.SUBMISSION else []), "MAIL", "RCPT one"]
    with mock.patch.object(guards, "TARPIT", 0.0), mock.patch.object(guards, "MAX_TARPIT", 0.0):
        asyncio.run(play(role, (opening if ready else []) + steps, mock.create_autospec(ServerTls)))
