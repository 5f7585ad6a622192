"""`beffroi backup DIR`: a copy of the whole installation, taken while it serves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from beffroi.cli.console import console, refuse, run
from core.config import Config

if TYPE_CHECKING:
    from store.backup import Copied


def backup(directory: Path) -> None:
    """Copy everything that must survive into DIR: empty, or an earlier backup, which is brought up to date. Exit code 1
    when something could not be read: it is named, and all else is copied."""
    target = directory.absolute()

    async def operation(config: Config) -> Copied:
        from beffroi.backup import run as back_up

        return await asyncio.to_thread(back_up, config, console.config_path, target)

    done = run(operation)
    value: dict[str, object] = {"directory": str(target), "accounts": done.accounts, "messages": done.messages}
    value |= {"copied": done.new, "left_out": done.left_out, "more_left_out": done.more_left_out}
    console.answer(value, f"{target}: {done.messages} messages of {done.accounts} accounts, {done.new} copied now")
    if done.left_out:
        lines = [f"not copied: {path}: {cause}" for path, cause in done.left_out.items()]
        if done.more_left_out:
            lines.append("not copied: more, which the log names (backup-left-out)")
        refuse("\n".join(lines))
