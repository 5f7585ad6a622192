"""`beffroi mailbox import FILE.csv`: progress on a terminal, one line per refused or weak row, a count at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from beffroi.cli.console import console, refuse, run
from beffroi.rooms import open_directory
from core.config import Config
from directory.import_csv import ImportFileError, read_rows
from directory.types import Actor, ImportResult, ImportRow


def import_mailboxes(path: Path, *, dry_run: bool) -> None:
    """Exit code 1 when a row was refused; the others are added all the same."""
    try:
        rows = read_rows(path)
    except (ImportFileError, OSError) as error:
        refuse(f"{path}: {error}")
    report = run(lambda config: _import(config, rows, dry_run=dry_run))
    refused = [row for row in report if row["error"]]
    added = len(report) - len(refused)
    verb = "would be added" if dry_run else "added"
    console.answer(
        {"added": added, "refused": len(refused), "dry_run": dry_run, "report": report},
        f"{added} mailboxes {verb}, {len(refused)} refused",
    )
    if refused:
        raise SystemExit(1)


async def _import(config: Config, rows: Sequence[ImportRow], *, dry_run: bool) -> list[dict[str, object]]:
    report: list[dict[str, object]] = []
    async with open_directory(config) as directory:
        with _progress(len(rows)) as bar:
            async for result in directory.import_accounts(Actor.console(), rows, dry_run=dry_run):
                bar()
                report.append(_row(result))
                if not console.json and (result.error or result.warning):
                    console.say(f"line {result.line}: {result.address}: {result.error or result.warning}")
    return report


def _row(result: ImportResult) -> dict[str, object]:
    return {"line": result.line, "address": result.address, "error": result.error, "warning": result.warning}


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on standard error where that is a terminal, nothing elsewhere."""
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    terminal = Terminal(stderr=True)
    with Progress(
        TextColumn("importing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=terminal,
        disable=not terminal.is_terminal,
    ) as progress:
        task = progress.add_task("import", total=total)
        yield lambda: progress.advance(task)
