"""Figures never cost mail: a disk that becomes full or read-only while a worker counts (faults 149, 151)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest, multiprocess

from beffroi import metrics

COUNT = """
import os, sys
from pathlib import Path
from beffroi import metrics
folder = Path(sys.argv[1])
metrics.prepare(folder)
counted = metrics.reserve(folder)
count = metrics.counter()
count({"event": "first"})
filler = os.open(folder.parent / "filler", os.O_WRONLY | os.O_CREAT)
try:
    while True:
        os.write(filler, bytes(4096))
except OSError:
    pass
for number in range(400):
    count({"event": f"event-{number}", "reason": "x" * 50})
print(counted)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(mount)], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.mark.faults
def test_f149_a_disk_that_becomes_full_does_not_kill_who_counts(small_disk: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COUNT, str(small_disk / "metrics")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_f149_without_room_nothing_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert not metrics.reserve(tmp_path)
    assert list(tmp_path.iterdir()) == []


SERIES = """
import sys
from pathlib import Path
from beffroi import metrics
folder = Path(sys.argv[1])
metrics.prepare(folder)
metrics.reserve(folder)
count = metrics.counter()
for number in range(3000):
    count({"event": f"event-{number % 100}", "reason": "r" * (number % 70)})
for _ in range(3):
    count({"event": "one"})
    count({"event": "two", "reason": None})
    count({"event": "two", "reason": ["a"]})
    count({"event": 'é"\\\\n', "reason": "é"})
for number in range(int(sys.argv[2])):
    count({"event": f"many-{number:03000}", "reason": "x" * 60})
    count({"event": f"many-{number:03000}", "reason": "x" * 60})
"""


def exposed(folder: Path) -> dict[str, float]:
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]  # it has no types
    lines = generate_latest(registry).decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_what_two_processes_count_is_exposed_as_the_library_would_have_counted_it(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    for beyond in ("200", "10"):  # more series than have room in the file, and some
        subprocess.run([sys.executable, "-c", SERIES, str(folder), beyond], check=True)
    told = exposed(folder)
    series = Counter[tuple[str, str]]()
    for number in range(3000):
        series[f"event-{number % 100}", "r" * (number % 70) if number % 70 <= metrics.MAX_REASON else "other"] += 2
    for name, reason in (("one", ""), ("two", "None"), ("two", "['a']"), ('é\\"\\\\n', "é")):
        series[name, reason] += 6
    for number in range(200):
        series[f"many-{number:03000}", "x" * 60] += 4 if number < 10 else 2
    assert told == {
        f'beffroi_events_total{{event="{name}",reason="{reason}"}}': value for (name, reason), value in series.items()
    }
