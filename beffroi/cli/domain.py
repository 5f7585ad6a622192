"""`beffroi domain add | list | show | dns | check | remove`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from beffroi.cli.console import console, run
from beffroi.rooms import open_directory, open_keyring, open_resolver
from core.config import Config
from core.domain import parents, to_unicode
from directory.types import Actor, Domain
from dkim_keys.check import RecordCheck, check_domain
from dkim_keys.client_records import client_records, client_services
from dkim_keys.records import DnsRecord, domain_records
from dkim_keys.sts_policy import policy_text

if TYPE_CHECKING:
    from directory.directory import Directory

app = typer.Typer(no_args_is_help=True, help="Mail domains, their DNS records and their checks.")


async def view(directory: Directory, domain: Domain) -> dict[str, object]:
    organisation = await directory.organisation(Actor.console(), domain.organisation_id)
    return {
        "name": domain.name,
        "display": to_unicode(domain.name),
        "organisation": organisation.name,
        "state": domain.state.value,
    }


def record_view(record: DnsRecord) -> dict[str, object]:
    return {"name": record.name, "type": record.type, "value": record.value, "purpose": record.purpose}


async def expected_records(config: Config, directory: Directory, name: str) -> list[DnsRecord]:
    domain = await directory.domain(Actor.console(), name)
    keys = await directory.dkim_keys(domain.name)
    return [
        *domain_records(domain.name, config.hostname, keys, sts_policy=policy_text(config)),
        *client_records(domain.name, config.hostname, client_services(config.listen)),
    ]


@app.command("add")
def add(name: str, organisation: str = typer.Option(..., help="Name or id of the organisation.")) -> None:
    """Add a domain and make its DKIM keys; prints the DNS records to publish."""
    from dkim_keys.domain_setup import add_hosted_domain

    async def operation(config: Config) -> tuple[dict[str, object], list[DnsRecord]]:
        async with open_directory(config) as directory:
            domain = await add_hosted_domain(
                directory, open_keyring(config, directory), Actor.console(), name, organisation
            )
            return await view(directory, domain), await expected_records(config, directory, domain.name)

    domain, records = run(operation)
    lines = "\n".join(record.zone_line() for record in records)
    console.answer({**domain, "records": [record_view(r) for r in records]}, lines)


@app.command("list")
def list_() -> None:
    """All domains."""

    async def operation(config: Config) -> list[dict[str, object]]:
        async with open_directory(config) as directory:
            return [await view(directory, item) for item in await directory.domains(Actor.console())]

    console.table(run(operation), ("name", "organisation", "state"))


@app.command("show")
def show(name: str) -> None:
    """One domain with its counts."""

    async def operation(config: Config) -> dict[str, object]:
        async with open_directory(config) as directory:
            domain = await directory.domain(Actor.console(), name)
            return {
                **await view(directory, domain),
                "mailboxes": len(await directory.accounts(Actor.console(), domain.name)),
                "aliases": len(await directory.aliases(Actor.console(), domain.name)),
                "dkim_keys": [
                    {"selector": key.selector, "algorithm": key.algorithm, "state": key.state.value}
                    for key in await directory.dkim_keys(domain.name)
                ],
            }

    value = run(operation)
    console.answer(value, "\n".join(f"{key}: {_words(item)}" for key, item in value.items()))


def _words(item: object) -> str:
    """A list of keys as people read it."""
    return "; ".join(" ".join(key.values()) for key in item) if isinstance(item, list) else str(item)


@app.command("dns")
def dns(name: str) -> None:
    """The records to publish, as zone file lines."""

    async def operation(config: Config) -> list[DnsRecord]:
        async with open_directory(config) as directory:
            return await expected_records(config, directory, name)

    records = run(operation)
    console.answer([record_view(r) for r in records], "\n".join(record.zone_line() for record in records))


@app.command("check")
def check(name: str) -> None:
    """Compare the published records with the expected ones; exit code 1 when one is wrong."""

    from dkim_keys.check import Status

    async def operation(config: Config) -> tuple[Sequence[RecordCheck], list[str], str]:
        async with open_directory(config) as directory:
            expected = await expected_records(config, directory, name)
            unsigned = await _unsigned_reports(config, directory)
            async with open_resolver(config) as resolver:
                return await check_domain(resolver, expected), config.dns.resolvers, unsigned

    checks, resolvers, unsigned = run(operation)
    if any(item.status is Status.UNKNOWN for item in checks):
        console.warn(f"no answer from the DNS for some; does a resolver answer at {', '.join(resolvers)}?")
    if unsigned:
        console.warn(unsigned)
    rows: list[dict[str, object]] = [
        {"name": c.record.name, "type": c.record.type, "status": c.status.value, "observed": list(c.observed)}
        for c in checks
    ]
    console.table(rows, ("name", "type", "status", "observed"))
    if any(not item.good for item in checks):
        raise SystemExit(1)


async def _unsigned_reports(config: Config, directory: Directory) -> str:
    """What keeps the daily TLS reports of this host from being mailed (`smtp.outbound.tls_reporter`)."""
    for name in parents(config.hostname):
        if await directory.hosted_domain(name) is not None:
            return ""
    return (
        f"hostname {config.hostname} lies in no domain that is hosted here: TLS reports to other domains cannot be "
        "signed and are not mailed (RFC 8460); add the domain it lies in, and publish its DKIM records"
    )


@app.command("remove")
def remove(name: str) -> None:
    """Remove a domain that has no mailbox any more."""

    async def operation(config: Config) -> None:
        async with open_directory(config) as directory:
            await directory.remove_domain(Actor.console(), name)

    run(operation)
    console.answer({"removed": name}, f"domain {name} removed")
