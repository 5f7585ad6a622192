"""SQL of access lists: who may do what in whose folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.address import Address
from directory.models import AccountRow, AclRow, AddressRow, DomainRow, OrganisationRow
from directory.repositories.accounts import ACCOUNT_COLUMNS, stored
from directory.rights import ANYONE, NEGATIVE, Right, letters, parse
from directory.types import Account

WHOLE = ""  # the folder id that means the whole account


@dataclass(frozen=True, slots=True)
class Stored:
    """One entry. `address` None: anyone. `subject` with `NEGATIVE` before it: the rights are taken away."""

    id: str
    folder_id: str
    subject: str
    address: Address | None
    rights: Right


@dataclass(frozen=True, slots=True)
class Granted:
    """One entry from the other side: what somebody may do in `owner`'s folder."""

    owner: Account
    folder_id: str
    subject: str
    rights: Right


# Built once: asked whenever a session looks beyond its own mailbox.
_GRANTED = (
    select(*ACCOUNT_COLUMNS, AclRow.folder_id, AclRow.subject, AclRow.rights)
    .select_from(AclRow)
    .join(AccountRow, AclRow.account_id == AccountRow.id)
    .join(AddressRow, AccountRow.address_id == AddressRow.id)
    .join(DomainRow, AddressRow.domain_id == DomainRow.id)
    .join(OrganisationRow, AccountRow.organisation_id == OrganisationRow.id)
    .where(AclRow.subject.in_(bindparam("subjects", expanding=True)))
    .where(AccountRow.organisation_id == bindparam("organisation"), AccountRow.id != bindparam("reader"))
    .order_by(AddressRow.key)
)
_OF = (
    select(AclRow.id, AclRow.folder_id, AclRow.subject, AclRow.rights, AddressRow.local, DomainRow.name.label("domain"))
    .select_from(AclRow)
    .outerjoin(AccountRow, AclRow.grantee_id == AccountRow.id)
    .outerjoin(AddressRow, AccountRow.address_id == AddressRow.id)
    .outerjoin(DomainRow, AddressRow.domain_id == DomainRow.id)
)


class AccessLists:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def granted(self, reader: Account) -> Sequence[Granted]:
        """By owner's address; within the reader's organisation, whatever the table says (promise P8)."""
        subjects = [sign + subject for sign in ("", NEGATIVE) for subject in (reader.id, ANYONE)]
        values = {"subjects": subjects, "reader": reader.id, "organisation": reader.organisation_id}
        rows = await self._session.execute(_GRANTED, values)
        return [Granted(stored(row).own, row.folder_id, row.subject, parse(row.rights)) for row in rows]

    async def of(self, account_id: str, folder_id: str) -> Sequence[Stored]:
        """The folder's own entries and those of the whole account; each by its `folder_id`."""
        here = AclRow.folder_id.in_(sorted({folder_id, WHOLE}))
        rows = await self._session.execute(_OF.where(AclRow.account_id == account_id, here).order_by(AclRow.created_ms))
        return [_stored(row) for row in rows]

    async def find(self, account_id: str, folder_id: str, subject: str) -> Stored | None:
        query = _OF.where(AclRow.account_id == account_id, AclRow.folder_id == folder_id, AclRow.subject == subject)
        row = (await self._session.execute(query)).first()
        return _stored(row) if row else None

    async def add(self, entry_id: str, account_id: str, entry: Stored, *, created_ms: int) -> None:
        await self._session.execute(
            insert(AclRow).values(
                id=entry_id,
                account_id=account_id,
                folder_id=entry.folder_id,
                subject=entry.subject,
                grantee_id=None if entry.address is None else entry.subject.removeprefix(NEGATIVE),
                rights=letters(entry.rights),
                created_ms=created_ms,
            )
        )

    async def change(self, entry_id: str, rights: Right) -> None:
        await self._session.execute(update(AclRow).where(AclRow.id == entry_id).values(rights=letters(rights)))

    async def remove(self, entry_id: str) -> None:
        await self._session.execute(delete(AclRow).where(AclRow.id == entry_id))

    async def remove_subject(self, account_id: str, subject: str) -> None:
        """Whatever `subject` was granted or denied there, folder by folder and as a whole."""
        both = AclRow.subject.in_((subject, NEGATIVE + subject))
        await self._session.execute(delete(AclRow).where(AclRow.account_id == account_id, both))

    async def remove_folder(self, account_id: str, folder_id: str) -> None:
        await self._session.execute(
            delete(AclRow).where(AclRow.account_id == account_id, AclRow.folder_id == folder_id)
        )


def _stored(row: Row[*tuple[Any, ...]]) -> Stored:
    address = Address(row.local, row.domain) if row.local is not None else None
    return Stored(row.id, row.folder_id, row.subject, address, parse(row.rights))
