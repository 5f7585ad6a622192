"""Hostile input on the IMAP doors: refused by its bound, the session in step or ended with BYE, the store intact."""

from __future__ import annotations

import threading

import pytest

from tests.interop.conftest import AUBIN, FLEURI, PASSWORD, World
from tests.interop.mail import fetch_all, imap, marked
from tests.interop.wire import READER, Imap, imap_wire, on_disk, smtp, sound
from tests.peers.process import wait_until

pytestmark = pytest.mark.interop


def alive(talk: Imap) -> bool:
    return talk.ask(b"NOOP", b"vivant").splitlines()[-1].startswith(b"vivant OK ")


def tagged(answer: bytes) -> bytes:
    return answer.splitlines()[-1]


# --- login ------------------------------------------------------------------------------------------------------------


def test_h113_a_wrong_password_is_no_authenticationfailed_for_known_and_unknown_alike(world: World) -> None:
    with imap_wire(world, None) as talk:
        answers = {
            tagged(talk.log_in(READER, "faux")),
            tagged(talk.log_in(f"personne@{AUBIN}", "faux")),
            tagged(talk.ask(b"AUTHENTICATE PLAIN AHBlcnNvbm5lAGZhdXg=")),
        }
        assert answers == {b"t NO [AUTHENTICATIONFAILED] authentication failed"}
        assert tagged(talk.log_in()).startswith(b"t OK ")
    sound(world)


def test_h024_login_before_tls_is_privacyrequired_and_announced_as_disabled(world: World) -> None:
    with imap_wire(world, None, "imap") as talk:
        offers = talk.ask(b"CAPABILITY")
        assert b"LOGINDISABLED" in offers
        assert b"AUTH=" not in offers
        assert tagged(talk.log_in()).startswith(b"t NO [PRIVACYREQUIRED] ")
        assert tagged(talk.ask(b"AUTHENTICATE PLAIN")).startswith(b"t NO [PRIVACYREQUIRED] ")
        assert tagged(talk.ask(b"STARTTLS")).startswith(b"t OK ")
        talk.secure(world.suite.tls())
        assert tagged(talk.log_in()).startswith(b"t OK ")
    assert PASSWORD not in world.suite.log()


def test_h021_plain_text_injected_behind_starttls_ends_the_session(world: World) -> None:
    with imap_wire(world, None, "imap") as talk:
        talk.send(f'a STARTTLS\r\nb LOGIN "{READER}" "{PASSWORD}"\r\n'.encode())
        answer = talk.rest()
        assert answer.startswith(b"* BYE ")
        assert b"OK" not in answer


def test_h095_broken_sasl_exchanges_are_refused_and_leave_nothing(world: World) -> None:
    with imap_wire(world, None) as talk:
        assert talk.ask(b"AUTHENTICATE PLAIN") == b"+ \r\n"
        talk.send(b"*\r\n")
        assert tagged(talk.until(b"t")).startswith(b"t BAD")
        assert tagged(talk.ask(b"AUTHENTICATE PLAIN =")).startswith((b"t NO", b"t BAD"))
        assert tagged(talk.log_in()).startswith(b"t OK ")
    with imap_wire(world, None) as talk:
        assert talk.ask(b"AUTHENTICATE PLAIN") == b"+ \r\n"
    sound(world)


# --- bounds before login ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [b"4294967296", b"99999999999999999999", b"9000"])
def test_h091_a_literal_larger_than_allowed_before_login_is_bad(world: World, size: bytes) -> None:
    with imap_wire(world, None) as talk:
        assert tagged(talk.ask(b"LOGIN {" + size + b"}")).startswith(b"t BAD ")
        assert tagged(talk.log_in()).startswith(b"t OK ")  # nothing is waited for, the session is in step
    with imap_wire(world, None) as talk:
        talk.send(b"t LOGIN {" + size + b"+}\r\n")
        assert talk.rest().startswith(b"* BYE ")
    with imap_wire(world, None) as talk:
        for wrong in (b"{-1}", b"{x}"):
            assert tagged(talk.ask(b"LOGIN " + wrong)).startswith(b"t BAD ")


def resident(world: World) -> int:
    """Octets of memory of all fronts."""
    total = 0
    for pid in world.suite.workers("front"):
        with open(f"/proc/{pid}/statm") as file:
            total += int(file.read().split()[1]) * 4096
    return total


def test_h093_a_million_brackets_before_login_end_the_session_and_take_no_memory(world: World) -> None:
    before = resident(world)
    opened = []
    for _ in range(5):
        context = imap_wire(world, None)
        talk = context.__enter__()
        opened.append(context)
        talk.send(b"a " + b"(" * 100_000)
        assert talk.rest().startswith(b"* BYE ")
    with imap_wire(world, None) as talk:
        assert alive(talk)
    assert resident(world) - before < 8 << 20
    for context in opened:
        context.__exit__(None, None, None)
    sound(world)


def test_h016_h033_three_invalid_commands_end_a_strangers_session(world: World) -> None:
    with imap_wire(world, None, "imap") as talk:
        talk.send(b"GET / HTTP/1.1\r\nHost: imap.test\r\nAccept: */*\r\n\r\n")
        answer = talk.rest()
        assert b"* BYE" in answer
        assert b"imap.test" not in answer


# --- bounds after login -----------------------------------------------------------------------------------------------


def test_h091_h092_literals_are_bounded_per_command_and_the_session_stays_in_step(world: World) -> None:
    with imap_wire(world) as talk:
        assert tagged(talk.ask(b"SELECT INBOX")).startswith(b"t OK ")
        assert tagged(talk.ask(b"SEARCH SUBJECT {1048577}")).startswith(b"t NO [TOOBIG] ")
        assert alive(talk)
        talk.send(b"t SEARCH SUBJECT {2000000+}\r\n" + b"x" * 2_000_000 + b"\r\n")
        assert tagged(talk.until(b"t")).startswith(b"t NO [TOOBIG] ")
        assert alive(talk)
        many = b"".join(b" SUBJECT {1024+}\r\n" + b"x" * 1024 for _ in range(1100))
        talk.send(b"t SEARCH" + many + b"\r\n")
        assert b"TOOBIG" in talk.until(b"t")
        assert alive(talk)
        assert tagged(talk.ask(b"SEARCH SUBJECT {99999999999999999999}")).startswith(b"t NO [TOOBIG] ")
        assert alive(talk)
        talk.send(b"t SEARCH SUBJECT {99999999999999999999+}\r\n")
        assert b"* BYE" in talk.rest()
    sound(world)


def test_h103_append_counts_only_when_it_came_whole(world: World) -> None:
    message = marked(READER, READER)
    before = len(fetch_all(world, READER))
    with imap_wire(world) as talk:
        assert tagged(talk.ask(b"APPEND INBOX {62914561}")).startswith(b"t NO [TOOBIG] ")
        assert tagged(talk.ask(b"APPEND INBOX {0}")).startswith(b"t NO")
        assert tagged(talk.ask(b"APPEND Nulle-part {10}")).startswith(b"t NO [TRYCREATE] ")
        assert talk.ask(b"APPEND INBOX {5}").startswith(b"+ ")
        talk.send(b"a\0b\r\n\r\n")
        assert tagged(talk.until(b"t")).startswith((b"t NO", b"t BAD"))
        assert alive(talk)
    ended = len(world.suite.events("imap-session-ended"))
    for kept in (1, len(message.raw) // 2, len(message.raw)):  # the last lacks only the command's own CRLF
        with imap_wire(world) as talk:
            assert talk.ask(b"APPEND INBOX {%d}" % len(message.raw)).startswith(b"+ ")
            talk.send(message.raw[:kept])
    wait_until(lambda: len(world.suite.events("imap-session-ended")) >= ended + 3, what="the sessions to end")
    assert on_disk(world, message.mark) == 0
    assert len(fetch_all(world, READER)) == before
    sound(world)


def test_h094_h099_h101_hostile_words_are_bad_or_bounded(world: World) -> None:
    with imap_wire(world) as talk:
        assert tagged(talk.ask(b"SELECT INBOX")).startswith(b"t OK ")
        for command in (b'SELECT "a\0b"', b'SELECT "a\\', b"FETCH 0 FLAGS", b"FETCH 1:* BODY[", b"(" * 60_000):
            assert tagged(talk.ask(command)).split()[1] in (b"BAD", b"NO"), command[:40]
        wide = b",".join([b"1:*"] * 10_000)
        answer = talk.ask(b"UID FETCH " + wide + b" (UID)")
        assert tagged(answer).startswith(b"t OK ")
        count = answer.count(b" FETCH (")
        assert count == len(fetch_all(world, READER))
        for section in (b".".join([b"1"] * 500), b"4294967295", b"1.MIME"):
            assert tagged(talk.ask(b"FETCH 1 BODY.PEEK[" + section + b"]")).split()[1] in (b"OK", b"NO", b"BAD")
        assert tagged(talk.ask(b"FETCH 1 BODY.PEEK[]<4294967294.4294967295>")).split()[1] in (b"OK", b"BAD")
        assert tagged(talk.ask(b"FETCH 1:4294967295 (UID)")).split()[1] in (b"OK", b"BAD")
        assert alive(talk)
    sound(world)


NAMES = [
    b'"../../autre"', b'"a/../../b"', b'"."', b'".."', b'"/etc/passwd"', b'"a//b"', b'"' + b"n" * 4096 + b'"',
    b'"' + b"/".join([b"d"] * 200) + b'"', b'"&AAA-"', b'"&ACY-"', b'"&"', b'"&2AA-"',
]  # fmt: skip


def test_h096_h097_impossible_mailbox_names_are_refused(world: World) -> None:
    with imap_wire(world) as talk:
        before = talk.ask(b'LIST "" "*"')
        for name in NAMES:
            assert tagged(talk.ask(b"CREATE " + name)).split()[1] in (b"NO", b"BAD"), name
        assert talk.ask(b'LIST "" "*"') == before
    data = world.suite.data
    assert not [path for path in data.parent.iterdir() if path.name in ("autre", "b")]
    sound(world)


def test_h106_a_strangers_mailbox_looks_like_none(world: World) -> None:
    client = imap(world, f"mairie@{FLEURI}")
    client.create("Confidentiel")
    client.logout()
    with imap_wire(world) as talk:
        for form in (b"SELECT %s", b"EXAMINE %s", b"STATUS %s (MESSAGES)", b"DELETE %s", b"RENAME %s Volee"):
            answers = {
                tagged(talk.ask(form % name))
                for name in (b"Confidentiel", b'"Other Users/mairie@val-fleuri.test/Confidentiel"', b"Absent")
            }
            assert len(answers) == 1, answers
            assert answers.pop().startswith(b"t NO")
    sound(world)


# --- floods -----------------------------------------------------------------------------------------------------------


def test_h102_ten_thousand_pipelined_commands_are_answered_in_order_beside_others(world: World) -> None:
    count = 10_000
    with imap_wire(world) as flood, imap_wire(world, f"maire@{AUBIN}") as other:
        commands = b"".join(b"f%d NOOP\r\n" % number for number in range(count))
        writer = threading.Thread(target=flood.send, args=(commands,))
        writer.start()
        assert alive(other)  # answered although the flood has the line
        seen = 0
        while seen < count:
            line = flood.line()
            assert line, f"ended after {seen}"
            if not line.startswith(b"*"):
                assert line.startswith(b"f%d OK " % seen)
                seen += 1
        writer.join(30)
        assert alive(flood)
    sound(world)


def test_h036_half_a_command_keeps_nobody_else_waiting(world: World) -> None:
    with imap_wire(world) as slow, imap_wire(world, None) as half, smtp(world) as mail:
        slow.send(b"t LOGIN {10")
        half.send(b"t LO")
        mail.send(b"MAIL FROM:<")
        with imap_wire(world) as other:
            assert alive(other)
        sound(world)
