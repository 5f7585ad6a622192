"""Figures for Prometheus: every named event of the log is a counter (prometheus-client is touched here only).

Event and reason names are constants of the code, so the number of series is bounded. Workers write into files of one
folder (the library's multi-process mode); the web worker reads them all.

The library maps a sparse file into memory: on a disk that is full by then, writing to a page that has no room yet kills
the process (SIGBUS), and on one that became read-only the first event cannot be counted. So a worker reserves the room
when it starts; one that cannot counts nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.types import Receive, Scope, Send

MAX_REASON = 60
RESERVED = 512 * 1024  # octets of one process: some 3,000 series, a few hundred are in use
SERIES = 4096


def prepare(folder: Path) -> None:
    """Before anything imports the library: it reads the variable at import."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


def clear(folder: Path) -> None:
    """By the supervisor at a start: what an earlier instance counted is over."""
    if folder.is_dir():
        for path in folder.glob("*.db"):
            path.unlink(missing_ok=True)


def reserve(folder: Path) -> bool:
    """Room for what this process will count, in the file that the library would make; False when there is none."""
    path = folder / f"counter_{os.getpid()}.db"
    try:
        with path.open("xb") as file:
            os.posix_fallocate(file.fileno(), 0, RESERVED)
    except FileExistsError:  # of an earlier process with this number, which reserved it
        return True
    except OSError:
        path.unlink(missing_ok=True)
        return False
    return True


def counter() -> Callable[[MutableMapping[str, Any]], None]:
    """What the log calls with each event."""
    from prometheus_client import Counter

    events = Counter("beffroi_events", "Named events of the log.", ["event", "reason"])

    @lru_cache(maxsize=SERIES)  # looking one up in the library costs more than counting
    def series(event: str, reason: str) -> Counter:
        return events.labels(event, reason)

    def count(event: MutableMapping[str, Any]) -> None:
        reason = str(event.get("reason", ""))
        series(str(event.get("event", "")), reason if len(reason) <= MAX_REASON else "other").inc()

    return count


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """The metrics listener: the text format, whatever the path."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess

    if scope["type"] != "http":
        return
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # it has no types
    headers = [(b"content-type", CONTENT_TYPE_LATEST.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": generate_latest(registry)})
