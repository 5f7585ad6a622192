"""`beffroi store verify [DOMAIN] [--repair] | rebuild [DOMAIN] | recycle ADDRESS`."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from beffroi.cli.console import console, refuse, run
from beffroi.cli.lengthy import lengthy
from beffroi.cli.parse import address_argument
from beffroi.rooms import open_directory, open_store
from core.config import Config
from directory.rules import lookup_domain
from directory.types import Actor
from store.store import Store

app = typer.Typer(no_args_is_help=True, help="The message store.")


@app.command("verify")
def verify(
    domain: str = typer.Argument(""),
    repair: bool = typer.Option(False, "--repair", help="Then mend what is wrong, and look again."),
) -> None:
    """Compare files, index and directory; one line per fault, exit code 1 when there is one."""
    from store import custody

    async def operation(config: Config) -> list[str]:
        async with (
            lengthy(shown=not console.json) as progress,
            open_directory(config) as directory,
            open_store(config) as store,
        ):
            found = await custody.compare(directory, store, domain or None, progress.tell)
            if not found or not repair:
                return found
            for fault in found:
                console.warn(f"mending {fault}")
            await custody.repair(directory, store, domain or None, progress.tell)
            return await custody.compare(directory, store, domain or None, progress.tell)

    faults = run(operation)
    console.answer(faults, "\n".join(faults) or "no fault found")
    if faults:
        raise SystemExit(1)


@app.command("rebuild")
def rebuild(domain: str = typer.Argument("")) -> None:
    """Make every index again from the files."""

    async def operation(config: Config) -> tuple[int, Sequence[str]]:
        async with lengthy(shown=not console.json) as progress, open_store(config) as store:
            wanted = await _known(config, store, domain)
            count = await store.rebuild(wanted, progress.tell)
            await store.fill_text(wanted)
            return count, await store.administration.left_alone(wanted)

    count, left = run(operation)
    for line in left:
        console.warn(line)
    console.answer({"messages": count, "left": left}, f"{count} messages indexed")


@app.command("restored")
def restored(domain: str = typer.Argument("")) -> None:
    """After files came back from a copy that `beffroi backup` did not make: no UID is given twice. Exit code 1 when a
    folder or an account could not be read: it is named, and all others go on."""

    async def operation(config: Config) -> tuple[int, Sequence[str]]:
        async with open_store(config) as store:
            return await store.administration.raise_numbers(await _known(config, store, domain))

    count, left_out = run(operation)
    value = {"accounts": count, "left_out": list(left_out)}
    console.answer(value, f"{count} accounts go on with new numbers")
    if left_out:
        told = [f"no new numbers: {line}" for line in left_out]
        refuse("\n".join([*told, "run it again once these can be read"]))


async def _known(config: Config, store: Store, domain: str) -> str | None:
    """A domain that has mail here, or is one of ours at least, in its canonical form; None: all. The directory is asked
    only where no mail is found. Raises NotFoundError."""
    if not domain:
        return None
    name = lookup_domain(domain)
    if name is not None and await store.administration.on_disk(name):
        return name
    async with open_directory(config) as directory:
        return (await directory.domain(Actor.console(), domain)).name


@app.command("recycle")
def recycle(address: str) -> None:
    """Move mail whose mailbox is gone, and which waits at a new mailbox's address, into the recycle bin."""
    from store import custody

    target = address_argument(address)

    async def operation(config: Config) -> None:
        async with open_directory(config) as directory, open_store(config) as store:
            await custody.recycle_leftover(directory, store, Actor.console(), target)

    run(operation)
    console.answer({"address": str(target), "change": "recycled"}, f"{target}: moved to the recycle bin")
