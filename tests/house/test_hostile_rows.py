"""docs/hostile-inputs.md: every row has tests that exist and bear it, or says why it has none."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs/hostile-inputs.md").read_text(encoding="utf-8").splitlines()
    if re.match(r"\| \d+ \|", line)
]
RANGE = re.compile(r"_h(\d{3})_to_h(\d{3})(?=_|$)")


@cache
def bearers() -> dict[str, frozenset[int]]:
    """Test > the rows in its name; a range stands for its two ends, and may be named in each row between."""
    found = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in re.findall(r"def (test_\w+)\(", path.read_text(encoding="utf-8")):
            if rows := re.findall(r"_h(\d{3})(?=_|$)", name):
                found[f"{path.relative_to(ROOT / 'tests')}::{name}"] = frozenset(map(int, rows))
    return found


def bears(test: str, row: int) -> bool:
    ends = RANGE.search(test)
    return row in bearers().get(test, ()) or (ends is not None and int(ends[1]) <= row <= int(ends[2]))


def test_every_row_is_there_once() -> None:
    assert [int(row[0]) for row in ROWS] == [*range(1, 144)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"row-{row[0]}")
def test_a_row_names_tests_that_bear_it_or_says_why_it_has_none(row: list[str]) -> None:
    named = re.findall(r"`([\w/]+\.py::\w+)`", row[2])
    assert named or row[2].startswith("no "), row[0]
    for test in named:
        assert bears(test, int(row[0])), test
    others = [test for test, rows in bearers().items() if int(row[0]) in rows and test not in named]
    assert others or not row[2].endswith("and more")
