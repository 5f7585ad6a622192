"""`beffroi organisation add NAME | list`."""

from __future__ import annotations

import typer

from beffroi.cli.console import console, run
from beffroi.rooms import open_directory
from core.config import Config
from directory.types import Actor, Organisation

app = typer.Typer(no_args_is_help=True, help="Communes and other bodies the installation serves.")


def view(organisation: Organisation) -> dict[str, object]:
    return {"name": organisation.name, "id": organisation.id, "state": organisation.state.value}


@app.command("add")
def add(name: str) -> None:
    """Add an organisation (a commune)."""

    async def operation(config: Config) -> Organisation:
        async with open_directory(config) as directory:
            return await directory.add_organisation(Actor.console(), name)

    organisation = run(operation)
    console.answer(view(organisation), f"organisation {organisation.name} added")


@app.command("list")
def list_() -> None:
    """All organisations."""

    async def operation(config: Config) -> list[Organisation]:
        async with open_directory(config) as directory:
            return list(await directory.organisations(Actor.console()))

    console.table([view(item) for item in run(operation)], ("name", "id", "state"))
