"""`beffroi mailbox recycled | restore`: the recycle bin, and mail brought back from it or from a backup."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from beffroi.cli.console import console, refuse, run
from beffroi.cli.parse import address_argument
from beffroi.rooms import open_directory, open_store
from core.config import Config
from core.errors import NotFoundError, QuotaError
from directory.types import Actor
from store.store import StoreAdministration
from store.types import AccountRef, Recycled, Restored

if TYPE_CHECKING:
    from directory.directory import Directory

ITEM = typer.Option([], "--item", help="Only this item of the recycle bin; may be repeated.")
FROM = typer.Option(None, "--from", help="A copy of the data directory instead of the recycle bin.")
FOLDER = typer.Option("", help="With --from: only this folder and what is below it.")
IN_PLACE = typer.Option(False, "--in-place", help="A removed mailbox becomes this new, empty one, as it was.")


def view(item: Recycled) -> dict[str, object]:
    removed = datetime.datetime.fromtimestamp(item.removed_at, datetime.UTC)
    return {
        "item": item.id,
        "address": item.address,
        "folder": item.folder,
        "removed": removed.isoformat(timespec="seconds"),
        "messages": item.messages,
        "octets": item.octets,
    }


def recycled(address: str = typer.Argument("")) -> None:
    """What lies in the recycle bin: removed mailboxes (no folder) and deleted folders."""
    wanted = str(address_argument(address)).casefold() if address else ""

    async def operation(config: Config) -> Sequence[Recycled]:
        async with open_store(config) as store:
            return await store.administration.recycled()

    rows = [view(item) for item in run(operation) if wanted in ("", item.address)]
    console.table(rows, ("item", "address", "folder", "removed", "messages", "octets"))


async def _from_copy(
    directory: Directory, administration: StoreAdministration, ref: AccountRef, copy: Path, folder: str | None
) -> Restored:
    """Audited behind, as only the store sees whether the copy has anything; where it fails midway some may be here."""
    came = True
    try:
        done = await administration.restore_copy(ref, copy, folder)
        came = bool(done.folder)
        return done
    except (NotFoundError, QuotaError):
        came = False
        raise
    finally:
        if came:
            await directory.record(Actor.console(), "mailbox.restore", ref.address)


def restore(
    address: str,
    item: list[str] = ITEM,
    from_: Path | None = FROM,
    folder: str = FOLDER,
    in_place: bool = IN_PLACE,
) -> None:
    """Bring mail back beside what the mailbox has, in folders below "Restauration <date>". The mailbox must exist: one
    that was removed is added again first, and then, while it is empty, is what it was with --in-place. Exit code 1
    when some of it could not be read: it is named, and everything else comes."""
    from store.custody import restore_items, restored_into

    if (from_ is not None and (item or in_place)) or (folder and from_ is None):
        refuse("--from goes with --folder; --item and --in-place are about the recycle bin")
    target, copy = address_argument(address), from_.absolute() if from_ else None

    async def operation(config: Config) -> Restored:
        async with open_directory(config) as directory, open_store(config) as store:
            ref = await restored_into(directory, store.administration, Actor.console(), target)
            if copy is None:
                return await restore_items(
                    directory, store.administration, Actor.console(), ref, item, in_place=in_place
                )
            return await _from_copy(directory, store.administration, ref, copy, folder or None)

    done = run(operation)
    value: dict[str, object] = {"address": str(target), "folder": done.folder, "folders": done.folders}
    value |= {"messages": done.messages, "left_out": list(done.left_out)}
    console.answer(
        value, f"{target}: {done.messages} messages restored" + (f" to {done.folder}" if done.folder else "")
    )
    if done.left_out:
        refuse("\n".join(f"not restored: {line}" for line in done.left_out))
