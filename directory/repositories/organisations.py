"""SQL of organisations."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from directory.models import OrganisationRow
from directory.types import Organisation, State

_COLUMNS = (OrganisationRow.id, OrganisationRow.name, OrganisationRow.state, OrganisationRow.quota)


class Organisations:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, organisation: Organisation, *, name_key: str, created_ms: int) -> None:
        await self._session.execute(
            insert(OrganisationRow).values(
                id=organisation.id,
                name=organisation.name,
                name_key=name_key,
                state=organisation.state.value,
                quota=organisation.quota,
                created_ms=created_ms,
            )
        )

    async def find(self, id_or_name_key: str, name_key: str) -> Organisation | None:
        """By id, else by folded name."""
        rows = await self._session.execute(
            select(*_COLUMNS)
            .where(or_(OrganisationRow.id == id_or_name_key, OrganisationRow.name_key == name_key))
            .order_by(OrganisationRow.id != id_or_name_key)
            .limit(1)
        )
        row = rows.first()
        return _value(*row) if row else None

    async def all(self, bound: str | None) -> Sequence[Organisation]:
        """By name; `bound` is the only organisation to be seen, None for all."""
        query = select(*_COLUMNS).order_by(OrganisationRow.name_key)
        if bound is not None:
            query = query.where(OrganisationRow.id == bound)
        return [_value(*row) for row in await self._session.execute(query)]

    async def set_state(self, organisation_id: str, state: State) -> None:
        await self._session.execute(
            update(OrganisationRow).where(OrganisationRow.id == organisation_id).values(state=state.value)
        )

    async def set_quota(self, organisation_id: str, quota: int) -> None:
        await self._session.execute(
            update(OrganisationRow).where(OrganisationRow.id == organisation_id).values(quota=quota)
        )


def _value(id_: str, name: str, state: str, quota: int) -> Organisation:
    return Organisation(id_, name, State(state), quota)
