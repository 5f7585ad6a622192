"""Figures never cost mail: a disk that becomes full or read-only while a worker counts (faults 149, 151)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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
