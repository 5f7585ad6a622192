"""The checker itself: it says nothing of what is right, and something of everything else."""

from __future__ import annotations

import pytest

from tests.scenarios.ledger import Found, Sent, settle

BOX, FAR, REPORT = "imap:a@here.test", "sink:b@far.test", "bounce:a@here.test"


def letter(*places: str, acknowledged: int = 1, unknown: int = 0, kills: int = 0) -> Sent:
    return Sent("m", "d", frozenset(places), acknowledged, unknown, kills)


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (letter(BOX), {BOX: ["d"], FAR: []}),
        (letter(BOX, FAR, REPORT), {BOX: ["d"], FAR: ["d"], REPORT: [""]}),
        (letter(BOX, acknowledged=0, unknown=1), {BOX: []}),
        (letter(BOX, acknowledged=0, unknown=1), {BOX: ["d"]}),
        (letter(BOX, unknown=1), {BOX: ["d", "d"]}),
        (letter(FAR, kills=2), {FAR: ["d", "d", "d"]}),
    ],
)
def test_what_is_explained(sent: Sent, found: dict[str, list[str]]) -> None:
    account = settle([sent], {place: [Found("m", digest) for digest in copies] for place, copies in found.items()})
    assert account.violations == []


@pytest.mark.parametrize(
    ("sent", "found", "word"),
    [
        (letter(BOX), {BOX: []}, "is lost"),
        (letter(BOX), {}, "is lost"),
        (letter(BOX, unknown=3), {BOX: []}, "is lost"),
        (letter(BOX, FAR), {BOX: ["d"], FAR: []}, "is lost"),
        (letter(REPORT), {BOX: [], REPORT: []}, "is lost"),
        (letter(BOX, acknowledged=0), {BOX: ["d"]}, "at most 0"),
        (letter(BOX), {BOX: ["d", "d"]}, "at most 1"),
        (letter(BOX, kills=3), {BOX: ["d", "d"]}, "at most 1"),
        (letter(REPORT, kills=3), {REPORT: ["", ""]}, "at most 1"),
        (letter(FAR, kills=1), {FAR: ["d", "d", "d"]}, "at most 2"),
        (letter(BOX), {BOX: ["e"]}, "was changed"),
        (letter(BOX), {BOX: ["d"], FAR: ["d"]}, "only"),
    ],
)
def test_what_is_not(sent: Sent, found: dict[str, list[str]], word: str) -> None:
    account = settle([sent], {place: [Found("m", digest) for digest in copies] for place, copies in found.items()})
    assert len(account.violations) == 1
    assert word in account.violations[0]


def test_what_nobody_sent() -> None:
    assert "never sent" in settle([], {BOX: [Found("x")]}).violations[0]
    assert "never sent" in settle([], {BOX: [Found("")]}).violations[0]
