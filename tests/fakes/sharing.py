"""Shared mailboxes and annotations in memory: what IMAP asks of `directory.sharing` and `directory.annotations`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import replace

from core.address import Address
from core.errors import ForbiddenError, InvalidError, NotFoundError, QuotaError
from directory.rights import ANYONE, NEGATIVE, Right
from directory.sharing import WHOLE, Shared
from directory.types import Account, AclEntry, Change


class MemorySharing:
    """`accounts`: those of the directory, by address key. Bounded to one organisation as the real one is."""

    def __init__(self, accounts: MutableMapping[str, Account]) -> None:
        self.accounts = accounts
        self.quota_setters: set[tuple[str, str]] = set()  # ids of who may set, and whose quota
        self.lists: dict[tuple[str, str], dict[str, Right]] = {}
        self.hidden: dict[str, set[str]] = {}

    def grant(self, owner: Account, grantee: Account | None, rights: Right, folder_id: str = WHOLE) -> None:
        self.lists.setdefault((owner.id, folder_id), {})[grantee.id if grantee else ANYONE] = rights

    async def shared_with(self, reader: Account) -> Sequence[Shared]:
        found = []
        for owner in sorted(self.accounts.values(), key=lambda account: account.address.key):
            granted = {
                folder_id: {
                    subject: rights
                    for subject, rights in entries.items()
                    if subject.removeprefix(NEGATIVE) in (reader.id, ANYONE)
                }
                for (owner_id, folder_id), entries in self.lists.items()
                if owner_id == owner.id
            }
            same = owner.organisation_id == reader.organisation_id and owner.id != reader.id
            shared = Shared(owner, granted)
            if same and shared.anything:
                found.append(shared)
        return found

    async def acl(self, owner: Account, folder_id: str) -> Sequence[AclEntry]:
        entries = {**self.lists.get((owner.id, WHOLE), {}), **self.lists.get((owner.id, folder_id), {})}
        by_id = {account.id: account.address for account in self.accounts.values()}
        return [
            AclEntry(by_id.get(subject.removeprefix(NEGATIVE)), rights, subject.startswith(NEGATIVE))
            for subject, rights in entries.items()
            if rights
        ]

    async def set_acl(
        self, by: Account, owner: Account, folder_id: str, grantee: Address | None, change: Change
    ) -> None:
        subject = ANYONE
        if grantee is not None:
            account = self.accounts.get(grantee.key)
            if account is None or account.organisation_id != owner.organisation_id:
                raise NotFoundError("no such mailbox", code="unknown-mailbox")
            if account.id == owner.id:
                raise InvalidError("the owner has every right", code="acl-of-owner")
            subject = account.id
        subject = NEGATIVE + subject if change.negative else subject
        here = self.lists.setdefault((owner.id, folder_id), {})
        before = here.get(subject, self.lists.get((owner.id, WHOLE), {}).get(subject, Right.NONE))
        here[subject] = change.applied(before)

    async def folder_made(self, owner: Account, parent_id: str, folder_id: str) -> None:
        if (owner.id, parent_id) in self.lists:
            self.lists[(owner.id, folder_id)] = dict(self.lists[(owner.id, parent_id)])

    async def folder_gone(self, owner: Account, folder_id: str) -> None:
        self.lists.pop((owner.id, folder_id), None)

    async def unsubscribed(self, reader: Account) -> Collection[str]:
        return self.hidden.get(reader.id, set())

    async def subscribe(self, reader: Account, owner: Account, folder_id: str, subscribed: bool) -> None:
        hidden = self.hidden.setdefault(reader.id, set())
        (hidden.discard if subscribed else hidden.add)(folder_id)

    async def quotas_of(self, by: Account) -> Collection[str]:
        return {owner_id for setter_id, owner_id in self.quota_setters if setter_id == by.id}

    async def set_quota(self, by: Account, owner: Account, quota: int) -> Account:
        if owner.organisation_quota and not 0 < quota <= owner.organisation_quota:
            raise ForbiddenError("no mailbox may hold more than its organisation", code="quota-over-ceiling")
        self.accounts[owner.address.key] = changed = replace(owner, quota=quota)
        return changed


class MemoryAnnotations:
    """Without the real one's bounds but for the size of a value."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str, str], dict[str, bytes]] = {}

    async def read(
        self, reader: Account, owner: Account, folder_ids: Collection[str]
    ) -> Mapping[str, Mapping[str, bytes]]:
        return {
            folder_id: {
                **self.values.get((owner.id, folder_id, ""), {}),
                **self.values.get((owner.id, folder_id, reader.id), {}),
            }
            for folder_id in folder_ids
        }

    async def change(self, reader: Account, owner: Account, folder_id: str, values: Mapping[str, bytes | None]) -> None:
        if any(value is not None and len(value) > 16384 for value in values.values()):
            raise QuotaError("too large", code="annotation-too-big")
        for entry, value in values.items():
            whose = reader.id if entry.startswith("/private/") else ""
            here = self.values.setdefault((owner.id, folder_id, whose), {})
            if value is None:
                here.pop(entry, None)
            else:
                here[entry] = value
