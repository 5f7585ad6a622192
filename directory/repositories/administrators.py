"""SQL of administrators and the hashes of their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, delete, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from directory.models import AdministratorRow, OrganisationRow, TokenRow
from directory.types import Administrator, Role, State


class Administrators:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, administrator: Administrator, *, name_key: str, created_ms: int) -> None:
        await self._session.execute(
            insert(AdministratorRow).values(
                id=administrator.id,
                name=administrator.name,
                name_key=name_key,
                role=administrator.role.value,
                scope=administrator.organisation_id or "",
                organisation_id=administrator.organisation_id,
                created_ms=created_ms,
            )
        )

    async def add_token(self, token_id: str, administrator_id: str, token_hash: str, *, created_ms: int) -> None:
        await self._session.execute(
            insert(TokenRow).values(
                id=token_id, administrator_id=administrator_id, token_hash=token_hash, created_ms=created_ms
            )
        )

    async def by_token(self, token_hash: str, *, now_ms: int) -> Administrator | None:
        """None too when the token has ended or the organisation is suspended (security.md row 117)."""
        query = (
            _select()
            .join(TokenRow, TokenRow.administrator_id == AdministratorRow.id)
            .outerjoin(OrganisationRow, AdministratorRow.organisation_id == OrganisationRow.id)
            .where(TokenRow.token_hash == token_hash)
            .where(or_(TokenRow.expires_ms.is_(None), TokenRow.expires_ms > now_ms))
            .where(or_(OrganisationRow.id.is_(None), OrganisationRow.state == State.ACTIVE.value))
        )
        row = (await self._session.execute(query)).first()
        return _value(row) if row else None

    async def find(self, scope: str, name_key: str) -> Administrator | None:
        """`scope`: the organisation's id, "" for operators."""
        query = _select().where(AdministratorRow.scope == scope, AdministratorRow.name_key == name_key)
        row = (await self._session.execute(query)).first()
        return _value(row) if row else None

    async def all(self, bound: str | None) -> Sequence[Administrator]:
        query = _select().order_by(AdministratorRow.scope, AdministratorRow.name_key)
        if bound is not None:
            query = query.where(AdministratorRow.organisation_id == bound)
        return [_value(row) for row in await self._session.execute(query)]

    async def by_id(self, administrator_id: str) -> Administrator | None:
        row = (await self._session.execute(_select().where(AdministratorRow.id == administrator_id))).first()
        return _value(row) if row else None

    async def operators(self) -> Sequence[str]:
        """Their ids; until the transaction ends nobody else removes one of them (PostgreSQL, where two removals would
        each count the other's; SQLite writes one after the other)."""
        query = select(AdministratorRow.id).where(AdministratorRow.role == Role.OPERATOR.value)
        return list(await self._session.scalars(query.order_by(AdministratorRow.id).with_for_update()))

    async def remove(self, administrator_id: str) -> bool:
        """With all tokens. False: somebody was faster."""
        gone = delete(AdministratorRow).where(AdministratorRow.id == administrator_id).returning(AdministratorRow.id)
        return await self._session.scalar(gone) is not None


def _select() -> Select[*tuple[Any, ...]]:
    return select(
        AdministratorRow.id, AdministratorRow.name, AdministratorRow.role, AdministratorRow.organisation_id
    ).select_from(AdministratorRow)


def _value(row: Row[*tuple[Any, ...]]) -> Administrator:
    return Administrator(row.id, row.name, Role(row.role), row.organisation_id)
