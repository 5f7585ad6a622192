"""docs/operations.md names every command, every configuration key, and only events that the code logs."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from pydantic import BaseModel
from typer.main import get_group

from beffroi.cli.app import COMMANDS, FAMILIES
from beffroi.cli.app import app as program
from core.config import Config
from tests.house.test_imports import PACKAGES

ROOT = Path(__file__).parents[2]


@cache
def section(title: str) -> list[list[str]]:
    """The rows of the tables under a heading, as cells."""
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    rows = [line.replace("\\|", "/").strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    assert rows
    return [[cell.strip() for cell in row] for row in rows]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def documented_commands() -> set[str]:
    """ "mailbox add ADDRESS", "list" > "mailbox add", "mailbox list"; a family's row begins with its whole command."""
    families = {name for name, _ in FAMILIES}
    found = set()
    for cells in section("Commands"):
        family = ""
        for words in map(str.split, quoted(cells[0])):
            if words[0] in families:
                family = words.pop(0)
            found.add(f"{family} {words[0]}".strip())
    return found


def commands() -> set[str]:
    names = {name for name, _ in COMMANDS}
    for family, app in FAMILIES:
        for command in app.registered_commands:
            own = command.name or (command.callback.__name__.strip("_") if command.callback else "")
            names.add(f"{family} {own}")
    return names


def test_every_command_is_on_the_page_and_no_other() -> None:
    assert documented_commands() == commands()


def options() -> set[str]:
    return {
        word
        for family in (program, *(family for _, family in FAMILIES))
        for command in get_group(family).commands.values()
        for parameter in command.params
        for word in (*parameter.opts, *parameter.secondary_opts)
        if word.startswith("--")
    }


def test_every_option_is_on_the_page() -> None:
    text = "\n".join(cells[0] + cells[1] for cells in section("Commands"))
    told = {word for quote in quoted(text) for word in re.findall(r"--[a-z][a-z-]*", quote)}
    assert options() - told == set()


def documented_keys() -> set[str]:
    """ "listen.mx", "imap" > listen.mx, listen.imap: what follows in a cell belongs to the section named before."""
    found = set()
    for cells in section("Configuration"):
        prefix = ""
        for name in quoted(cells[0]):
            head, dot, _ = name.rpartition(".")
            prefix = head + dot if dot else prefix
            found.add(name if dot else prefix + name)
    return found


def keys() -> set[str]:
    found = set()
    for name, field in Config.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= {f"{name}.{key}" for key in kind.model_fields} if name != "limits" else {"limits.*"}
        else:
            found.add(name)
    return found


def test_every_key_is_on_the_page_and_no_other() -> None:
    assert documented_keys() == keys()


@cache
def words() -> frozenset[str]:
    """Every string of the code: an event's name is one of them, wherever it is chosen."""
    found: set[str] = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            found |= {node.value for node in tree if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return frozenset(found)


def test_every_event_on_the_page_is_a_word_of_the_code() -> None:
    for cells in section("Logs and metrics"):
        for name in quoted(cells[0]):
            assert name in words(), name
