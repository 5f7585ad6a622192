"""`store rebuild`: how fast indexes are made again from the files alone, on every core.

`BENCH_MESSAGES` messages of 4 KB (10,000) in one account, the same in ten, and large mail; each run begins without any
index, ends with one that is committed, and counts the start of the reading processes. Texts are filled afterwards.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import Figure
from benchmarks.searching import MESSAGES, corpus, time_rebuild
from store.names import FileName
from store.service import MaildirStore, initialise
from store.types import AccountRef

ACCOUNTS = 10
LARGE, LARGE_OCTETS = 20, 10_000_000
WANTED = 2000  # messages a second


def refs(count: int) -> list[AccountRef]:
    return [AccountRef(f"bench{number}", "bench", "bench.test", f"u{number}") for number in range(count)]


def _large() -> Iterator[tuple[int, bytes]]:
    """A text and an attachment in base64, 10 MB each."""
    source = random.Random(2)
    lines = [source.randbytes(57).hex()[:76] for _ in range(500)]
    block = "\n".join(lines)
    head = (
        "From: Agent <agent@exemple.test>\nTo: u0@bench.test\nSubject: plans\nDate: Tue, 14 Nov 2023 22:13:20 +0000\n"
        'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="limite"\n'
    )
    text = "--limite\nContent-Type: text/plain\n\nCi-joint.\n--limite\n"
    about = 'Content-Type: application/pdf; name="plan.pdf"\nContent-Transfer-Encoding: base64\n'
    for number in range(LARGE):
        body = f"{block}\n" * (LARGE_OCTETS // (78 * len(lines)))
        yield 1_700_000_000, f"{head}Message-ID: <{number}@x.test>\n\n{text}{about}\n{body}--limite--\n".encode()


async def _made(data: Path, owners: list[AccountRef]) -> None:
    store = MaildirStore(data)
    await store.open()
    for ref in owners:
        await store.account(ref)
    await store.close()


def fill(data: Path, owners: list[AccountRef], messages: Iterable[tuple[int, bytes]]) -> int:
    """Messages as files, in turn to each owner; their octets."""
    initialise(data)
    asyncio.run(_made(data, owners))
    octets = 0
    for number, (date, message) in enumerate(messages):
        uid, ref = 1 + number // len(owners), owners[number % len(owners)]
        wire = message.replace(b"\n", b"\r\n")
        name = FileName(date, f"bench{number:x}", uid, len(wire), 1, 0)
        path = data / "domains" / ref.domain / ref.local / "cur" / str(name)
        path.write_bytes(wire)
        os.utime(path, (date, date))
        octets += len(wire)
    for path in data.glob("domains/*/*/index*"):
        path.unlink()
    return octets


def _measured(owners: list[AccountRef], messages: Iterable[tuple[int, bytes]]) -> tuple[float, float, int]:
    with TemporaryDirectory(prefix="rebuilding") as base:
        data = Path(base).resolve() / "data"
        octets = fill(data, owners, messages)
        return *asyncio.run(time_rebuild(data)), octets


def run() -> Iterable[Figure]:
    size = f"{MESSAGES:,} of 4 KB"
    rebuilt, filled, _ = _measured(refs(1), corpus(MESSAGES))
    yield _rate(f"store rebuild, {size}, one account", rebuilt)
    yield Figure(f"texts filled afterwards, {size}", MESSAGES / filled, "msg/s")
    rebuilt, _, _ = _measured(refs(ACCOUNTS), corpus(MESSAGES))
    yield _rate(f"store rebuild, {size}, {ACCOUNTS} accounts", rebuilt)
    rebuilt, filled, octets = _measured(refs(1), _large())
    yield Figure(f"store rebuild, {LARGE} of 10 MB", octets / rebuilt / 1e6, "MB/s")
    yield Figure(f"texts filled afterwards, {LARGE} of 10 MB", octets / filled / 1e6, "MB/s")


def _rate(name: str, seconds: float) -> Figure:
    rate = MESSAGES / seconds
    return Figure(name, rate, "msg/s", target=f">= {WANTED}", met=rate >= WANTED)
