"""What a benchmark answers: a figure, its peer's, the ratio and the target."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """`value` ours and `peer` theirs in `unit`; `target` in words; `met` None where there is none."""

    name: str
    value: float
    unit: str
    peer: float | None = None
    target: str = ""
    met: bool | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.peer if self.peer else None

    def line(self) -> str:
        parts = [f"{self.name:58} {self.value:10.1f} {self.unit:10}"]
        if self.peer is not None:
            parts.append(f"peer {self.peer:10.1f}  ratio {self.ratio or 0:5.2f}")
        if self.target:
            verdict = "" if self.met is None else ("  met" if self.met else "  NOT MET")
            parts.append(f"target {self.target}{verdict}")
        return "  ".join(parts)


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes so far, their ended children included."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(fields[i]) for i in (11, 12, 13, 14))
    return total / os.sysconf("SC_CLK_TCK")


def pss_kib(pids: Iterable[int]) -> int:
    """Proportional memory of these processes in KiB: pages shared by several count once."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total


PATIENCE = 60.0  # seconds


def settle(still: float) -> None:
    """Until the disks have done nothing for `still` seconds: removed files are discarded for seconds, and the first
    rows of a benchmark waited for that. Not for longer than a minute."""
    os.sync()
    begun = since = time.monotonic()
    last = _requests()
    while time.monotonic() - since < still and time.monotonic() - begun < PATIENCE:
        time.sleep(0.1)
        if (now := _requests()) != last:
            last, since = now, time.monotonic()


def _requests() -> list[tuple[str, str, str]]:
    """Of each disk: reads, writes and discards that ended (Linux, Documentation/admin-guide/iostats.rst)."""
    rows = [line.split() for line in Path("/proc/diskstats").read_text().splitlines()]
    return [(row[3], row[7], row[14] if len(row) > 14 else "") for row in rows]
