"""Only CR LF "." CR LF ends a message: every form of smuggling around the dot is refused, on the wire, and nothing of
it is delivered; what is lawful around dots comes through byte for byte (security.md rows 1-9, 20)."""

from __future__ import annotations

import pytest

from tests.interop.conftest import AUBIN, World
from tests.interop.mail import body, fetch_all, marked
from tests.interop.wire import READER, SENDER, on_disk, smtp, sound, submission, transmit
from tests.peers.process import wait_until

pytestmark = pytest.mark.interop

SMUGGLED = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\n", b"\n.\r", b"\r.\r\n", b"\r\n.\r", b"\r\r\n.\r\r\n",
    b"\r\n.\r\r\n", b"\r\r.\r\r", b"\r\n\x0b.\n", b"\n\n.\n\n", b"\r\n.\n\r\n",
]  # fmt: skip


def hidden(sequence: bytes, mark: str, victim: str) -> bytes:
    """A second transaction behind something that must not end the first."""
    second = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{victim}>\r\nDATA\r\nFrom: pdg@banque.test\r\nX: {mark}\r\n\r\n{mark}"
    return sequence + second.encode() + b"\r\n"


@pytest.mark.parametrize("door", ["mx", "submission"])
def test_h001_h005_nothing_but_crlf_dot_crlf_ends_a_message(world: World, door: str) -> None:
    mark, victim = marked(SENDER, READER).mark, f"maire@{AUBIN}"
    before = len(fetch_all(world, victim))
    for begin in range(0, len(SMUGGLED), 7):  # ten errors in one session and its answers get slow
        opened = (smtp(world), SENDER) if door == "mx" else (submission(world, READER), READER)
        with opened[0] as talk:
            for sequence in SMUGGLED[begin : begin + 7]:
                message = marked(opened[1], READER)
                talk.envelope(opened[1], READER)
                talk.send(message.raw[:-2] + hidden(sequence, mark, victim) + b".\r\n")
                answer = talk.reply()
                assert answer.startswith("550 5.5.2 "), (sequence, answer)
                assert talk.ask("NOOP") == "250 2.0.0 OK", sequence  # exactly one answer: nothing was smuggled
                assert talk.ask("DATA").startswith("503 "), sequence
                assert on_disk(world, message.mark) == 0, sequence
            if door == "mx":
                sound(world, talk)
    assert on_disk(world, mark) == 0
    assert len(fetch_all(world, victim)) == before


def test_h006_the_answer_does_not_depend_on_segments(world: World) -> None:
    mark = marked(SENDER, READER).mark
    text = b"a" + hidden(b"\r\n.\n", mark, READER)[:12] + b"\r\n.\r\n"
    for cut in range(1, len(text)):
        with smtp(world) as talk:
            talk.envelope()
            for piece in (b"Subject: x\r\n\r\n" + text[:cut], text[cut:]):
                talk.send(piece)
            assert talk.reply().startswith("550 5.5.2 "), cut
            assert talk.ask("NOOP") == "250 2.0.0 OK", cut
    sound(world)


def test_h004_a_nul_is_550_5_6_0_and_no_end(world: World) -> None:
    victim, mark = f"maire@{AUBIN}", marked(SENDER, READER).mark
    with smtp(world) as talk:
        for sequence in (b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"a\0b\r\n"):
            message = marked(SENDER, READER)
            talk.envelope()
            talk.send(message.raw[:-2] + hidden(sequence, mark, victim) + b".\r\n")
            assert talk.reply().startswith("550 5.6.0 "), sequence
            assert talk.ask("NOOP") == "250 2.0.0 OK"
            assert on_disk(world, message.mark) == 0
        talk.envelope()
        talk.send(b"Subject: a\0b\r\n\r\nx\r\n.\r\n")
        assert talk.reply().startswith("550 5.6.0 ")
        sound(world, talk)
    assert on_disk(world, mark) == 0


def test_h009_dots_survive_the_way(world: World) -> None:
    """Only dots, a dot first, an empty body: byte for byte."""
    user = f"urbanisme@{AUBIN}"
    for text in (b".\r\n..\r\n...\r\n", b".", b"", b"\r\n\r\n.\r\n"):
        message = marked(SENDER, user)
        content = message.raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + text
        content += b"" if content.endswith(b"\r\n") else b"\r\n"
        with smtp(world) as talk:
            talk.envelope(SENDER, user)
            talk.send(transmit(content))
            assert talk.reply().startswith("250 2."), text
        found = [raw for raw in fetch_all(world, user).values() if message.mark.encode() in raw]
        assert [body(raw) for raw in found] == [body(content)]


def test_h007_a_bare_line_feed_far_from_any_dot_is_refused(world: World) -> None:
    message = marked(SENDER, READER)
    with smtp(world) as talk:
        talk.envelope()
        talk.send(message.raw + b"une ligne\nautre\r\n.\r\n")
        assert talk.reply().startswith("550 5.5.2 ")
        talk.envelope()
        talk.send(message.raw + b"x" * 70_000 + b"\r\n.\r\n")
        assert talk.reply().startswith("500 5.5.2 ")
        assert on_disk(world, message.mark) == 0
        sound(world, talk)


def test_h020_a_client_that_leaves_before_the_dot_delivers_nothing(world: World) -> None:
    message = marked(SENDER, READER, size=400_000)
    begun = len(world.suite.events("smtp-connection"))
    with smtp(world) as talk:
        talk.envelope()
        talk.send(transmit(message.raw)[:-3])
    with smtp(world) as talk:
        talk.envelope()
        talk.send(transmit(message.raw)[:-2])
    wait_until(lambda: len(world.suite.events("smtp-connection")) >= begun + 2, what="both sessions to end")
    assert on_disk(world, message.mark) == 0
    sound(world)
