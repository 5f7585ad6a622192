"""What is noted of a mailbox, who may use it, what STATUS tells and what a client hears that comes back: METADATA, ACL,
STATUS and SELECT with QRESYNC at random, here and in Dovecot. Seeded.

Not asked, because the two differ on purpose: rights of the owner, which nobody can take here; server annotations below
/shared, which are the administrators'. Not compared: mod-sequences, of which only the order means something.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.test_like_dovecot import Pair, Session, comparable, side_by_side

pytestmark = pytest.mark.interop

STEPS = 250
SEEDS = (1, 2, 3)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with side_by_side(tmp_path / "data", shared=True) as both:
        yield both


# --- METADATA --------------------------------------------------------------------------------------------------------

BOXES = ("INBOX", "a", '""', "Absent")
ENTRIES = (
    "/private/comment", "/private/vendor/x", "/private/vendor/x/y", "/private/vendor/x/y/z", "/PRIVATE/Vendor/X",
    "/private/vendor/other",
)  # fmt: skip
WRONG = ("comment", "/other/x", "/private//x", "/private/x/", '"/private/x*"', '"/private/x%"', '""')
VALUES = ("NIL", '""', '"one"', '"a \\"quoted\\" \\\\ value"', "{5+}\r\nlines", "{4+}\r\na\r\nb", f'"{"long " * 50}"')
PLAIN = VALUES[:4]  # Dovecot loses its step over a literal behind what it refuses
OPTIONS = (
    "",
    "",
    "(DEPTH 0) ",
    "(DEPTH 1) ",
    "(DEPTH infinity) ",
    "(MAXSIZE 4) ",
    "(MAXSIZE 0 DEPTH 1) ",
    "(DEPTH 2) ",
)


def notes(dice: random.Random) -> str:
    box = dice.choice(BOXES)
    if box != "Absent" and dice.random() < 0.4:
        named = _entries(dice, 2)
        values = PLAIN if named[0] in WRONG else VALUES
        pairs = [f"{each} {dice.choice(values)}" for each in named]
        return f"SETMETADATA {box} ({' '.join(pairs)})"
    named = _entries(dice, 3)
    asked = named[0] if len(named) == 1 and dice.random() < 0.5 else f"({' '.join(named)})"
    return f"GETMETADATA {dice.choice(OPTIONS)}{box} {asked}"


def _entries(dice: random.Random, most: int) -> list[str]:
    if dice.random() < 0.1:
        return [dice.choice(WRONG)]
    chosen = dice.sample(ENTRIES, dice.randint(1, most))
    return list({each.lower(): each for each in chosen}.values())  # each once, whatever its letters


def told_metadata(answer: bytes) -> object:
    """(status, LONGENTRIES, entries and values), however a value is written; Dovecot tells some entries twice."""
    end = re.search(rb"(?:^|\n)q?a?\d* ?(OK|NO|BAD)( \[METADATA LONGENTRIES \d+\])?[^\n]*\r\n\Z", answer)
    assert end, answer
    return end[1], end[2], frozenset(_values(answer[: end.start()]))


_PAIR = re.compile(rb'[ (]"?(/[^ "]+)"? (?:(NIL)|"((?:[^"\\]|\\.)*)"|\{(\d+)\}\r\n)')


def _values(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while match := _PAIR.search(text, at):
        at = match.end()
        if match[4]:
            value, at = text[at : at + int(match[4])], at + int(match[4])
        else:
            value = b"-" if match[2] else re.sub(rb"\\(.)", rb"\1", match[3])
        yield match[1].lower(), value


# --- ACL -------------------------------------------------------------------------------------------------------------

WHO = ("bob", "lea", "-bob", "anyone", "-anyone")
LETTERS = "lrswipkxteacd"


def rights(dice: random.Random) -> str:
    box, who = dice.choice(("INBOX", "a")), dice.choice(WHO)
    kind = dice.randrange(10)
    if kind < 4:
        letters = "".join(dice.sample(LETTERS, dice.randint(0, 5))) or '""'
        sign = dice.choice(("", "+", "-")) if letters != '""' else ""
        return f"SETACL {box} {who} {sign}{letters}"
    if kind == 4:
        return f"DELETEACL {box} {who}"
    if kind == 5:
        return f"SETACL {box} {who} {dice.choice(('lrz', 'LRS', 'q', '-Q'))}"
    return dice.choice((f"GETACL {box}", f"GETACL {box}", f"MYRIGHTS {box}", f"LISTRIGHTS {box} {who.strip('-')}"))


def told_rights(answer: bytes) -> object:
    """Who may what, without the owner, whose name is another on each side, and without who may nothing."""
    lines = answer.replace(b"@mairie.test", b"").split(b"\r\n")[:-1]
    return re.findall(rb" (OK|NO|BAD) ", lines[-1]), [_rights(line) for line in lines[:-1]]


def _rights(line: bytes) -> object:
    words = line.replace(b'""', b"-").split()
    if words[1] == b"ACL":
        entries = {who: frozenset(given) - frozenset(b"-") for who, given in zip(words[3::2], words[4::2], strict=True)}
        return {who: given for who, given in entries.items() if who not in (b"alice", b"nobody") and given}
    if words[1] == b"LISTRIGHTS":
        return words[:5], frozenset(words[5:])
    return words[:3], frozenset(words[3])


# --- STATUS, and coming back -----------------------------------------------------------------------------------------

STATUS = ("MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "HIGHESTMODSEQ")
MOST = 40
SEEN = "\\Seen"
MAIL = "Subject: x\r\n\r\ntext\r\n"


def returning(dice: random.Random) -> Iterator[str]:
    """Changes, marks between them, and SELECT and EXAMINE from any of the marks."""
    marks = 1
    for _ in range(STEPS // 2):
        kind = dice.randrange(8)
        if kind == 0:
            yield f"APPEND INBOX ({dice.choice(('', SEEN))}) {{{len(MAIL)}+}}\r\n{MAIL}"
        elif kind == 1:
            yield f"UID STORE {_uids(dice)} +FLAGS.SILENT (\\Deleted)"
            yield dice.choice(("EXPUNGE", f"UID EXPUNGE {_uids(dice)}"))
        elif kind in (2, 3):
            yield f"UID STORE {_uids(dice)} {dice.choice('+-')}FLAGS.SILENT ({dice.choice(('$A', 'b', SEEN))})"
        elif kind == 4:
            items = dice.sample(STATUS, dice.randint(1, 5))
            yield f"STATUS {dice.choice(('INBOX', 'a', 'Absent'))} ({' '.join(items)})"
        else:
            yield dice.choice(("UNSELECT", "CLOSE"))
            yield f"{dice.choice(('SELECT', 'EXAMINE'))} INBOX{_known(dice, marks)}"
            yield "SELECT INBOX"
            yield "mark"
            marks += 1


def _uids(dice: random.Random) -> str:
    low = dice.randint(1, MOST)
    return dice.choice((f"{low}", f"{low}:{low + dice.randint(0, 6)}", f"{low}:*"))


def _known(dice: random.Random, marks: int) -> str:
    """QRESYNC with the right UIDVALIDITY or another one, with known UIDs, with match data. A pair of it is true only
    where nothing below was removed: else Dovecot tells removals that the client knows of (RFC 7162 3.2.5.2), as long as
    it remembers them; here they are left out, as in the example there."""
    if dice.random() < 0.15:
        return dice.choice(("", " (CONDSTORE)"))
    validity = "{validity}" if dice.random() < 0.9 else "17"
    known = f" {dice.randint(1, 20)}:{dice.randint(21, 60)}" if dice.random() < 0.5 else ""
    match = ""
    if known and dice.random() < 0.5:
        numbers = sorted(dice.sample(range(2, MOST), 3))
        uids = [number - 1 for number in numbers] if dice.random() < 0.5 else numbers
        match = f" ({','.join(map(str, numbers))} {','.join(map(str, uids))})"
    return f" (QRESYNC ({validity} {{mark{dice.randrange(marks)}}}{known}{match}))"


def told_back(answer: bytes) -> object:
    untagged, tagged = comparable(answer)
    status = re.search(rb"STATUS \S+ \(([^)]*)\)", answer)
    items = dict(zip(*[iter(status[1].split())] * 2, strict=True)) if status else {}
    items = {name: value for name, value in items.items() if name not in (b"HIGHESTMODSEQ", b"UIDVALIDITY")}
    told = re.findall(rb"\* OK \[(UNSEEN \d+|UIDNEXT \d+|CLOSED)|\* (\d+ RECENT)", answer)
    return untagged, tagged, items, told


# --- both ------------------------------------------------------------------------------------------------------------


def walk(
    pair: Pair, commands: Iterator[str], told: Callable[[bytes], object], ours: Callable[[str], str] = str
) -> list[str]:
    """The commands whose answers differ, with both of them."""
    found = []
    for command in commands:
        if command == "mark":
            for session in pair:
                session.mark()
            continue
        mine, theirs = pair[0].ask(ours(command)), pair[1].ask(command)
        if told(mine) != told(theirs):
            found.append(f"{command}\n  ours   {mine!r}\n  theirs {theirs!r}")
    return found


def both(pair: Pair, *commands: str) -> None:
    for session in pair:
        for command in commands:
            assert b" OK " in session.ask(command)


@pytest.mark.parametrize("seed", SEEDS)
def test_annotations_are_kept_and_told_as_dovecot_does(pair: Pair, seed: int) -> None:
    dice = random.Random(seed)
    both(pair, "CREATE a")
    assert not walk(pair, (notes(dice) for _ in range(STEPS)), told_metadata)


@pytest.mark.parametrize("seed", SEEDS)
def test_rights_are_given_and_told_as_dovecot_does(pair: Pair, seed: int) -> None:
    dice = random.Random(seed)
    both(pair, "CREATE a")

    def ours(command: str) -> str:
        return re.sub(r" (-?)(bob|lea)\b", r" \1\2@mairie.test", command)

    assert not walk(pair, (rights(dice) for _ in range(STEPS)), told_rights, ours)


def fill(session: Session) -> None:
    for number in range(MOST // 2):
        session.ask(f"APPEND INBOX ({SEEN if number % 3 else ''}) {{{len(MAIL)}+}}\r\n{MAIL}")
    session.follow()


@pytest.mark.parametrize("seed", SEEDS)
def test_who_comes_back_hears_what_dovecot_tells_him(pair: Pair, seed: int) -> None:
    both(pair, "CREATE a")
    for session in pair:
        fill(session)
    assert not walk(pair, returning(random.Random(seed)), told_back)
