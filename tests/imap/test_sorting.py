"""SORT and THREAD on the wire (RFC 5256, 5957, 5267): grammar, forms of the answers, order."""

from __future__ import annotations

import pytest

from imap.commands.thread import written
from store.types import ThreadNode
from tests.fakes.imap_world import World, selected


def mail(sender: str, subject: str, date: str, *more: str) -> bytes:
    lines = [f"From: {sender}", f"Subject: {subject}", f"Date: {date}", *more, "", "text"]
    return ("\r\n".join(lines) + "\r\n").encode()


ONE = mail(
    '"Zoe" <anne@a.test>', "Re: budget", "Mon, 2 Nov 2026 10:00:00 +0100", "Message-ID: <2@a>", "References: <1@a>"
)
TWO = mail("bruno@b.test", "Conseil", "Sun, 1 Nov 2026 10:00:00 +0100", "To: Yves <a@c.test>", "Message-ID: <3@a>")
THREE = mail('"Albert" <carla@c.test>', "budget", "Sat, 31 Oct 2026 10:00:00 +0100", "Message-ID: <1@a>")
FOUR = mail("bruno@b.test", "Fwd: Conseil", "Tue, 3 Nov 2026 10:00:00 +0100", "In-Reply-To: <3@a>", "Cc: x@y.test")
ALL = (ONE, TWO, THREE, FOUR)


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (b"SORT (DATE) UTF-8 ALL", b"* SORT 3 2 1 4"),
        (b"SORT (REVERSE DATE) US-ASCII ALL", b"* SORT 4 1 2 3"),
        (b"UID SORT (FROM DATE) UTF-8 ALL", b"* SORT 1 2 4 3"),
        (b"SORT (REVERSE FROM DATE) UTF-8 ALL", b"* SORT 3 2 4 1"),
        (b"SORT (DISPLAYFROM) UTF-8 ALL", b"* SORT 3 2 4 1"),
        (b"SORT (SUBJECT REVERSE DATE) UTF-8 ALL", b"* SORT 1 3 4 2"),
        (b"SORT (DISPLAYTO ARRIVAL CC SIZE TO) UTF-8 1:2", b"* SORT 1 2"),
        (b"SORT (ARRIVAL) UTF-8 SEEN", b"* SORT"),
        (b'sort (date) "utf-8" subject budget', b"* SORT 3 1"),
        (b"SORT RETURN () (DATE) UTF-8 ALL", b'* ESEARCH (TAG "a") ALL 3,2,1,4'),
        (b"UID SORT RETURN (MIN MAX COUNT) (DATE) UTF-8 ALL", b'* ESEARCH (TAG "a") UID MIN 3 MAX 4 COUNT 4'),
        (b"SORT RETURN (ALL) (ARRIVAL) UTF-8 ALL", b'* ESEARCH (TAG "a") ALL 1:4'),
        (b"SORT RETURN (PARTIAL 2:3) (DATE) UTF-8 ALL", b'* ESEARCH (TAG "a") PARTIAL (2:3 2,1)'),
        (b"THREAD ORDEREDSUBJECT UTF-8 ALL", b"* THREAD (3 1)(2 4)"),
        (b"THREAD REFERENCES UTF-8 ALL", b"* THREAD (3 1)(2 4)"),
        (b"UID THREAD REFERENCES US-ASCII 1:2", b"* THREAD (2)(1)"),
        (b"THREAD REFERENCES UTF-8 SEEN", b"* THREAD"),
    ],
)
async def test_sort_and_thread_answer_in_the_order_of_the_rfc(command: bytes, wanted: bytes) -> None:
    async with World() as world, selected(world, *ALL) as client:
        assert (await client.ok(command))[0].rstrip() == wanted


@pytest.mark.parametrize(
    "command",
    [b"SORT () UTF-8 ALL", b"SORT (DATE REVERSE) UTF-8 ALL", b"SORT (NOTHING) UTF-8 ALL", b"SORT (DATE) ALL",
     b"SORT DATE UTF-8 ALL", b"SORT (DATE) UTF-8", b"SORT (%b) UTF-8 ALL" % b" ".join([b"DATE"] * 21),
     b"THREAD REFERENCES ALL", b"THREAD JWZ UTF-8 ALL", b"THREAD ORDEREDSUBJECT UTF-8"],
)  # fmt: skip
async def test_outside_the_grammar(command: bytes) -> None:
    async with World() as world, selected(world, ONE) as client:
        assert (await client.ask(command))[-1].startswith((b"a BAD", b"a NO [BADCHARSET"))


@pytest.mark.parametrize("command", [b"SORT (DATE) ALL", b"THREAD REFERENCES SEEN", b"SEARCH CHARSET UTF-9"])
async def test_without_a_charset_the_key_is_not_taken_for_one(command: bytes) -> None:
    async with World() as world, selected(world, ONE) as client:
        assert (await client.ask(command))[-1].startswith(b"a BAD ")


async def test_an_unknown_charset_is_named() -> None:
    async with World() as world, selected(world, ONE) as client:
        for command in (b"SORT (DATE) KLINGON ALL", b"THREAD REFERENCES KLINGON ALL"):
            assert (await client.ask(command))[-1].startswith(b"a NO [BADCHARSET (US-ASCII UTF-8)]")


async def test_sort_by_mod_sequence_tells_the_highest() -> None:
    """RFC 7162 3.1.6."""
    async with World() as world, selected(world, *ALL) as client:
        lines = await client.ok(b"UID SORT (REVERSE ARRIVAL DATE) UTF-8 MODSEQ 2 UID 1:2")
        assert lines[1] == b"* SORT 2 1 (MODSEQ 3)"


async def test_a_sorted_result_can_be_saved() -> None:
    async with World() as world, selected(world, *ALL) as client:
        assert await client.ok(b"UID SORT RETURN (SAVE) (DATE) UTF-8 SUBJECT budget") == [b"a OK SORT completed"]
        assert (await client.ok(b"SEARCH $"))[0] == b"* SEARCH 1 3"


def node(uid: int, *children: ThreadNode) -> ThreadNode:
    return ThreadNode(uid, children)


def test_rfc5256_forms_of_a_thread() -> None:
    """RFC 5256 4, THREAD response."""

    def same(uid: int) -> int:
        return uid

    assert written(node(2), same) == b"(2)"
    deep = node(3, node(6, node(4, node(23)), node(44, node(7, node(96)))))
    assert written(deep, same) == b"(3 6 (4 23)(44 7 96))"
    assert written(node(0, node(3), node(5)), same) == b"((3)(5))"
    assert written(node(0, node(3, node(4), node(5)), node(6)), same) == b"((3 (4)(5))(6))"


def test_h100_a_thread_of_any_depth_is_written_in_linear_time() -> None:
    tree = node(1)
    for uid in range(2, 20_000):
        tree = node(uid, tree)
    assert len(written(tree, lambda uid: uid).split()) == 19_999
