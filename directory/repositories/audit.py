"""SQL of the audit and of the directory's own state. Audit lines are added and read, never changed or removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from directory.models import AuditRow, StateRow
from directory.types import Actor, AuditEntry, Role

DENIED = "denied"  # an outcome


@dataclass(frozen=True, slots=True)
class Line:
    """One fact for the audit, before it has a time and an operation."""

    action: str
    target: str
    organisation_id: str | None
    outcome: str = "done"


class Audit:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, actor: Actor, lines: Sequence[Line], *, operation: str, at_ms: int) -> None:
        await self._session.execute(
            insert(AuditRow),
            [
                {
                    "at_ms": at_ms,
                    "operation": operation,
                    "actor": actor.name,
                    "role": actor.role.value,
                    "organisation_id": line.organisation_id,
                    "action": line.action,
                    "target": line.target,
                    "outcome": line.outcome,
                }
                for line in lines
            ],
        )

    async def has(self, operation: str) -> bool:
        return bool(await self._session.scalar(select(exists().where(AuditRow.operation == operation))))

    async def latest(self, bound: str | None, limit: int) -> Sequence[AuditEntry]:
        """Newest first. What was denied is told to operators only: to the one who tried it would tell that the thing
        exists (promise P8)."""
        query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit)
        if bound is not None:
            query = query.where(AuditRow.organisation_id == bound, AuditRow.outcome != DENIED)
        return [_value(row) for row in await self._session.scalars(query)]


class DirectoryState:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def version(self) -> int:
        return await self._session.scalar(select(StateRow.version)) or 0

    async def identity(self) -> str:
        return await self._session.scalar(select(StateRow.identity)) or ""

    async def raise_version(self) -> None:
        await self._session.execute(update(StateRow).values(version=StateRow.version + 1))

    async def operator_postmaster(self) -> str:
        return await self._session.scalar(select(StateRow.operator_postmaster)) or ""

    async def set_operator_postmaster(self, address: str) -> None:
        await self._session.execute(update(StateRow).values(operator_postmaster=address or None))


def _value(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        at=row.at_ms / 1000,
        actor=row.actor,
        role=Role(row.role),
        organisation_id=row.organisation_id,
        action=row.action,
        target=row.target,
        outcome=row.outcome,
    )
