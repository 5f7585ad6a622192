"""`beffroi mailbox adopt`: a mailbox that Dovecot served moves here, and mail programs do not notice."""

from __future__ import annotations

from pathlib import Path

import typer

from beffroi.cli.console import console, run
from beffroi.cli.parse import address_argument
from beffroi.rooms import open_directory, open_store
from core.config import Config
from directory.types import Actor
from store.types import AccountRef, Adopted

PREPARE = typer.Option(False, "--prepare", help="Only copy; run again without it when Dovecot has stopped.")


def adopt(address: str, maildir: Path, prepare: bool = PREPARE) -> None:
    """Copy a Dovecot Maildir into a mailbox that holds no mail yet, with its UIDs, flags and dates."""
    target, source = address_argument(address), maildir.absolute()

    async def operation(config: Config) -> Adopted:
        async with open_directory(config) as directory, open_store(config) as store:
            ref = AccountRef.of(await directory.account(Actor.console(), target))
            await directory.record(Actor.console(), "mailbox.adopt", str(target))
            return await store.administration.adopt(ref, source, finish=not prepare)

    done = run(operation)
    value = {
        "address": str(target),
        "folders": done.folders,
        "messages": done.messages,
        "octets": done.octets,
        "copied": done.copied,
        "renumbered": list(done.renumbered),
        "finished": not prepare,
    }
    for folder in done.renumbered:
        console.warn(
            f"{folder}: no dovecot-uidlist with it (is it elsewhere, CONTROL= in mail_location?): mail programs will "
            "download this folder again"
        )
    state = "prepared" if prepare else "adopted"
    console.answer(
        value, f"{target}: {done.messages} messages in {done.folders} folders {state}, {done.copied} copied now"
    )
