"""SEARCH over a mailbox in memory, against a naive evaluator on the standard library's `email`."""

from __future__ import annotations

import email
import email.header
import email.utils
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import cast

import pytest

from imap.commands.search import SEARCH, UID_SEARCH
from imap.types import Feature
from store.types import Flag, Message
from tests.fakes.imap_session import Desk, desk
from tests.fakes.memory_mailbox import MemoryMailbox

TABLE = {command.name: command for command in (SEARCH, UID_SEARCH)}

FLAGS = [Flag.SEEN, Flag.ANSWERED, Flag.FLAGGED, Flag.DELETED, Flag.DRAFT]
SUBJECTS = ["Conseil municipal", "=?utf-8?q?D=C3=A9lib=C3=A9ration?=", "RE: budget 2026", "", "Eau et assainissement"]
PEOPLE = ["Jean Dupont <jean@mairie.test>", '"Zoé, M." <zoe@ville.test>', "=?iso-8859-1?Q?Andr=E9?= <a@b.test>"]
BODIES = ["Bonjour,\r\nle budget est vote.\r\n", "Rien a dire\r\n", "Voir BUDGET joint et eau potable\r\n"]


@dataclass(frozen=True)
class Item:
    """What the naive evaluator looks at."""

    uid: int
    number: int
    row: Message
    raw: bytes

    def field(self, name: str) -> list[str]:
        found = email.message_from_bytes(self.raw).get_all(name) or []
        return [str(email.header.make_header(email.header.decode_header(value))).lower() for value in found]

    @property
    def sent(self) -> date | None:
        value = email.message_from_bytes(self.raw)["Date"]
        return email.utils.parsedate_to_datetime(value).date() if value else None

    @property
    def internal(self) -> date:
        return datetime.fromtimestamp(self.row.internal_date, UTC).date()


Test = Callable[[Item], bool]


def header(name: str, wanted: str) -> Test:
    return lambda item: any(wanted.lower() in text for text in item.field(name))


def sent(test: Callable[[date], bool]) -> Test:
    return lambda item: item.sent is not None and test(item.sent)


def body(item: Item) -> str:
    return item.raw.split(b"\r\n\r\n", 1)[1].decode().lower()


DAY = date(2024, 3, 10)

LEAVES: list[tuple[bytes, Test]] = [
    (b"ALL", lambda item: True),
    (b"NEW", lambda item: False),
    (b"OLD", lambda item: True),
    (b"RECENT", lambda item: False),
    (b"SEEN", lambda item: Flag.SEEN in item.row.flags),
    (b"UNSEEN", lambda item: Flag.SEEN not in item.row.flags),
    (b"ANSWERED", lambda item: Flag.ANSWERED in item.row.flags),
    (b"UNANSWERED", lambda item: Flag.ANSWERED not in item.row.flags),
    (b"FLAGGED", lambda item: Flag.FLAGGED in item.row.flags),
    (b"UNFLAGGED", lambda item: Flag.FLAGGED not in item.row.flags),
    (b"DELETED", lambda item: Flag.DELETED in item.row.flags),
    (b"UNDELETED", lambda item: Flag.DELETED not in item.row.flags),
    (b"DRAFT", lambda item: Flag.DRAFT in item.row.flags),
    (b"UNDRAFT", lambda item: Flag.DRAFT not in item.row.flags),
    (b"KEYWORD $JUNK", lambda item: "$Junk" in item.row.keywords),
    (b"UNKEYWORD $junk", lambda item: "$Junk" not in item.row.keywords),
    (b"KEYWORD never", lambda item: False),
    (b"LARGER 200", lambda item: len(item.raw) > 200),
    (b"SMALLER 200", lambda item: len(item.raw) < 200),
    (b"BEFORE 10-Mar-2024", lambda item: item.internal < DAY),
    (b"ON 10-Mar-2024", lambda item: item.internal == DAY),
    (b"SINCE 10-Mar-2024", lambda item: item.internal >= DAY),
    (b"SENTBEFORE 10-Mar-2024", sent(lambda day: day < DAY)),
    (b"SENTON 10-Mar-2024", sent(lambda day: day == DAY)),
    (b"SENTSINCE 10-Mar-2024", sent(lambda day: day >= DAY)),
    (b"3:7,2,20:*", lambda item: 2 <= item.number <= 7 or item.number >= 20),
    (b"UID 10:30,500:*", lambda item: 10 <= item.uid <= 30 or item.number == 24),
    (b"FROM DUPONT", header("from", "dupont")),
    (b'FROM "zoe@"', header("from", "zoe@")),
    (b"FROM {6+}\r\nAndr\xc3\xa9", header("from", "andré")),
    (b"TO jean", header("to", "jean")),
    (b"CC jean", header("cc", "jean")),
    (b"BCC jean", header("bcc", "jean")),
    (b"SUBJECT {6+}\r\nD\xc3\x89lib", header("subject", "délib")),
    (b"SUBJECT BUDGET", header("subject", "budget")),
    (b'SUBJECT ""', header("subject", "")),
    (b'HEADER cc ""', header("cc", "")),
    (b'HEADER X-Commune ""', header("x-commune", "")),
    (b"HEADER X-Commune nantes", header("x-commune", "nantes")),
    (b"BODY budget", lambda item: "budget" in body(item)),
    (b"TEXT budget", lambda item: "budget" in body(item) or "budget" in "\n".join(item.field("subject"))),
    (b"TEXT nantes", lambda item: "nantes" in "\n".join(item.field("x-commune"))),
]


def message(dice: random.Random, number: int) -> bytes:
    lines = [f"From: {dice.choice(PEOPLE)}", f"To: {dice.choice(PEOPLE)}", f"Message-ID: <{number}@x.test>"]
    if dice.random() < 0.9:
        # Late in the evening and far from Greenwich: the sender's day is often not the day in UTC.
        zone = dice.choice(["+0000", "+0200", "-1000", "+1300"])
        moment = datetime(2024, 3, 10, dice.randrange(24), 30) + timedelta(days=dice.choice([-30, -1, 0, 0, 1, 30]))
        lines.append(f"Date: {moment:%d %b %Y %H:%M:%S} {zone}")
    if dice.random() < 0.8:
        lines.append(f"Subject: {dice.choice(SUBJECTS)}")
    if dice.random() < 0.3:
        lines.append(f"Cc: {dice.choice(PEOPLE)},\r\n {dice.choice(PEOPLE)}")
    if dice.random() < 0.3:
        lines.append(f"X-Commune: {dice.choice(['Nantes', 'Rezé'.encode().decode('latin-1'), 'Nantes Sud'])}")
    return ("\r\n".join(lines) + "\r\n\r\n" + dice.choice(BODIES)).encode("utf-8")


def mailbox() -> MemoryMailbox:
    dice = random.Random(3501)
    box = MemoryMailbox(batch=5)
    for number in range(1, 25):
        flags = Flag(0)
        for flag in FLAGS:
            flags |= flag if dice.random() < 0.4 else Flag(0)
        at = datetime(2024, 3, 10, dice.randrange(24), tzinfo=UTC) + timedelta(days=dice.choice([-9, -1, 0, 1, 9]))
        keywords = ["$Junk"] if dice.random() < 0.4 else []
        box.put(message(dice, number), flags, *keywords, uid=number * 3, internal_date=int(at.timestamp()))
    return box


def items(box: MemoryMailbox) -> list[Item]:
    return [Item(uid, at, box.messages[uid], box.raw[uid]) for at, uid in enumerate(sorted(box.messages), 1)]


def numbers(answer: bytes) -> list[int]:
    match = re.search(rb"^\* SEARCH((?: \d+)*)\r\n", answer, re.MULTILINE)
    assert match, answer
    return [int(number) for number in match[1].split()]


@pytest.fixture
async def at() -> Desk:
    return await desk(mailbox(), TABLE)


@pytest.fixture(scope="module")
def all_items() -> list[Item]:
    return items(mailbox())


@pytest.mark.parametrize(("written", "test"), LEAVES, ids=lambda value: value[:24] if isinstance(value, bytes) else "")
async def test_each_key_finds_what_a_naive_reader_finds(
    at: Desk, all_items: list[Item], written: bytes, test: Test
) -> None:
    wanted = [item for item in all_items if test(item)]
    assert numbers(await at.ask(b"1 SEARCH " + written)) == [item.number for item in wanted]
    assert numbers(await at.ask(b"1 UID SEARCH " + written)) == [item.uid for item in wanted]


def test_the_mailbox_tells_every_key_from_all_and_from_nothing(all_items: list[Item]) -> None:
    trivial = {b"ALL", b"OLD", b"NEW", b"RECENT", b"KEYWORD never", b"BCC jean"}
    for written, test in LEAVES:
        if written not in trivial:
            assert 0 < sum(test(item) for item in all_items) < len(all_items), written


async def test_random_trees_find_what_a_naive_reader_finds(at: Desk, all_items: list[Item]) -> None:
    dice = random.Random(9051)

    def tree(depth: int) -> tuple[bytes, Test]:
        shape = dice.randrange(5) if depth else 0
        if shape == 1:
            text, test = tree(depth - 1)
            return b"NOT " + text, lambda item: not test(item)
        if shape in (2, 3):
            (left, one), (right, two) = tree(depth - 1), tree(depth - 1)
            return b"OR %b %b" % (left, right), lambda item: one(item) or two(item)
        if shape == 4:
            (left, one), (right, two) = tree(depth - 1), tree(depth - 1)
            return b"(%b %b)" % (left, right), lambda item: one(item) and two(item)
        return dice.choice(LEAVES)

    for _ in range(150):
        written, test = tree(4)
        found = numbers(await at.ask(b"1 UID SEARCH " + written))
        assert found == [item.uid for item in all_items if test(item)], written


# --- what is asked of the store --------------------------------------------------------------------------------------

TextAsked = tuple[tuple[tuple[int, int], ...], str, bool]  # ranges, pattern, body only


async def asked(command: bytes) -> list[tuple[str, object]]:
    box = mailbox()
    at = await desk(box, TABLE)
    await at.ask(b"1 UID SEARCH " + command)
    return box.asked


async def test_sets_alone_read_no_row() -> None:
    assert await asked(b"ALL") == []
    assert await asked(b"UID 1:* NOT 1:3 OR 4 5") == []


async def test_cheap_evidence_narrows_what_dear_evidence_looks_at() -> None:
    calls = await asked(b"1:5 BODY budget SEEN HEADER X-Commune nantes SUBJECT budget")
    kinds = [name for name, _ in calls]
    assert kinds == sorted(kinds, key=["rows", "open", "search_text"].index), "files and text come last"
    opened = [uid for name, uid in calls if name == "open"]
    assert len(opened) <= 5


async def test_text_is_asked_about_the_messages_that_are_still_open_only() -> None:
    box = mailbox()
    at = await desk(box, TABLE)
    await at.ask(b"1 UID SEARCH OR SEEN TEXT budget")
    ((ranges, pattern, body_only),) = [cast(TextAsked, what) for name, what in box.asked if name == "search_text"]
    assert ranges
    assert (pattern, body_only) == ("budget", False)
    for uid, row in box.messages.items():
        assert any(low <= uid <= high for low, high in ranges) is (Flag.SEEN not in row.flags)


# --- answers ---------------------------------------------------------------------------------------------------------


async def test_nothing_found_is_said_too(at: Desk) -> None:
    assert await at.ask(b"1 SEARCH DELETED UNDELETED") == b"* SEARCH\r\n1 OK SEARCH completed\r\n"


async def test_modseq_is_told_when_it_was_asked_for_and_something_was_found(at: Desk) -> None:
    at.session.features |= Feature.CONDSTORE
    assert await at.ask(b"1 SEARCH MODSEQ 24") == b"* SEARCH 23 24 (MODSEQ 25)\r\n1 OK SEARCH completed\r\n"
    assert await at.ask(b"1 SEARCH MODSEQ 99") == b"* SEARCH\r\n1 OK SEARCH completed\r\n"


async def test_badcharset_names_what_is_supported(at: Desk) -> None:
    answer = await at.ask(b"1 SEARCH CHARSET KLINGON ALL")
    assert answer == b"1 NO [BADCHARSET (US-ASCII UTF-8)] charset is not supported\r\n"


async def test_sequence_numbers_past_the_end_match_nothing_and_are_no_error(at: Desk) -> None:
    assert numbers(await at.ask(b"1 SEARCH 900")) == []
    assert numbers(await at.ask(b"1 SEARCH 900:*")) == [24]
    empty = await desk(MemoryMailbox(), TABLE)
    assert numbers(await empty.ask(b"1 SEARCH 1:* UNSEEN")) == []


async def test_messages_expunged_by_others_keep_their_numbers_until_the_client_is_told() -> None:
    box = mailbox()
    at = await desk(box, TABLE)
    await at.session.selected.numbered()
    box.lose(6)
    answer = await at.ask(b"1 SEARCH LARGER 1")
    assert numbers(answer) == [1, *range(3, 25)]
    assert b"EXPUNGE" not in answer, "withheld during SEARCH (RFC 9051 7.5.1)"
    assert b"* 2 EXPUNGE" in await at.ask(b"1 UID SEARCH LARGER 1")


async def test_messages_that_arrived_since_the_client_was_told_are_not_found() -> None:
    box = mailbox()
    at = await desk(box, TABLE)
    box.put(b"Subject: late\r\n\r\nx\r\n")
    answer = await at.ask(b"1 SEARCH ALL")
    assert numbers(answer) == list(range(1, 25))
    assert answer.index(b"* SEARCH") < answer.index(b"* 25 EXISTS")
    assert numbers(await at.ask(b"1 SEARCH SUBJECT late")) == [25]


async def test_a_header_longer_than_one_read_is_searched_to_its_end() -> None:
    box = MemoryMailbox()
    box.put(b"X-Pad: %b\r\n" % (b"p" * 500) * 60 + b"X-Last: needle\r\n\r\nX-Last: hay\r\n")
    at = await desk(box, TABLE)
    assert numbers(await at.ask(b"1 SEARCH HEADER X-Last needle")) == [1]
    assert numbers(await at.ask(b"1 SEARCH HEADER X-Last hay")) == []
    assert all(file.closed for file in box.files)
