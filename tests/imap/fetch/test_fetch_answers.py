"""FETCH end to end over a mailbox in memory: exact octets, \\Seen, expunged messages, streaming (RFC 9051 6.4.5).

Longer than its neighbours: tables of sections and the octets each is answered with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from imap.commands.fetch import FETCH, UID_FETCH
from imap.types import Feature
from message.content import BLOCK
from store.types import Column, Flag
from tests.fakes.imap_session import Desk, desk
from tests.fakes.memory_mailbox import MemoryMailbox

TABLE = {command.name: command for command in (FETCH, UID_FETCH)}

SIMPLE = b"From: a@a.test\r\nTo: b@b.test\r\nX-Odd: 1\r\nSubject: one\r\n two\r\n\r\nHello\r\nworld\r\n"

INNER_HEAD = b"From: inner@c.test\r\nSubject: inside\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n"
INNER_BODY = (
    b"--i\r\nContent-Type: text/plain\r\n\r\ninner plain\r\n"
    b"--i\r\nContent-Type: text/html\r\n\r\n<p>inner</p>\r\n--i--\r\n"
)
PLAIN_HEAD = b"Content-Type: text/plain; charset=utf-8\r\nX-Part: one\r\n\r\n"
PLAIN_BODY = b"first part\r\nsecond line"
MESSAGE_HEAD = b"Content-Type: message/rfc822\r\n\r\n"
OUTER_HEAD = (
    b"From: a@a.test\r\nSubject: nested\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n"
)
OUTER_BODY = (
    b"preamble\r\n--o\r\n" + PLAIN_HEAD + PLAIN_BODY + b"\r\n--o\r\n" + MESSAGE_HEAD + INNER_HEAD + INNER_BODY
    + b"\r\n--o--\r\nepilogue\r\n"
)  # fmt: skip
NESTED = OUTER_HEAD + OUTER_BODY

_LITERAL = re.compile(rb"(BODY\[[^\]]*\](?:<\d+>)?|RFC822[.A-Z]*) \{(\d+)\}\r\n")


def literals(answer: bytes) -> Mapping[bytes, bytes]:
    """Label > octets of every literal in the answer."""
    found, position = {}, 0
    while match := _LITERAL.search(answer, position):
        position = match.end() + int(match[2])
        found[match[1]] = answer[match.end() : position]
    return found


async def nested(**options: bool) -> tuple[Desk, MemoryMailbox]:
    mailbox = MemoryMailbox()
    mailbox.put(NESTED)
    return await desk(mailbox, TABLE, **options), mailbox


async def one_body(raw: bytes, section: bytes) -> bytes | None:
    mailbox = MemoryMailbox()
    mailbox.put(raw)
    answer = await (await desk(mailbox, TABLE)).ask(b"1 FETCH 1 (BODY.PEEK[%b])" % section)
    assert answer.endswith(b")\r\n1 OK FETCH completed\r\n"), answer
    if answer.startswith(b"* 1 FETCH (BODY[%b] NIL)" % section):
        return None
    (octets,) = literals(answer).values()
    return octets


@pytest.mark.parametrize("section", [b"HEADER.FIELDS (Subject)", b"HEADER.FIELDS (Subject X-Never)"])
@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\n\r\n", b"\r\n\r\nbody"])
async def test_a_subset_ends_with_an_empty_line_whatever_the_header_ends_with(section: bytes, end: bytes) -> None:
    """As Dovecot has it, from the index and from the file."""
    assert await one_body(b"From: a@a.test\r\nSubject: one\r\n two" + end, section) == b"Subject: one\r\n two\r\n\r\n"


@pytest.mark.parametrize("section", [b"HEADER.FIELDS (Subject)", b"HEADER.FIELDS (Subject X-Never)"])
async def test_rfc9051_a_literal_holds_no_nul(section: bytes) -> None:
    """RFC 9051 4.3.1; the number of octets stays."""
    assert await one_body(b"Subject: a\0b\r\n\r\n", section) == b"Subject: a?b\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (b"From: a@a.test\r\nX-Odd: 1\r\n", b"X-Odd: 1\r\n"),
        (b"From: a@a.test\r\nX-Odd: 1\r\n\r\n", b"X-Odd: 1\r\n\r\n"),
        (b"\r\n", b"\r\n"),
    ],
)
async def test_rfc9051_the_empty_line_of_a_subset_is_the_messages_own(raw: bytes, wanted: bytes) -> None:
    """RFC 9051 6.4.5.1: not there in a message that has neither body nor empty line."""
    assert await one_body(raw, b"HEADER.FIELDS.NOT (From)") == wanted


@pytest.mark.parametrize("raw", [b"From: a@a.test\r\nX-Odd: 1\r\n", b"From: a@a.test\r\nX-Odd: 1\r\nno field\r\n"])
async def test_fields_that_are_asked_for_end_with_an_empty_line_even_where_the_message_has_none(raw: bytes) -> None:
    """As Dovecot's do (its answers to these two are the same): the index, which gives them, holds fields only."""
    assert await one_body(raw, b"HEADER.FIELDS (From)") == b"From: a@a.test\r\n\r\n"
    assert await one_body(raw, b"HEADER.FIELDS (X-None)") == b"\r\n"
    assert await one_body(raw, b"HEADER") == raw


@pytest.mark.parametrize(
    ("section", "octets"),
    [
        (b"", NESTED),
        (b"HEADER", OUTER_HEAD),
        (b"TEXT", OUTER_BODY),
        (b"1", PLAIN_BODY),
        (b"1.MIME", PLAIN_HEAD),
        (b"2", INNER_HEAD + INNER_BODY),
        (b"2.MIME", MESSAGE_HEAD),
        (b"2.HEADER", INNER_HEAD),
        (b"2.TEXT", INNER_BODY),
        (b"2.1", b"inner plain"),
        (b"2.1.MIME", b"Content-Type: text/plain\r\n\r\n"),
        (b"2.2", b"<p>inner</p>"),
        (b"2.HEADER.FIELDS (subject X-None)", b"Subject: inside\r\n\r\n"),
        (b"2.HEADER.FIELDS.NOT (Content-Type)", b"From: inner@c.test\r\nSubject: inside\r\n\r\n"),
        (b"HEADER.FIELDS (MIME-version FROM)", b"From: a@a.test\r\nMIME-Version: 1.0\r\n\r\n"),
        (b"HEADER.FIELDS (X-None)", b"\r\n"),
        (b"HEADER.FIELDS.NOT (Content-Type Subject)", b"From: a@a.test\r\nMIME-Version: 1.0\r\n\r\n"),
    ],
)
async def test_sections_of_a_nested_message_are_its_exact_octets(section: bytes, octets: bytes) -> None:
    assert await one_body(NESTED, section) == octets


@pytest.mark.parametrize("section", [b"3", b"1.1", b"1.HEADER", b"1.TEXT", b"2.3", b"2.1.1", b"2.2.TEXT", b"9.9.MIME"])
async def test_what_a_message_does_not_have_is_nil(section: bytes) -> None:
    assert await one_body(NESTED, section) is None


async def test_h101_a_section_of_five_hundred_levels_is_nil() -> None:
    assert await one_body(NESTED, b".".join([b"1"] * 500)) is None


@pytest.mark.parametrize(
    ("section", "octets"),
    [
        (b"1", b"Hello\r\nworld\r\n"),
        (b"TEXT", b"Hello\r\nworld\r\n"),
        (b"HEADER.FIELDS (Subject)", b"Subject: one\r\n two\r\n\r\n"),
        (b"HEADER.FIELDS (X-Odd subject)", b"X-Odd: 1\r\nSubject: one\r\n two\r\n\r\n"),
        (b"HEADER.FIELDS.NOT (X-Odd subject)", b"From: a@a.test\r\nTo: b@b.test\r\n\r\n"),
    ],
)
async def test_sections_of_a_simple_message(section: bytes, octets: bytes) -> None:
    assert await one_body(SIMPLE, section) == octets


@pytest.mark.parametrize(
    ("start", "length"),
    [(0, 1), (0, 5), (3, 10), (0, 10**6), (len(SIMPLE) - 1, 1), (len(SIMPLE), 1), (2**63 - 1, 2**63 - 1)],
)
async def test_h101_partials_are_slices_and_never_overflow(start: int, length: int) -> None:
    mailbox = MemoryMailbox()
    mailbox.put(SIMPLE)
    answer = await (await desk(mailbox, TABLE)).ask(b"1 FETCH 1 BODY.PEEK[]<%d.%d>" % (start, length))
    assert literals(answer) == {b"BODY[]<%d>" % start: SIMPLE[start : start + length]}


async def test_partials_count_in_a_header_subset_too() -> None:
    mailbox = MemoryMailbox()
    mailbox.put(SIMPLE)
    at = await desk(mailbox, TABLE)
    for fields in (b"Subject", b"Subject X-None"):
        answer = await at.ask(b"1 FETCH 1 BODY.PEEK[HEADER.FIELDS (%b)]<9.6>" % fields)
        assert literals(answer) == {b"BODY[HEADER.FIELDS (%b)]<9>" % fields: b"one\r\n "}


async def test_index_items_open_no_file() -> None:
    mailbox = MemoryMailbox()
    mailbox.put(SIMPLE, Flag.SEEN | Flag.FLAGGED, "$Label1")
    at = await desk(mailbox, TABLE)
    at.session.selected.keywords |= {"$Label1"}
    at.session.features |= Feature.CONDSTORE
    answer = await at.ask(
        b"1 FETCH 1 (UID FLAGS INTERNALDATE RFC822.SIZE MODSEQ EMAILID THREADID SAVEDATE PREVIEW"
        b" BODY.PEEK[HEADER.FIELDS (From To)])"
    )
    assert answer == (
        b'* 1 FETCH (UID 1 FLAGS (\\Flagged \\Seen $Label1) INTERNALDATE "14-Nov-2023 22:13:20 +0000"'
        b" RFC822.SIZE %d MODSEQ (2) EMAILID (M1) THREADID (T1) SAVEDATE"
        b' "14-Nov-2023 22:21:40 +0000" PREVIEW "Hello world"'
        b" BODY[HEADER.FIELDS (From To)] {32}\r\nFrom: a@a.test\r\nTo: b@b.test\r\n\r\n)\r\n"
        b"1 OK FETCH completed\r\n"
    ) % len(SIMPLE)
    assert not mailbox.files


async def test_envelope_and_structures_come_from_the_index() -> None:
    at, mailbox = await nested()
    row = mailbox.messages[1]
    answer = await at.ask(b"1 FETCH 1 (ENVELOPE BODY BODYSTRUCTURE)")
    assert answer.startswith(
        b"* 1 FETCH (ENVELOPE %b BODY %b BODYSTRUCTURE %b)\r\n" % (row.envelope, row.body, row.bodystructure)
    )
    assert not mailbox.files


async def test_macros_bring_what_they_stand_for() -> None:
    at, _ = await nested()
    assert re.match(
        rb"\* 1 FETCH \(FLAGS \(\) INTERNALDATE \"[^\"]+\" RFC822.SIZE \d+\)", await at.ask(b"1 FETCH 1 FAST")
    )
    assert re.search(rb"RFC822.SIZE \d+ ENVELOPE \(.*\)\)\r\n1 OK", await at.ask(b"1 FETCH 1 ALL"))
    assert re.search(rb" ENVELOPE \(.* BODY \(\(.*\)\)\r\n1 OK", await at.ask(b"1 FETCH 1 FULL"))


async def test_uid_fetch_always_tells_the_uid_and_passes_over_absent_ones() -> None:
    mailbox = MemoryMailbox()
    for uid in (4, 9, 12):
        mailbox.put(SIMPLE, uid=uid)
    at = await desk(mailbox, TABLE)
    assert await at.ask(b"1 UID FETCH 1:9,11 FLAGS") == (
        b"* 1 FETCH (UID 4 FLAGS ())\r\n* 2 FETCH (UID 9 FLAGS ())\r\n1 OK FETCH completed\r\n"
    )
    assert await at.ask(b"1 UID FETCH 500:* (FLAGS UID)") == (
        b"* 3 FETCH (FLAGS () UID 12)\r\n1 OK FETCH completed\r\n"
    )
    assert await at.ask(b"1 UID FETCH 5:8 FLAGS") == b"1 OK FETCH completed\r\n"


async def test_numbers_beyond_the_mailbox_are_bad_and_an_empty_mailbox_is_not() -> None:
    mailbox = MemoryMailbox()
    at = await desk(mailbox, TABLE)
    assert (await at.ask(b"1 FETCH 1:* FLAGS")).startswith(b"1 OK")
    mailbox.put(SIMPLE)
    at = await desk(mailbox, TABLE)
    assert (await at.ask(b"1 FETCH 2 FLAGS")).startswith(b"1 BAD")


async def test_h099_a_set_written_ten_thousand_times_is_answered_once() -> None:
    mailbox = MemoryMailbox()
    for _ in range(7):
        mailbox.put(SIMPLE)
    at = await desk(mailbox, TABLE)
    answer = await at.ask(b"1 UID FETCH %b,*:1,4294967295 UID" % b",".join([b"1:*"] * 10_000))
    assert [int(uid) for uid in re.findall(rb"\(UID (\d+)\)", answer)] == [1, 2, 3, 4, 5, 6, 7]


# --- \Seen -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("item", [b"BODY[]", b"BODY[1]", b"BODY[HEADER]", b"RFC822", b"RFC822.TEXT", b"BODY[1]<0.1>"])
async def test_reading_text_sets_seen_and_tells_it_in_the_same_answer(item: bytes) -> None:
    at, mailbox = await nested()
    answer = await at.ask(b"1 FETCH 1 %b" % item)
    assert answer.startswith(b"* 1 FETCH (FLAGS (\\Seen) ")
    assert answer.count(b"FETCH (") == 1, "the update is not told twice"
    assert mailbox.messages[1].flags == Flag.SEEN


@pytest.mark.parametrize("item", [b"BODY.PEEK[]", b"RFC822.HEADER", b"BODY", b"ENVELOPE", b"RFC822.SIZE", b"PREVIEW"])
async def test_peeking_leaves_seen_alone(item: bytes) -> None:
    at, mailbox = await nested()
    await at.ask(b"1 FETCH 1 %b" % item)
    assert mailbox.messages[1].flags == 0
    assert all(name != "store_flags" for name, _ in mailbox.asked)


async def test_examine_never_sets_seen() -> None:
    at, mailbox = await nested(read_only=True)
    answer = await at.ask(b"1 FETCH 1 BODY[]")
    assert literals(answer) == {b"BODY[]": NESTED}
    assert b"FLAGS" not in answer
    assert mailbox.messages[1].flags == 0


async def test_seen_is_written_once_and_only_where_it_is_missing() -> None:
    mailbox = MemoryMailbox()
    for flags in (Flag(0), Flag.SEEN, Flag(0), Flag(0), Flag.SEEN):
        mailbox.put(SIMPLE, flags)
    at = await desk(mailbox, TABLE)
    answer = await at.ask(b"1 FETCH 1:* (BODY[TEXT])")
    assert [asked for name, asked in mailbox.asked if name == "store_flags"] == [((1, 1), (3, 4))]
    told = re.findall(rb"\* (\d) FETCH \(FLAGS", answer)
    assert told == [b"1", b"3", b"4"], "messages that were seen before do not repeat their flags"
    mailbox.asked.clear()
    await at.ask(b"1 FETCH 1:* (BODY[TEXT])")
    assert all(name != "store_flags" for name, _ in mailbox.asked)


async def test_seen_comes_with_its_mod_sequence_for_clients_that_follow_them() -> None:
    at, mailbox = await nested()
    at.session.features |= Feature.CONDSTORE
    answer = await at.ask(b"1 FETCH 1 BODY[1]")
    assert answer.startswith(b"* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (%d) BODY[1]" % mailbox.modseq)
    assert answer.count(b"FETCH (") == 1


async def test_a_full_disk_does_not_stop_people_from_reading() -> None:
    at, mailbox = await nested()
    mailbox.read_only_disk = True
    answer = await at.ask(b"1 FETCH 1 BODY[]")
    assert literals(answer) == {b"BODY[]": NESTED}
    assert answer.endswith(b"1 OK FETCH completed\r\n")
    assert b"FLAGS" not in answer


async def test_a_keyword_the_client_does_not_know_is_announced_before_it_is_used() -> None:
    mailbox = MemoryMailbox()
    mailbox.put(SIMPLE, Flag.SEEN, "$Urgent")
    at = await desk(mailbox, TABLE)
    answer = await at.ask(b"1 FETCH 1 FLAGS")
    assert answer.index(b"* FLAGS (") < answer.index(b"* 1 FETCH (FLAGS (\\Seen $Urgent))")
    assert b"* FLAGS" not in await at.ask(b"1 FETCH 1 FLAGS")


# --- expunged by others, and failing disks ---------------------------------------------------------------------------


async def test_fetch_of_a_message_expunged_meanwhile_ends_with_no_and_keeps_numbers() -> None:
    mailbox = MemoryMailbox()
    for _ in range(3):
        mailbox.put(SIMPLE)
    at = await desk(mailbox, TABLE)
    await at.session.selected.numbered()
    mailbox.lose(2)
    assert await at.ask(b"1 FETCH 1:3 FLAGS") == (
        b"* 1 FETCH (FLAGS ())\r\n* 3 FETCH (FLAGS ())\r\n1 NO [EXPUNGEISSUED] some of the messages no longer exist\r\n"
    ), "EXPUNGE is withheld during FETCH (RFC 9051 7.5.1)"


async def test_the_uid_of_a_message_expunged_meanwhile_is_still_known() -> None:
    """RFC 2180 4.1.1; the numbers are those the client was told."""
    mailbox = MemoryMailbox()
    for _ in range(5):
        mailbox.put(SIMPLE)
    at = await desk(mailbox, TABLE)
    await at.session.selected.numbered()
    mailbox.lose(2)
    assert await at.ask(b"1 FETCH 2 UID") == b"* 2 FETCH (UID 2)\r\n1 OK FETCH completed\r\n"
    assert await at.ask(b"1 FETCH 1,3:* UID") == (
        b"".join(b"* %d FETCH (UID %d)\r\n" % (each, each) for each in (1, 3, 4, 5)) + b"1 OK FETCH completed\r\n"
    )


async def test_uid_fetch_of_a_message_expunged_meanwhile_is_ok_and_tells_the_expunge() -> None:
    mailbox = MemoryMailbox()
    for _ in range(3):
        mailbox.put(SIMPLE)
    at = await desk(mailbox, TABLE)
    await at.session.selected.numbered()
    mailbox.lose(2)
    assert await at.ask(b"1 UID FETCH 1:3 UID") == (
        b"* 1 FETCH (UID 1)\r\n* 3 FETCH (UID 3)\r\n* 2 EXPUNGE\r\n1 OK [EXPUNGEISSUED] FETCH completed\r\n"
    )


async def test_a_file_that_vanishes_between_row_and_open_leaves_no_half_answer() -> None:
    mailbox = MemoryMailbox()
    mailbox.put(SIMPLE)
    mailbox.put(SIMPLE)
    at = await desk(mailbox, TABLE)
    del mailbox.raw[1]
    answer = await at.ask(b"1 FETCH 1:2 BODY.PEEK[TEXT]")
    assert answer.startswith(b"* 2 FETCH (BODY[TEXT] {14}\r\n")
    assert answer.endswith(b"1 NO [EXPUNGEISSUED] some of the messages no longer exist\r\n")


async def test_files_are_closed_whatever_happens() -> None:
    mailbox = MemoryMailbox()
    mailbox.put(SIMPLE + b"x" * BLOCK)
    mailbox.broken_after = BLOCK
    with pytest.raises(ConnectionError):  # the announced length cannot be taken back
        await (await desk(mailbox, TABLE)).ask(b"1 FETCH 1 BODY.PEEK[]")
    assert [file.closed for file in mailbox.files] == [True]


async def test_a_disk_that_fails_in_the_first_block_costs_the_command_only() -> None:
    """Cause: the length was announced before anything was read, and the connection had to be closed."""
    at, mailbox = await nested()
    mailbox.broken_after = 10
    assert await at.ask(b"1 FETCH 1 BODY.PEEK[]") == b"1 NO [UNAVAILABLE] The disk failed\r\n"
    assert [file.closed for file in mailbox.files] == [True]


async def test_a_disk_that_fails_before_the_literal_costs_the_command_only() -> None:
    at, mailbox = await nested()
    mailbox.broken_after = 10
    answer = await at.ask(b"1 FETCH 1 BODY.PEEK[HEADER.FIELDS (X-Odd)]")
    assert answer == b"1 NO [UNAVAILABLE] The disk failed\r\n"


async def test_nul_never_travels_in_a_literal_and_the_length_stays() -> None:
    mailbox = MemoryMailbox()
    raw = SIMPLE + b"a\0b\r\n"
    mailbox.put(raw)
    answer = await (await desk(mailbox, TABLE)).ask(b"1 FETCH 1 BODY.PEEK[]")
    assert literals(answer)[b"BODY[]"] == raw.replace(b"\0", b"?")


# --- streaming -------------------------------------------------------------------------------------------------------


async def test_h037_a_large_body_leaves_in_blocks_and_waits_for_its_reader() -> None:
    mailbox = MemoryMailbox()
    raw = SIMPLE + b"x" * 78 * 40_000 + b"\r\n"
    mailbox.put(raw)
    at = await desk(mailbox, TABLE)
    answer = await at.ask(b"1 FETCH 1 (BODY.PEEK[] BODY.PEEK[TEXT]<5.1000000>)")
    text = raw[len(raw) - len(b"Hello\r\nworld\r\n") - 78 * 40_000 - 2 :]
    assert literals(answer) == {b"BODY[]": raw, b"BODY[TEXT]<5>": text[5:1000005]}
    assert max(stop - start for start, stop in mailbox.reads) <= BLOCK
    assert at.outlet.most_waiting <= 2 * BLOCK


async def test_h037_many_small_answers_wait_for_their_reader_too() -> None:
    mailbox = MemoryMailbox(batch=500)
    for _ in range(1500):
        mailbox.put(b"Subject: %b\r\n\r\n" % (b"s" * 300))
    at = await desk(mailbox, TABLE)
    await at.ask(b"1 FETCH 1:* ENVELOPE")
    assert at.outlet.most_waiting <= 128 * 1024


async def test_only_the_columns_that_are_needed_are_read() -> None:
    at, mailbox = await nested()
    for items, columns in [
        (b"FLAGS", Column.NONE),
        (b"(UID RFC822.SIZE)", Column.DATES),
        (b"BODY.PEEK[]", Column.NONE),
        (b"BODY.PEEK[1]", Column.PARTS),
        (b"BODY.PEEK[HEADER.FIELDS (To)]", Column.HEADERS),
        (b"BODY.PEEK[HEADER.FIELDS (X-To)]", Column.PARTS),
    ]:
        mailbox.asked.clear()
        await at.ask(b"1 FETCH 1 " + items)
        assert [asked for name, asked in mailbox.asked if name == "rows"] == [columns]


async def test_uid_fetch_of_a_stretch() -> None:
    """RFC 9394 3.3: positions among the messages of the set, from either end; 3.4: then what changed among those."""
    mailbox = MemoryMailbox()
    for number in range(1, 7):
        mailbox.put(SIMPLE, Flag.SEEN, uid=number * 10)
    at = await desk(mailbox, TABLE)
    assert re.findall(rb"UID (\d+)", await at.ask(b"1 UID FETCH 20:60 FLAGS (PARTIAL -1:-2)")) == [b"50", b"60"]
    assert re.findall(rb"UID (\d+)", await at.ask(b"1 UID FETCH 1:* FLAGS (PARTIAL 2:3)")) == [b"20", b"30"]
    late = await at.ask(b"1 UID FETCH 1:* FLAGS (CHANGEDSINCE 4 PARTIAL 3:5)")
    assert re.findall(rb"UID (\d+)", late) == [b"40", b"50"]
    assert re.findall(rb"UID (\d+)", await at.ask(b"1 UID FETCH 1:* FLAGS (PARTIAL 7:9)")) == []
    assert b"1 BAD" in await at.ask(b"1 FETCH 1:* FLAGS (PARTIAL 1:2)")
