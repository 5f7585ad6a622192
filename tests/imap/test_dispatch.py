"""What a command costs when it fails: errors of the house, bugs, disks, mailboxes that vanish."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

import store
from core import errors
from core.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    MailError,
    NotFoundError,
    QuotaError,
    RefusedError,
    StorageError,
    TemporaryError,
)
from imap import updates
from imap.command import Command, no_arguments
from imap.commands import idle
from imap.errors import No, translate
from imap.responses import Ok
from imap.session import Session
from imap.types import State
from store.types import Changes
from tests.fakes.imap_session import desk
from tests.fakes.imap_world import World, selected
from tests.fakes.memory_mailbox import MemoryMailbox
from tests.fakes.memory_store import MemoryAccount, MemoryBox, MemorySpool

MAIL = b"Subject: one\r\n\r\nbody\r\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFoundError("x"), "NONEXISTENT"),
        (ConflictError("x"), "INUSE"),
        (ConflictError("x", code="folder-exists"), "ALREADYEXISTS"),
        (InvalidError("x"), "CANNOT"),
        (ForbiddenError("x"), "NOPERM"),
        (QuotaError("x"), "OVERQUOTA"),
        (QuotaError("x", code="too-many-folders"), "LIMIT"),
        (InvalidError("x", code="too-many-keywords"), "LIMIT"),
        (InvalidError("x", code="too-large"), "TOOBIG"),
        (NotFoundError("x", code="no-message"), "EXPUNGEISSUED"),
        (StorageError("x"), "UNAVAILABLE"),
        (TemporaryError("x"), "UNAVAILABLE"),
        (QuotaError("x", code="acl-full"), "LIMIT"),
        (RefusedError("x"), "CANNOT"),
        (MailError("x"), "UNAVAILABLE"),
    ],
)
def test_every_error_of_the_house_has_its_code(error: MailError, code: str) -> None:
    assert translate(error).code == code


# What the store refuses, and the code that fits it (RFC 5530 3).
CAUSES = {
    "NONEXISTENT": {"no-folder", "no-account-item", "no-copy", "no-item", "no-leftover", "no-maildir",
                    "mailbox-removed"},
    "EXPUNGEISSUED": {"no-message"},
    "ALREADYEXISTS": {"folder-exists"},
    "INUSE": {"mailbox-not-empty", "mailbox-occupied"},
    "CANNOT": {
        "invalid-delete", "invalid-keyword", "invalid-name", "invalid-rename", "invalid-special-use", "no-maildir",
        "odd-file", "packed-mail",
    },
    "TOOBIG": {"too-large"},
    "LIMIT": {"too-many-keywords", "too-many-folders", "uids-exhausted"},
    "OVERQUOTA": {"organisation-over-quota", "over-quota", "too-many-messages"},
    "UNAVAILABLE": {
        "storage", "storage-busy", "storage-folder", "storage-full", "storage-index", "storage-missing",
        "storage-moved", "storage-odd-file", "storage-owner", "storage-unread",
    },
}  # fmt: skip


def causes() -> Iterator[MailError]:
    """What is raised anywhere in `store/`."""
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    for path in Path(store.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds:
                named = {word.arg: word.value for word in node.keywords}
                code = named.get("code")
                if code is None or isinstance(code, ast.Constant):
                    yield kinds[node.func.id]("x", code=code and str(code.value))


def test_every_cause_the_store_has_is_told_by_the_code_that_fits() -> None:
    told = {(str(translate(error).code), error.code) for error in causes()}
    assert told == {(code, cause) for code, of_it in CAUSES.items() for cause in of_it}


def test_what_is_said_is_printable() -> None:
    assert translate(MailError("a\r\nb é")).text == "a??b ?"
    assert translate(MailError("")).text == "cannot"


def failing(error: Exception) -> dict[str, Command[None]]:
    async def handle(session: Session, _: None) -> Ok:
        raise error

    return {"FAIL": Command("FAIL", frozenset(State), no_arguments, handle)}


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (RuntimeError("secret"), b"a NO [SERVERBUG] internal error\r\n"),
        (StorageError("storage failed"), b"a NO [UNAVAILABLE] storage failed\r\n"),
        (No("no", "CANNOT"), b"a NO [CANNOT] no\r\n"),
    ],
)
async def test_a_bug_costs_one_command(error: Exception, answer: bytes) -> None:
    made = await desk(MemoryMailbox(), failing(error))
    assert await made.ask(b"a fail") == answer
    assert await made.ask(b"b FAIL x") == b"b BAD [CLIENTBUG] unexpected text after the command\r\n"


async def test_a_dead_connection_is_no_answer() -> None:
    made = await desk(MemoryMailbox(), failing(ConnectionResetError()))
    with pytest.raises(ConnectionResetError):
        await made.ask(b"a FAIL")


@pytest.mark.parametrize("line", [b"", b" ", b"a", b"a ", b"+ NOOP", b"* NOOP", b"\xff NOOP", b"a{ NOOP", b"a  NOOP"])
async def test_lines_that_are_no_commands_are_bad(line: bytes) -> None:
    made = await desk(MemoryMailbox(), {})
    assert b" BAD " in await made.ask(line)


async def test_what_was_done_is_answered_before_a_vanished_mailbox_ends_the_session() -> None:
    async with World() as world:
        one, two = await world.login(), await world.login()
        await one.ok(b"CREATE x")
        await one.ok(b"SELECT x")
        await two.ok(b"DELETE x")
        assert (await one.append(b"INBOX", MAIL))[-1].startswith(b"a OK [APPENDUID")
        assert (await one.ended()).startswith(b"* BYE")


async def test_a_disk_that_fails_during_append_leaves_the_session_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: MemorySpool, block: bytes) -> None:
        raise StorageError("insufficient storage", code="storage-full")

    async with World() as world, selected(world) as client:
        monkeypatch.setattr(MemorySpool, "write", fail)
        lines = await client.append(b"INBOX", b"z LOGOUT\r\n" * 50_000)
        assert lines == [b"a NO [UNAVAILABLE] insufficient storage"]
        await client.ok(b"NOOP")
        assert all(spool.closed for spool in world.store.spools)


async def test_a_disk_that_fails_at_the_commit_acknowledges_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: MemoryAccount, items: object) -> object:
        raise StorageError("storage failed")

    async with World() as world, selected(world) as client:
        monkeypatch.setattr(MemoryAccount, "append", fail)
        assert (await client.append(b"INBOX", MAIL))[-1] == b"a NO [UNAVAILABLE] storage failed"


async def test_idle_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "STILL_HERE", 0.05)
    async with World() as world, selected(world) as client:
        await client.raw(b"a IDLE\r\n")
        lines = [await client.line() for _ in range(3)]
        assert lines == [b"+ idling", b"* OK still here", b"* OK still here"]
        await client.raw(b"DONE\r\n")
        await client.until(b"a")


async def test_a_sign_of_life_looks_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that was closed because nobody used it stays closed; what happens is hinted."""
    asked = 0
    changes = MemoryBox.changes

    async def counted(self: MemoryBox, since: int, uidnext: int) -> Changes:
        nonlocal asked
        asked += 1
        return await changes(self, since, uidnext)

    monkeypatch.setattr(idle, "STILL_HERE", 0.02)
    monkeypatch.setattr(MemoryBox, "changes", counted)
    async with World() as world, selected(world) as client:
        await client.raw(b"a IDLE\r\n")
        assert await client.line() == b"+ idling"
        asked = 0
        assert [await client.line() for _ in range(3)] == [b"* OK still here"] * 3
        assert asked <= 1  # the first look's, when the client begins
        (await world.account()).deliver(MAIL)
        while (line := await client.line()) == b"* OK still here":
            pass
        assert line == b"* 1 EXISTS"
        await client.raw(b"DONE\r\n")
        await client.until(b"a")


async def test_idle_does_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    tell = updates.tell

    async def counted(session: Session, *, expunge: bool) -> None:
        nonlocal looks
        looks += 1
        await tell(session, expunge=expunge)

    async with World() as world, selected(world) as client:
        monkeypatch.setattr(updates, "tell", counted)
        await client.raw(b"a IDLE\r\n")
        await client.line()
        (await world.account()).deliver(MAIL)
        assert await client.line() == b"* 1 EXISTS"
        await asyncio.sleep(0.3)
        assert looks <= 3
