"""Large mailboxes and many of them: delivery into a million messages beside delivery into none, memory of a thousand
open mailboxes.

Both at the store's own face, where nothing hides the difference. The million is made by COPY, in slices, from a few
tiny messages: a copy is another name of the same file, so it takes little room on disk.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import Figure, pss_kib
from core.config import Limits
from message.content import BytesContent
from store.service import MaildirStore, initialise
from store.types import AccountRef, Placement

MILLION = int(os.environ.get("BENCH_MILLION", "1000000"))
SEEDS, SLICE = 1000, 50_000
TURNS, TOGETHER = 12, 100  # turns of so many deliveries to each of the two, one after the other
WITHIN = 1.2
OPEN, EACH = 1000, 10


def _ref(number: int) -> AccountRef:
    return AccountRef(f"bench{number}", "bench", "bench.test", f"u{number}")


def _content(number: int) -> BytesContent:
    return BytesContent(
        b"From: a@exemple.test\r\nTo: u@bench.test\r\nSubject: avis %d\r\nMessage-ID: <%d@x.test>\r\n\r\nVu.\r\n"
        % (number, number)
    )


async def _deliver(store: MaildirStore, ref: AccountRef, number: int) -> None:
    async with await store.stage(b"", _content(number), first=ref) as staged:
        await staged.deliver(ref, Placement())


async def _fill(store: MaildirStore, ref: AccountRef) -> None:
    """By COPY of INBOX into itself, a slice at a time."""
    account = await store.account(ref)
    await account.append([(_content(number), Placement()) for number in range(SEEDS)])
    inbox = await account.mailbox("INBOX")
    while (held := (await inbox.snapshot()).messages) < MILLION:
        await inbox.copy(((1, min(held, SLICE, MILLION - held)),), "INBOX")
        await store.flush()


async def _delivered(data: Path) -> tuple[float, float, int]:
    """Seconds of a delivery into the full one, into the other (medians of the turns), messages in the full one."""
    store = MaildirStore(data, limits=Limits(account_messages=2 * MILLION))
    await store.open()
    full, empty = _ref(0), _ref(1)
    await _fill(store, full)
    found: dict[AccountRef, list[float]] = {full: [], empty: []}
    number = SEEDS
    for turn in range(TURNS + 1):
        for ref, seconds in found.items():
            start = time.perf_counter()
            for _ in range(TOGETHER):
                number += 1
                await _deliver(store, ref, number)
            if turn:  # the first one warms up
                seconds.append((time.perf_counter() - start) / TOGETHER)
    held = (await (await (await store.account(full)).mailbox("INBOX")).snapshot()).messages
    await store.close()
    middle = [sorted(seconds)[len(seconds) // 2] for seconds in found.values()]
    return middle[0], middle[1], held


async def _opened(data: Path) -> tuple[int, int]:
    """KiB before, and with `OPEN` mailboxes that were selected."""
    store = MaildirStore(data, open_accounts=OPEN)
    await store.open()
    await (await (await store.account(_ref(OPEN))).mailbox("INBOX")).snapshot()  # what one brings for all
    gc.collect()
    before = pss_kib([os.getpid()])
    for number in range(OPEN):
        await (await (await store.account(_ref(number))).mailbox("INBOX")).snapshot()
    gc.collect()
    held = store.open_accounts
    after = pss_kib([os.getpid()])
    await store.close()
    if held < OPEN:
        raise AssertionError(f"only {held} of {OPEN} are open")
    return before, after


async def _made(data: Path) -> None:
    store = MaildirStore(data)
    await store.open()
    for ref in map(_ref, range(OPEN + 1)):
        await (await store.account(ref)).append([(_content(number), Placement()) for number in range(EACH)])
    await store.close()


def opened(data: str) -> tuple[int, int]:
    """In a process of its own, where nothing was allocated before."""
    return asyncio.run(_opened(Path(data)))


def run() -> Iterable[Figure]:
    with TemporaryDirectory(prefix="million") as base:
        data = Path(base).resolve() / "data"
        initialise(data)
        asyncio.run(_made(data))
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            before, after = pool.submit(opened, str(data)).result()
    yield Figure(f"memory with {OPEN:,} open mailboxes", after / 1024, "MiB")
    yield Figure("of it for each of them", (after - before) / OPEN, "KiB")
    with TemporaryDirectory(prefix="million") as base:
        data = Path(base).resolve() / "data"
        initialise(data)
        full, empty, held = asyncio.run(_delivered(data))
    yield Figure(
        f"delivery into {held:,} messages, beside an empty one",
        full * 1000,
        "ms",
        empty * 1000,
        f"<= {WITHIN}",
        full <= WITHIN * empty,
    )
