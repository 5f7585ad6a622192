"""SQL of aliases and their targets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.address import Address
from directory.models import AddressRow, AliasRow, AliasTargetRow, DomainRow
from directory.types import Alias


class Aliases:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, alias: Alias, *, domain_id: str, address_id: str, created_ms: int) -> None:
        address = alias.address
        await self._session.execute(
            insert(AddressRow).values(id=address_id, key=address.key, local=address.local, domain_id=domain_id)
        )
        await self._session.execute(
            insert(AliasRow).values(
                id=alias.id, address_id=address_id, organisation_id=alias.organisation_id, created_ms=created_ms
            )
        )
        await self._session.execute(insert(AliasTargetRow), _targets(alias))

    async def by_key(self, key: str) -> Alias | None:
        row = (await self._session.execute(_select().where(AddressRow.key == key))).first()
        if not row:
            return None
        return _value(row, (await self.targets([row.id]))[row.id])

    async def all(self, bound: str | None, domain: str | None) -> Sequence[Alias]:
        query = _select().order_by(DomainRow.name, AddressRow.key)
        if bound is not None:
            query = query.where(AliasRow.organisation_id == bound)
        if domain is not None:
            query = query.where(DomainRow.name == domain)
        rows = (await self._session.execute(query)).all()
        targets = await self._targets_of(query)
        return [_value(row, targets.get(row.id, ())) for row in rows]

    async def targets(self, alias_ids: Collection[str]) -> Mapping[str, tuple[Address, ...]]:
        """In their order, by alias id."""
        query = select(AliasTargetRow).where(AliasTargetRow.alias_id.in_(list(alias_ids)))
        return await self._collect(query)

    async def leading_to(self, keys: Collection[str]) -> Sequence[Alias]:
        """Aliases of which one of these address keys is a target."""
        inside = select(AliasTargetRow.alias_id).where(AliasTargetRow.key.in_(list(keys)))
        query = _select().where(AliasRow.id.in_(inside))
        rows = (await self._session.execute(query)).all()
        targets = await self._targets_of(query)
        return [_value(row, targets.get(row.id, ())) for row in rows]

    async def remove(self, alias: Alias) -> None:
        await self._session.execute(delete(AliasTargetRow).where(AliasTargetRow.alias_id == alias.id))
        await self._session.execute(delete(AliasRow).where(AliasRow.id == alias.id))
        await self._session.execute(delete(AddressRow).where(AddressRow.key == alias.address.key))

    async def drop_target(self, key: str, alias_ids: Collection[str]) -> None:
        """Of these aliases only."""
        here = AliasTargetRow.alias_id.in_(list(alias_ids))
        await self._session.execute(delete(AliasTargetRow).where(AliasTargetRow.key == key, here))

    async def _targets_of(self, aliases: Select[*tuple[Any, ...]]) -> Mapping[str, tuple[Address, ...]]:
        ids = aliases.order_by(None).with_only_columns(AliasRow.id, maintain_column_froms=True)
        return await self._collect(select(AliasTargetRow).where(AliasTargetRow.alias_id.in_(ids)))

    async def _collect(self, query: Select[AliasTargetRow]) -> Mapping[str, tuple[Address, ...]]:
        found: dict[str, tuple[Address, ...]] = {}
        for row in await self._session.scalars(query.order_by(AliasTargetRow.alias_id, AliasTargetRow.position)):
            found[row.alias_id] = (*found.get(row.alias_id, ()), Address(row.local, row.domain))
        return found


def _select() -> Select[*tuple[Any, ...]]:
    return (
        select(AliasRow.id, AddressRow.local, DomainRow.name.label("domain"), AliasRow.organisation_id)
        .select_from(AliasRow)
        .join(AddressRow, AliasRow.address_id == AddressRow.id)
        .join(DomainRow, AddressRow.domain_id == DomainRow.id)
    )


def _value(row: Row[*tuple[Any, ...]], targets: tuple[Address, ...]) -> Alias:
    return Alias(row.id, Address(row.local, row.domain), targets, row.organisation_id)


def _targets(alias: Alias) -> list[dict[str, object]]:
    return [
        {"alias_id": alias.id, "position": place, "local": target.local, "domain": target.domain, "key": target.key}
        for place, target in enumerate(alias.targets)
    ]
