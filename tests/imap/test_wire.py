"""The small words of the wire: scanner, sequence sets, dates, modified UTF-7, strings out."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date

import pytest

from core import utf7
from imap.errors import BadSyntax, Code, ImapError, No
from imap.types import STAR, FlagSet, SequenceSet, clip, merge, ranges_of
from imap.wire import dates, encode, sequence
from imap.wire.scanner import Announced, Scanner
from store.types import Flag

# --- scanner -------------------------------------------------------------------------------------------------------


def whole(scanner: Scanner, reader: Callable[[Scanner], object]) -> None:
    reader(scanner)
    scanner.end()


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"abc", b"abc"),
        (b"a]b", b"a]b"),
        (b'"a b"', b"a b"),
        (b'"a\\"\\\\b"', b'a"\\b'),
        (b'""', b""),
        (b"{3}\r\na\r\n", b"a\r\n"),
        (b"{3+}\r\n\xe9\xe8\xe7", b"\xe9\xe8\xe7"),
        (b"{0}\r\n", b""),
    ],
)
def test_astrings(data: bytes, value: bytes) -> None:
    scanner = Scanner(data)
    assert scanner.astring() == value
    scanner.end()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" a",
        b"(",
        b"a*",
        b'"a',
        b'"a\\',
        b'"a\\"',
        b'"a\\n"',
        b'"a\rb"',
        b'"a\nb"',
        b'"a\0b"',
        b'"\xc3\xa9"',
        b"\xe9",
        *[
            b"{4}\r\nabc",
            b"{3}\r\na\0c",
            b"{3}abc",
            b"{-1}\r\n",
            b"{3\r\nabc",
            b"{}\r\n",
            b"{99999999999999999999}\r\n",
        ],
    ],
)
def test_h094_what_is_no_astring_is_bad(data: bytes) -> None:
    with pytest.raises(BadSyntax):
        whole(Scanner(data), Scanner.astring)


def test_utf8_in_quoted_strings_only_once_enabled() -> None:
    assert Scanner('"é"'.encode(), utf8=True).string() == "é".encode()
    with pytest.raises(BadSyntax):
        Scanner(b'"\xe9"', utf8=True).string()


@pytest.mark.parametrize("data", [b"1", b"1:3", b"*", b"3:*", b"*:1", b"1,2,9:4,*"])
def test_sequence_sets_are_read(data: bytes) -> None:
    scanner = Scanner(data)
    scanner.sequence_set()
    scanner.end()


@pytest.mark.parametrize(
    "data", [b"0", b"01", b"1:", b":1", b"1,", b",1", b"4294967296", b"1:0", b"a", b"1:2:3", b"**"]
)
def test_what_is_no_sequence_set_is_bad(data: bytes) -> None:
    with pytest.raises(BadSyntax):
        whole(Scanner(data), Scanner.sequence_set)


def test_flags_are_read_without_case_and_once() -> None:
    assert Scanner(b"(\\seen \\DELETED $Junk $JUNK \\Recent)").flags() == FlagSet(Flag.SEEN | Flag.DELETED, ("$Junk",))
    assert Scanner(b"\\Seen x").flags() == FlagSet(Flag.SEEN, ("x",))
    assert Scanner(b"()").flags() == FlagSet()


@pytest.mark.parametrize("data", [b"(\\Foo)", b"(\\*)", b"( \\Seen)", b"(\\Seen", b"(a(b))", b"(\\Seen  x)"])
def test_flags_that_are_bad(data: bytes) -> None:
    with pytest.raises(BadSyntax):
        Scanner(data).flag_list()


def test_mailbox_names() -> None:
    assert Scanner(b"inBox").mailbox() == "INBOX"
    assert Scanner(b"Envoy&AOk-s").mailbox() == "Envoyés"
    assert Scanner(b"e&AwE-").mailbox() == "é"  # NFC
    assert Scanner(b'"a b/c"').mailbox() == "a b/c"
    assert Scanner('"Envoyés"'.encode(), utf8=True).mailbox() == "Envoyés"
    assert Scanner(b"a&-b%*").list_mailbox() == "a&b%*"


@pytest.mark.parametrize(
    "data",
    [
        b"&AAA-",
        b"&ACY-",
        b"&",
        b"a&b",
        b"&AGE-",
        b"&2AA-",
        b"&3AA-",
        b"&AOkA-",
        b"&AOl-",
        b"&AOk",
        b"{2}\r\n\xc3\xa9",
        b'""',
    ],
)
def test_h096_names_that_are_no_canonical_spelling_are_refused_and_match_nothing(data: bytes) -> None:
    with pytest.raises(No) as refusal:
        Scanner(data).mailbox()
    assert refusal.value.code == Code.CANNOT
    if data != b'""':
        assert Scanner(data).list_mailbox() is None


def test_an_announced_literal_ends_the_head() -> None:
    assert Scanner(b"{10}").announced_literal() == Announced(10, sync=True)
    assert Scanner(b"{10+}").announced_literal() == Announced(10, sync=False)
    assert Scanner(b"~{10+}").announced_literal() == Announced(10, sync=False, binary=True)
    for data in (b"{10} ", b"{10}\r\nx", b"~~{10}", b"x"):
        with pytest.raises(BadSyntax):
            Scanner(data).announced_literal()


def test_seeded_garbage_raises_nothing_but_imap_errors() -> None:
    seed = random.Random(3501)
    alphabet = [
        b" ",
        b"(",
        b")",
        b'"',
        b"\\",
        b"{",
        b"}",
        b"1",
        b"3",
        b"\r\n",
        b"*",
        b":",
        b",",
        b"a",
        b"&",
        b"-",
        b"\0",
        b"\xe9",
    ]
    for _ in range(3000):
        data = b"".join(seed.choices(alphabet, k=seed.randrange(12)))
        scanner = Scanner(data, utf8=seed.random() < 0.5)
        readers: list[Callable[[], object]] = [
            scanner.tag,
            scanner.atom,
            scanner.astring,
            scanner.nstring,
            scanner.number,
            scanner.sequence_set,
            scanner.flags,
            scanner.mailbox,
            scanner.list_mailbox,
            scanner.date,
            scanner.date_time,
            scanner.announced_literal,
            scanner.end,
        ]
        for reader in seed.choices(readers, k=4):
            try:
                reader()
            except ImapError:
                break


# --- sequence sets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "largest", "ranges"),
    [
        (b"*", 5, ((5, 5),)),
        (b"*", 0, ()),
        (b"1:*", 5, ((1, 5),)),
        (b"9:*", 5, ((5, 9),)),  # RFC 9051 9: the range holds the largest number in use
        (b"*:1", 5, ((1, 5),)),
        (b"5,1:3,2:4", 9, ((1, 5),)),
        (b"7,1", 9, ((1, 1), (7, 7))),
        (b"1:4294967295", 5, ((1, 4294967295),)),
    ],
)
def test_sets_resolve_sorted_and_merged(text: bytes, largest: int, ranges: tuple[tuple[int, int], ...]) -> None:
    assert sequence.parse(text).resolve(largest) == ranges


def test_h099_ten_thousand_times_everything_is_everything_once() -> None:
    asked = sequence.parse(b",".join([b"1:*"] * 10_000))
    assert asked.resolve(7) == ((1, 7),)


def test_ranges_are_merged_clipped_and_written_shortest() -> None:
    assert ranges_of([1, 2, 3, 7]) == ((1, 3), (7, 7))
    assert merge([(5, 6), (0, 2), (3, 3)]) == ((1, 3), (5, 6))
    assert clip(((1, 3), (5, 9)), 6) == ((1, 3), (5, 6))
    assert sequence.encode_numbers([1, 2, 3, 7]) == b"1:3,7"
    assert sequence.parse(b"2,*").pairs == SequenceSet(((2, 2), (STAR, STAR))).pairs


# --- dates ---------------------------------------------------------------------------------------------------------


def test_dates() -> None:
    assert dates.parse_date(b"1-feb-2024") == date(2024, 2, 1)
    assert dates.parse_date_time(b"17-Jul-1996 02:44:25 -0700") == 837596665
    assert dates.parse_date_time(b" 1-Jan-1970 00:00:00 +0000") == 0
    assert dates.encode_date_time(837596665) == b'"17-Jul-1996 09:44:25 +0000"'
    assert dates.encode_date_time(0) == b'" 1-Jan-1970 00:00:00 +0000"'
    assert dates.encode_date_time(10**15) == b'"31-Dec-9999 00:00:00 +0000"'


@pytest.mark.parametrize("text", [b"30-Feb-2024", b"1-Jan-0000", b"1-Foo-2024", b"1-Jan-24", b"", b"1 Jan 2024"])
def test_dates_that_no_calendar_has(text: bytes) -> None:
    with pytest.raises(BadSyntax):
        dates.parse_date(text)


@pytest.mark.parametrize(
    "text",
    [
        b"01-Jan-0000 00:00:00 +0000",
        b"01-Jan-2024 24:00:00 +0000",
        b"01-Jan-2024 00:00:00 +9999",
        b"1-Jan-2024 00:00:00 +0000",
    ],
)
def test_h103_date_times_that_no_clock_has(text: bytes) -> None:
    with pytest.raises(BadSyntax):
        dates.parse_date_time(text)


# --- modified UTF-7 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("INBOX", b"INBOX"),
        ("a&b", b"a&-b"),
        ("Envoyés", b"Envoy&AOk-s"),
        ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),  # RFC 9051 A.1
        ("😀", b"&2D3eAA-"),
        ("&&", b"&-&-"),
    ],
)
def test_utf7_both_ways(name: str, wire: bytes) -> None:
    assert utf7.encode(name) == wire
    assert utf7.decode(wire) == name


def test_utf7_is_its_own_inverse_on_seeded_names() -> None:
    seed = random.Random(2152)
    alphabet = "ab& /~é台😀-,+"
    for _ in range(2000):
        name = "".join(seed.choices(alphabet, k=seed.randrange(1, 12)))
        assert utf7.decode(utf7.encode(name)) == name


def test_h096_whatever_decodes_has_one_spelling_only() -> None:
    seed = random.Random(96)
    for _ in range(5000):
        data = bytes(seed.choices(b"&-AOk,+/Gab2D3eAC", k=seed.randrange(1, 10)))
        try:
            name = utf7.decode(data)
        except utf7.Utf7Error:
            continue
        assert utf7.encode(name) == data


# --- strings out ---------------------------------------------------------------------------------------------------


def test_a_string_is_written_in_the_form_that_holds_it() -> None:
    assert encode.string(b'a"\\') == b'"a\\"\\\\"'
    assert encode.string(b"a\r\nb") == b"{4}\r\na\r\nb"
    assert encode.string(b"\xe9") == b"{1}\r\n\xe9"
    assert encode.string(b"a\0b") == b"{3}\r\na?b"
    assert encode.nstring(None) == b"NIL"
    assert encode.astring(b"NIL") == b'"NIL"'
    assert encode.astring(b"") == b'""'
    assert encode.mailbox("a b") == b'"a b"'
    assert encode.mailbox("Envoyés") == b"Envoy&AOk-s"
    assert encode.mailbox("Envoyés", utf8=True) == '"Envoyés"'.encode()


def test_every_string_out_reads_back() -> None:
    seed = random.Random(4)
    for _ in range(1000):
        data = bytes(seed.choices(b'ab "\\\r\n{}()%*\xe9', k=seed.randrange(12)))
        assert Scanner(encode.string(data)).string() == data
        assert Scanner(encode.astring(data)).astring() == data
