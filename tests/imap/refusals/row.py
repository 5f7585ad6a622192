"""A row of `test_refusals`: what a client says, what it is refused with, and what came before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from core.config import Limits
from tests.fakes.imap_world import Client, World

MAIL = b"Subject: one\r\n\r\nbody\r\n"
LIMITED: Mapping[str, Any] = {"limits": Limits(imap_messages=3)}
MANY = b" ".join(b"x%d" % number for number in range(65))


@dataclass
class Table:
    """What a row's `before` may touch."""

    world: World
    patch: pytest.MonkeyPatch
    client: Client = field(init=False)


Before = Callable[[Table], Awaitable[None]]


@dataclass(frozen=True)
class Row:
    """`ask` after "a "; `says` the answer after "a ", or all of an untagged one; `bare`: `ask` is the whole line.
    `messages`: those of INBOX, selected when there are any. `world`: how the server is set up."""

    ask: bytes
    says: bytes
    before: Before | None = None
    who: str = "alice"
    messages: tuple[bytes, ...] = ()
    world: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    bare: bool = False

    @property
    def name(self) -> str:
        return self.title or self.ask[:60].decode("ascii", "replace").split("\r")[0]


def after(*commands: bytes) -> Before:
    """These are OK before."""

    async def run(table: Table) -> None:
        for command in commands:
            await table.client.ok(command)

    return run


def read(ask: bytes, says: bytes, before: Before | None = None, **more: Any) -> Row:
    """In INBOX with three messages, none of them special."""
    return Row(ask, says, before, messages=more.pop("messages", (MAIL, MAIL, MAIL)), **more)


def bug(text: bytes) -> bytes:
    return b"BAD [CLIENTBUG] " + text


async def expunged(table: Table) -> None:
    """Another session removes message 1; ours is not told yet."""
    other = await table.world.login()
    await other.ok(b"SELECT INBOX")
    await other.ok(b"STORE 1 +FLAGS.SILENT \\Deleted")
    await other.ok(b"EXPUNGE")
