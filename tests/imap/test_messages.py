"""Commands on messages as transcripts: APPEND, STORE, COPY, MOVE, EXPUNGE, CLOSE."""

from __future__ import annotations

import pytest

from core.config import Limits
from imap.commands.incoming import LineEnds
from store.types import Flag
from tests.fakes.imap_world import World, selected

MAIL = b"Subject: one\r\n\r\nbody\r\n"


# --- APPEND --------------------------------------------------------------------------------------------------------


async def test_append_waits_for_our_word_and_answers_the_uid() -> None:
    async with World() as world, selected(world) as client:
        await client.raw(b'a APPEND INBOX (\\Seen $Work) "17-Jul-1996 02:44:25 -0700" {%d}\r\n' % len(MAIL))
        assert await client.line() == b"+ OK"
        await client.raw(MAIL + b"\r\n")
        lines = await client.until(b"a")
        assert lines[0] == b"* 1 EXISTS"
        assert lines[-1] == b"a OK [APPENDUID 1001 1] APPEND completed"
        box = (await world.account()).boxes["INBOX"]
        assert box.raw[1] == MAIL
        row = box.messages[1]
        assert (row.flags, row.keywords, row.internal_date) == (Flag.SEEN, ("$Work",), 837596665)
        assert all(spool.closed for spool in world.store.spools)


async def test_append_keeps_octets_but_makes_every_line_end_crlf() -> None:
    async with World() as world:
        client = await world.login()
        assert (await client.append(b"{5+}\r\nINBOX", b"a: \xe9\nb\r\n\r\nc\rd"))[-1].startswith(b"a OK [APPENDUID")
        assert (await world.account()).boxes["INBOX"].raw[1] == b"a: \xe9\r\nb\r\n\r\nc\rd"


@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_line_ends_do_not_depend_on_blocks(step: int) -> None:
    data, lines = b"\na\r\n\n\r\r\nb\r\n\r\nc\n\r", LineEnds()
    mended = b"".join(lines.mend(data[start : start + step]) for start in range(0, len(data), step))
    assert mended == b"\r\na\r\n\r\n\r\r\nb\r\n\r\nc\r\n\r"


async def test_append_refuses_before_the_message_is_sent() -> None:
    async with World(limits=Limits(message_size="1K")) as world:
        client = await world.login()
        for command, answer in (
            (b"APPEND nowhere {10}", b"a NO [TRYCREATE]"),
            (b"APPEND INBOX {1025}", b"a NO [TOOBIG]"),
            (b"APPEND INBOX {99999999999999999999}", b"a BAD"),
            (b"APPEND INBOX {0}", b"a NO [CANNOT]"),
            (b"APPEND INBOX (%b) {10}" % (b"x" * 129), b"a NO [LIMIT]"),
            (b"APPEND INBOX (%b) {10}" % b" ".join(b"k%d" % n for n in range(65)), b"a NO [LIMIT]"),
            (b'APPEND INBOX "01-Jan-0000 00:00:00 +0000" {10}', b"a BAD"),
            (b"APPEND INBOX (\\Foo) {10}", b"a BAD"),
            (b'APPEND INBOX "x"', b"a BAD"),
            (b"APPEND INBOX", b"a BAD"),
        ):
            lines = await client.ask(command)
            assert len(lines) == 1, lines
            assert lines[0].startswith(answer), (command, lines)
        assert not (await world.account()).boxes["INBOX"].messages


async def test_append_at_the_limit_and_one_past_it() -> None:
    async with World(limits=Limits(message_size="1K")) as world:
        client = await world.login()
        assert (await client.append(b"INBOX", b"x" * 1024))[-1].startswith(b"a OK")
        assert (await client.append(b"INBOX", b"x" * 1025))[-1].startswith(b"a NO [TOOBIG]")
        assert (await client.append(b"INBOX", b"\n" * 1024))[-1].startswith(b"a NO [TOOBIG]")  # grows past it
        await client.ok(b"NOOP")


async def test_refused_appends_that_do_not_wait_are_skipped_exactly() -> None:
    async with World() as world:
        client = await world.login()
        trap = b"z LOGOUT\r\n" * 5
        assert (await client.append(b"nowhere", trap))[-1].startswith(b"a NO [TRYCREATE]")
        assert (await client.append(b"INBOX", b"a\0b" + trap))[-1].startswith(b"a NO [CANNOT]")
        assert (await client.append(b"INBOX", trap, b"(bad"))[-1].startswith(b"a BAD")
        await client.raw(b"a APPEND INBOX {%d+}\r\n%b (bad {%d+}\r\n%b\r\n" % (len(MAIL), MAIL, len(trap), trap))
        assert (await client.until(b"a"))[-1].startswith(b"a BAD")
        await client.raw(b"a APPEND INBOX {%d+}\r\n%bx\r\n" % (len(MAIL), MAIL))
        assert (await client.until(b"a"))[-1].startswith(b"a BAD")
        await client.ok(b"NOOP")
        assert not (await world.account()).boxes["INBOX"].messages


async def test_append_over_quota() -> None:
    async with World(quota=50) as world:
        client = await world.login()
        assert (await client.append(b"INBOX", MAIL))[-1].startswith(b"a OK")
        assert (await client.ask(b"APPEND INBOX {100}"))[-1].startswith(b"a NO [OVERQUOTA]")


async def test_h103_leaving_at_any_octet_appends_nothing() -> None:
    async with World() as world:
        whole = b"a APPEND INBOX {6+}\r\nx: y\r\n\r\n"
        for stop in range(0, len(whole), 3):
            client = await world.login()
            await client.raw(whole[:stop])
            await client.close()
        client = await world.login()
        await client.raw(b"a APPEND INBOX {99+}\r\nx: y\r\n")  # declared more than was sent
        client.writer.write_eof()
        await client.ended()
        assert not (await world.account()).boxes["INBOX"].messages
        assert all(spool.closed for spool in world.store.spools)


async def test_a_message_of_several_megabytes_is_streamed() -> None:
    async with World() as world:
        client = await world.login()
        message = b"Subject: x\r\n\r\n" + b"0123456789abcdef" * 300_000 + b"\r\n"
        assert (await client.append(b"INBOX", message))[-1].startswith(b"a OK")
        assert (await world.account()).boxes["INBOX"].raw[1] == message


# --- STORE ---------------------------------------------------------------------------------------------------------


async def test_store_answers_the_flags_as_they_are() -> None:
    async with World() as world, selected(world, MAIL, MAIL, MAIL) as client:
        assert await client.ok(b"STORE 1:2 +FLAGS (\\Seen \\Flagged)") == [
            b"* 1 FETCH (FLAGS (\\Flagged \\Seen))",
            b"* 2 FETCH (FLAGS (\\Flagged \\Seen))",
            b"a OK STORE completed",
        ]
        assert (await client.ok(b"STORE 1 -FLAGS \\Seen"))[0] == b"* 1 FETCH (FLAGS (\\Flagged))"
        assert (await client.ok(b"UID STORE 3 FLAGS \\Draft"))[0] == b"* 3 FETCH (UID 3 FLAGS (\\Draft))"
        assert await client.ok(b"STORE 1:* flags.silent ()") == [b"a OK STORE completed"]
        assert await client.ok(b"NOOP") == [b"a OK NOOP completed"]
        assert (await client.ok(b"FETCH 1:3 FLAGS"))[2] == b"* 3 FETCH (FLAGS ())"


async def test_a_new_keyword_is_announced_before_it_is_used() -> None:
    async with World() as world, selected(world, MAIL) as client:
        lines = await client.ok(b"STORE 1 +FLAGS $Work")
        assert lines[0] == b"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work)"
        assert lines[1].startswith(b"* OK [PERMANENTFLAGS (")
        assert lines[2] == b"* 1 FETCH (FLAGS ($Work))"


async def test_a_mailbox_that_has_all_its_keywords_promises_no_new_ones() -> None:
    """RFC 9051 7.1: "\\*" says that keywords can be made."""
    async with World(limits=Limits(keywords=2)) as world, selected(world, MAIL) as client:
        assert (await client.ok(b"STORE 1 +FLAGS one"))[1].endswith(b" one \\*)] Flags that stay")
        assert (await client.ok(b"STORE 1 +FLAGS two"))[1].endswith(b" one two)] Flags that stay")
        assert b" one two)] Flags" in b"".join(await client.ok(b"SELECT INBOX"))


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"STORE 9 FLAGS ()", b"a BAD"),
        (b"STORE 0 FLAGS ()", b"a BAD"),
        (b"STORE 1 FLAG ()", b"a BAD"),
        (b"STORE 1 FLAGS", b"a BAD"),
        (b"STORE 1 FLAGS (\\Foo)", b"a BAD"),
        (b"STORE 1 FLAGS.SILENT.X ()", b"a BAD"),
        (b"STORE 1 +FLAGS (%b)" % (b"k" * 129), b"a NO [LIMIT]"),
        (b"STORE 1 +FLAGS (%b)" % (b"k" * 128), b"a OK"),
        (b"UID STORE 9 FLAGS ()", b"a OK"),
        (b"STORE 1:4294967295 FLAGS ()", b"a BAD"),
    ],
)
async def test_a_store_that_names_nothing_or_too_much_is_refused(command: bytes, answer: bytes) -> None:
    async with World() as world, selected(world, MAIL) as client:
        assert (await client.ask(command))[-1].startswith(answer)


async def test_h098_a_megabyte_of_flag_is_refused() -> None:
    async with World() as world, selected(world, MAIL) as client:
        assert (await client.ask(b"STORE 1 +FLAGS (%b)" % (b"k" * 10**6)))[-1].startswith(b"a BAD [TOOBIG]")
        assert (await client.ask(b"STORE 1 +FLAGS (%b)" % b" ".join(b"k%d" % n for n in range(9000))))[-1].startswith(
            b"a NO [LIMIT]"
        )


# --- COPY, MOVE, EXPUNGE -------------------------------------------------------------------------------------------


async def test_copy_answers_the_pairs_of_uids() -> None:
    async with World() as world, selected(world, MAIL, MAIL, MAIL) as client:
        target = (await world.account()).boxes["Archive"]
        assert (await client.ok(b"COPY 1,3 Archive"))[-1] == (
            b"a OK [COPYUID %d 1,3 1:2] COPY completed" % target.uidvalidity
        )
        assert (await client.ok(b"UID COPY 9 Archive"))[-1] == b"a OK nothing to copy"
        assert (await client.ask(b"COPY 1 nowhere"))[-1].startswith(b"a NO [TRYCREATE]")
        assert (await client.ask(b"UID COPY 9 nowhere"))[-1].startswith(b"a NO [TRYCREATE]")
        assert (await client.ask(b"COPY 4 Archive"))[-1].startswith(b"a BAD")


async def test_copy_into_the_same_mailbox_is_seen_at_once() -> None:
    async with World() as world, selected(world, MAIL) as client:
        assert (await client.ok(b"COPY 1 INBOX"))[0] == b"* 2 EXISTS"


async def test_move_tells_the_pairs_then_the_removals() -> None:
    async with World() as world, selected(world, MAIL, MAIL, MAIL) as client:
        lines = await client.ok(b"UID MOVE 1:2 Trash")
        assert lines[0].startswith(b"* OK [COPYUID ")
        assert lines[0].endswith(b" 1:2 1:2] moved")
        assert lines[1:] == [b"* 2 EXPUNGE", b"* 1 EXPUNGE", b"a OK MOVE completed"]
        assert (await client.ok(b"FETCH 1 UID"))[0] == b"* 1 FETCH (UID 3)"


async def test_expunge_and_uid_expunge_and_close() -> None:
    async with World() as world, selected(world, MAIL, MAIL, MAIL, MAIL) as client:
        await client.ok(b"STORE 1:3 +FLAGS.SILENT \\Deleted")
        assert await client.ok(b"UID EXPUNGE 2,4") == [b"* 2 EXPUNGE", b"a OK UID EXPUNGE completed"]
        assert await client.ok(b"EXPUNGE") == [b"* 2 EXPUNGE", b"* 1 EXPUNGE", b"a OK EXPUNGE completed"]
        await client.ok(b"STORE 1 +FLAGS.SILENT \\Deleted")
        assert await client.ok(b"CLOSE") == [b"a OK CLOSE completed"]
        assert not (await world.account()).boxes["INBOX"].messages


async def test_unselect_expunges_nothing() -> None:
    async with World() as world, selected(world, MAIL) as client:
        await client.ok(b"STORE 1 +FLAGS.SILENT \\Deleted")
        await client.ok(b"UNSELECT")
        assert (await world.account()).boxes["INBOX"].messages
