"""Shared mailboxes: what an account sees of others, and the access lists behind it (RFC 4314).

`Sharing` is the face, `SqlSharing` the one implementation. Rights are those of the moment; where the database does not
tell of changes (PostgreSQL), at most 2 s old. Refuses to know folder names: the store's ids name folders, so that a
rename changes no right.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.address import Address
from core.clock import Clock
from directory.boundary import Boundary
from directory.cache import Cache
from directory.database import Database
from directory.news import News
from directory.repositories.acl import WHOLE, AccessLists
from directory.repositories.annotations import Annotations
from directory.repositories.grants import SET_QUOTA, Grants
from directory.rights import NEGATIVE, Right
from directory.services import annotations as annotation_services
from directory.services import quotas
from directory.services import sharing as services
from directory.types import Account, AclEntry, Actor, Change, Role, Share
from directory.work import Work

FRESH = 2.0  # seconds that rights are believed; another process may have taken them back


@dataclass(frozen=True, slots=True)
class Shared:
    """What one account may do in another's. `granted`: by folder id ("" the whole account), then by subject; what
    stands under a subject with `NEGATIVE` before it is denied."""

    account: Account
    granted: Mapping[str, Mapping[str, Right]]

    def rights(self, folder_id: str) -> Right:
        """One's own entry and anyone's together, less what either is denied (RFC 4314 2); a folder's entry stands over
        the whole account's of its subject."""
        here, whole = self.granted.get(folder_id, {}), self.granted.get(WHOLE, {})
        found = denied = Right.NONE
        for subject in here.keys() | whole.keys():
            rights = here.get(subject, whole.get(subject, Right.NONE))
            if subject.startswith(NEGATIVE):
                denied |= rights
            else:
                found |= rights
        return found & ~denied

    @property
    def anything(self) -> bool:
        """Something is granted, whatever is denied besides."""
        return any(not subject.startswith(NEGATIVE) for entries in self.granted.values() for subject in entries)


class Sharing(Protocol):
    """Raises `TemporaryError`, and what `directory.codes` says. `by` is the account that asks: an organisation is
    never left."""

    async def shared_with(self, reader: Account) -> Sequence[Shared]:
        """The accounts of `reader`'s organisation of which it may do anything, by address."""

    async def acl(self, owner: Account, folder_id: str) -> Sequence[AclEntry]: ...

    async def set_acl(
        self, by: Account, owner: Account, folder_id: str, grantee: Address | None, change: Change
    ) -> None:
        """`grantee` None: anyone. NotFoundError when it is no account of the organisation; InvalidError for the owner,
        who has every right always. The right to change the list is the caller's to check."""

    async def folder_made(self, owner: Account, parent_id: str, folder_id: str) -> None:
        """A new folder takes over its parent's list."""

    async def folder_gone(self, owner: Account, folder_id: str) -> None:
        """Its list and its annotations go with it (RFC 4314 4, RFC 5464 4.4)."""

    async def unsubscribed(self, reader: Account) -> Collection[str]:
        """The ids of others' folders that `reader` wants out of his sight: what is shared is subscribed from the
        start, so that it shows in every mail program."""

    async def subscribe(self, reader: Account, owner: Account, folder_id: str, subscribed: bool) -> None: ...

    async def quotas_of(self, by: Account) -> Collection[str]:
        """The ids of the accounts whose quota `by` was granted to set."""

    async def set_quota(self, by: Account, owner: Account, quota: int) -> Account:
        """In octets, 0 unlimited; the account as it is then. ForbiddenError without the grant, and for more than the
        organisation's ceiling. The right "a" is the caller's to check."""

    async def share(
        self,
        actor: Actor,
        owner: Address,
        grantee: Address | None,
        rights: Right,
        *,
        send_as: bool,
        set_quota: bool = False,
    ) -> Share:
        """What an administrator gives at once: `rights` in all folders, with `send_as` the grant to send, with
        `set_quota` the one to set how much it may hold."""

    async def unshare(self, actor: Actor, owner: Address, grantee: Address | None) -> None: ...

    async def shares(self, actor: Actor, owner: Address) -> Sequence[Share]: ...


class SqlSharing:
    """Implements `Sharing`."""

    def __init__(self, database: Database, boundary: Boundary, clock: Clock, news: News) -> None:
        self._database = database
        self._boundary = boundary
        self._news = news
        # By time, too, and not by the directory's version: nobody asks for that between two commands of a session.
        self._seen: Cache[tuple[Shared, ...]] = Cache(clock, ttl=FRESH)
        self._quotas: Cache[Mapping[str, frozenset[str]]] = Cache(clock, ttl=FRESH)  # of all: every login asks

    def forget(self) -> None:
        self._seen.clear()
        self._quotas.clear()

    async def shared_with(self, reader: Account) -> Sequence[Shared]:
        self._news.heed()
        kept, epoch = self._seen.get(reader.id), self._seen.epoch
        if kept is not None:
            return kept
        async with self._database.read() as session:
            granted = await AccessLists(session).granted(reader)
        accounts: dict[str, Account] = {}
        rights: dict[str, dict[str, dict[str, Right]]] = {}
        for item in granted:
            accounts[item.owner.id] = item.owner
            rights.setdefault(item.owner.id, {}).setdefault(item.folder_id, {})[item.subject] = item.rights
        known = (Shared(account, rights[account.id]) for account in accounts.values())
        found = tuple(shared for shared in known if shared.anything)
        self._seen.put(reader.id, found, epoch)
        return found

    async def acl(self, owner: Account, folder_id: str) -> Sequence[AclEntry]:
        return await self._boundary.read(_holder(owner), lambda work: services.entries(work, owner.id, folder_id))

    async def set_acl(
        self, by: Account, owner: Account, folder_id: str, grantee: Address | None, change: Change
    ) -> None:
        actor = _holder(by)
        await self._boundary.write(
            actor, lambda work: services.set_entry(work, actor, owner.address, folder_id, grantee, change)
        )

    async def folder_made(self, owner: Account, parent_id: str, folder_id: str) -> None:
        async with self._database.read() as session:
            if not any(entry.folder_id == parent_id for entry in await AccessLists(session).of(owner.id, parent_id)):
                return
        await self._boundary.write(_holder(owner), lambda work: services.inherit(work, owner.id, parent_id, folder_id))

    async def folder_gone(self, owner: Account, folder_id: str) -> None:
        await self._boundary.write(
            _holder(owner), lambda work: annotation_services.forget_folder(work, owner.id, folder_id)
        )

    async def unsubscribed(self, reader: Account) -> Collection[str]:
        async with self._database.read() as session:
            return await Annotations(session).marked(reader.id, services.UNSUBSCRIBED)

    async def subscribe(self, reader: Account, owner: Account, folder_id: str, subscribed: bool) -> None:
        await self._boundary.write(
            _holder(reader), lambda work: services.subscribe(work, reader, owner, folder_id, subscribed)
        )

    async def quotas_of(self, by: Account) -> Collection[str]:
        self._news.heed()
        kept, epoch = self._quotas.get(SET_QUOTA), self._quotas.epoch
        if kept is None:
            async with self._database.read() as session:
                kept = await Grants(session).owners(SET_QUOTA)
            self._quotas.put(SET_QUOTA, kept, epoch)
        return kept.get(by.id, frozenset())

    async def set_quota(self, by: Account, owner: Account, quota: int) -> Account:
        actor = _holder(by)
        return await self._boundary.write(actor, lambda work: quotas.set_granted(work, actor, by, owner, quota))

    async def share(
        self,
        actor: Actor,
        owner: Address,
        grantee: Address | None,
        rights: Right,
        *,
        send_as: bool,
        set_quota: bool = False,
    ) -> Share:
        def operation(work: Work) -> Awaitable[Share]:
            return services.share(work, actor, owner, grantee, rights, send_as=send_as, set_quota=set_quota)

        return await self._boundary.write(actor, operation)

    async def unshare(self, actor: Actor, owner: Address, grantee: Address | None) -> None:
        await self._boundary.write(actor, lambda work: services.unshare(work, actor, owner, grantee))

    async def shares(self, actor: Actor, owner: Address) -> Sequence[Share]:
        return await self._boundary.read(actor, lambda work: services.shares(work, actor, owner))


def _holder(account: Account) -> Actor:
    """Somebody who changes the list of a mailbox over IMAP, as the audit and `directory.scope` know him."""
    return Actor(str(account.address), Role.ORGANISATION, account.organisation_id)


__all__ = ["WHOLE", "Shared", "Sharing", "SqlSharing"]
