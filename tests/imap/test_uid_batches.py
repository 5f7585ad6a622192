"""UIDBATCHES on the wire and its arithmetic (RFC 10022)."""

from __future__ import annotations

import itertools

import pytest

from core.config import Imap
from imap.commands.uid_batches import Batches, batches
from imap.responses import uid_batches
from tests.fakes.imap_world import World, selected

MAIL = b"Subject: one\r\n\r\nbody\r\n"


def test_batches_as_the_rfc_shows_them() -> None:
    ranges = ((215295, 99696), (99695, 20351), (20350, 7830), (7829, 1))
    assert uid_batches("A143", ranges) == (b'* UIDBATCHES (TAG "A143") 215295:99696,99695:20351,20350:7830,7829:1\r\n')
    assert uid_batches("A302", ()) == b'* UIDBATCHES (TAG "A302")\r\n'


@pytest.mark.parametrize(
    ("asked", "ranges"),
    [
        (Batches(3), ((20, 11), (10, 6), (5, 1))),
        (Batches(4), ((20, 10), (9, 1))),
        (Batches(7), ((20, 1),)),
        (Batches(100), ((20, 1),)),
        (Batches(3, 1, 1), ((20, 11),)),
        (Batches(3, 2, 3), ((10, 6), (5, 1))),
        (Batches(3, 3, 9), ((5, 1),)),
        (Batches(3, 4, 9), ()),
    ],
)
def test_a_mailbox_is_cut_from_its_newest_message_down(asked: Batches, ranges: tuple[tuple[int, int], ...]) -> None:
    assert batches([5, 6, 9, 10, 11, 13, 20], asked) == ranges


def test_every_message_lies_in_one_batch_and_none_is_larger_than_asked() -> None:
    uids = [3, 4, 5, 8, 9, 30, 31, 32, 77, 78, 100]
    for size in range(1, 13):
        ranges = batches(uids, Batches(size))
        counts = [sum(low <= uid <= high for uid in uids) for high, low in ranges]
        assert sum(counts) == len(uids)
        assert counts[:-1] == [size] * (len(counts) - 1)
        assert all(below[0] == above[1] - 1 for above, below in itertools.pairwise(ranges))


async def test_the_answer_names_its_command_and_an_empty_mailbox_has_no_batch() -> None:
    async with World() as world, selected(world, MAIL, MAIL) as client:
        await client.ok(b"UID STORE 1 +FLAGS (\\Deleted)")
        await client.ok(b"EXPUNGE")
        lines = await client.ask(b"UIDBATCHES 500", b"A302")
        assert lines == [b'* UIDBATCHES (TAG "A302") 2:1', b"A302 OK UIDBATCHES completed"]
        assert (await client.ok(b"UIDBATCHES 500 2:3"))[0] == b'* UIDBATCHES (TAG "a")'
        await client.ok(b"CREATE empty")
        await client.ok(b"SELECT empty")
        assert (await client.ok(b"UIDBATCHES 2000"))[0] == b'* UIDBATCHES (TAG "a")'


async def test_bounds_are_answered_by_their_codes() -> None:
    async with World() as world, selected(world, MAIL) as client:
        assert (await client.ask(b"UIDBATCHES 499"))[-1].startswith(b"a NO [TOOFEW] ")
        await client.ok(b"UIDBATCHES 500 1:200")
        assert (await client.ask(b"UIDBATCHES 500 1:201"))[-1].startswith(b"a NO [TOOMANY] ")
        assert (await client.ok(b"UIDBATCHES 500 301:500"))[0] == b'* UIDBATCHES (TAG "a")'
        assert (await client.ok(b"UIDBATCHES 1 100:100"))[0] == b'* UIDBATCHES (TAG "a")'  # beyond, whatever the size
        assert (await client.ask(b"UIDBATCHES 500 20:10"))[-1].startswith(b"a BAD [CLIENTBUG] ")
        for wrong in (b"", b" 0", b" x", b" 500 1", b" 500 0:1", b" 500 1:*", b" 500 1:2 3", b" 4294967296"):
            assert (await client.ask(b"UIDBATCHES" + wrong))[-1].startswith(b"a BAD "), wrong


async def test_it_needs_a_selected_mailbox_and_can_be_switched_off() -> None:
    async with World() as world:
        client = await world.login()
        assert b" UIDBATCHES" in (await client.ok(b"CAPABILITY"))[0]
        assert (await client.ask(b"UIDBATCHES 500"))[-1].startswith(b"a BAD ")
    async with World(settings=Imap(without=["UIDBATCHES"])) as world, selected(world, MAIL) as client:
        assert b"UIDBATCHES" not in (await client.ok(b"CAPABILITY"))[0]
        assert (await client.ask(b"UIDBATCHES 500"))[-1].startswith(b"a BAD ")


async def test_a_saved_result_is_left_alone() -> None:
    async with World() as world, selected(world, MAIL, MAIL) as client:
        await client.ok(b"SEARCH RETURN (SAVE) 2")
        await client.ok(b"UIDBATCHES 500")
        assert (await client.ok(b"SEARCH $"))[0] == b"* SEARCH 2"
