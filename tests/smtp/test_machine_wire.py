"""The session as a state machine, driven over a real socket: any order of commands, messages, chunks and cuts leaves
envelope, replies and framing as a model says (security.md finding 5; rows 11, 12, 15, 20)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.status import accepted, refused
from tests.fakes.smtp_server import FakeAcceptor, Wire, running, service

LIMITS = {"errors_soft": 10_000, "errors_hard": 10_000, "junk_commands": 10_000}
BODIES = st.sampled_from([b"", b"A: b\r\n\r\n", b"A: b\r\n\r\n..\r\n", b"A: b\r\n\r\nRSET\r\nQUIT\r\n"])
FAULTS = st.sampled_from([b"a\nb\r\n", b"a\rb\r\n", b"a\n.\nMAIL FROM:<x@y.fr>\r\n", b"nul\0\r\n"])

T = TypeVar("T")


class Session(RuleBasedStateMachine):
    """`sender`, `accepted`, `attempted`, `chunks` are the model's envelope; `kept` what delivery must have."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.acceptor = FakeAcceptor()
        self.server = running(service(acceptor=self.acceptor, limits=LIMITS))
        self.kept: list[bytes] = []
        self.clear()

    def clear(self) -> None:
        self.sender, self.accepted, self.attempted, self.chunks = False, 0, 0, b""
        self.chunking = False

    def do(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 30))

    def say(self, line: str | bytes) -> str:
        return self.do(self.wire.say(line))[:3]

    @initialize()
    def connect(self) -> None:
        self.listening = self.do(self.server.__aenter__())
        self.greet()

    def greet(self) -> None:
        self.wire = self.do(Wire.connect(self.listening))
        assert self.say("EHLO client.test") == "250"
        self.clear()

    @rule()
    def mail(self) -> None:
        assert self.say("MAIL FROM:<a@client.test>") == ("503" if self.sender else "250")
        self.sender = True

    @rule(known=st.booleans())
    def rcpt(self, known: bool) -> None:
        answer = self.say("RCPT TO:<agent@mairie.test>" if known else "RCPT TO:<unknown@mairie.test>")
        if not self.sender or self.chunking:
            assert answer == "503"
            return
        assert answer == ("250" if known else "550")
        self.attempted += 1
        self.accepted += known

    @rule(line=st.sampled_from(["RSET", "EHLO again.test"]))
    def forget(self, line: str) -> None:
        assert self.say(line) == "250"
        self.clear()

    @rule(line=st.sampled_from(["NOOP", "VRFY x", "NONSENSE", "MAIL FROM:<a@", "DATA x", "é"]))
    def harmless(self, line: str) -> None:
        expected = {"NOOP": "250", "VRFY x": "252", "NONSENSE": "500", "DATA x": "501", "é": "500"}
        assert self.say(line) == expected.get(line, "503" if self.sender else "501")

    def not_ready(self) -> str:
        """What DATA and BDAT are told before there is anybody to deliver to; "" when there is."""
        if not self.sender:
            return "503"
        return "" if self.accepted else ("554" if self.attempted else "503")

    @rule(body=BODIES, good=st.booleans())
    def data(self, body: bytes, good: bool) -> None:
        expected = "503" if self.chunking else self.not_ready()
        answer = self.say("DATA")
        if expected:
            assert answer == expected
            return
        assert answer == "354"
        self.acceptor.verdict = accepted("Queued", "queued") if good else refused("No", "spam", "5.7.1")
        assert self.say(body.replace(b"\r\n.", b"\r\n..") + b".\r\n") == ("250" if good else "550")
        self.kept.append(body)
        self.clear()

    @precondition(lambda self: not self.chunking and not self.not_ready())
    @rule(fault=FAULTS)
    def smuggle(self, fault: bytes) -> None:
        assert self.say("DATA") == "354"
        assert self.say(fault + b"\r\n.\r\n") == "550"
        self.clear()

    @rule(body=BODIES, last=st.booleans())
    def chunk(self, body: bytes, last: bool) -> None:
        expected = "" if self.chunking else self.not_ready()
        self.acceptor.verdict = accepted("Queued", "queued")
        answer = self.say(b"BDAT %d%s\r\n" % (len(body), b" LAST" if last else b"") + body)
        if expected:
            assert answer == expected
            return
        assert answer == "250"
        self.chunking = True
        self.chunks += body
        if last:
            self.kept.append(self.chunks)
            self.clear()

    @rule(somewhere=st.sampled_from([b"", b"DATA\r\n", b"DATA\r\nA: b\r\n", b"BDAT 100\r\nA: b\r\n", b"RCPT TO:<ag"]))
    def cut(self, somewhere: bytes) -> None:
        """The client leaves in the middle of whatever it was at; nothing of it is kept."""
        self.wire.send(somewhere)
        self.wire.close()
        self.greet()

    @invariant()
    def nothing_but_whole_messages_is_kept(self) -> None:
        assert self.acceptor.messages == self.kept

    def teardown(self) -> None:
        if hasattr(self, "listening"):
            self.do(self.server.__aexit__(None, None, None))
        self.loop.close()


TestSession = Session.TestCase
TestSession.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
