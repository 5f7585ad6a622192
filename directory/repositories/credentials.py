"""SQL of credentials: what a login is checked against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from directory.models import AccountRow, AddressRow, CredentialRow, DomainRow, OrganisationRow
from directory.repositories.accounts import ACCOUNT_COLUMNS, stored
from directory.types import Account

PASSWORD = "password"


@dataclass(frozen=True, slots=True)
class Opening:
    """An account (state as it counts), its stored password hash and that credential's id, both "" when it has none.
    A hash made again for the same password keeps the id."""

    account: Account
    secret_hash: str
    credential: str


@dataclass(frozen=True, slots=True)
class NewCredential:
    id: str
    account_id: str
    secret_hash: str
    created_ms: int


# Built once: every login asks it.
_OPENING = (
    select(*ACCOUNT_COLUMNS, CredentialRow.secret_hash, CredentialRow.id.label("credential_id"))
    .select_from(AccountRow)
    .join(AddressRow, AccountRow.address_id == AddressRow.id)
    .join(DomainRow, AddressRow.domain_id == DomainRow.id)
    .join(OrganisationRow, AccountRow.organisation_id == OrganisationRow.id)
    .outerjoin(CredentialRow, and_(CredentialRow.account_id == AccountRow.id, CredentialRow.kind == PASSWORD))
    .where(AddressRow.key == bindparam("key"))
)


class Credentials:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def opening(self, key: str) -> Opening | None:
        """What the holder of the address `key` logs in with; None when it is no account."""
        row = (await self._session.execute(_OPENING, {"key": key})).first()
        return Opening(stored(row).effective, row.secret_hash or "", row.credential_id or "") if row else None

    async def add(self, items: Sequence[NewCredential]) -> None:
        if items:
            await self._session.execute(insert(CredentialRow), [_values(item) for item in items])

    async def replace_password(self, item: NewCredential) -> None:
        await self._session.execute(
            delete(CredentialRow).where(CredentialRow.account_id == item.account_id, CredentialRow.kind == PASSWORD)
        )
        await self.add([item])

    async def rehash(self, account_id: str, old: str, new: str) -> bool:
        """Store `new` unless the password was changed meanwhile."""
        updated = await self._session.execute(
            update(CredentialRow)
            .where(
                CredentialRow.account_id == account_id,
                CredentialRow.kind == PASSWORD,
                CredentialRow.secret_hash == old,
            )
            .values(secret_hash=new)
            .returning(CredentialRow.id)
        )
        return updated.first() is not None


def _values(item: NewCredential) -> dict[str, object]:
    return {
        "id": item.id,
        "account_id": item.account_id,
        "kind": PASSWORD,
        "secret_hash": item.secret_hash,
        "label": "",
        "protocols": "",
        "network": "",
        "created_ms": item.created_ms,
    }
