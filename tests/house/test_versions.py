"""docs/operations.md tells operators which versions an upgrade brings up: those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from delivery.queue import schema as queue
from store import schema as index
from store.search import textfile

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (queue|index of a mailbox|text index) \| (\d+) \|", re.MULTILINE)


def test_the_upgrade_table_tells_the_versions_of_the_code() -> None:
    told = dict(ROW.findall((ROOT / "docs/operations.md").read_text(encoding="utf-8")))
    assert told == {
        "queue": str(queue.VERSION),
        "index of a mailbox": str(index.VERSION),
        "text index": str(textfile.VERSION),
    }
