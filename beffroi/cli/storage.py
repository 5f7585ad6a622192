"""`beffroi store verify [DOMAIN] | rebuild [DOMAIN]`."""

from __future__ import annotations

import typer

from beffroi.cli.console import console, run
from beffroi.rooms import open_store
from core.config import Config

app = typer.Typer(no_args_is_help=True, help="The message store.")


@app.command("verify")
def verify(domain: str = typer.Argument("")) -> None:
    """Compare files and index; one line per fault, exit code 1 when there is one."""

    async def operation(config: Config) -> list[str]:
        async with open_store(config) as store:
            return list(await store.verify(domain or None))

    faults = run(operation)
    console.answer(faults, "\n".join(faults) or "no fault found")
    if faults:
        raise SystemExit(1)


@app.command("rebuild")
def rebuild(domain: str = typer.Argument("")) -> None:
    """Make every index again from the files."""

    async def operation(config: Config) -> int:
        async with open_store(config) as store:
            return await store.rebuild(domain or None)

    count = run(operation)
    console.answer({"messages": count}, f"{count} messages indexed")
