"""`beffroi dkim rotate DOMAIN`."""

from __future__ import annotations

import typer

from beffroi.cli.console import console, run
from beffroi.rooms import open_directory, open_keyring
from core.config import Config
from directory.types import Actor, DkimKey
from dkim_keys.records import dkim_records

app = typer.Typer(no_args_is_help=True, help="DKIM keys.")


@app.callback()
def family() -> None:
    """Keeps `rotate` a subcommand although it is the only one."""


@app.command("rotate")
def rotate(domain: str) -> None:
    """Make new keys and print the records to publish; they sign once they have been published long enough."""

    async def operation(config: Config) -> list[DkimKey]:
        async with open_directory(config) as directory:
            hosted = await directory.domain(Actor.console(), domain)
            await directory.record(Actor.console(), "dkim.rotate", hosted.name)
            return list(await open_keyring(config, directory).rotate(hosted.name))

    keys = run(operation)
    records = dkim_records(keys)
    value = [{"selector": k.selector, "algorithm": k.algorithm, "state": k.state.value} for k in keys]
    console.answer(value, "\n".join(record.zone_line() for record in records))
