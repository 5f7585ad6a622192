"""Whatever can be asked about a mailbox, asked here and of Dovecot: SEARCH with every key and nesting, RETURN with SAVE
and "$", PARTIAL, SORT by every key, THREAD by both algorithms. Seeded (`grammar`); what differs is said below.

Accents count on our side, too (`search.fold_accents = false`): Dovecot knows no other way.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop import grammar
from tests.interop.test_like_dovecot import Pair, Session, comparable, side_by_side

pytestmark = pytest.mark.interop

MOST = 60  # messages
STEPS = 150
SEEDS = (1, 2, 3)

# Why an answer may be another one.
SAVE_ALONE = "RFC 5182 2.1: with SAVE alone no ESEARCH is sent; Dovecot sends one when MODSEQ is among the keys"
AT_FIRST = (
    "Dovecot 2.3 takes equal addresses and subjects for different the first time it sorts by them; it is asked twice"
)


def commands(dice: random.Random, steps: int = STEPS) -> Iterator[str]:
    """Numbers 0 to 9 choose the kind, so that a seed keeps its meaning when a key is added."""
    for _ in range(steps):
        uid, kind = dice.choice(("", "UID ")), dice.randrange(10)
        if kind < 4:
            yield f"{uid}SEARCH CHARSET UTF-8 {grammar.keys(dice, MOST)}"
        elif kind < 6:
            yield f"{uid}SEARCH {grammar.returns(dice)}CHARSET UTF-8 {grammar.keys(dice, MOST)}"
        elif kind == 6:
            yield f"{uid}SEARCH {grammar.returns(dice, save=True)}CHARSET UTF-8 {grammar.keys(dice, MOST)}"
            yield f"{dice.choice(('', 'UID '))}SEARCH CHARSET UTF-8 $"
            yield f"{dice.choice(('', 'UID '))}SEARCH CHARSET UTF-8 {grammar.keys(dice, MOST, saved=True)}"
            yield f"{dice.choice(('', 'UID '))}FETCH $ (FLAGS)"
        elif kind == 7:
            yield f"{uid}SORT ({grammar.criteria(dice)}) UTF-8 {grammar.keys(dice, MOST)}"
        elif kind == 8:
            yield f"{uid}SORT {grammar.returns(dice)}({grammar.criteria(dice)}) UTF-8 {grammar.keys(dice, MOST)}"
        else:
            algorithm = dice.choice(("REFERENCES", "ORDEREDSUBJECT"))
            yield f"{uid}THREAD {algorithm} UTF-8 {grammar.keys(dice, MOST)}"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with side_by_side(tmp_path / "data", fold_accents=False, exact_collation=True) as both:
        yield both


def fill(session: Session, dice: random.Random) -> None:
    """Half of the messages change once more, so that MODSEQ can tell them from the rest."""
    for number in range(1, MOST + 1):
        raw = grammar.letter(number, dice, MOST)
        listed = " ".join(dice.sample(grammar.FLAGS, dice.randint(0, 2)))
        date = f"{dice.randint(1, 28):02}-{dice.choice(grammar.MONTHS)}-{dice.choice((2023, 2024, 2025))}"
        command = f'APPEND INBOX ({listed}) "{date} 10:{number % 60:02}:{number // 60:02} +0000" {{{len(raw)}+}}\r\n'
        assert b" OK " in session.send(command.encode() + raw)
    session.ask("ENABLE CONDSTORE")
    session.ask("SELECT INBOX")
    session.mark()
    session.ask(f"STORE {MOST // 2}:{MOST} +FLAGS.SILENT (Touched)")


def different(ours: Session, theirs: Session, command: str) -> bool:
    mine, other = comparable(ours.ask(command)), comparable(theirs.ask(command))
    if mine != other and ("SORT" in command or "THREAD" in command):
        other = comparable(theirs.ask(command))  # AT_FIRST
    if "RETURN (SAVE)" in command and "MODSEQ" in command.upper():
        return mine != ([], other[1])  # SAVE_ALONE
    return mine != other


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_asked_is_answered_as_dovecot_answers_it(pair: Pair, seed: int) -> None:
    for session in pair:
        fill(session, random.Random(seed))
    asked = [command for command in commands(random.Random(seed)) if grammar.sound(command)]
    assert len(asked) > STEPS
    wrong = [command for command in asked if different(*pair, command)]
    assert not wrong, "\n".join(re.sub(r"\s+", " ", command) for command in wrong)
