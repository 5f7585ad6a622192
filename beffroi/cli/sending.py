"""`beffroi mailbox unlock`: an account whose sending was locked may send again."""

from __future__ import annotations

from beffroi.cli.console import console, run
from beffroi.cli.parse import address_argument
from beffroi.rooms import open_directory, open_queue
from core.config import Config
from directory.types import Actor


def unlock(address: str) -> None:
    """Let a mailbox send again after its sending was locked; change its password first."""
    target = address_argument(address)

    async def operation(config: Config) -> bool:
        async with open_directory(config) as directory, open_queue(config) as queue:
            account = await directory.account(Actor.console(), target)
            await directory.record(Actor.console(), "mailbox.unlock", str(target))
            return await queue.unlock(account.id)

    state = "unlocked" if run(operation) else "not-locked"
    console.answer({"address": str(target), "change": state}, f"{target}: {state.replace('-', ' ')}")
