"""Sequences of commands against a model of RFC 5321 4.1.4 (security.md finding 5: fuzz sequences, not lines)."""

import asyncio
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from core.envelope import Listener, Peer
from smtp.commands import COMMANDS, UNKNOWN, perform
from smtp.conversation import Conversation, Then
from tests.fakes.smtp_server import FakeAcceptor, service

VOCABULARY = (
    ("EHLO", "client.test"),
    ("HELO", "client.test"),
    ("EHLO", ""),
    ("MAIL", "FROM:<a@b.fr>"),
    ("MAIL", "FROM:<>"),
    ("MAIL", "FROM:<banned@b.fr>"),
    ("MAIL", "FROM:<a@b.fr> BODY=8BITMIME"),
    ("MAIL", "FROM:a@b.fr"),
    ("RCPT", "TO:<agent@mairie.test>"),
    ("RCPT", "TO:<autre@mairie.test>"),
    ("RCPT", "TO:<unknown@mairie.test>"),
    ("RCPT", "TO:<x@other.org>"),
    ("RCPT", "TO:<x@>"),
    ("DATA", ""),
    ("DATA", "x"),
    ("RSET", ""),
    ("NOOP", ""),
    ("VRFY", "é"),
    ("STARTTLS", ""),
    ("AUTH", "PLAIN AGEAYg=="),
    ("BDAT", "1 LAST"),
)


@dataclass
class Model:
    """What must be true of a session, in so many words."""

    greeted: bool = False
    extended: bool = False
    sender: str | None = None
    accepted: list[str] = field(default_factory=list)
    bounced: bool = False

    def expect(self, verb: str, argument: str) -> str:
        """The first two digits of the reply that RFC 5321 and our rules demand."""
        if verb in ("EHLO", "HELO"):
            if not argument:
                return "50"
            vars(self).update(vars(Model(True, verb == "EHLO")))  # begins anew
            return "25"
        if verb == "MAIL":
            return self._mail(argument)
        if verb == "RCPT":
            return self._rcpt(argument)
        if verb == "DATA":
            return self._data(argument)
        if verb == "BDAT":
            return "25" if self._data("") == "35" else "5"
        if verb == "RSET":
            self.sender, self.accepted = None, []
            return "25"
        return "25" if verb == "NOOP" else "5"

    def _mail(self, argument: str) -> str:
        if not self.greeted or self.sender is not None:
            return "50"
        if "=" in argument and not self.extended:
            return "55"
        if "<" not in argument:
            return "50"
        if "banned" in argument:
            return "55"
        self.sender, self.accepted = argument[6:].split(">")[0], []
        return "25"

    def _rcpt(self, argument: str) -> str:
        if self.sender is None:
            return "50"
        if argument.endswith("@>"):
            return "50"
        if self.sender == "" and self.accepted and argument not in self.accepted:
            return "45"
        if "unknown" in argument or "other" in argument:
            return "55"
        self.accepted.append(argument)
        return "25"

    def _data(self, argument: str) -> str:
        if argument or self.sender is None:
            return "50"
        if not self.accepted:
            return "5"
        self.sender, self.accepted = None, []
        return "35"


@given(st.lists(st.sampled_from(VOCABULARY), max_size=30))
@settings(max_examples=300, deadline=None)
def test_h011_h012_h015_every_sequence_answers_as_the_model_says(sequence: list[tuple[str, str]]) -> None:
    async def play() -> None:
        acceptor = FakeAcceptor()
        talk = Conversation(service(acceptor=acceptor), Peer("192.0.2.1", 1, Listener.MX, "c1"))
        model = Model()
        for verb, argument in sequence:
            step = await perform(talk, COMMANDS.get(verb, UNKNOWN), argument)
            assert str(step.reply.code).startswith(model.expect(verb, argument)), (verb, argument, step.reply)
            if step.then is Then.DATA or (step.then is Then.CHUNK and step.reply.code == 250):
                assert talk.transaction is not None
                assert talk.transaction.recipients
                talk.reset()  # what `Session` does at every end of a message

    asyncio.run(play())
