"""`beffroi share add OWNER GRANTEE --rights write [--send-as] [--set-quota] | list OWNER | remove OWNER GRANTEE`."""

from __future__ import annotations

import typer

from beffroi.cli.console import console, refuse, run
from beffroi.cli.parse import address_argument
from beffroi.rooms import open_directory
from core.address import Address
from core.config import Config
from directory import rights
from directory.rights import ANYONE
from directory.types import Actor, Share

app = typer.Typer(no_args_is_help=True, help="Mailboxes that several people read and write, within one commune.")


def view(item: Share) -> dict[str, object]:
    return {
        "owner": str(item.owner),
        "grantee": str(item.grantee or ANYONE),
        "rights": rights.letters(item.rights),
        "send_as": item.send_as,
        "set_quota": item.set_quota,
    }


def _grantee(text: str) -> Address | None:
    return None if text == ANYONE else address_argument(text)


@app.command("add")
def add(
    owner: str,
    grantee: str = typer.Argument(help='An address, or "anyone": everybody of the commune.'),
    wanted: str = typer.Option("write", "--rights", help="read, write, manage, or letters of lrswipkxtea."),
    send_as: bool = typer.Option(False, "--send-as", help="They may also send in its name."),
    set_quota: bool = typer.Option(False, "--set-quota", help="They may also set its quota by IMAP; needs manage."),
) -> None:
    """Share all folders of a mailbox; replaces what they had there."""
    target, other = address_argument(owner), _grantee(grantee)
    try:
        granted = rights.bundle(wanted)
    except ValueError as error:
        refuse(f"{wanted}: {error}")

    async def operation(config: Config) -> Share:
        async with open_directory(config) as directory:
            return await directory.sharing.share(
                Actor.console(), target, other, granted, send_as=send_as, set_quota=set_quota
            )

    shared = run(operation)
    console.answer(view(shared), f"{shared.owner} is shared with {shared.grantee or ANYONE}")


@app.command("list")
def list_(owner: str) -> None:
    """With whom a mailbox is shared."""
    target = address_argument(owner)

    async def operation(config: Config) -> list[Share]:
        async with open_directory(config) as directory:
            return list(await directory.sharing.shares(Actor.console(), target))

    console.table([view(item) for item in run(operation)], ("owner", "grantee", "rights", "send_as", "set_quota"))


@app.command("remove")
def remove(owner: str, grantee: str) -> None:
    """Take everything back that they had there, sending included."""
    target, other = address_argument(owner), _grantee(grantee)

    async def operation(config: Config) -> None:
        async with open_directory(config) as directory:
            await directory.sharing.unshare(Actor.console(), target, other)

    run(operation)
    console.answer({"owner": str(target), "removed": grantee}, f"{target} is no longer shared with {grantee}")
