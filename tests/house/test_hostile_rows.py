"""docs/hostile-inputs.md: every row has a test that exists, or says why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs/hostile-inputs.md").read_text(encoding="utf-8").splitlines()
    if re.match(r"\| \d+ \|", line)
]


def test_every_row_is_there_once() -> None:
    assert [int(row[0]) for row in ROWS] == [*range(1, 144)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"row-{row[0]}")
def test_a_row_names_tests_that_exist_or_says_why_it_has_none(row: list[str]) -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", row[2])
    for path, name in named:
        assert re.search(rf"def {name}\(", (ROOT / "tests" / path).read_text(encoding="utf-8")), f"{path}::{name}"
    assert named or row[2].startswith("no "), row[0]
