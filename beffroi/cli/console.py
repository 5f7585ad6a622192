"""What every command shares: where the configuration is, how answers are printed, how refusals end.

`--config FILE` and `--json` may stand before or after the command, so they are taken out of the arguments first.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

from core import log
from core.config import Config, ConfigError, load
from core.errors import MailError, TemporaryError

T = TypeVar("T")

MAX_CAUSE = 300  # characters of a driver's own words
DEFAULT_CONFIG = Path("/etc/beffroi/beffroi.toml")


class UsageError(Exception):
    """The command line itself is wrong: exit code 2."""


@dataclass
class Console:
    """The one of this run; set by `take_global_options` before a command starts."""

    config_path: Path = DEFAULT_CONFIG
    json: bool = False

    def config(self) -> Config:
        """The checked configuration, after changing to its `user` when started as root, so that no file of the
        installation ever comes to belong to root. Raises `ConfigError`."""
        from beffroi.supervisor import privileges

        config = load(self.config_path)
        privileges.become(config)
        privileges.check_owner(config)
        log.configure("error", stream=sys.stderr)
        return config

    def answer(self, value: object, line: str) -> None:
        """One fact: `value` for machines, `line` for people."""
        if self.json:
            sys.stdout.write(_json(value) + "\n")
        else:
            self.say(line)

    def say(self, text: str) -> None:
        """Lines for people, whatever strangers or files put into them (promise P9)."""
        sys.stdout.write(printable(text) + "\n")

    def warn(self, text: str) -> None:
        """What was done all the same; on standard error, so that answers stay clean for machines."""
        sys.stderr.write(f"beffroi: warning: {printable(text)}\n")

    def confirm(self, question: str) -> bool:
        """Whether somebody at a terminal says yes; nobody there is no. On standard error, as `warn`."""
        if not sys.stdin.isatty():
            return False
        sys.stderr.write(f"{printable(question)} [o/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().casefold() in _YES

    def table(self, rows: Sequence[dict[str, object]], columns: Sequence[str]) -> None:
        """Rows of equal keys: a JSON array, a drawn table on a terminal, tab-separated lines in a pipe."""
        if self.json:
            sys.stdout.write(_json(list(rows)) + "\n")
        elif sys.stdout.isatty():
            _draw(rows, columns)
        else:
            for row in rows:
                sys.stdout.write("\t".join(_cell(row[column]) for column in columns) + "\n")


_YES = frozenset({"o", "oui", "y", "yes"})

console = Console()


def take_global_options(arguments: Sequence[str]) -> list[str]:
    """Remember and remove `--config FILE`, `--config=FILE` and `--json`. Raises `UsageError`."""
    console.config_path = Path(os.environ.get("BEFFROI_CONFIG") or DEFAULT_CONFIG)
    console.json = False
    rest: list[str] = []
    items = iter(arguments)
    for item in items:
        if item == "--":
            rest.extend([item, *items])
        elif item == "--json":
            console.json = True
        elif item == "--config":
            value = next(items, None)
            if value is None:
                raise UsageError("--config needs a file")
            console.config_path = Path(value)
        elif item.startswith("--config="):
            console.config_path = Path(item.removeprefix("--config="))
        else:
            rest.append(item)
    return rest


def run(operation: Callable[[Config], Awaitable[T]]) -> T:
    """Run one operation with the configuration; a refusal ends the process with code 1 and one line."""
    config = None
    try:
        config = console.config()

        async def go() -> T:
            try:
                return await operation(config)
            finally:
                await _settled()

        return asyncio.run(go())
    except (ConfigError, MailError, OSError) as error:
        refuse(error, config)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        raise SystemExit(130) from None  # as a shell tells of SIGINT


async def _settled() -> None:
    """aiosqlite's thread of a database that could not be opened ends a little later than its error comes: on a loop
    that is closed by then it leaves a traceback."""
    for _ in range(100):
        if not any("_connection_worker_thread" in thread.name for thread in threading.enumerate()):
            return
        await asyncio.sleep(0.01)


def refuse(error: Exception | str, config: Config | None = None) -> NoReturn:
    """One clear line on standard error for each fault (a JSON object with --json), exit code 1. With `config` what
    failed for now is looked into: the person on duty needs the place, not what SQLite calls it."""
    text = error.public if isinstance(error, MailError) else told(error)
    code = error.code if isinstance(error, MailError) else "refused"
    if config is not None and isinstance(error, TemporaryError | OSError):
        text = "; ".join([text, *_causes(error, config)])
    lines = [json.dumps({"error": text, "code": code})]
    if not console.json:
        lines = [f"beffroi: {printable(line)}" for line in text.splitlines()] or [f"beffroi: {code}"]
    sys.stderr.write("\n".join(lines) + "\n")
    raise SystemExit(1)


def told(error: Exception | str) -> str:
    """An error of the system as its file and its reason, without the number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _causes(error: Exception, config: Config) -> list[str]:
    from beffroi.ailments import ailments

    found = ailments(config)
    if not found and isinstance(error, MailError):
        found = [str(error.fields[key])[:MAX_CAUSE] for key in ("cause", "error") if error.fields.get(key)]
    return [" ".join(item.split()) for item in found]


def printable(text: str) -> str:
    """Without the characters that would drive a terminal or hide what it shows; line ends and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


def _json(value: object) -> str:
    """One line; accents as they are, everything else that does not print as an escape."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _cell(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_cell(item) for item in value)
    return "" if value is None else "".join(c if c.isprintable() else "?" for c in str(value))


def _draw(rows: Sequence[dict[str, object]], columns: Sequence[str]) -> None:
    from rich.console import Console as Terminal
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns)
    for row in rows:
        table.add_row(*(escape(_cell(row[column])) for column in columns))
    Terminal().print(table)
