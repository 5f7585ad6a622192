"""MESSAGELIMIT and SAVELIMIT on the wire (RFC 9738): its examples, with a limit of three messages."""

from __future__ import annotations

import re

import pytest

from core.config import Imap, Limits
from tests.fakes.imap_world import World, selected

MAIL = b"Subject: one\r\n\r\nbody\r\n"
LIMITS = Limits(imap_messages=3)
FIVE = (MAIL,) * 5


def uids(lines: list[bytes]) -> list[int]:
    return [int(number) for number in re.findall(rb"UID (\d+)", b"\n".join(lines))]


async def test_without_a_setting_there_is_no_limit_and_none_is_announced() -> None:
    async with World() as world, selected(world, *FIVE) as client:
        capabilities = (await client.ok(b"CAPABILITY"))[0]
        assert b"MESSAGELIMIT" not in capabilities
        assert b"SAVELIMIT" not in capabilities
        assert len(await client.ok(b"FETCH 1:* UID")) == 6


async def test_one_of_the_two_is_announced_with_its_value() -> None:
    for limits, told, untold in (
        (LIMITS, b" MESSAGELIMIT=3", b"SAVELIMIT"),
        (Limits(imap_saved_messages=7), b" SAVELIMIT=7", b"MESSAGELIMIT"),
        (Limits(imap_messages=3, imap_saved_messages=7), b" MESSAGELIMIT=3", b"SAVELIMIT"),
    ):
        async with World(limits=limits) as world:
            capabilities = (await (await world.login()).ok(b"CAPABILITY"))[0]
            assert told in capabilities
            assert untold not in capabilities


async def test_who_is_not_told_is_not_limited() -> None:
    settings = Imap(without_for={"alice@mairie.test": ["MESSAGELIMIT"]})
    async with World(limits=LIMITS, settings=settings) as world, selected(world, *FIVE) as client:
        assert b"LIMIT=3" not in (await client.ok(b"CAPABILITY"))[0]
        assert len(await client.ok(b"FETCH 1:* UID")) == 6


async def test_fetch_answers_the_newest_and_says_where_it_stopped() -> None:
    async with World(limits=LIMITS) as world, selected(world, *FIVE) as client:
        lines = await client.ok(b"FETCH 1:* (UID FLAGS)")
        assert uids(lines) == [3, 4, 5]
        assert lines[-1].startswith(b"a OK [MESSAGELIMIT 3 3] ")
        lines = await client.ok(b"UID FETCH 1:4 FLAGS")
        assert uids(lines) == [2, 3, 4]
        assert lines[-1].startswith(b"a OK [MESSAGELIMIT 3 2] ")
        lines = await client.ok(b"UID FETCH 1,3,5 FLAGS")
        assert uids(lines) == [1, 3, 5]
        assert lines[-1] == b"a OK FETCH completed"
        assert uids(await client.ok(b"UID FETCH 1:* BODY[]")) == [3, 4, 5]
        assert (await client.ok(b"UID SEARCH UID 1:2 SEEN"))[0] == b"* SEARCH"


async def test_a_partial_fetch_that_is_too_long_is_refused() -> None:
    async with World(limits=LIMITS) as world, selected(world, *FIVE) as client:
        assert uids(await client.ok(b"UID FETCH 1:* FLAGS (PARTIAL 1:3)")) == [1, 2, 3]
        lines = await client.ask(b"UID FETCH 1:* FLAGS (PARTIAL -1:-4)")
        assert len(lines) == 1
        assert lines[0].startswith(b"a NO [MESSAGELIMIT 3] ")


async def test_search_looks_at_the_newest_and_counts_what_it_looks_at() -> None:
    async with World(limits=LIMITS) as world, selected(world, *FIVE) as client:
        lines = await client.ok(b"UID SEARCH UID 1:5 UNDELETED")
        assert lines[0] == b"* SEARCH 3 4 5"
        assert lines[1].startswith(b"a OK [MESSAGELIMIT 3 3] ")
        lines = await client.ok(b"UID SEARCH UID 1:3 UNDELETED")
        assert lines == [b"* SEARCH 1 2 3", b"a OK SEARCH completed"]
        lines = await client.ok(b"SEARCH RETURN (COUNT MIN) FLAGGED")
        assert lines[0] == b'* ESEARCH (TAG "a") COUNT 0'
        assert b"[MESSAGELIMIT 3 3]" in lines[1]
        lines = await client.ok(b"UID SEARCH NOT UID 5")
        assert lines[0] == b"* SEARCH 3 4"
        assert b"[MESSAGELIMIT 3 3]" in lines[1]


async def test_a_saved_result_is_cut_as_well() -> None:
    async with World(limits=LIMITS) as world, selected(world, *FIVE) as client:
        assert (await client.ok(b"UID SEARCH RETURN (SAVE) ALL"))[-1].startswith(b"a OK [MESSAGELIMIT 3 3] ")
        assert (await client.ok(b"UID SEARCH $"))[0] == b"* SEARCH 3 4 5"


async def test_uidafter_and_uidbefore() -> None:
    async with World() as world, selected(world, *FIVE) as client:
        for keys, found in (
            (b"UIDAFTER 3", b" 4 5"),
            (b"UIDAFTER 5", b""),
            (b"UIDAFTER 4294967295", b""),
            (b"UIDBEFORE 3", b" 1 2"),
            (b"UIDBEFORE 1", b""),
            (b"NOT UIDBEFORE 4", b" 4 5"),
            (b"UIDAFTER 1 UIDBEFORE 4", b" 2 3"),
        ):
            assert (await client.ok(b"UID SEARCH " + keys))[0] == b"* SEARCH" + found, keys
        for wrong in (b"UIDAFTER 0", b"UIDAFTER *", b"UIDBEFORE 1:2", b"UIDBEFORE"):
            assert (await client.ask(b"UID SEARCH " + wrong))[-1].startswith(b"a BAD "), wrong


async def test_store_changes_the_newest() -> None:
    async with World(limits=LIMITS) as world, selected(world, *FIVE) as client:
        lines = await client.ok(b"UID STORE 1:* +FLAGS (\\Flagged)")
        assert uids(lines) == [3, 4, 5]
        assert lines[-1].startswith(b"a OK [MESSAGELIMIT 3 3] ")
        lines = await client.ok(b"UID STORE 1:* (UNCHANGEDSINCE 1) +FLAGS (\\Seen)")
        assert lines[-2].startswith(b"* NO [MESSAGELIMIT 3 3] ")
        assert lines[-1].startswith(b"a OK [MODIFIED 3:5] ")


@pytest.mark.parametrize("limits", [LIMITS, Limits(imap_saved_messages=3)])
async def test_copy_and_append_are_refused_as_a_whole(limits: Limits) -> None:
    async with World(limits=limits) as world, selected(world, *FIVE) as client:
        (line,) = await client.ask(b"UID COPY 1:4 Trash")
        assert line.startswith(b"a NO [MESSAGELIMIT 3 2] ")
        await client.ok(b"UID COPY 2:4 Trash")
        one = b" {%d+}\r\n%b" % (len(MAIL), MAIL)
        assert (await client.ok(b"APPEND Trash" + one * 3))[-1].startswith(b"a OK [APPENDUID ")
        assert (await client.ask(b"APPEND Trash" + one * 4))[-1].startswith(b"a NO [MESSAGELIMIT 3] ")
        assert (await client.ok(b"STATUS Trash (MESSAGES)"))[0] == b"* STATUS Trash (MESSAGES 6)"


async def test_savelimit_leaves_the_other_commands_alone() -> None:
    async with World(limits=Limits(imap_saved_messages=3)) as world, selected(world, *FIVE) as client:
        assert len(await client.ok(b"FETCH 1:* UID")) == 6
        assert (await client.ok(b"UID MOVE 1:* Trash"))[-1] == b"a OK MOVE completed"


async def test_move_takes_the_newest_and_is_repeated() -> None:
    async with World(limits=LIMITS) as world, selected(world, *FIVE) as client:
        lines = await client.ok(b"UID MOVE 1:* Trash")
        assert re.match(rb"\* OK \[COPYUID \d+ 3:5 1:3\]", lines[0])
        assert lines[1:4] == [b"* 5 EXPUNGE", b"* 4 EXPUNGE", b"* 3 EXPUNGE"]
        assert lines[-1].startswith(b"a OK [MESSAGELIMIT 3 3] ")
        assert (await client.ok(b"UID MOVE 1:* Trash"))[-1] == b"a OK MOVE completed"


async def test_with_qresync_two_codes_are_told_one_after_the_other() -> None:
    async with World(limits=LIMITS) as world:
        for mail in FIVE:
            (await world.account()).deliver(mail)
        client = await world.login()
        await client.ok(b"ENABLE QRESYNC")
        await client.ok(b"SELECT INBOX")
        lines = await client.ok(b"UID MOVE 1:* Trash")
        assert lines[-2].startswith(b"* NO [MESSAGELIMIT 3 3] ")
        assert lines[-1].startswith(b"a OK [HIGHESTMODSEQ ")


async def test_uid_expunge_counts_what_is_deleted_and_expunge_is_not_limited() -> None:
    async with World(limits=LIMITS) as world, selected(world, *FIVE) as client:
        await client.ok(b"UID STORE 1:2 +FLAGS.SILENT (\\Deleted)")
        await client.ok(b"UID STORE 4:5 +FLAGS.SILENT (\\Deleted)")
        lines = await client.ok(b"UID EXPUNGE 1:5")
        assert lines == [b"* 5 EXPUNGE", b"* 4 EXPUNGE", b"* 2 EXPUNGE", *lines[3:]]
        assert lines[3].startswith(b"a OK [MESSAGELIMIT 3 2] ")
        assert await client.ok(b"UID EXPUNGE 1:5") == [b"* 1 EXPUNGE", b"a OK UID EXPUNGE completed"]
    async with World(limits=LIMITS) as world, selected(world, *FIVE) as client:
        await client.ok(b"UID STORE 1:2 +FLAGS.SILENT (\\Deleted)")
        await client.ok(b"UID STORE 3:5 +FLAGS.SILENT (\\Deleted)")
        assert len(await client.ok(b"EXPUNGE")) == 6


async def test_threads_of_a_larger_mailbox_are_refused_and_sorting_is_not() -> None:
    async with World(limits=LIMITS) as world, selected(world, *FIVE) as client:
        assert (await client.ask(b"THREAD REFERENCES UTF-8 ALL"))[-1].startswith(b"a NO [MESSAGELIMIT 3] ")
        assert (await client.ok(b"UID SORT (ARRIVAL) UTF-8 ALL"))[0] == b"* SORT 1 2 3 4 5"


async def test_what_another_expunged_and_the_limit_are_both_told() -> None:
    async with World(limits=LIMITS) as world, selected(world, *FIVE) as client:
        other = await world.login()
        await other.ok(b"SELECT INBOX")
        await other.ok(b"UID MOVE 4 Trash")
        lines = await client.ok(b"UID FETCH 1:* FLAGS")
        assert uids(lines) == [3, 5]
        codes = [line for line in lines if b"[" in line]
        assert codes[0].startswith(b"* NO [MESSAGELIMIT 3 3] ")
        assert codes[1].startswith(b"a OK [EXPUNGEISSUED] ")
