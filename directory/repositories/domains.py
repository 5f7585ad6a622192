"""SQL of domains."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, exists, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from directory.models import AddressRow, DomainRow
from directory.types import Domain, State

_COLUMNS = (DomainRow.id, DomainRow.name, DomainRow.organisation_id, DomainRow.state)
_BY_NAME = select(*_COLUMNS).where(DomainRow.name == bindparam("name"))


class Domains:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, domain: Domain, *, created_ms: int) -> None:
        await self._session.execute(
            insert(DomainRow).values(
                id=domain.id,
                name=domain.name,
                organisation_id=domain.organisation_id,
                state=domain.state.value,
                created_ms=created_ms,
            )
        )

    async def by_name(self, name: str) -> Domain | None:
        row = (await self._session.execute(_BY_NAME, {"name": name})).first()
        return _value(*row) if row else None

    async def all(self, bound: str | None) -> Sequence[Domain]:
        query = select(*_COLUMNS).order_by(DomainRow.name)
        if bound is not None:
            query = query.where(DomainRow.organisation_id == bound)
        return [_value(*row) for row in await self._session.execute(query)]

    async def has_addresses(self, domain_id: str) -> bool:
        return bool(await self._session.scalar(select(exists().where(AddressRow.domain_id == domain_id))))

    async def remove(self, domain_id: str) -> None:
        """Its DKIM keys go with it; an address that is still there makes the database refuse."""
        await self._session.execute(delete(DomainRow).where(DomainRow.id == domain_id))


def _value(id_: str, name: str, organisation_id: str, state: str) -> Domain:
    return Domain(id_, name, organisation_id, State(state))
