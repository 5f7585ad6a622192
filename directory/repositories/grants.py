"""SQL of grants: who may send in whose name, and who may set whose quota."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, exists, insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from core.address import Address
from directory.models import AccountRow, AddressRow, DomainRow, GrantRow
from directory.types import Grant

SEND_AS, SET_QUOTA = "send-as", "set-quota"  # kinds of a grant


class Grants:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, owner_id: str, grantee_id: str, *, created_ms: int, kind: str = SEND_AS) -> None:
        await self._session.execute(
            insert(GrantRow).values(owner_id=owner_id, grantee_id=grantee_id, kind=kind, created_ms=created_ms)
        )

    async def exists(self, owner_id: str, grantee_id: str, kind: str = SEND_AS) -> bool:
        condition = exists().where(
            GrantRow.owner_id == owner_id, GrantRow.grantee_id == grantee_id, GrantRow.kind == kind
        )
        return bool(await self._session.scalar(select(condition)))

    async def remove(self, owner_id: str, grantee_id: str, kind: str = SEND_AS) -> None:
        await self._session.execute(
            delete(GrantRow).where(
                GrantRow.owner_id == owner_id, GrantRow.grantee_id == grantee_id, GrantRow.kind == kind
            )
        )

    async def owners(self, kind: str) -> Mapping[str, frozenset[str]]:
        """Of all grants of a kind: the ids of the owners, by the grantee's."""
        found: dict[str, set[str]] = {}
        query = select(GrantRow.grantee_id, GrantRow.owner_id).where(GrantRow.kind == kind)
        for grantee_id, owner_id in await self._session.execute(query):
            found.setdefault(grantee_id, set()).add(owner_id)
        return {grantee_id: frozenset(owner_ids) for grantee_id, owner_ids in found.items()}

    async def all(self, bound: str | None) -> Sequence[Grant]:
        """Those to send."""
        owner, owner_address, owner_domain = aliased(AccountRow), aliased(AddressRow), aliased(DomainRow)
        grantee, grantee_address, grantee_domain = aliased(AccountRow), aliased(AddressRow), aliased(DomainRow)
        query = (
            select(owner_address.local, owner_domain.name, grantee_address.local, grantee_domain.name)
            .select_from(GrantRow)
            .join(owner, GrantRow.owner_id == owner.id)
            .join(owner_address, owner.address_id == owner_address.id)
            .join(owner_domain, owner_address.domain_id == owner_domain.id)
            .join(grantee, GrantRow.grantee_id == grantee.id)
            .join(grantee_address, grantee.address_id == grantee_address.id)
            .join(grantee_domain, grantee_address.domain_id == grantee_domain.id)
            .where(GrantRow.kind == SEND_AS)
            .order_by(owner_address.key, grantee_address.key)
        )
        if bound is not None:
            query = query.where(owner.organisation_id == bound)
        return [Grant(Address(a, b), Address(c, d)) for a, b, c, d in await self._session.execute(query)]
