"""`beffroi alias add ADDRESS TARGET… | list | remove ADDRESS`."""

from __future__ import annotations

import typer

from beffroi.cli.console import console, run
from beffroi.cli.parse import address_argument
from beffroi.rooms import open_directory
from core.config import Config
from directory.types import Actor, Alias

app = typer.Typer(no_args_is_help=True, help="Addresses that lead to others.")


def view(alias: Alias) -> dict[str, object]:
    return {"address": str(alias.address), "targets": [str(target) for target in alias.targets]}


@app.command("add")
def add(address: str, targets: list[str]) -> None:
    """Add an alias with one or more targets."""
    source, destinations = address_argument(address), [address_argument(target) for target in targets]

    async def operation(config: Config) -> Alias:
        async with open_directory(config) as directory:
            return await directory.add_alias(Actor.console(), source, destinations)

    alias = run(operation)
    console.answer(view(alias), f"alias {alias.address} added")


@app.command("list")
def list_(domain: str = typer.Option("", help="Only this domain.")) -> None:
    """All aliases."""

    async def operation(config: Config) -> list[Alias]:
        async with open_directory(config) as directory:
            return list(await directory.aliases(Actor.console(), domain or None))

    console.table([view(item) for item in run(operation)], ("address", "targets"))


@app.command("remove")
def remove(address: str) -> None:
    """Remove an alias."""
    source = address_argument(address)

    async def operation(config: Config) -> None:
        async with open_directory(config) as directory:
            await directory.remove_alias(Actor.console(), source)

    run(operation)
    console.answer({"removed": str(source)}, f"alias {source} removed")
