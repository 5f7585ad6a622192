"""`beffroi organisation add NAME | list | quota NAME [SIZE] | suspend NAME | resume NAME`."""

from __future__ import annotations

import typer

from beffroi.cli.console import console, run
from beffroi.cli.parse import octets
from beffroi.rooms import open_directory, open_queue_administration, open_store
from core.config import Config
from directory.types import Actor, Organisation, State

app = typer.Typer(no_args_is_help=True, help="Communes and other bodies the installation serves.")


def view(organisation: Organisation) -> dict[str, object]:
    return {
        "name": organisation.name,
        "id": organisation.id,
        "state": organisation.state.value,
        "quota": organisation.quota,
    }


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


@app.command("quota")
def quota(
    name: str, size: str = typer.Argument("", help="For example 500G; 0 is unlimited; absent: only show.")
) -> None:
    """How much all mailboxes of an organisation may hold together, and what they hold."""
    ceiling = octets(size) if size else None

    async def operation(config: Config) -> tuple[Organisation, int]:
        async with open_directory(config) as directory, open_store(config) as store:
            found = await directory.organisation(Actor.console(), name)
            if ceiling is not None:
                found = await directory.set_organisation_quota(Actor.console(), found.id, ceiling)
            return found, await store.administration.organisation_octets(found.id)

    organisation, used = run(operation)
    room = str(organisation.quota) if organisation.quota else "unlimited"
    console.answer({**view(organisation), "octets": used}, f"{organisation.name}: {used} octets of {room}")


@app.command("suspend")
def suspend(name: str) -> None:
    """None of its mailboxes may log in or send, and what they have queued is held; they still receive."""
    _set_state(name, State.SUSPENDED)


@app.command("resume")
def resume(name: str) -> None:
    """Undo `suspend`; mailboxes that were suspended one by one stay so."""
    _set_state(name, State.ACTIVE)


def _set_state(name: str, state: State) -> None:
    from delivery import standing

    async def operation(config: Config) -> Organisation:
        async with open_directory(config) as directory, open_queue_administration(config) as queue:
            return await standing.set_organisation_state(directory, queue, Actor.console(), name, state)

    organisation = run(operation)
    console.answer(view(organisation), f"{organisation.name}: {organisation.state.value}")
