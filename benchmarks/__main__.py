"""`python -m benchmarks [NAME …]`: run all or the named ones, print one line a figure; exit code 1 past a target."""

from __future__ import annotations

import importlib
import sys

BENCHMARKS = (
    "queue",
    "relaying",
    "delivery",
    "instructions",
    "flood",
    "slow",
    "idle",
    "many",
    "importing",
    "changing",
    "searching",
    "mailboxes",
    "reading",
    "opening",
    "rebuilding",
    "unread",
    "million",
    "waking",
    "pauses",
)


def main(names: list[str]) -> int:
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        sys.stderr.write(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}\n")
        return 2
    missed = 0
    for name in names or BENCHMARKS:
        for figure in importlib.import_module(f"benchmarks.{name}").run():
            sys.stdout.write(figure.line() + "\n")
            sys.stdout.flush()
            missed += figure.met is False
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
