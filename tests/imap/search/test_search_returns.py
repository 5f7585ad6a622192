"""RETURN options, saved results, ages (RFC 4731, 5182, 5032, 9394): what of a result is told and kept."""

from __future__ import annotations

import pytest

from core.clock import SystemClock
from imap.commands.fetch import FETCH, UID_FETCH
from imap.commands.search import SEARCH, UID_SEARCH
from imap.commands.store import STORE
from imap.commands.window import Window
from imap.types import Feature
from store.types import Flag
from tests.fakes.imap_session import Desk, desk
from tests.fakes.memory_mailbox import MemoryMailbox

TABLE = {row.name: row for row in (SEARCH, UID_SEARCH, FETCH, UID_FETCH, STORE)}
MAIL = b"Subject: one\r\n\r\nbody\r\n"


async def ten(*, seen: tuple[int, ...] = (), step: int = 10) -> tuple[Desk, MemoryMailbox]:
    """Messages 1 to 10 with the UIDs 10, 20 … 100."""
    mailbox = MemoryMailbox()
    for number in range(1, 11):
        mailbox.put(MAIL, Flag.SEEN if number in seen else Flag(0), uid=number * step)
    return await desk(mailbox, TABLE), mailbox


async def said(at: Desk, command: bytes) -> bytes:
    """The untagged answer; "" when there is none."""
    answer = await at.ask(b"A282 " + command)
    assert b"A282 OK " in answer, answer
    return answer[: answer.index(b"A282 OK")].rstrip(b"\r\n")


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (b"SEARCH RETURN (MIN COUNT) SEEN", b'* ESEARCH (TAG "A282") MIN 2 COUNT 3'),
        (b"UID SEARCH RETURN (MIN COUNT) SEEN", b'* ESEARCH (TAG "A282") UID MIN 20 COUNT 3'),
        (b"SEARCH RETURN () SEEN", b'* ESEARCH (TAG "A282") ALL 2,10:11'),
        (b"SEARCH RETURN (ALL) SEEN", b'* ESEARCH (TAG "A282") ALL 2,10:11'),
        (b"UID SEARCH RETURN (MAX) CHARSET UTF-8 SEEN", b'* ESEARCH (TAG "A282") UID MAX 110'),
        (b"SEARCH return (max min all count) SEEN", b'* ESEARCH (TAG "A282") MIN 2 MAX 11 ALL 2,10:11 COUNT 3'),
        (b"SEARCH RETURN (MIN MAX ALL COUNT) ANSWERED", b'* ESEARCH (TAG "A282") COUNT 0'),
        (b"UID SEARCH RETURN (ALL) ANSWERED", b'* ESEARCH (TAG "A282") UID'),
        (b"UID SEARCH RETURN (PARTIAL 2:3) SEEN", b'* ESEARCH (TAG "A282") UID PARTIAL (2:3 100,110)'),
        (b"UID SEARCH RETURN (PARTIAL 3:2) SEEN", b'* ESEARCH (TAG "A282") UID PARTIAL (2:3 100,110)'),
        (b"SEARCH RETURN (PARTIAL -1:-2) SEEN", b'* ESEARCH (TAG "A282") PARTIAL (-1:-2 10:11)'),
        (b"SEARCH RETURN (PARTIAL -3:-9) ALL", b'* ESEARCH (TAG "A282") PARTIAL (-3:-9 3:9)'),
        (b"SEARCH RETURN (COUNT PARTIAL 4:9) SEEN", b'* ESEARCH (TAG "A282") COUNT 3 PARTIAL (4:9 NIL)'),
        (b"SEARCH RETURN (PARTIAL -4:-9) SEEN", b'* ESEARCH (TAG "A282") PARTIAL (-4:-9 NIL)'),
        (b"SEARCH RETURN (PARTIAL 1:4294967295) ANSWERED", b'* ESEARCH (TAG "A282") PARTIAL (1:4294967295 NIL)'),
        (b"SEARCH RETURN (SAVE COUNT) SEEN", b'* ESEARCH (TAG "A282") COUNT 3'),
        (b"SEARCH RETURN (SAVE) SEEN", b""),
    ],
)
async def test_what_is_asked_for_is_told_and_nothing_else(command: bytes, wanted: bytes) -> None:
    at, mailbox = await ten(seen=(2, 10))
    mailbox.put(MAIL, Flag.SEEN, uid=110)
    at = await desk(mailbox, TABLE)
    assert await said(at, command) == wanted


@pytest.mark.parametrize(
    "options",
    [b"RETURN", b"(MIN", b"MIN)", b"(OTHER)", b"(PARTIAL)", b"(PARTIAL 0:1)", b"(PARTIAL 1:-1)", b"(PARTIAL -1:1)",
     b"(PARTIAL 1)", b"(PARTIAL 1:4294967296)", b"(PARTIAL 1:*)", b"(PARTIAL 1:2 PARTIAL 3:4)", b"(ALL PARTIAL 1:2)"],
)  # fmt: skip
async def test_options_outside_the_grammar_are_bad(options: bytes) -> None:
    at, _ = await ten()
    assert b"1 BAD" in await at.ask(b"1 SEARCH RETURN %b ALL" % options)


async def test_mod_sequences_are_those_of_what_is_told() -> None:
    """RFC 4731 3.2, by its table."""
    at, _ = await ten()  # mod-sequences 2 to 11
    at.session.features |= Feature.CONDSTORE
    for options, highest in ((b"MIN", 2), (b"MAX", 11), (b"MIN MAX", 11), (b"ALL", 11), (b"MIN COUNT", 11)):
        assert (await said(at, b"SEARCH RETURN (%b) MODSEQ 1" % options)).endswith(b" MODSEQ %d" % highest), options
    assert (await said(at, b"SEARCH RETURN (PARTIAL 3:4) MODSEQ 1")).endswith(b"PARTIAL (3:4 3:4) MODSEQ 5")
    assert await said(at, b"UID SEARCH RETURN (ALL) MODSEQ 99") == b'* ESEARCH (TAG "A282") UID'


async def test_a_saved_result_stands_for_its_messages_in_both_kinds_of_commands() -> None:
    """RFC 5182 2.1 and its examples."""
    at, mailbox = await ten(seen=(2, 3, 5))
    assert await said(at, b"FETCH $ UID") == b""
    assert await said(at, b"SEARCH RETURN (SAVE) SEEN") == b""
    assert await said(at, b"FETCH $ UID") == b"* 2 FETCH (UID 20)\r\n* 3 FETCH (UID 30)\r\n* 5 FETCH (UID 50)"
    assert await said(at, b"UID FETCH $ FLAGS") == (
        b"* 2 FETCH (UID 20 FLAGS (\\Seen))\r\n* 3 FETCH (UID 30 FLAGS (\\Seen))\r\n* 5 FETCH (UID 50 FLAGS (\\Seen))"
    )
    assert await said(at, b"UID SEARCH UID $ NOT UID 30") == b"* SEARCH 20 50"
    assert await said(at, b"SEARCH $ 1:3") == b"* SEARCH 2 3"
    assert await said(at, b"SEARCH RETURN (SAVE ALL) NOT $") == b'* ESEARCH (TAG "A282") ALL 1,4,6:10'
    await said(at, b"STORE $ +FLAGS.SILENT \\Flagged")
    assert [uid for uid, row in mailbox.messages.items() if Flag.FLAGGED in row.flags] == [10, 40, 60, 70, 80, 90, 100]
    mailbox.lose(60)
    assert b"EXPUNGE" in await at.ask(b"1 UID SEARCH UID 1")
    assert await said(at, b"SEARCH $") == b"* SEARCH 1 4 6 7 8 9"
    assert b"1 BAD" in await at.ask(b"1 FETCH $,1 UID")


async def test_a_saved_result_ends_a_set_of_numbers() -> None:
    """RFC 9051 9: sequence-set = (seq-number / seq-range) ["," sequence-set], and "$" is a sequence-set."""
    at, mailbox = await ten(seen=(2, 3, 5))
    await said(at, b"SEARCH RETURN (SAVE) SEEN")
    assert await said(at, b"FETCH 1:2,$ UID") == "\r\n".join(f"* {n} FETCH (UID {n}0)" for n in (1, 2, 3, 5)).encode()
    assert await said(at, b"UID SEARCH UID 90:*,$") == b"* SEARCH 20 30 50 90 100"
    assert await said(at, b"SEARCH NOT 6:*,$") == b"* SEARCH 1 4"
    await said(at, b"STORE 9,$ +FLAGS.SILENT \\Flagged")
    assert [uid for uid, row in mailbox.messages.items() if Flag.FLAGGED in row.flags] == [20, 30, 50, 90]
    for wrong in (b"$,$", b"1:$", b"1,$,2", b"1$"):
        assert b"1 BAD" in await at.ask(b"1 FETCH %b UID" % wrong)


@pytest.mark.parametrize(
    ("options", "kept"),
    [(b"SAVE", b"2 3 5"), (b"SAVE MIN", b"2"), (b"SAVE MAX", b"5"), (b"SAVE MIN MAX", b"2 5"),
     (b"SAVE MIN ALL", b"2 3 5"), (b"SAVE MAX COUNT", b"2 3 5"), (b"SAVE PARTIAL 2:3", b"3 5"),
     (b"SAVE MIN PARTIAL 3:3", b"2 5")],
)  # fmt: skip
async def test_what_is_saved_follows_what_is_returned(options: bytes, kept: bytes) -> None:
    """RFC 5182 2.4, RFC 9394 3.2."""
    at, _ = await ten(seen=(2, 3, 5))
    await said(at, b"UID SEARCH RETURN (%b) SEEN" % options)
    assert await said(at, b"SEARCH $") == b"* SEARCH " + kept


async def test_a_search_that_fails_empties_the_saved_result_and_one_that_is_bad_does_not() -> None:
    at, _ = await ten(seen=(2, 3))
    await said(at, b"SEARCH RETURN (SAVE) SEEN")
    assert b"1 BAD" in await at.ask(b"1 SEARCH RETURN (SAVE) NONSENSE")
    assert await said(at, b"SEARCH $") == b"* SEARCH 2 3"
    assert b"1 NO [BADCHARSET" in await at.ask(b"1 SEARCH CHARSET X-ODD ALL")
    assert await said(at, b"SEARCH $") == b"* SEARCH 2 3"
    assert b"1 NO [BADCHARSET" in await at.ask(b"1 SEARCH RETURN (SAVE) CHARSET X-ODD ALL")
    assert await said(at, b"SEARCH $") == b"* SEARCH"
    at.session.features |= Feature.UTF8
    assert b"1 BAD" in await at.ask(b"1 SEARCH CHARSET UTF-8 ALL")  # RFC 6855 3
    assert await said(at, b"SEARCH ALL") == b"* SEARCH 1 2 3 4 5 6 7 8 9 10"


async def test_imap4rev2_always_answers_with_esearch() -> None:
    at, _ = await ten(seen=(2, 3))
    at.session.features |= Feature.REV2
    assert await said(at, b"UID SEARCH SEEN") == b'* ESEARCH (TAG "A282") UID ALL 20,30'
    assert await said(at, b"SEARCH ANSWERED") == b'* ESEARCH (TAG "A282")'


async def test_younger_and_older_are_counted_from_now() -> None:
    now = SystemClock().now()
    mailbox = MemoryMailbox()
    for age in (10, 3000, 5000, 90_000):
        mailbox.put(MAIL, internal_date=int(now) - age)
    at = await desk(mailbox, TABLE)
    assert await said(at, b"SEARCH YOUNGER 4000") == b"* SEARCH 1 2"
    assert await said(at, b"SEARCH OLDER 4000") == b"* SEARCH 3 4"
    assert await said(at, b"SEARCH OLDER 1000 NOT OLDER 86400") == b"* SEARCH 2 3"
    assert b"1 BAD" in await at.ask(b"1 SEARCH YOUNGER 0")


def test_windows_cut_from_both_ends() -> None:
    found = list(range(1, 11))
    for first, last, from_end, inside in (
        (1, 3, False, [1, 2, 3]),
        (9, 99, False, [9, 10]),
        (1, 3, True, [8, 9, 10]),
        (9, 99, True, [1, 2]),
        (11, 12, True, []),
        (10, 10, True, [1]),
        (11, 11, False, []),
    ):
        assert Window(first, last, from_end, b"").cut(found) == inside
