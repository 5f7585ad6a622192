"""`beffroi mailbox add | list | show | passwd | quota | suspend | resume | remove | import`;
`adopt`, `recycled`, `restore` have files of their own."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from beffroi.cli import adopting, recycling, sending, vacation
from beffroi.cli.console import console, refuse, run
from beffroi.cli.parse import address_argument, octets
from beffroi.rooms import open_directory, open_queue_administration, open_store
from core.address import Address
from core.config import Config
from core.log import Secret
from directory import policy
from directory.types import Account, Actor
from store.types import AccountRef

if TYPE_CHECKING:
    from delivery.types import QueueAdministration
    from directory.directory import Directory

app = typer.Typer(no_args_is_help=True, help="Mailboxes of people and functions.")
app.command("adopt")(adopting.adopt)
app.command("recycled")(recycling.recycled)
app.command("restore")(recycling.restore)
app.command("unlock")(sending.unlock)
app.command("vacation")(vacation.vacation)

QUOTA = typer.Option("0", help="For example 5G; 0 is unlimited.")
PASSWORD_STDIN = typer.Option(False, "--password-stdin", help="Read the password from standard input.")


def view(account: Account) -> dict[str, object]:
    return {
        "address": str(account.address),
        "id": account.id,
        "display_name": account.display_name,
        "quota": account.quota,
        "state": account.state.value,
        "shared": account.shared,
    }


def read_password() -> Secret:
    """One line of standard input, without its line end; asked for twice on a terminal."""
    if sys.stdin.isatty():
        return Secret(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return Secret(sys.stdin.readline().rstrip("\r\n"))


@app.command("add")
def add(
    address: str,
    password_stdin: bool = PASSWORD_STDIN,
    quota: str = QUOTA,
    display_name: str = typer.Option(""),
    shared: bool = typer.Option(False, "--shared", help="Of a function: others find it under Shared."),
) -> None:
    """Add a mailbox; without a password nobody can log in to it yet."""
    target, room = address_argument(address), octets(quota)
    password = read_password() if password_stdin else None

    async def operation(config: Config) -> Account:
        async with open_directory(config) as directory:
            return await directory.add_account(
                Actor.console(), target, password=password, quota=room, display_name=display_name, shared=shared
            )

    account = run(operation)
    console.answer(view(account), f"mailbox {account.address} added")
    if password is not None:
        _warn_if_weak(password, target)


@app.command("list")
def list_(domain: str = typer.Option("", help="Only this domain.")) -> None:
    """All mailboxes."""

    async def operation(config: Config) -> list[Account]:
        async with open_directory(config) as directory:
            return list(await directory.accounts(Actor.console(), domain or None))

    console.table([view(item) for item in run(operation)], ("address", "display_name", "quota", "state"))


@app.command("show")
def show(address: str) -> None:
    """One mailbox, and whether its sending is locked; its size comes from the index, no message is opened."""
    target = address_argument(address)

    async def operation(config: Config) -> dict[str, object]:
        async with (
            open_directory(config) as directory,
            open_store(config) as store,
            open_queue_administration(config) as queue,
        ):
            account = await directory.account(Actor.console(), target)
            size, messages = await (await store.account(AccountRef.of(account))).usage()
            locked = await queue.locked(account.id)
            return {**view(account), "octets": size, "messages": messages, "sending_locked": locked}

    value = run(operation)
    console.answer(value, "\n".join(f"{key}: {item}" for key, item in value.items()))


@app.command("passwd")
def passwd(address: str, password_stdin: bool = PASSWORD_STDIN) -> None:
    """Set a mailbox's password; its sessions end within seconds."""
    target = address_argument(address)
    if not password_stdin and not sys.stdin.isatty():
        refuse("standard input is not a terminal: use --password-stdin")
    password = read_password()
    _change(target, lambda directory: directory.set_password(Actor.console(), target, password), "password set")
    _warn_if_weak(password, target)


@app.command("quota")
def quota_(address: str, quota: str) -> None:
    """How much a mailbox may hold, for example 5G; 0 is unlimited."""
    target, room = address_argument(address), octets(quota)
    _change(target, lambda directory: directory.set_quota(Actor.console(), target, room), f"quota {quota}")


@app.command("suspend")
def suspend(address: str) -> None:
    """No login and no sending any more, and what is queued is held; mail is still received."""
    from delivery import standing

    _stand(address, standing.suspend, "suspended")


@app.command("resume")
def resume(address: str) -> None:
    """Undo `suspend`."""
    from delivery import standing

    _stand(address, standing.resume, "active")


@app.command("remove")
def remove(address: str) -> None:
    """Remove a mailbox; its mail goes to the recycle bin. May be repeated when the disk refused the first time."""
    from delivery import standing

    target = address_argument(address)

    async def operation(config: Config) -> None:
        async with (
            open_directory(config) as directory,
            open_store(config) as store,
            open_queue_administration(config) as queue,
        ):
            await standing.remove(directory, store, queue, Actor.console(), target)

    run(operation)
    console.answer({"address": str(target), "change": "removed"}, f"{target}: removed")


@app.command("import")
def import_(file: Path, dry_run: bool = typer.Option(False, "--dry-run")) -> None:
    """Add mailboxes from a CSV: address, password or argon2id hash, quota, display name."""
    from beffroi.cli.importing import import_mailboxes

    import_mailboxes(file, dry_run=dry_run)


def _warn_if_weak(password: Secret, address: Address) -> None:
    """From the console a weak password is taken, but not in silence; REST refuses it."""
    weakness = policy.weakness(password.reveal(), address)
    if weakness:
        console.warn(f"the password of {address} is easy to guess ({weakness})")


def _stand(
    address: str, change: Callable[[Directory, QueueAdministration, Actor, Address], Awaitable[None]], done: str
) -> None:
    """`change` as `delivery.standing` has them: the directory first, then what is queued."""
    target = address_argument(address)

    async def operation(config: Config) -> None:
        async with open_directory(config) as directory, open_queue_administration(config) as queue:
            await change(directory, queue, Actor.console(), target)

    _done(operation, target, done)


def _change(address: Address, change: Callable[[Directory], Awaitable[object]], done: str) -> None:
    async def operation(config: Config) -> None:
        async with open_directory(config) as directory:
            await change(directory)

    _done(operation, address, done)


def _done(operation: Callable[[Config], Awaitable[None]], address: Address, done: str) -> None:
    run(operation)
    console.answer({"address": str(address), "change": done}, f"{address}: {done}")
