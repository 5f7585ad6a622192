"""`beffroi admin add NAME --role operator|organisation [--organisation ORG] | postmaster ADDRESS`."""

from __future__ import annotations

import typer

from beffroi.cli.console import console, run
from beffroi.cli.parse import address_argument
from beffroi.rooms import open_directory
from core.config import Config
from core.log import Secret
from directory.types import Actor, Administrator, Role

app = typer.Typer(no_args_is_help=True, help="Administrators and their tokens.")


@app.command("add")
def add(
    name: str,
    role: Role = typer.Option(..., help="operator: all organisations; organisation: one commune."),
    organisation: str = typer.Option("", help="Name or id; needed for the role organisation."),
) -> None:
    """Add an administrator; the bearer token is printed once and kept nowhere."""

    async def operation(config: Config) -> tuple[Administrator, Secret]:
        async with open_directory(config) as directory:
            return await directory.add_administrator(Actor.console(), name, role, organisation or None)

    administrator, token = run(operation)
    value = {"name": administrator.name, "role": administrator.role.value, "token": token.reveal()}
    console.answer(value, token.reveal())


@app.command("postmaster")
def postmaster(address: str) -> None:
    """Where postmaster@ and abuse@ of this host, and of communes without a mailbox, lead."""
    target = address_argument(address)

    async def operation(config: Config) -> None:
        async with open_directory(config) as directory:
            await directory.set_operator_postmaster(Actor.console(), target)

    run(operation)
    console.answer({"postmaster": str(target)}, f"postmaster and abuse lead to {target}")
