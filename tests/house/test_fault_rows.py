"""docs/reliability.md: every row of faults has tests, which exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs/reliability.md").read_text(encoding="utf-8").splitlines()
    if re.match(r"\| 1[4-7]\d \|", line)
]


def test_every_fault_is_there_once() -> None:
    assert sorted(int(row[0]) for row in ROWS) == [*range(144, 171)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"row-{row[0]}")
def test_a_fault_names_tests_that_exist(row: list[str]) -> None:
    """By file and name, or by a file in which one bears the row."""
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", row[2])
    assert named
    for path, name in named:
        text = (ROOT / "tests" / path).read_text(encoding="utf-8")
        assert re.search(rf"def {name}\(" if name else rf"def test\w*_f{row[0]}(_|\()", text), f"{path} {name}"
