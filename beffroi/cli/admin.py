"""`beffroi admin add NAME --role operator|organisation [--organisation ORG] | list | remove NAME [--organisation ORG]
| postmaster ADDRESS`."""

from __future__ import annotations

from collections.abc import Mapping

import typer

from beffroi.cli.console import console, run
from beffroi.cli.parse import address_argument
from beffroi.rooms import open_directory
from core.config import Config
from core.log import Secret
from directory.types import Actor, Administrator, Role

app = typer.Typer(no_args_is_help=True, help="Administrators and their tokens.")


def view(item: Administrator, organisations: Mapping[str, str]) -> dict[str, object]:
    """`organisations`: names by id."""
    return {
        "name": item.name,
        "role": item.role.value,
        "organisation": organisations.get(item.organisation_id or ""),
        "id": item.id,
    }


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


@app.command("list")
def list_() -> None:
    """All administrators, without their tokens, which nobody knows any more."""

    async def operation(config: Config) -> list[dict[str, object]]:
        async with open_directory(config) as directory:
            names = {item.id: item.name for item in await directory.organisations(Actor.console())}
            return [view(item, names) for item in await directory.administrators(Actor.console())]

    console.table(run(operation), ("name", "role", "organisation", "id"))


@app.command("remove")
def remove(
    name: str,
    organisation: str | None = typer.Option(None, help="Name or id of the commune; absent: an operator."),
) -> None:
    """Remove an administrator; the token stops at once. The last operator stays."""

    async def operation(config: Config) -> None:
        async with open_directory(config) as directory:
            await directory.remove_administrator(Actor.console(), name, organisation)

    run(operation)
    console.answer({"removed": name}, f"administrator {name} removed")


@app.command("postmaster")
def postmaster(address: str) -> None:
    """Where postmaster@ and abuse@ of this host, and of communes without a mailbox, lead."""
    target = address_argument(address)

    async def operation(config: Config) -> None:
        async with open_directory(config) as directory:
            await directory.set_operator_postmaster(Actor.console(), target)

    run(operation)
    console.answer({"postmaster": str(target)}, f"postmaster and abuse lead to {target}")
