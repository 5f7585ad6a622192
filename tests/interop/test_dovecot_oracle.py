"""Dovecot reads the same messages; where our FETCH and SEARCH answer otherwise, the reason stands here.

Ours runs through the real parser, dispatch and commands over rows made by `message.facts`, without a socket.
"""

from __future__ import annotations

import asyncio
import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from imap.commands.fetch import FETCH
from imap.commands.search import SEARCH
from store.types import Flag
from tests.fakes.imap_session import Desk, desk
from tests.fakes.memory_mailbox import MemoryMailbox
from tests.interop.shapes import SHAPES
from tests.peers.dovecot import DovecotImap, dovecot_imap

pytestmark = pytest.mark.interop

Word = str | bytes | list["Word"]  # an atom in upper case, the octets of a string, a list

_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_LITERAL = re.compile(rb"~?\{(\d+)\}\r\n")
_ATOM = re.compile(rb"(?:BODY|BINARY(?:\.SIZE)?)\[[^\]]*\](?:<\d+>)?|[^ ()\r\n]+")
_SEARCH = re.compile(rb"\* SEARCH((?: \d+)*)")

SECTIONS = [
    "", "HEADER", "TEXT", "1", "1.MIME", "1.HEADER", "1.TEXT", "1.1", "1.1.MIME", "1.1.1", "2", "2.MIME", "2.HEADER",
    "2.TEXT", "2.1", "2.1.MIME", "2.2", "2.1.1", "2.1.HEADER", "3", "3.1", "HEADER.FIELDS (Subject From)",
    "HEADER.FIELDS (X-None)", "HEADER.FIELDS.NOT (Subject From)", "1.HEADER.FIELDS (Subject)",
    "2.HEADER.FIELDS (Subject)", "2.HEADER.FIELDS.NOT (Subject)",
]  # fmt: skip
ITEMS = ["RFC822.SIZE", "INTERNALDATE", "FLAGS", "ENVELOPE", "BODY", "BODYSTRUCTURE"]
ITEMS += [f"BODY.PEEK[{section}]" for section in SECTIONS]
ITEMS += ["BODY.PEEK[]<2.7>", "BODY.PEEK[TEXT]<1.4>", "BODY.PEEK[HEADER]<0.5>", "BODY.PEEK[]<99999.5>"]
ITEMS += ["RFC822.HEADER", "RFC822", "RFC822.TEXT"]

# shape > item > why we do not answer as Dovecot does
_CRLF = "RFC 2046 5.1.1: the CRLF before a delimiter belongs to the delimiter, also when a multipart ends there"
_TYPE = "a Content-Type without subtype is text/plain (RFC 2045 5.2); Dovecot tells an empty subtype"
_ORDER = "parameters joined from RFC 2231 pieces stand where their first piece stood"
DIFFERENT: dict[tuple[str, str], str] = {
    ("deep", "BODY.PEEK[1]"): _CRLF,
    ("deep", "BODY.PEEK[1.1]"): _CRLF,
    ("prefix", "BODY.PEEK[1]"): _CRLF,
    ("bad-type", "BODY"): _TYPE,
    ("bad-type", "BODYSTRUCTURE"): _TYPE,
    ("continued", "BODY"): _ORDER,
    ("continued", "BODYSTRUCTURE"): _ORDER,
}
# Dovecot answers 2.1 with part 2 where part 2 has no parts; RFC 9051 6.4.5.1 numbers no such part, so it is NIL here.
PART_OF_A_LEAF = re.compile(r"BODY\.PEEK\[(?:\d\.)+1(?:\.MIME)?\]")

QUERIES: list[str] = [
    "ALL", "SEEN", "UNSEEN", "KEYWORD $Junk", "UNKEYWORD $junk", "1:3,7", "UID 4:6,90:*", "NOT 1:20", "LARGER 200",
    "SMALLER 300", "BEFORE 15-Nov-2023", "ON 14-Nov-2023", "SINCE 16-Nov-2023", "SENTON 14-Nov-2023",
    "SENTSINCE 1-Jan-2020", "NOT SENTON 14-Nov-2023", "FROM jean", 'FROM "Jean Dupont"', 'FROM "jean@mairie"',
    'FROM "<jean"', "FROM a@b.test", "FROM c@d.test", "TO zoe", 'TO "zoe, m."', 'TO ""', "TO undisclosed", "CC routed",
    "BCC andre", "BCC {6+}\r\nAndré", "SUBJECT x", 'SUBJECT "one two"', 'SUBJECT "two three"', "SUBJECT second",
    "SUBJECT spaced", "SUBJECT {5+}\r\nÉté", 'SUBJECT ""', "HEADER X-Odd a", 'HEADER X-Odd ""', "HEADER Message-ID 1@x",
    'HEADER References ""', "HEADER Content-Type mixed", "HEADER Date bad", 'HEADER Y ""', 'BODY "inner plain"',
    "BODY inner", "BODY {5+}\r\ncafé", "BODY deep", "BODY AAAA", "BODY cid@x", "BODY pre", "BODY post", "BODY =C3",
    "TEXT inner", "TEXT mairie", 'TEXT "one two"', 'TEXT ""', "OR FROM jean SUBJECT alt", "NOT FROM a@b.test",
    "OR (SEEN LARGER 200) NOT (UNSEEN TEXT x)", "TEXT X-Odd", "TEXT subject", 'TEXT "subject: "', "TEXT boundary",
    "TEXT charset=", "TEXT content-disposition", "TEXT filename", "BODY content-type", "BODY filename",
]  # fmt: skip
# query > (what only Dovecot finds, what only we find, why)
FOUND_OTHERWISE: dict[str, tuple[set[str], set[str], str]] = {
    "SENTBEFORE 1-Jan-2024": (
        set(SHAPES) - {"plain"},
        set(),
        "a message without a usable Date was sent on no day; Dovecot takes it for 1970",
    ),
    "BODY d2": (set(), {"digest"}, "header values of messages inside are part of the body's text"),
    "BODY boundary": (set(), {"nested-message", "root-message"}, "likewise"),
    "BODY <p>": ({"alternative"}, set(), "HTML is searched as people read it, without its markup"),
    'BODY "a b.pdf"': (set(), {"attachment"}, "names of attachments are found"),
}


def words(data: bytes, position: int) -> tuple[list[Word], int]:
    """The words from `position` up to the end of a line or list, and where the next begins."""
    found: list[Word] = []
    while not data.startswith(b"\r\n", position):
        octet = data[position : position + 1]
        if octet == b" ":
            position += 1
        elif octet == b"(":
            inner, position = words(data, position + 1)
            found.append(inner)
        elif octet == b")":
            return found, position + 1
        else:
            word, position = _word(data, position)
            found.append(word)
    return found, position + 2


def _word(data: bytes, position: int) -> tuple[Word, int]:
    if match := _QUOTED.match(data, position):
        return re.sub(rb"\\(.)", rb"\1", match[1]), match.end()
    if match := _LITERAL.match(data, position):
        end = match.end() + int(match[1])
        return data[match.end() : end], end
    match = _ATOM.match(data, position)
    assert match, data[position : position + 80]
    return match[0].upper().decode("ascii"), match.end()


def fetched(answer: bytes) -> dict[str, Word]:
    """Item > value of the first FETCH response."""
    position = 0
    while position < len(answer):
        line, position = words(answer, position)
        if len(line) == 4 and line[2] == "FETCH":
            pairs = line[3]
            assert isinstance(pairs, list)
            return {str(name): value for name, value in zip(pairs[::2], pairs[1::2], strict=True)}
    raise AssertionError(answer)


def comparable(value: Word, key: str = "") -> Word:
    """What the RFC lets differ is made equal: case of tokens in structures, NIL and "" for text that is not there."""
    if key.startswith(("BODY[", "RFC822", "BINARY")):
        return b"" if value == "NIL" else value
    if key == "FLAGS" and isinstance(value, list):
        return sorted((word for word in value if word != "\\RECENT"), key=str)  # the memory mailbox has none
    if isinstance(value, list):
        return [comparable(each, key) for each in value]
    return value.lower() if key.startswith("BODY") and isinstance(value, bytes) else value


@dataclass
class Pair:
    dovecot: DovecotImap
    ours: Desk
    run: asyncio.Runner

    def both(self, command: bytes) -> tuple[bytes, bytes]:
        return self.dovecot.ask(command), self.run.run(self.ours.ask(b"a " + command))

    def found(self, query: str) -> tuple[set[str], set[str]]:
        """Names of the shapes each finds."""
        answers = self.both(b"SEARCH CHARSET UTF-8 " + query.encode())
        theirs, ours = (_names(answer) for answer in answers)
        return theirs, ours


def _names(answer: bytes) -> set[str]:
    match = _SEARCH.search(answer)
    assert match, answer
    names = list(SHAPES)
    return {names[int(number) - 1] for number in match[1].split()}


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    mailbox = MemoryMailbox()
    with dovecot_imap() as dovecot, asyncio.Runner() as run:
        for number, raw in enumerate(SHAPES.values(), 1):
            flags = Flag.SEEN if number % 2 else Flag(0)
            keywords = ["$Junk"] if number % 3 == 0 else []
            day, hour = 14 + number % 3, number % 24
            mailbox.put(raw, flags, *keywords, internal_date=calendar.timegm((2023, 11, day, hour, 13, 20)))
            listed = " ".join((["\\Seen"] if flags else []) + keywords)
            command = f'APPEND INBOX ({listed}) "{day}-Nov-2023 {hour:02}:13:20 +0000" {{{len(raw)}+}}\r\n'
            assert b" OK " in dovecot.ask(command.encode() + raw)
        dovecot.ask(b"SELECT INBOX")
        yield Pair(dovecot, run.run(desk(mailbox, {"FETCH": FETCH, "SEARCH": SEARCH})), run)


def differs(pair: Pair, number: int, item: str) -> tuple[object, object] | None:
    theirs, ours = pair.both(b"FETCH %d (%b)" % (number, item.encode()))
    one, two = (
        {key: comparable(value, key) for key, value in fetched(answer).items() if key != "FLAGS" or item == "FLAGS"}
        for answer in (theirs, ours)
    )
    return None if one == two else (one, two)


@pytest.mark.parametrize("name", SHAPES)
def test_fetch_answers_as_dovecot_does(pair: Pair, name: str) -> None:
    number = list(SHAPES).index(name) + 1
    found = {item: pairs for item in ITEMS if (pairs := differs(pair, number, item))}
    for item in [item for item in found if PART_OF_A_LEAF.fullmatch(item) and (name, item) not in DIFFERENT]:
        _, ours = found.pop(item)
        assert list(ours.values()) == [b""], item  # type: ignore[attr-defined]  # a dictionary
    explained = {item for shape, item in DIFFERENT if shape == name}
    assert set(found) == explained, {item: pairs for item, pairs in found.items() if item not in explained}


@pytest.mark.parametrize("query", QUERIES)
def test_search_finds_what_dovecot_finds(pair: Pair, query: str) -> None:
    theirs, ours = pair.found(query)
    assert ours == theirs


@pytest.mark.parametrize("query", FOUND_OTHERWISE)
def test_search_differs_where_it_means_to_and_nowhere_else(pair: Pair, query: str) -> None:
    theirs, ours = pair.found(query)
    assert (theirs - ours, ours - theirs) == FOUND_OTHERWISE[query][:2], FOUND_OTHERWISE[query][2]
