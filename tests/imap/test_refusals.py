"""Every tagged NO and BAD there is, on the wire: command, response code, text (`refusals/`).

The places where one is made are looked up in the source, so a new one without a row fails; that a row reaches the
place is seen from where the error was made.
"""

from __future__ import annotations

import ast
import asyncio
import functools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import imap
from core.errors import MailError
from imap.errors import Bad, Code, ImapError
from tests.fakes.imap_world import World
from tests.imap.refusals.row import Row, Table
from tests.imap.refusals.table import ROWS

ROOT = Path(imap.__file__).parent
# RFC 9051 7.1, RFC 5530 and the extensions that `docs/rfcs.md` names; what stands behind the word is the code's own.
REGISTERED = frozenset(Code) - {Code.NONE} | {
    "BADCHARSET", "BADEVENT", "BADURL", "COMPRESSIONACTIVE", "MESSAGELIMIT", "METADATA", "MODIFIED",
    "NOTIFICATIONOVERFLOW", "USEATTR",
}  # fmt: skip


@dataclass(frozen=True, order=True)
class Site:
    """Where a NO or BAD is made."""

    file: str
    line: int
    kind: str


def sites() -> Iterator[Site]:
    for path in sorted(ROOT.rglob("*.py")):
        if path.name == "errors.py":  # the translator itself
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and _refuses(node):
                yield Site(str(path.relative_to(ROOT)), node.lineno, node.func.id)


def _refuses(node: ast.Call) -> bool:
    assert isinstance(node.func, ast.Name)
    return node.func.id in KINDS


def _below(kind: type[object]) -> set[str]:
    return {kind.__name__}.union(*(_below(each) for each in kind.__subclasses__()))


KINDS = (_below(ImapError) | _below(MailError)) - {"Bye", "ImapError"}


@dataclass(frozen=True)
class Seen:
    answer: bytes
    made: frozenset[Site]


def _watch(patch: pytest.MonkeyPatch, made: set[Site]) -> None:
    """Notes where in `imap/` each refusal was made."""
    for kind in (ImapError, MailError):
        init = kind.__init__

        def noting(self: Any, *arguments: Any, _init: Any = init, **named: Any) -> None:
            frame = sys._getframe(1)
            while frame.f_code.co_name == "__init__" and frame.f_back is not None:
                frame = frame.f_back
            if ROOT in (path := Path(frame.f_code.co_filename)).parents:
                made.add(Site(str(path.relative_to(ROOT)), frame.f_lineno, type(self).__name__))
            _init(self, *arguments, **named)

        patch.setattr(kind, "__init__", noting)


async def _play(row: Row, patch: pytest.MonkeyPatch) -> Seen:
    made: set[Site] = set()
    async with World(**row.world) as world:
        table = Table(world, patch)
        client = table.client = await world.connect()
        if row.who:
            await client.login(row.who)
        if row.messages:
            for message in row.messages:
                (await world.account(row.who or "alice")).deliver(message)
            await client.ok(b"SELECT INBOX")
        if row.before is not None:
            await row.before(table)
        client = table.client
        _watch(patch, made)
        await client.raw((row.ask if row.bare else b"a " + row.ask) + b"\r\n")
        line = await client.line()
        while not line.startswith(b"* BYE" if b"* BYE" in row.says else (b"a ", b"* BAD")):
            assert line, f"the connection ended during {row.ask!r}"
            line = await client.line()
        patch.undo()
    return Seen(line, frozenset(made))


@functools.cache
def played() -> dict[str, Seen]:
    """All rows, once."""

    async def all_of_them() -> dict[str, Seen]:
        found = {}
        for row in ROWS:
            with pytest.MonkeyPatch.context() as patch:
                found[row.name] = await _play(row, patch)
        return found

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_refusal_has_its_code_and_its_text(row: Row) -> None:
    assert played()[row.name].answer == (row.says if row.says.startswith(b"* ") else b"a " + row.says)


def test_every_place_that_refuses_has_a_row() -> None:
    made = frozenset[Site]().union(*(seen.made for seen in played().values()))
    assert not [site for site in sites() if site not in made]


def test_every_code_is_registered_and_every_text_says_something() -> None:
    """The rule of `imap.errors`: no NO and no BAD without a code; a BAD has one of four."""
    for row in ROWS:
        match = re.fullmatch(rb"(?:a |\* )(NO|BAD|BYE) \[([A-Z0-9-]+)[^\]]*\] (.+)", played()[row.name].answer)
        assert match is not None, played()[row.name].answer
        status, code, text = match[1], match[2].decode(), match[3]
        assert code in REGISTERED, row.name
        assert len(text) >= 10, (row.name, text)
        if status == b"BAD":
            assert code in (Code.CLIENTBUG, Code.TOOBIG, Code.UIDREQUIRED, Code.AUTHENTICATIONFAILED), row.name


def test_a_bug_and_a_refusal_without_words_have_a_code() -> None:
    assert any(b"[SERVERBUG]" in row.says for row in ROWS)
    assert Bad("x").code == Code.CLIENTBUG
