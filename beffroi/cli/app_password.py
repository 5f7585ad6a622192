"""`beffroi app-password add ADDRESS LABEL | list ADDRESS | remove ADDRESS ID`."""

from __future__ import annotations

import typer

from beffroi.cli.console import console, refuse, run
from beffroi.cli.parse import address_argument
from beffroi.rooms import CLOCK, open_directory
from core.config import Config, parse_duration
from core.log import Secret
from directory.types import Actor, AppPassword, Scope

app = typer.Typer(no_args_is_help=True, help="Passwords for one program or device each: a telephone, a copier.")

NETWORKS = typer.Option([], "--network", help="Where it may come from, for example 192.0.2.0/24; may be repeated.")


def view(item: AppPassword) -> dict[str, object]:
    return {
        "id": item.id,
        "label": item.label,
        "scope": item.scope.value,
        "networks": list(item.networks),
        "expires_at": item.expires_at,
        "bare_lines": item.bare_lines,
    }


@app.command("add")
def add(
    address: str,
    label: str,
    scope: Scope = typer.Option(Scope.MAIL, help="mail, imap, submission; send-only for copiers and programs."),
    network: list[str] = NETWORKS,
    expires: str = typer.Option("", help="After this time, for example 90d; never without."),
    bare_lines: bool = typer.Option(False, "--bare-lines", help="Mend the device's bare line ends (send-only)."),
) -> None:
    """Make one; it is printed once and kept nowhere."""
    target = address_argument(address)
    try:
        ends = CLOCK.now() + parse_duration(expires) if expires else None
    except ValueError as error:
        refuse(str(error))

    async def operation(config: Config) -> tuple[AppPassword, Secret]:
        async with open_directory(config) as directory:
            return await directory.add_app_password(
                Actor.console(), target, label, scope, networks=network, expires_at=ends, bare_lines=bare_lines
            )

    about, password = run(operation)
    console.answer({**view(about), "password": password.reveal()}, password.reveal())


@app.command("list")
def list_(address: str) -> None:
    """Those of a mailbox, without the passwords, which nobody knows any more."""
    target = address_argument(address)

    async def operation(config: Config) -> list[AppPassword]:
        async with open_directory(config) as directory:
            return list(await directory.app_passwords(Actor.console(), target))

    console.table([view(item) for item in run(operation)], ("id", "label", "scope", "networks", "expires_at"))


@app.command("remove")
def remove(address: str, id: str) -> None:
    """Take one back; sessions that it opened end within seconds."""
    target = address_argument(address)

    async def operation(config: Config) -> None:
        async with open_directory(config) as directory:
            await directory.remove_app_password(Actor.console(), target, id)

    run(operation)
    console.answer({"removed": id}, f"{target}: app password {id} removed")
