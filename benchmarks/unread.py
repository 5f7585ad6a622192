"""A mailbox whose index is lost: how long the first questions wait that must read its messages, by one core and with
the processes that help, and those that need not.

`BENCH_MESSAGES` messages of 4 KB (10,000, the least for which processes are started; 100,000 shows more of them).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import Figure
from benchmarks.rebuilding import fill, refs
from benchmarks.searching import MESSAGES, corpus
from store import catching_up
from store.service import MaildirStore
from store.types import SortCriterion, SortKey, ThreadAlgorithm

NEVER = 1 << 40
QUESTIONS = ("SORT by arrival", "SORT by subject", "THREAD by references", "FROM")


async def _asked(data: Path, question: str, worth: int) -> float:
    """Seconds, without the time in which names are read."""
    for path in data.glob("domains/*/*/index*"):
        path.unlink()
    store = MaildirStore(data)
    await store.open()
    inbox = await (await store.account(refs(1)[0])).mailbox("INBOX")
    uids = list(await inbox.uids(await inbox.snapshot()))
    usual, catching_up.WORTH = catching_up.WORTH, worth
    start = time.perf_counter()
    if question == "SORT by arrival":
        await inbox.sort(uids, [SortCriterion(SortKey.ARRIVAL)])
    elif question == "SORT by subject":
        await inbox.sort(uids, [SortCriterion(SortKey.SUBJECT)])
    elif question == "THREAD by references":
        await inbox.threads(uids, ThreadAlgorithm.REFERENCES)
    else:
        await inbox.search_field(((1, uids[-1]),), "FROM", "agent77@")
    took = time.perf_counter() - start
    catching_up.WORTH = usual
    await store.close()
    return took


def run() -> Iterable[Figure]:
    with TemporaryDirectory(prefix="unread") as base:
        data = Path(base).resolve() / "data"
        fill(data, refs(1), corpus(MESSAGES))
        for question in QUESTIONS:
            alone = asyncio.run(_asked(data, question, NEVER))
            helped = asyncio.run(_asked(data, question, catching_up.WORTH))
            name = f"{question}, {MESSAGES:,} unread, beside one core"
            yield Figure(name, helped * 1000, "ms", alone * 1000)
