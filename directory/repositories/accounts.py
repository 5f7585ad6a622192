"""SQL of accounts, and of the address table they share with aliases."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row, Select, bindparam, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.address import Address
from directory.models import AccountRow, AddressRow, AliasRow, DomainRow, OrganisationRow
from directory.types import Account, Standing, State

# SQLite binds at most 32766 parameters; a statement stays far below on either database.
CHUNK = 500
PERSON, SHARED = "person", "shared"  # kinds of an account


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """An account with the states above it: `own` is what an administrator set, `effective` what counts (a suspended
    domain or organisation suspends its accounts)."""

    own: Account
    effective: Account


@dataclass(frozen=True, slots=True)
class NewAccount:
    account: Account
    domain_id: str
    address_id: str
    created_ms: int


class Accounts:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, items: Sequence[NewAccount]) -> None:
        """Addresses and accounts, in one statement each."""
        await self._session.execute(insert(AddressRow), [_address(item) for item in items])
        await self._session.execute(insert(AccountRow), [_account(item) for item in items])

    async def taken(self, keys: Collection[str]) -> set[str]:
        """Which of these address keys an account or an alias has."""
        found: set[str] = set()
        pending = list(keys)
        for start in range(0, len(pending), CHUNK):
            part = pending[start : start + CHUNK]
            found.update(await self._session.scalars(select(AddressRow.key).where(AddressRow.key.in_(part))))
        return found

    async def by_key(self, key: str) -> StoredAccount | None:
        return await self._one(_BY_KEY, {"key": key})

    async def by_id(self, account_id: str) -> StoredAccount | None:
        return await self._one(_BY_ID, {"id": account_id})

    async def holder(self, key: str) -> StoredAccount | str | None:
        """What has this address: an account, or the id of an alias."""
        row = (await self._session.execute(_HOLDER, {"key": key})).first()
        if row is None:
            return None
        return stored(row) if row.account_id is not None else str(row.alias_id)

    async def first_of(self, organisation_id: str) -> StoredAccount | None:
        """The oldest one that can log in, else the oldest."""
        return await self._one(_FIRST_OF, {"organisation": organisation_id})

    async def all(self, bound: str | None, domain: str | None) -> Sequence[Account]:
        """As administrators see them, by domain and address."""
        query = _select().order_by(DomainRow.name, AddressRow.key)
        if bound is not None:
            query = query.where(AccountRow.organisation_id == bound)
        if domain is not None:
            query = query.where(DomainRow.name == domain)
        return [stored(row).own for row in await self._session.execute(query)]

    async def standing(self, ids: Collection[str]) -> Standing:
        states: dict[str, State] = {}
        pending = sorted(set(ids))
        for start in range(0, len(pending), CHUNK):
            rows = await self._session.execute(_select().where(AccountRow.id.in_(pending[start : start + CHUNK])))
            states |= {row.account_id: stored(row).effective.state for row in rows}
        active = frozenset(id_ for id_, state in states.items() if state is State.ACTIVE)
        return Standing(active, frozenset(states) - active, frozenset(pending) - frozenset(states))

    async def suspended(self) -> frozenset[str]:
        return frozenset(await self._session.scalars(_SUSPENDED))

    async def update(self, account_id: str, values: Mapping[str, object]) -> None:
        await self._session.execute(update(AccountRow).where(AccountRow.id == account_id).values(**values))

    async def remove(self, account_id: str, key: str) -> None:
        """The account, its credentials and grants, then its address."""
        await self._session.execute(delete(AccountRow).where(AccountRow.id == account_id))
        await self._session.execute(delete(AddressRow).where(AddressRow.key == key))

    async def _one(self, query: Select[*tuple[Any, ...]], values: dict[str, str]) -> StoredAccount | None:
        row = (await self._session.execute(query, values)).first()
        return stored(row) if row else None


ACCOUNT_COLUMNS = (
    AccountRow.id.label("account_id"),
    AddressRow.key.label("address_key"),
    AddressRow.local.label("local"),
    DomainRow.name.label("domain"),
    AccountRow.organisation_id.label("organisation_id"),
    AccountRow.display_name.label("display_name"),
    AccountRow.quota.label("quota"),
    AccountRow.state.label("state"),
    AccountRow.kind.label("kind"),
    DomainRow.state.label("domain_state"),
    OrganisationRow.state.label("organisation_state"),
    OrganisationRow.quota.label("organisation_quota"),
)


def _select() -> Select[*tuple[Any, ...]]:
    return (
        select(*ACCOUNT_COLUMNS)
        .select_from(AccountRow)
        .join(AddressRow, AccountRow.address_id == AddressRow.id)
        .join(DomainRow, AddressRow.domain_id == DomainRow.id)
        .join(OrganisationRow, AccountRow.organisation_id == OrganisationRow.id)
    )


# The statements on every message's way are built once: building them costs more than running them.
_BY_KEY = _select().where(AddressRow.key == bindparam("key"))
_BY_ID = _select().where(AccountRow.id == bindparam("id"))
_SUSPENDED = (
    select(AccountRow.id)
    .join(AddressRow, AccountRow.address_id == AddressRow.id)
    .join(DomainRow, AddressRow.domain_id == DomainRow.id)
    .join(OrganisationRow, AccountRow.organisation_id == OrganisationRow.id)
    .where(or_(*(table.state != State.ACTIVE.value for table in (AccountRow, DomainRow, OrganisationRow))))
)
_FIRST_OF = (
    _select()
    .where(AccountRow.organisation_id == bindparam("organisation"))
    .order_by(AccountRow.state != State.ACTIVE.value, AccountRow.created_ms, AddressRow.key)
    .limit(1)
)
_HOLDER = (
    select(*ACCOUNT_COLUMNS, AliasRow.id.label("alias_id"))
    .select_from(AddressRow)
    .join(DomainRow, AddressRow.domain_id == DomainRow.id)
    .join(OrganisationRow, DomainRow.organisation_id == OrganisationRow.id)
    .outerjoin(AccountRow, AccountRow.address_id == AddressRow.id)
    .outerjoin(AliasRow, AliasRow.address_id == AddressRow.id)
    .where(AddressRow.key == bindparam("key"))
)


def stored(row: Row[*tuple[Any, ...]]) -> StoredAccount:
    """From a row with `ACCOUNT_COLUMNS`."""
    own = Account(
        id=row.account_id,
        address=Address(row.local, row.domain),
        organisation_id=row.organisation_id,
        display_name=row.display_name,
        quota=row.quota,
        state=State(row.state),
        shared=row.kind == SHARED,
        organisation_quota=row.organisation_quota,
    )
    active = {row.state, row.domain_state, row.organisation_state} == {State.ACTIVE.value}
    return StoredAccount(own, replace(own, state=State.ACTIVE if active else State.SUSPENDED))


def _address(item: NewAccount) -> dict[str, object]:
    address = item.account.address
    return {"id": item.address_id, "key": address.key, "local": address.local, "domain_id": item.domain_id}


def _account(item: NewAccount) -> dict[str, object]:
    account = item.account
    return {
        "id": account.id,
        "address_id": item.address_id,
        "organisation_id": account.organisation_id,
        "display_name": account.display_name,
        "quota": account.quota,
        "state": account.state.value,
        "kind": SHARED if account.shared else PERSON,
        "created_ms": item.created_ms,
    }
