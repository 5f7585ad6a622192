"""SQL of DKIM keys; the private ones are sealed before they get here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from directory.models import DkimKeyRow, DomainRow
from directory.types import DkimKey, KeyState


class Keys:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def of(self, domain: str) -> Sequence[DkimKey]:
        """Oldest first."""
        rows = await self._session.scalars(
            select(DkimKeyRow)
            .join(DomainRow, DkimKeyRow.domain_id == DomainRow.id)
            .where(DomainRow.name == domain)
            .order_by(DkimKeyRow.created_at, DkimKeyRow.selector)
        )
        return [_value(row, domain) for row in rows]

    async def present(self, ids: Collection[str]) -> set[str]:
        return set(await self._session.scalars(select(DkimKeyRow.id).where(DkimKeyRow.id.in_(list(ids)))))

    async def add(self, keys: Sequence[DkimKey], domain_ids: Mapping[str, str]) -> None:
        """`domain_ids`: by domain name."""
        await self._session.execute(insert(DkimKeyRow), [_values(key, domain_ids[key.domain]) for key in keys])

    async def set_state(self, key_id: str, state: KeyState) -> None:
        await self._session.execute(update(DkimKeyRow).where(DkimKeyRow.id == key_id).values(state=state.value))


def _value(row: DkimKeyRow, domain: str) -> DkimKey:
    return DkimKey(
        id=row.id,
        domain=domain,
        selector=row.selector,
        algorithm=row.algorithm,
        state=KeyState(row.state),
        public_key=row.public_key,
        sealed_private_key=row.sealed_private_key,
        created_at=row.created_at,
    )


def _values(key: DkimKey, domain_id: str) -> dict[str, object]:
    return {
        "id": key.id,
        "domain_id": domain_id,
        "selector": key.selector,
        "algorithm": key.algorithm,
        "state": key.state.value,
        "public_key": key.public_key,
        "sealed_private_key": key.sealed_private_key,
        "created_at": key.created_at,
    }
