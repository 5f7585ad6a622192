"""SQL of credentials: what a login is checked against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from directory.models import AccountRow, AddressRow, CredentialRow, DomainRow, OrganisationRow
from directory.repositories.accounts import ACCOUNT_COLUMNS, stored
from directory.types import Account, AppPassword, Scope

PASSWORD, APP = "password", "app"  # kinds
TOKEN, CERTIFICATE = "token:", "certificate:"  # begin the name of a login with something that is not kept here


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


@dataclass(frozen=True, slots=True)
class StoredApp:
    """An app password as it is stored. `scram`: `directory.scram.Keys` as text."""

    about: AppPassword
    secret_hash: str
    scram: str


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


_APPS = (
    select(CredentialRow)
    .where(CredentialRow.account_id == bindparam("account"), CredentialRow.kind == APP)
    .order_by(CredentialRow.created_ms, CredentialRow.id)
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

    async def apps(self, account_id: str) -> Sequence[StoredApp]:
        """Oldest first; those that have ended among them."""
        rows = await self._session.scalars(_APPS, {"account": account_id})
        return [_app(row) for row in rows]

    async def add_app(self, account_id: str, app: StoredApp) -> None:
        about = app.about
        await self._session.execute(
            insert(CredentialRow).values(
                id=about.id,
                account_id=account_id,
                kind=APP,
                secret_hash=app.secret_hash,
                label=about.label,
                protocols=about.scope.value,
                network=" ".join(about.networks),
                expires_ms=None if about.expires_at is None else int(about.expires_at * 1000),
                created_ms=int(about.created_at * 1000),
                bare_lines=int(about.bare_lines),
                scram=app.scram,
            )
        )

    async def remove_apps(self, account_id: str, app_id: str | None = None) -> bool:
        """One, or all; whether there was any."""
        query = delete(CredentialRow).where(CredentialRow.account_id == account_id, CredentialRow.kind == APP)
        if app_id is not None:
            query = query.where(CredentialRow.id == app_id)
        removed = await self._session.execute(query.returning(CredentialRow.id))
        return removed.first() is not None

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


def _app(row: CredentialRow) -> StoredApp:
    about = AppPassword(
        id=row.id,
        label=row.label,
        scope=Scope(row.protocols),
        networks=tuple(row.network.split()),
        expires_at=None if row.expires_ms is None else row.expires_ms / 1000,
        bare_lines=bool(row.bare_lines),
        created_at=row.created_ms / 1000,
    )
    return StoredApp(about, row.secret_hash, row.scram)
