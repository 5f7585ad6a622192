"""The one way from a mailbox name to a folder, whoever owns it, and the rights of whoever asks (RFC 4314 4).

`Places` has the face of `store.store.AccountStore`, so that a command cannot reach a folder but through it: everything
is refused that is not granted, and what may not be seen answers exactly as if it were absent (promise P8, security.md
row 106). One's own folders are handed through. Refuses to know commands and the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from core.errors import InvalidError, MailError, of_one
from core.log import get
from directory.rights import ALL, ANY, Right
from directory.sharing import WHOLE, Shared, Sharing
from directory.types import Account
from imap.guarded import GuardedMailbox
from imap.namespaces import Namespaces
from imap.permits import Place, absent, allowed_flags, demand, forbidden
from message.content import Content
from store.store import AccountStore, Mailbox, Spool, Store
from store.types import DELIMITER, AccountRef, Appended, Folder, Hint, Placement, Snapshot

log = get(__name__)

MOST_OTHERS = 50  # accounts of others that one session listens to at once; it looks at the rest every few seconds


class Places:
    """What one logged-in session sees. `attended` is the account whose mailbox is selected, for `listen`."""

    __slots__ = (
        "_account",
        "_listed",
        "_namespaces",
        "_own",
        "_sharing",
        "_store",
        "attended",
        "others",
    )

    def __init__(
        self, own: AccountStore, account: Account, store: Store, sharing: Sharing, namespaces: Namespaces
    ) -> None:
        self._own, self._account, self._store = own, account, store
        self._sharing, self._namespaces = sharing, namespaces
        self._listed: dict[str, tuple[Account, Right]] = {}
        self.attended: AccountStore | None = None
        self.others: tuple[AccountStore, ...] = ()  # whose folders the last `folders` gave

    @property
    def ref(self) -> AccountRef:
        return self._own.ref

    @property
    def namespaces(self) -> Namespaces:
        return self._namespaces

    # -- from names to folders ----------------------------------------------------------------------------------------

    async def place(self, name: str) -> Place:
        """Raises `NotFoundError` when it is absent or nothing at all is granted."""
        place = await self.find(name)
        if place is None:
            raise absent()
        return place

    async def find(self, name: str) -> Place | None:
        """None when it is absent or nothing at all is granted; one's own folders with all rights."""
        if self._namespaces.split(name) is None:
            folder = await self._own.folder(name)
            return Place(self._account, self._own, folder, folder.name, ALL, True) if folder else None
        shared, local = await self._shared(name)
        if shared is None or not local:
            return None
        store = await self._store.account(AccountRef.of(shared.account))
        folder = await store.folder(local)
        if folder is None or not (rights := shared.rights(folder.id)) & ANY:
            return None
        seen = self._namespaces.prefix(shared.account) + folder.name
        return Place(shared.account, store, folder, seen, rights, False)

    async def _shared(self, name: str) -> tuple[Shared | None, str]:
        """Whose account a name of the namespaces leads to, and the folder's name there."""
        elsewhere = self._namespaces.split(name)
        if elsewhere is None or elsewhere.owner is None:
            return None, ""
        for shared in await self._sharing.shared_with(self._account):
            prefix = self._namespaces.prefix(shared.account)
            if shared.account.address.key == elsewhere.owner.key and prefix.startswith(elsewhere.namespace + DELIMITER):
                return shared, elsewhere.folder
        return None, elsewhere.folder

    async def rights(self, owner: Account, folder_id: str) -> Right:
        """Of this moment."""
        if owner.id == self._account.id:
            return ALL
        for shared in await self._sharing.shared_with(self._account):
            if shared.account.id == owner.id:
                return shared.rights(folder_id)
        return Right.NONE

    async def quota_roots(self) -> Mapping[str, Account]:
        """Accounts of others whose quota one may set, by address: an administrator granted it, and one has the right
        "a" in all of the account (RFC 9208 6)."""
        granted = await self._sharing.quotas_of(self._account)
        if not granted:
            return {}
        return {
            str(shared.account.address): shared.account
            for shared in await self._sharing.shared_with(self._account)
            if shared.account.id in granted and Right.ADMINISTER in shared.rights(WHOLE)
        }

    async def set_quota(self, owner: Account, quota: int) -> Account:
        """Of one of `quota_roots`, in octets; the account as it is then."""
        return await self._sharing.set_quota(self._account, owner, quota)

    async def usage_of(self, owner: Account) -> tuple[int, int]:
        """Octets and messages that one of `quota_roots` holds."""
        return await (await self._store.account(AccountRef.of(owner))).usage()

    def listed_rights(self, folder: Folder) -> Right:
        """Of a folder that the last `folders` gave; one of somebody else's that is no longer among them: none."""
        if folder.id in self._listed:
            return self._listed[folder.id][1]
        return ALL if self._namespaces.split(folder.name) is None else Right.NONE

    def listed_owner(self, folder: Folder) -> Account:
        """Likewise."""
        return self._listed[folder.id][0] if folder.id in self._listed else self._account

    # -- AccountStore -------------------------------------------------------------------------------------------------

    async def folders(self) -> Sequence[Folder]:
        """One's own, then all that one may look up."""
        return [*await self._own.folders(), *await self._others_folders()]

    async def _others_folders(self) -> Sequence[Folder]:
        """Special uses of others are not told: a client would put its own sent mail there."""
        found: list[Folder] = []
        self._listed = {}
        stores: list[AccountStore] = []
        others = await self._sharing.shared_with(self._account)
        hidden = await self._sharing.unsubscribed(self._account) if others else ()
        for shared in others:
            store = await self._store.account(AccountRef.of(shared.account))
            stores.append(store)
            prefix = self._namespaces.prefix(shared.account)
            for folder in await store.folders():
                if Right.LOOKUP in (rights := shared.rights(folder.id)):
                    self._listed[folder.id] = (shared.account, rights)
                    subscribed = folder.id not in hidden
                    found.append(folder._replace(name=prefix + folder.name, special_use="", subscribed=subscribed))
        self.others = tuple(stores)
        return found

    async def folder(self, name: str) -> Folder | None:
        """For who wants to know about it: ForbiddenError without the right to read."""
        place = await self.find(name)
        if place is None:
            return None
        demand(place, Right.READ)
        special_use = place.folder.special_use if place.own else ""
        return place.folder._replace(name=place.name, special_use=special_use)

    async def recent(self, folders: Sequence[Folder]) -> Mapping[str, int]:
        """How many messages are recent, by folder id, of folders that one may read."""
        own, others = list[Folder](), list[str]()
        for folder in folders:
            if self._namespaces.split(folder.name) is None:
                own.append(folder)
            else:
                others.append(folder.name)
        known = dict(zip([folder.id for folder in own], await self._own.recent(own), strict=True)) if own else {}
        for name in others:
            if (place := await self.find(name)) is not None:
                (known[place.folder.id],) = await place.store.recent([place.folder])
        return known

    async def landing(self, name: str) -> Place | None:
        """For who wants to put something in: ForbiddenError without the right to."""
        place = await self.find(name)
        if place is not None:
            demand(place, Right.INSERT)
        return place

    def spool(self, *, limit: int, declared: int) -> Spool:
        """For what is carried from one account to another."""
        return self._store.spool(limit=limit, declared=declared)

    async def mailbox(self, name: str) -> GuardedMailbox:
        place = await self.place(name)
        demand(place, Right.READ)
        return GuardedMailbox(self, place, place.store.opened(place.folder))

    async def glance(self, name: str, *, take_recent: bool = False) -> tuple[GuardedMailbox, Snapshot] | None:
        """`mailbox` and its `snapshot` in one look, of one's own alone. None: ask for one after the other."""
        if self._namespaces.split(name) is not None:
            return None
        snapshot = await self._own.glance(name, take_recent=take_recent)
        if snapshot is None:
            return None
        folder = snapshot.folder
        place = Place(self._account, self._own, folder, folder.name, ALL, True)
        return GuardedMailbox(self, place, self._own.opened(folder)), snapshot

    def opened(self, folder: Folder) -> Mailbox:
        """Of one's own: a folder of anybody else is not found in this account."""
        return self._own.opened(folder)

    async def create(self, name: str, *, special_use: str = "", subscribed: bool = True) -> Folder:
        """RFC 4314 4: below the nearest folder that exists, whose list the new one takes over."""
        store, owner, local = await self._room_for(name)
        made = await store.create(local, special_use=special_use, subscribed=subscribed)
        if (parent := await self._nearest(store, made.name)) is not None:
            await self._sharing.folder_made(owner, parent.id, made.id)
        return made if owner.id == self._account.id else made._replace(name=name)

    async def _room_for(self, name: str) -> tuple[AccountStore, Account, str]:
        """Where a new folder of that name would lie. ForbiddenError wherever it may not, whoever is there or not."""
        if self._namespaces.split(name) is None:
            return self._own, self._account, name
        shared, local = await self._shared(name)
        if shared is None or not local:
            raise forbidden()
        store = await self._store.account(AccountRef.of(shared.account))
        parent = await self._nearest(store, local)
        if Right.CREATE not in shared.rights(parent.id if parent else WHOLE):
            raise forbidden()
        return store, shared.account, local

    @staticmethod
    async def _nearest(store: AccountStore, local: str) -> Folder | None:
        """The nearest level above that is a folder."""
        levels = local.split(DELIMITER)
        for depth in range(len(levels) - 1, 0, -1):
            folder = await store.folder(DELIMITER.join(levels[:depth]))
            if folder is not None:
                return folder
        return None

    async def rename(self, old: str, new: str) -> None:
        place = await self.find(old)
        if place is None and self._namespaces.split(old) is not None:
            raise absent()
        if place is not None:
            demand(place, Right.REMOVE)
        source = place.store if place else self._own
        store, _, local = await self._room_for(new)
        if store.ref.id != source.ref.id:
            raise InvalidError("folders do not move between mailboxes", code="invalid-rename")
        await source.rename(place.folder.name if place else old, local)

    async def delete(self, name: str) -> None:
        place = await self.find(name)
        if place is None:
            if self._namespaces.split(name) is not None:
                raise absent()
            await self._own.delete(name)  # says why not
            return
        demand(place, Right.REMOVE)
        await place.store.delete(place.folder.name)
        try:
            await self._sharing.folder_gone(place.owner, place.folder.id)
        except MailError as error:  # ids are never used again, so what stays behind grants nothing
            log.warning("acl-not-removed", folder=place.folder.id, reason=error.code)

    async def subscribe(self, name: str, subscribed: bool) -> None:
        """RFC 4314 4: to subscribe one must see it, to unsubscribe nothing is needed."""
        if self._namespaces.split(name) is None:
            await self._own.subscribe(name, subscribed)
            return
        place = await self.find(name)
        if place is not None and Right.LOOKUP in place.rights:
            await self._sharing.subscribe(self._account, place.owner, place.folder.id, subscribed)
        elif subscribed:
            raise absent()

    async def subscriptions(self) -> Sequence[str]:
        others = [folder.name for folder in await self._others_folders() if folder.subscribed]
        return [*await self._own.subscriptions(), *others]

    async def append(self, items: Sequence[tuple[Content, Placement]]) -> Sequence[Appended]:
        """Into one folder. Flags that one may not set are left out (RFC 4314 4)."""
        place = await self.landing(items[0][1].folder) if items else None
        if place is None or place.own:
            return await self._own.append(items)
        return await place.store.append([(content, self.fitted(place, placement)) for content, placement in items])

    async def append_each(
        self, commands: Sequence[Sequence[tuple[Content, Placement]]]
    ) -> Sequence[Sequence[Appended] | MailError]:
        """Several APPENDs in their order, each all or nothing, and what became of each."""
        if len(commands) > 1 and all(self._namespaces.split(items[0][1].folder) is None for items in commands):
            return await self._own.append_each(commands)
        outcomes: list[Sequence[Appended] | MailError] = []
        for items in commands:
            try:
                outcomes.append(await self.append(items))
            except MailError as error:
                outcomes.append(error)
            except Exception as error:  # a bug in one is that one's answer: those before it are committed
                if len(commands) == 1:
                    raise
                outcomes.append(of_one(error))
        return outcomes

    @staticmethod
    def fitted(place: Place, placement: Placement) -> Placement:
        """As the owner's store takes it: his name of the folder, only the flags that one may set."""
        keywords = placement.keywords if Right.WRITE in place.rights else ()
        flags = placement.flags & allowed_flags(place.rights)
        return replace(placement, folder=place.folder.name, flags=flags, keywords=keywords)

    async def usage(self) -> tuple[int, int]:
        return await self._own.usage()

    async def organisation_usage(self) -> int:
        return await self._own.organisation_usage()

    def listen(self, callback: Callable[[Hint], None], *, wide: bool = False) -> Callable[[], None]:
        """To one's own account and to the one whose mailbox is selected; `wide`: to those of `others`, too."""
        stores = {store.ref.id: store for store in (self._own, *(self.others[:MOST_OTHERS] if wide else ()))}
        if self.attended is not None:
            stores.setdefault(self.attended.ref.id, self.attended)
        stops = tuple(store.listen(callback) for store in stores.values())
        return partial(_all, stops) if len(stops) > 1 else stops[0]


def _all(stops: Sequence[Callable[[], None]]) -> None:
    for each in stops:
        each()
