"""TEXT, BODY and HEADER over random MIME trees, here and in Dovecot: pieces of the very octets of header fields, MIME
header fields and texts, asked before and after the text index is filled. Seeded.

BODY finds more here (RFC 9051 6.4.4 lets it): names of attachments, and what the headers of messages inside say. How
much more is judged by Python's parser.
"""

from __future__ import annotations

import email
import random
import re
from collections.abc import Iterator
from email.header import decode_header, make_header
from email.utils import getaddresses
from pathlib import Path

import pytest

from tests.interop import trees
from tests.interop.grammar import string
from tests.interop.test_like_dovecot import Pair, Session, side_by_side

pytestmark = pytest.mark.interop

MESSAGES, QUERIES = 25, 70
SEEDS = (1, 2, 9)
PEOPLE = ("FROM", "TO", "CC", "BCC")
NAMES = ("Content-Type", "Subject", "From", "X-Odd", "Message-ID", "Content-Disposition", "MIME-Version", "X-None")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with side_by_side(tmp_path / "data", fold_accents=False, exact_collation=True) as both:
        yield both


def pattern(dice: random.Random, raw: bytes) -> str:
    """A piece of a line as it stands in the message, or a word."""
    line = dice.choice([each for each in raw.split(b"\r\n") if each and b"=?" not in each]).decode("utf-8")
    start = dice.randrange(len(line))
    return dice.choice(
        (line[start : start + dice.randint(1, 20)], line[: dice.randint(1, 20)], dice.choice(trees.WORDS))
    )


def queries(dice: random.Random, raw: list[bytes]) -> Iterator[tuple[str, str]]:
    """(key, pattern)."""
    for _ in range(QUERIES):
        key = dice.choice(("TEXT", "TEXT", "BODY", "HEADER", "HEADER", dice.choice((*PEOPLE, "SUBJECT"))))
        wanted = pattern(dice, dice.choice(raw))
        if key in PEOPLE:  # what stands between the words of an address is Dovecot's own there: it writes it anew
            wanted = re.sub(r"[^\w.@+'-].*", "", wanted.lstrip())
        if wanted:
            yield f"HEADER {dice.choice(NAMES)}" if key == "HEADER" else key, wanted


def found(session: Session, query: str) -> frozenset[int]:
    answer = session.ask(f"SEARCH CHARSET UTF-8 {query}")
    match = re.search(rb"\* SEARCH([ \d]*)", answer)
    assert match, (query, answer)
    return frozenset(map(int, match[1].split()))


def beyond(raw: bytes, wanted: str, key: str) -> bool:
    """Whether it may be found here and not in Dovecot: by BODY as said above, by the others in header fields, whose
    blanks count in TEXT as they were sent and as single ones, else as single ones, and there in a third way."""
    texts = list[str]()
    if key not in ("TEXT", "BODY"):
        wanted = re.sub(r"\s+", " ", wanted)
    for part in email.message_from_string(raw.decode("utf-8")).walk():
        inside = part.get_payload() if part.get_content_type() == "message/rfc822" else []
        if key == "BODY":
            texts += [str(part.get_filename() or ""), str(part.get_param("name") or "")]
            texts += [read(value) for message in inside for value in message.values()]  # type: ignore[union-attr]  # of such a part
        else:
            lines = [f"{name}: " + value.replace("\r\n", "").replace("\n", "") for name, value in part.items()]
            texts += [each for line in lines for each in (line, read(line))]
            texts += [address for _, address in getaddresses(part.get_all("From", []))]  # as the envelope tells them
    return any(wanted.lower() in text.lower() for text in texts)


def read(value: str) -> str:
    return " ".join(str(make_header(decode_header(value))).split())


@pytest.mark.parametrize("seed", SEEDS)
def test_texts_are_found_where_dovecot_finds_them(pair: Pair, seed: int) -> None:
    dice = random.Random(seed)
    raw = [trees.message(dice) for _ in range(MESSAGES)]
    for session in pair:
        for each in raw:
            assert b" OK " in session.send(b"APPEND INBOX {%d+}\r\n%b" % (len(each), each))
        session.ask("SELECT INBOX")
    asked = list(queries(dice, raw))
    wrong = []
    for filled in (False, True):
        if filled:
            assert pair[0].store is not None
            pair[0].run.run(pair[0].store.fill_text(None))
        for key, wanted in asked:
            ours, theirs = (found(session, f"{key} {string(random.Random(1), wanted)}") for session in pair)
            more = {each for each in ours - theirs if not beyond(raw[each - 1], wanted, key)}
            if more or theirs - ours:
                wrong.append((filled, key, wanted, "only ours", sorted(more), "only theirs", sorted(theirs - ours)))
    assert not wrong
