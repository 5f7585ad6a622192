"""The grammar of SEARCH: every key, charsets, bounds (RFC 9051 6.4.4 and 9; RFC 3501 for NEW, OLD, RECENT)."""

from __future__ import annotations

from datetime import date

import pytest

from imap.commands.search.criteria import (
    TRUE,
    Among,
    And,
    Dated,
    DateOf,
    HasEmailId,
    HasFlag,
    HasKeyword,
    HasThreadId,
    HeaderHas,
    IsRecent,
    Key,
    Larger,
    ModifiedSince,
    Not,
    Numbered,
    Or,
    Relation,
    Smaller,
    TextHas,
    Within,
)
from imap.commands.search.parse import KEYS, MAX_DEPTH, MAX_KEYS, MAX_TEXT_KEYS, parse
from imap.errors import BadSyntax, No
from imap.types import MAX_NUMBER, STAR, SequenceSet
from imap.wire.scanner import Scanner
from store.types import Flag

SEEN = HasFlag(Flag.SEEN)
DAY = date(1994, 2, 1).toordinal()


def key(text: bytes) -> Key:
    return parse(Scanner(b" " + text)).key


ROWS: list[tuple[bytes, Key]] = [
    (b"ALL", TRUE),
    (b"ANSWERED", HasFlag(Flag.ANSWERED)),
    (b"BCC x", HeaderHas(b"bcc", "x")),
    (b"BEFORE 1-Feb-1994", Dated(DateOf.INTERNAL, Relation.BEFORE, DAY)),
    (b'BODY "a b"', TextHas("a b", body_only=True)),
    (b"CC x", HeaderHas(b"cc", "x")),
    (b"DELETED", HasFlag(Flag.DELETED)),
    (b"DRAFT", HasFlag(Flag.DRAFT)),
    (b"EMAILID Mab-_1", HasEmailId("Mab-_1")),
    (b"FLAGGED", HasFlag(Flag.FLAGGED)),
    (b"FROM {3}\r\na\\b", HeaderHas(b"from", "a\\b")),
    (b'HEADER X-Spam-Flag: ""', HeaderHas(b"x-spam-flag", "")),
    (b"KEYWORD $Label1", HasKeyword("$label1")),
    (b"LARGER 9223372036854775807", Larger(2**63 - 1)),
    (b"MODSEQ 620162338", ModifiedSince(620162338)),
    (b'MODSEQ "/flags/\\\\draft" all 5', ModifiedSince(5)),
    (b"NEW", And((IsRecent(), Not(SEEN)))),
    (b"NOT SEEN", Not(SEEN)),
    (b"OLD", Not(IsRecent())),
    (b"OLDER 4294967295", Within(2**32 - 1, younger=False)),
    (b'ON "1-feb-1994"', Dated(DateOf.INTERNAL, Relation.ON, DAY)),
    (b"OR SEEN NOT OR SEEN ALL", Or(SEEN, Not(Or(SEEN, TRUE)))),
    (b"RECENT", IsRecent()),
    (b"SAVEDATESUPPORTED", TRUE),
    (b"SAVEDBEFORE 1-Feb-1994", Dated(DateOf.SAVED, Relation.BEFORE, DAY)),
    (b"SAVEDON 1-Feb-1994", Dated(DateOf.SAVED, Relation.ON, DAY)),
    (b"SAVEDSINCE 1-Feb-1994", Dated(DateOf.SAVED, Relation.SINCE, DAY)),
    (b"SEEN", SEEN),
    (b"SENTBEFORE 01-Feb-1994", Dated(DateOf.SENT, Relation.BEFORE, DAY)),
    (b"SENTON 1-Feb-1994", Dated(DateOf.SENT, Relation.ON, DAY)),
    (b"SENTSINCE 1-Feb-1994", Dated(DateOf.SENT, Relation.SINCE, DAY)),
    (b"SINCE 1-Feb-1994", Dated(DateOf.INTERNAL, Relation.SINCE, DAY)),
    (b"SMALLER 0", Smaller(0)),
    (b"SUBJECT {6+}\r\n\xc3\xa9t\xc3\xa9x", HeaderHas(b"subject", "étéx")),
    (b"TEXT x", TextHas("x", body_only=False)),
    (b"THREADID T9", HasThreadId("T9")),
    (b"TO x", HeaderHas(b"to", "x")),
    (b"UID 4,7:*", Numbered(SequenceSet(((4, 4), (7, STAR))), by_uid=True)),
    (b"FUZZY SUBJECT x", HeaderHas(b"subject", "x", fuzzy=True)),
    (b"UIDAFTER 7", Among(((8, MAX_NUMBER),))),
    (b"UIDBEFORE 7", Among(((1, 6),))),
    (b"UNANSWERED", Not(HasFlag(Flag.ANSWERED))),
    (b"UNDELETED", Not(HasFlag(Flag.DELETED))),
    (b"UNDRAFT", Not(HasFlag(Flag.DRAFT))),
    (b"UNFLAGGED", Not(HasFlag(Flag.FLAGGED))),
    (b"UNKEYWORD NotJunk", Not(HasKeyword("notjunk"))),
    (b"UNSEEN", Not(SEEN)),
    (b"YOUNGER 1", Within(1, younger=True)),
]


@pytest.mark.parametrize(("written", "meant"), ROWS, ids=lambda value: value[:20] if isinstance(value, bytes) else "")
def test_every_key_is_read_in_any_case(written: bytes, meant: Key) -> None:
    assert key(written) == meant
    word, space, rest = written.partition(b" ")
    assert key(word.lower() + space + rest) == meant


def test_the_table_of_this_test_names_every_key() -> None:
    assert {row[0].split()[0] for row in ROWS} == set(KEYS)


def test_keys_side_by_side_and_in_parentheses_all_have_to_match() -> None:
    assert key(b"1:2 (SEEN ALL) NOT (SEEN)") == And(
        (Numbered(SequenceSet(((1, 2),)), by_uid=False), And((SEEN, TRUE)), Not(SEEN))
    )


def test_modseq_is_remembered_for_the_answer() -> None:
    assert parse(Scanner(b" OR SEEN MODSEQ 4")).mod_seq
    assert not parse(Scanner(b" SEEN")).mod_seq


@pytest.mark.parametrize(
    ("charset", "octets"),
    [
        (b"UTF-8", "é€".encode()),
        (b"utf-8", "é€".encode()),
        (b'"UTF-8"', "é€".encode()),
        (b"ISO-8859-15", "é€".encode("iso8859-15")),
        (b"windows-1252", "é€".encode("cp1252")),
    ],
)
def test_charsets_of_western_europe(charset: bytes, octets: bytes) -> None:
    assert key(b"CHARSET %b SUBJECT {%d}\r\n%b" % (charset, len(octets), octets)) == HeaderHas(b"subject", "é€")


@pytest.mark.parametrize("command", [b"CHARSET X-NONE ALL", b"CHARSET UTF-8 TEXT {1}\r\n\xe9", b"TEXT {1}\r\n\xe9"])
def test_a_charset_we_cannot_read_is_no_badcharset(command: bytes) -> None:
    with pytest.raises(No) as refusal:
        key(command)
    assert refusal.value.code == "BADCHARSET (US-ASCII UTF-8)"


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"()",
        b"(SEEN",
        b"SEEN)",
        b"SEEN  ALL",
        b"NOTHING",
        b"NOT",
        b"OR SEEN",
        b"FROM",
        b"FROM ",
        b"HEADER X-A",
        b"LARGER -1",
        b"LARGER 9223372036854775808",
        b"LARGER x",
        b"SINCE 31-Feb-2020",
        b"SINCE 2020-01-01",
        b"UID",
        b"UID SEEN",
        b"KEYWORD",
        b"KEYWORD (x)",
        b"0",
        b"4294967296",
        b"CHARSET UTF-8",
        b"CHARSET UTF-8 ",
        b"ALL x",
    ],
)
def test_what_is_no_search_is_bad(written: bytes) -> None:
    with pytest.raises(BadSyntax):
        key(written)


@pytest.mark.parametrize(("opening", "closing"), [(b"(", b")"), (b"NOT ", b""), (b"OR SEEN ", b""), (b"(NOT ", b")")])
def test_h092_depth_is_bounded_at_the_limit_and_one_past_it(opening: bytes, closing: bytes) -> None:
    levels = MAX_DEPTH // (2 if opening == b"(NOT " else 1)
    key(opening * levels + b"SEEN" + closing * levels)
    with pytest.raises(No) as refusal:
        key(opening * (levels + 1) + b"SEEN" + closing * (levels + 1))
    assert refusal.value.code == "LIMIT"


@pytest.mark.parametrize(("word", "limit"), [(b"FROM a", MAX_KEYS), (b"TEXT a", MAX_TEXT_KEYS)])
def test_h092_the_number_of_keys_is_bounded_at_the_limit_and_one_past_it(word: bytes, limit: int) -> None:
    key(b" ".join([word] * limit))
    with pytest.raises(No) as refusal:
        key(b" ".join([word] * (limit + 1)))
    assert refusal.value.code == "LIMIT"


def test_the_empty_text_is_in_every_message() -> None:
    assert key(b'TEXT ""') == key(b'BODY ""') == TRUE
