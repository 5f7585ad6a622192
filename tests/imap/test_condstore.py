"""CONDSTORE and QRESYNC on the wire (RFC 7162): examples with our numbers, two clients, one that comes back."""

from __future__ import annotations

import re

import pytest

from imap.guarded import GuardedMailbox
from store.types import Changes, Flag
from tests.fakes.imap_world import Client, World, selected

MAIL = b"Subject: one\r\n\r\nbody\r\n"


def highest(lines: list[bytes]) -> int:
    """The HIGHESTMODSEQ that was told, the last one if several."""
    found = re.findall(rb"HIGHESTMODSEQ (\d+)", b"\n".join(lines))
    assert found, lines
    return int(found[-1])


def modseqs(lines: list[bytes]) -> list[int]:
    return [int(number) for number in re.findall(rb"MODSEQ \((\d+)\)", b"\n".join(lines))]


def untagged(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if line.startswith(b"* ")]


async def following(world: World, *features: bytes) -> Client:
    """A second client in INBOX that enabled `features`."""
    client = await world.login()
    await client.ok(b"ENABLE " + b" ".join(features))
    await client.ok(b"SELECT INBOX")
    return client


async def test_select_and_examine_tell_the_highest_mod_sequence_to_everybody() -> None:
    async with World() as world, selected(world, MAIL, MAIL) as client:
        await client.ok(b"CREATE empty")
        assert highest(await client.ok(b"SELECT empty")) >= 1
        before = highest(await client.ok(b"EXAMINE INBOX"))
        (await world.account()).deliver(MAIL)
        assert highest(await client.ok(b"SELECT INBOX (CONDSTORE)")) == before + 1
        assert (await client.ask(b"SELECT INBOX (NEWSTORE)"))[-1].startswith(b"a BAD")
        assert (await client.ask(b"SELECT INBOX ()"))[-1].startswith(b"a BAD")


async def test_mod_sequences_ride_along_only_once_they_were_asked_for() -> None:
    async with World() as world, selected(world, MAIL) as client:
        assert await client.ok(b"STORE 1 +FLAGS \\Seen") == [
            b"* 1 FETCH (FLAGS (\\Seen))",
            b"a OK STORE completed",
        ]
        lines = await client.ok(b"FETCH 1 (FLAGS MODSEQ)")
        (modseq,) = modseqs(lines)
        assert lines[:2] == [
            b"* OK [HIGHESTMODSEQ %d] all changes up to here were told" % modseq,
            b"* 1 FETCH (FLAGS (\\Seen) MODSEQ (%d))" % modseq,
        ]
        assert b"HIGHESTMODSEQ" not in b"".join(await client.ok(b"FETCH 1 (MODSEQ)"))
        assert (await client.ok(b"STORE 1 -FLAGS \\Seen"))[0] == b"* 1 FETCH (UID 1 FLAGS () MODSEQ (%d))" % (
            modseq + 1
        )
        assert (await client.ok(b"STORE 1 +FLAGS.SILENT \\Seen"))[0] == b"* 1 FETCH (UID 1 MODSEQ (%d))" % (modseq + 2)
        other = await world.login()
        await other.ok(b"SELECT INBOX")
        await other.ok(b"STORE 1 +FLAGS.SILENT \\Flagged")
        assert (await client.ok(b"NOOP"))[0] == b"* 1 FETCH (UID 1 FLAGS (\\Flagged \\Seen) MODSEQ (%d))" % (modseq + 3)


async def test_every_condstore_enabling_command_enables_it() -> None:
    for command in (
        b"FETCH 1 MODSEQ",
        b"FETCH 1 FLAGS (CHANGEDSINCE 1)",
        b"STORE 1 (UNCHANGEDSINCE 1) +FLAGS \\Seen",
        b"SEARCH MODSEQ 1",
        b"STATUS INBOX (HIGHESTMODSEQ)",
    ):
        async with World() as world, selected(world, MAIL) as client:
            assert highest(await client.ok(command)) > 0, command
            assert modseqs(await client.ok(b"STORE 1 FLAGS \\Draft")), command


async def test_a_store_fails_for_what_another_changed_and_says_which() -> None:
    async with World() as world, selected(world, MAIL, MAIL, MAIL) as client:
        since = highest(await client.ok(b"FETCH 1:* MODSEQ"))
        other = await world.login()
        await other.ok(b"SELECT INBOX")
        await other.ok(b"STORE 2 +FLAGS.SILENT \\Flagged")
        lines = await client.ok(b"STORE 1:3 (UNCHANGEDSINCE %d) +FLAGS.SILENT \\Deleted" % since)
        assert lines[-1].startswith(b"a OK [MODIFIED 2]")
        assert [line for line in lines if b"UID 1 " in line or b"UID 3 " in line] == [
            b"* 1 FETCH (UID 1 MODSEQ (%d))" % (since + 2),
            b"* 3 FETCH (UID 3 MODSEQ (%d))" % (since + 2),
        ]
        lines = await client.ok(b"UID STORE 2 (UNCHANGEDSINCE %d) FLAGS ()" % since)
        assert lines[-1].startswith(b"a OK [MODIFIED 2]")
        lines = await client.ok(b"UID STORE 1:3 (UNCHANGEDSINCE 0) FLAGS ()")
        assert lines[-1].startswith(b"a OK [MODIFIED 1:3]")
        assert untagged(await client.ok(b"SEARCH DELETED")) == [b"* SEARCH 1 3"]
        lines = await client.ok(b"UID STORE 2 (UNCHANGEDSINCE %d) +FLAGS \\Seen" % (since + 9))
        assert lines[0].startswith(b"* 2 FETCH (UID 2 FLAGS (\\Flagged \\Seen) MODSEQ (")


async def test_a_conditional_store_tells_who_passed_also_when_the_flags_were_there_before() -> None:
    """RFC 7162 3.1.3: an untagged FETCH with MODSEQ, .SILENT or not; 3.1.11: the mod-sequence stays."""
    async with World() as world, selected(world, MAIL, MAIL) as client:
        (first, _) = modseqs(await client.ok(b"FETCH 1:2 MODSEQ"))
        (seen,) = modseqs(await client.ok(b"STORE 1 +FLAGS.SILENT \\Seen"))
        assert first < seen
        assert untagged(await client.ok(b"STORE 1 (UNCHANGEDSINCE %d) +FLAGS.SILENT \\Seen" % seen)) == [
            b"* 1 FETCH (UID 1 MODSEQ (%d))" % seen
        ]
        assert untagged(await client.ok(b"UID STORE 1:2 (UNCHANGEDSINCE %d) -FLAGS.SILENT \\Draft" % seen)) == [
            b"* 1 FETCH (UID 1 MODSEQ (%d))" % seen,
            b"* 2 FETCH (UID 2 MODSEQ (%d))" % (seen - 1),
        ]
        assert untagged(await client.ok(b"STORE 1 +FLAGS.SILENT \\Seen")) == []  # no condition, no news
        other = await world.login()
        await other.ok(b"SELECT INBOX")
        await other.ok(b"STORE 2 +FLAGS.SILENT \\Flagged")  # what another changed is told with its flags, and once
        flagged = highest(await other.ok(b"STATUS INBOX (HIGHESTMODSEQ)"))
        assert untagged(await client.ok(b"STORE 2 (UNCHANGEDSINCE %d) +FLAGS.SILENT \\Flagged" % flagged)) == [
            b"* 2 FETCH (UID 2 FLAGS (\\Flagged) MODSEQ (%d))" % flagged
        ]


async def test_a_conditional_store_on_what_is_gone_is_no_success() -> None:
    async with World() as world, selected(world, MAIL, MAIL, MAIL) as client:
        since = highest(await client.ok(b"FETCH 1 MODSEQ"))
        other = await world.login()
        await other.ok(b"SELECT INBOX")
        await other.ok(b"STORE 3 +FLAGS \\Seen")
        await other.ok(b"UID MOVE 1 Trash")
        lines = await client.ask(b"STORE 1:3 (UNCHANGEDSINCE %d) +FLAGS \\Answered" % since)
        assert lines[-1].startswith(b"a NO [MODIFIED 3]")
        assert untagged(await client.ok(b"SEARCH ANSWERED")) == [b"* SEARCH 2"]


async def test_store_and_fetch_modifiers_outside_the_grammar_are_bad() -> None:
    async with World() as world, selected(world, MAIL) as client:
        for command in (
            b"STORE 1 (UNCHANGEDSINCE) FLAGS ()",
            b"STORE 1 (UNCHANGEDSINCE 9223372036854775808) FLAGS ()",
            b"STORE 1 (OTHER 1) FLAGS ()",
            b"FETCH 1 FLAGS (CHANGEDSINCE x)",
            b"FETCH 1 FLAGS (CHANGEDSINCE 1",
            b"FETCH 1 FLAGS ()",
            b"FETCH 1 FLAGS (UNKNOWN)",
            b"UID FETCH 1 FLAGS (VANISHED)",
            b"FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)",
            b"UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)",  # QRESYNC is not enabled
            b"SELECT INBOX (QRESYNC (1 1))",
        ):
            assert (await client.ask(command))[-1].startswith(b"a BAD"), command
        assert (await client.ok(b"NOOP")) == [b"a OK NOOP completed"]  # the mailbox is still selected


async def test_changedsince_answers_what_changed_with_its_mod_sequence() -> None:
    async with World() as world, selected(world, MAIL, MAIL, MAIL, MAIL) as client:
        since = highest(await client.ok(b"SELECT INBOX"))
        await client.ok(b"STORE 2,4 +FLAGS.SILENT \\Flagged")
        assert untagged(await client.ok(b"FETCH 1:3 (FLAGS) (CHANGEDSINCE %d)" % since))[-1:] == [
            b"* 2 FETCH (FLAGS (\\Flagged) MODSEQ (%d))" % (since + 1)
        ]
        assert untagged(await client.ok(b"UID FETCH 3:* UID (CHANGEDSINCE %d)" % since)) == [
            b"* 4 FETCH (UID 4 MODSEQ (%d))" % (since + 1)
        ]
        assert untagged(await client.ok(b"UID FETCH 1:* FLAGS (CHANGEDSINCE %d)" % (since + 1))) == []
        assert len(untagged(await client.ok(b"FETCH 1:* FLAGS (CHANGEDSINCE 0)"))) == 4


async def test_enable_qresync_enables_condstore_and_vanished() -> None:
    async with World() as world, selected(world, MAIL, MAIL, MAIL, MAIL) as other:
        client = await world.login()
        assert (await client.ok(b"ENABLE QRESYNC X-UNKNOWN CONDSTORE"))[0] == b"* ENABLED QRESYNC CONDSTORE"
        since = highest(await client.ok(b"SELECT INBOX"))
        await other.ok(b"STORE 1:2,4 +FLAGS.SILENT \\Deleted")
        await other.ok(b"UID EXPUNGE 1,4")
        (await world.account()).deliver(MAIL)
        lines = await client.ok(b"NOOP")
        assert lines[:3] == [
            b"* VANISHED 1,4",
            b"* 3 EXISTS",
            b"* 1 FETCH (UID 2 FLAGS (\\Deleted) MODSEQ (%d))" % (since + 1),
        ]
        lines = await client.ok(b"EXPUNGE")
        assert lines[0] == b"* VANISHED 2"
        assert lines[-1] == b"a OK [HIGHESTMODSEQ %d] EXPUNGE completed" % highest(await client.ok(b"SELECT INBOX"))
        assert (await client.ok(b"EXPUNGE")) == [b"a OK EXPUNGE completed"]
        lines = await client.ok(b"UID MOVE 3 Trash")
        assert lines[0].startswith(b"* OK [COPYUID ")
        assert lines[1] == b"* VANISHED 3"
        assert lines[-1].startswith(b"a OK [HIGHESTMODSEQ ")
        await client.ok(b"UID STORE 5 +FLAGS.SILENT \\Deleted")
        assert (await client.ok(b"UID EXPUNGE 1:*"))[-1].startswith(b"a OK [HIGHESTMODSEQ ")
        assert (await client.ok(b"UID EXPUNGE 1:*"))[-1] == b"a OK UID EXPUNGE completed"
        assert (await client.ok(b"CLOSE")) == [b"a OK CLOSE completed"]  # RFC 7162 3.2.8: no code


async def test_a_withheld_removal_keeps_the_highest_mod_sequence_below_it() -> None:
    """A client that leaves after the FETCH and keeps what it was told must still hear of the removal."""
    async with World() as world, selected(world, MAIL, MAIL, MAIL) as other:
        client = await following(world, b"QRESYNC")
        await client.ok(b"NOOP")
        before = highest(await client.ok(b"SELECT INBOX"))
        await other.ok(b"UID MOVE 1 Trash")
        await other.ok(b"UID STORE 3 +FLAGS.SILENT \\Seen")
        lines = await client.ok(b"FETCH 2:3 (FLAGS)")
        assert not [line for line in lines if b"VANISHED" in line]
        assert highest(lines) == before
        assert (await client.ok(b"UID SEARCH 2"))[0] == b"* SEARCH 2"
        lines = await client.ok(b"UID SEARCH UID 2")
        assert lines[1] == b"* VANISHED 1"
        assert highest(lines) > before + 1  # RFC 7162 6: all was told, the flag of message 3 too
        assert await client.ok(b"NOOP") == [b"a OK NOOP completed"]
        assert (await client.ok(b"FETCH 2 UID"))[0] == b"* 2 FETCH (UID 3)"


async def test_a_client_that_comes_back_hears_what_it_missed() -> None:
    async with World() as world, selected(world, *[MAIL] * 6) as other:
        lines = await other.ok(b"SELECT INBOX")
        since, validity = highest(lines), int(re.findall(rb"UIDVALIDITY (\d+)", b"".join(lines))[0])
        await other.ok(b"UID STORE 5 +FLAGS.SILENT (\\Flagged $Work)")
        await other.ok(b"UID MOVE 2,4 Trash")
        (await world.account()).deliver(MAIL)
        client = await world.login()
        await client.ok(b"ENABLE QRESYNC")
        lines = await client.ok(b"SELECT INBOX (QRESYNC (%d %d))" % (validity, since))
        assert b"* 5 EXISTS" in lines
        assert lines[-4:-1] == [
            b"* VANISHED (EARLIER) 2,4",
            b"* 3 FETCH (UID 5 FLAGS (\\Flagged $Work) MODSEQ (%d))" % (since + 1),
            b"* 5 FETCH (UID 7 FLAGS () MODSEQ (%d))" % (since + 3),
        ]
        assert await client.ok(b"NOOP") == [b"a OK NOOP completed"]
        lines = await client.ok(b"SELECT INBOX (CONDSTORE QRESYNC (%d %d 1:3))" % (validity, since))
        assert b"* OK [CLOSED] previous mailbox closed" in lines
        assert lines[-2] == b"* VANISHED (EARLIER) 2"
        lines = await client.ok(b"EXAMINE INBOX (QRESYNC (%d %d 1:6 (1:2 1,3)))" % (validity, since))
        assert lines[-3] == b"* VANISHED (EARLIER) 4"
        for known in (b"%d %d" % (validity + 1, since), b"%d %d" % (validity, since + 9)):
            lines = await client.ok(b"SELECT INBOX (QRESYNC (%b))" % known)
            assert not [line for line in lines if b"VANISHED" in line or b"FETCH" in line], known
        lines = await client.ok(b"SELECT INBOX (QRESYNC (%d 0 1:3))" % validity)  # who knows nothing yet
        assert any(b"VANISHED (EARLIER)" in line for line in lines)
        for bad in (
            b"(1)",
            b"(0 1)",
            b"(1 1 *)",
            b"(1 1 1:2 (1:2 1))",
            b"(1 1 (1:* 1:*))",
            b"(1 1 1:2 )",
            b"1 1",
        ):
            assert (await client.ask(b"SELECT INBOX (QRESYNC %b)" % bad))[-1].startswith(b"a BAD"), bad


async def test_what_goes_while_select_looks_is_not_counted_for_a_client_that_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was never told that UID; else it could not tell which of its numbers has none."""
    async with World() as world, selected(world, *[MAIL] * 3) as other:
        client = await following(world, b"QRESYNC")
        lines = await client.ok(b"SELECT INBOX")
        since, validity = highest(lines), int(re.findall(rb"UIDVALIDITY (\d+)", b"".join(lines))[0])
        await client.ok(b"UNSELECT")
        for _ in range(3):
            (await world.account()).deliver(MAIL)
        await other.ok(b"NOOP")
        ask = GuardedMailbox.changes

        async def meanwhile(mailbox: GuardedMailbox, modseq: int, uidnext: int) -> Changes:
            monkeypatch.setattr(GuardedMailbox, "changes", ask)
            await other.ok(b"UID MOVE 2,4 Trash")
            return await ask(mailbox, modseq, uidnext)

        monkeypatch.setattr(GuardedMailbox, "changes", meanwhile)
        lines = await client.ok(b"SELECT INBOX (QRESYNC (%d %d))" % (validity, since))
        assert b"* 4 EXISTS" in lines
        assert lines[-4:-1] == [
            b"* VANISHED (EARLIER) 2,4",
            b"* 3 FETCH (UID 5 FLAGS () MODSEQ (%d))" % (since + 2),
            b"* 4 FETCH (UID 6 FLAGS () MODSEQ (%d))" % (since + 3),
        ]
        assert await client.ok(b"NOOP") == [b"a OK NOOP completed"]
        assert (await client.ok(b"FETCH 3:4 UID"))[:2] == [b"* 3 FETCH (UID 5)", b"* 4 FETCH (UID 6)"]


async def test_vanished_earlier_names_what_the_view_does_not_hold() -> None:
    async with World() as world, selected(world, *[MAIL] * 5) as other:
        client = await following(world, b"QRESYNC")
        since = highest(await client.ok(b"SELECT INBOX"))
        await other.ok(b"UID MOVE 1,5 Trash")
        await client.ok(b"NOOP")
        await other.ok(b"UID MOVE 2 Trash")
        lines = await client.ok(b"UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d VANISHED)" % since)
        assert lines[:2] == [b"* VANISHED (EARLIER) 1,5", b"* VANISHED 2"]
        lines = await client.ok(b"UID FETCH 2:4 (FLAGS) (VANISHED CHANGEDSINCE %d)" % since)
        assert lines[0] == b"* VANISHED (EARLIER) 2"
        await other.ok(b"UID MOVE 3:4 Trash")
        await client.ok(b"NOOP")
        assert (await client.ok(b"UID FETCH 1:* FLAGS (CHANGEDSINCE 1 VANISHED)"))[0] == b"* VANISHED (EARLIER) 1:5"


async def test_reading_tells_uid_and_mod_sequence_of_what_it_made_seen() -> None:
    async with World() as world, selected(world, MAIL) as client:
        since = highest(await client.ok(b"SELECT INBOX (CONDSTORE)"))
        lines = await client.ok(b"FETCH 1 BODY[TEXT]")
        assert lines[0].startswith(b"* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (%d) BODY[TEXT] " % (since + 1))
        assert (await client.ok(b"NOOP")) == [b"a OK NOOP completed"]


async def test_idle_tells_vanished_to_those_who_enabled_it() -> None:
    async with World() as world:
        (await world.account()).deliver(MAIL, "INBOX", Flag.DELETED)
        client = await following(world, b"QRESYNC")
        other = await world.login()
        await other.ok(b"SELECT INBOX")
        await client.raw(b"a IDLE\r\n")
        assert await client.line() == b"+ idling"
        await other.ok(b"EXPUNGE")
        assert await client.line() == b"* VANISHED 1"
        await client.raw(b"DONE\r\n")
        assert (await client.until(b"a"))[-1].startswith(b"a OK")


async def test_a_silent_store_does_not_hide_what_another_changed() -> None:
    """RFC 9051 6.4.6: .SILENT is about this command's own changes."""
    async with World() as world, selected(world, MAIL, MAIL) as client:
        other = await world.login()
        await other.ok(b"SELECT INBOX")
        await other.ok(b"STORE 1 +FLAGS.SILENT \\Flagged")
        assert await client.ok(b"STORE 1:2 +FLAGS.SILENT \\Seen") == [
            b"* 1 FETCH (UID 1 FLAGS (\\Flagged \\Seen))",
            b"a OK STORE completed",
        ]
        await client.ok(b"STORE 1 FLAGS.SILENT (\\Seen)")
        assert await client.ok(b"NOOP") == [b"a OK NOOP completed"]
