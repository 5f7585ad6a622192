"""Domains: the records to publish, their check, their DKIM keys."""

from __future__ import annotations

from fastapi import APIRouter, status

from admin_api.access import AnyAdministrator, OperatorOnly, Rooms
from admin_api.paging import MAX_PAGE, After, Limit, page
from admin_api.schemas import DkimKeyOut, DnsRecordOut, DomainCreated, DomainIn, DomainOut, RecordCheckOut
from admin_api.services import Services
from directory.types import Actor
from dkim_keys.check import check_domain
from dkim_keys.client_records import client_records
from dkim_keys.domain_setup import add_hosted_domain
from dkim_keys.records import DnsRecord, domain_records

router = APIRouter(tags=["domains"])


async def expected(rooms: Services, actor: Actor, name: str) -> list[DnsRecord]:
    domain = await rooms.directory.domain(actor, name)
    keys = await rooms.directory.dkim_keys(domain.name)
    return [
        *domain_records(domain.name, rooms.hostname, keys, sts_policy=rooms.sts_policy),
        *client_records(domain.name, rooms.hostname, rooms.client_services),
    ]


@router.get("/domains")
async def list_domains(
    actor: AnyAdministrator, rooms: Rooms, after: After = "", limit: Limit = MAX_PAGE
) -> list[DomainOut]:
    """Sorted by name, which is the key of `after`."""
    domains = await rooms.directory.domains(actor)
    return [DomainOut.of(item) for item in page(domains, lambda domain: domain.name, after, limit)]


@router.post("/domains", status_code=status.HTTP_201_CREATED)
async def add_domain(wanted: DomainIn, actor: OperatorOnly, rooms: Rooms) -> DomainCreated:
    """Adds the domain and makes its DKIM keys; the answer holds the DNS records to publish."""
    domain = await add_hosted_domain(rooms.directory, rooms.keyring, actor, wanted.name, wanted.organisation)
    records = [DnsRecordOut.of(record) for record in await expected(rooms, actor, domain.name)]
    return DomainCreated(**DomainOut.of(domain).model_dump(), records=records)


@router.get("/domains/{name}")
async def show_domain(name: str, actor: AnyAdministrator, rooms: Rooms) -> DomainOut:
    return DomainOut.of(await rooms.directory.domain(actor, name))


@router.delete("/domains/{name}", status_code=status.HTTP_204_NO_CONTENT)
async def remove_domain(name: str, actor: OperatorOnly, rooms: Rooms) -> None:
    """409 while it still has mailboxes or aliases."""
    await rooms.directory.remove_domain(actor, name)


@router.get("/domains/{name}/dns")
async def dns_records(name: str, actor: AnyAdministrator, rooms: Rooms) -> list[DnsRecordOut]:
    """MX, SPF, DKIM and DMARC records to publish, and those that mail programs look for."""
    return [DnsRecordOut.of(record) for record in await expected(rooms, actor, name)]


@router.get("/domains/{name}/check")
async def check_records(name: str, actor: AnyAdministrator, rooms: Rooms) -> list[RecordCheckOut]:
    """The records as the DNS shows them now, against the expected ones."""
    checks = await check_domain(rooms.resolver, await expected(rooms, actor, name))
    return [
        RecordCheckOut(
            name=item.record.name, type=item.record.type, status=item.status.value, good=item.good,
            expected=item.record.value, observed=list(item.observed),
        )
        for item in checks
    ]  # fmt: skip


@router.post("/domains/{name}/dkim/rotate")
async def rotate_keys(name: str, actor: AnyAdministrator, rooms: Rooms) -> list[DkimKeyOut]:
    """Makes new keys; they sign once their records have been published long enough. The audit has who asked for it:
    keys are the system's."""
    domain = await rooms.directory.domain(actor, name)
    await rooms.directory.record(actor, "dkim.rotate", domain.name)
    keys = await rooms.keyring.rotate(domain.name)
    return [DkimKeyOut(selector=key.selector, algorithm=key.algorithm, state=key.state.value) for key in keys]
