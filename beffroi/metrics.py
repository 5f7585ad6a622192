"""Figures for Prometheus: every named event of the log is a counter (prometheus-client is touched here only).

Event and reason names are constants of the code, so the number of series is bounded. Workers write into files of one
folder (the library's multi-process mode); the web worker reads them all.

The library maps a sparse file into memory: on a disk that is full by then, writing to a page that has no room yet kills
the process (SIGBUS), and on one that became read-only the first event cannot be counted. So a worker reserves the room
when it starts; one that cannot counts nothing.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any

from starlette.types import Receive, Scope, Send

MAX_REASON = 60
RESERVED = 512 * 1024  # octets of one process: some 3,000 series, a few hundred are in use
SERIES = 4096
NAME, HELP, LABELS = "beffroi_events", "Named events of the log.", ["event", "reason"]


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
    """What the log calls with each event. A figure that has its place in the mapped file is added to there: the library
    takes a lock, asks which process it is and makes both numbers of a place anew, which is six times as much."""
    from prometheus_client import Counter

    events = Counter(NAME, HELP, LABELS)
    figures = _figures()
    places = dict[tuple[str, str], int]()

    def count(event: MutableMapping[str, Any]) -> None:
        name, reason = event.get("event", ""), event.get("reason", "")
        place = places.get((name, reason), -1) if type(reason) is str else -1
        if place >= 0:
            figures[place] += 1.0  # no other thread gets its turn between the two halves of this
        else:
            seldom(str(name), str(reason))

    def seldom(name: str, reason: str) -> None:
        series = name, reason if len(reason) <= MAX_REASON else "other"
        child = events.labels(*series)  # which makes its place, if need be
        if series not in places and len(places) < SERIES:
            places[series] = _place(figures, *series)
        if (place := places.get(series, -1)) >= 0:
            figures[place] += 1.0
        else:
            child.inc()

    return count


def _figures() -> memoryview[float]:
    """The file of this process as figures; none when the library has no file, or one without the room."""
    try:
        with _file().open("r+b") as file:
            return memoryview(mmap.mmap(file.fileno(), RESERVED)).cast("d")
    except (OSError, ValueError):
        return memoryview(b"").cast("d")


def _place(figures: memoryview[float], *labels: str) -> int:
    """Where the library has put this series; -1 when that is nowhere in `figures`."""
    from prometheus_client.mmap_dict import MmapedDict, mmap_key

    if not figures:
        return -1
    key = mmap_key(NAME, f"{NAME}_total", LABELS, list(labels), HELP)
    found: Iterable[tuple[str, float, float, int]]
    found = MmapedDict.read_all_values_from_file(_file())  # type: ignore[no-untyped-call]  # it has no types
    at = next((at for name, _, _, at in found if name == key), -1)
    return at // 8 if at % 8 == 0 and at // 8 < len(figures) else -1


def _file() -> Path:
    """Where the library counts for this process."""
    return Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")) / f"counter_{os.getpid()}.db"


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
