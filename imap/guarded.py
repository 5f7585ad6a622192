"""One folder behind the rights of whoever opened it: `store.store.Mailbox` again, and nothing that is not granted.

The rights are those of the moment (`directory.sharing`). Who lost the right to read finds the folder gone (RFC 4314
5.1.1 allows to end the session). One's own folders are handed through; only what names another folder is looked at,
because that may lie in another account. A method that `Mailbox` gets is missing here until it has a right: nothing is
handed through by default.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.errors import NotFoundError
from directory.rights import ALL, Right
from directory.types import Account
from imap.permits import Place, absent, allowed_flags, forbidden
from imap.transfer import Carrier, carry
from imap.types import ranges_of
from message.content import Content
from store.store import AccountStore, Mailbox, MessageFile, UidRanges
from store.types import (
    NO_FLAGS,
    Appended,
    Changes,
    Column,
    Copied,
    Flag,
    FlagsChanged,
    Message,
    Placement,
    Snapshot,
    SortCriterion,
    Stretch,
    Table,
    ThreadAlgorithm,
    ThreadNode,
    Uid,
)

EVERY_FLAG = Flag.SEEN | Flag.ANSWERED | Flag.FLAGGED | Flag.DELETED | Flag.DRAFT
ALL_FLAGS = Right.SEEN | Right.DELETE | Right.WRITE


class Doors(Carrier, Protocol):
    """What a mailbox asks of `imap.places.Places`."""

    async def rights(self, owner: Account, folder_id: str) -> Right: ...

    async def landing(self, name: str) -> Place | None: ...


class GuardedMailbox:
    """`opened_with`: the rights at the time it was opened, for what SELECT tells."""

    __slots__ = ("_doors", "_inner", "_place", "opened_with")

    def __init__(self, doors: Doors, place: Place, inner: Mailbox) -> None:
        self._doors, self._place, self._inner = doors, place, inner
        self.opened_with = place.rights

    @property
    def folder_id(self) -> str:
        return self._inner.folder_id

    @property
    def own(self) -> bool:
        """Nobody can take the right to read away."""
        return self._place.own

    @property
    def account(self) -> AccountStore:
        """Whose changes tell of this folder."""
        return self._place.store

    async def rights(self) -> Right:
        """Of this moment."""
        return ALL if self._place.own else await self._doors.rights(self._place.owner, self.folder_id)

    async def _readable(self) -> Mailbox:
        if not self._place.own and Right.READ not in await self.rights():
            raise absent()
        return self._inner

    async def _with(self, right: Right) -> Mailbox:
        """`right` and the right to read."""
        if not self._place.own:
            rights = await self.rights()
            if Right.READ not in rights:
                raise absent()
            if right not in rights:
                raise forbidden()
        return self._inner

    # -- reading -------------------------------------------------------------------------------------------------------

    async def snapshot(self, *, take_recent: bool = False) -> Snapshot:
        return await (await self._readable()).snapshot(take_recent=take_recent)

    async def recent_from(self, uidnext: int, *, take: bool) -> int:
        return await (await self._readable()).recent_from(uidnext, take=take)

    async def uids(self, snapshot: Snapshot) -> Sequence[int]:
        return await (await self._readable()).uids(snapshot)

    async def rows(
        self, ranges: UidRanges, columns: Column, *, blank: bool = False
    ) -> AsyncIterator[Sequence[Message]]:
        async for batch in (await self._readable()).rows(ranges, columns, blank=blank):
            yield batch

    async def tables(self, ranges: UidRanges, fields: tuple[str, ...]) -> AsyncIterator[Table]:
        async for table in (await self._readable()).tables(ranges, fields):
            yield table

    async def stretch(self, first: int, last: int) -> Stretch:
        return await (await self._readable()).stretch(first, last)

    async def small(self, uids: Sequence[int]) -> Sequence[bytes]:
        return await (await self._readable()).small(uids)

    async def open(self, uid: Uid) -> MessageFile:
        return await (await self._readable()).open(uid)

    async def changes(self, since: int, uidnext: int) -> Changes:
        try:
            return await (await self._readable()).changes(since, uidnext)
        except NotFoundError:
            return Changes(since, uidnext, gone=True)

    async def search_text(self, ranges: UidRanges, pattern: str, *, body_only: bool) -> Sequence[int]:
        return await (await self._readable()).search_text(ranges, pattern, body_only=body_only)

    async def similar_words(self, word: str, most: int) -> Sequence[tuple[str, float]]:
        return await (await self._readable()).similar_words(word, most)

    async def search_field(self, ranges: UidRanges, field: str, pattern: str) -> Sequence[int]:
        return await (await self._readable()).search_field(ranges, field, pattern)

    async def sort(self, uids: Sequence[int], criteria: Sequence[SortCriterion]) -> Sequence[int]:
        return await (await self._readable()).sort(uids, criteria)

    async def threads(self, uids: Sequence[int], algorithm: ThreadAlgorithm) -> Sequence[ThreadNode]:
        return await (await self._readable()).threads(uids, algorithm)

    # -- changing ------------------------------------------------------------------------------------------------------

    async def store_flags(
        self,
        ranges: UidRanges,
        *,
        add: Flag = NO_FLAGS,
        remove: Flag = NO_FLAGS,
        replace: bool = False,
        add_keywords: Sequence[str] = (),
        remove_keywords: Sequence[str] = (),
        unchanged_since: int | None = None,
        seen: int | None = None,
    ) -> FlagsChanged:
        """Of the flags asked those that one may change; ForbiddenError when that is none (RFC 4314 4)."""
        asked = _Asked(add, remove, replace, tuple(add_keywords), tuple(remove_keywords))
        inner = await self._readable()
        rights = await self.rights()
        if ALL_FLAGS not in rights:
            if not asked.touches(rights):
                raise forbidden()
            asked = await self._within(asked, rights)
        return await inner.store_flags(
            ranges,
            add=asked.add,
            remove=asked.remove,
            replace=asked.replace,
            add_keywords=asked.add_keywords,
            remove_keywords=asked.remove_keywords,
            unchanged_since=unchanged_since,
            seen=seen,
        )

    async def _within(self, asked: _Asked, rights: Right) -> _Asked:
        """What remains of a change; a replacement becomes an addition and a removal, and leaves the rest alone."""
        allowed, words = allowed_flags(rights), Right.WRITE in rights
        if asked.replace:
            known = (await self._inner.snapshot()).keywords if words else ()
            gone = tuple(word for word in known if word not in asked.add_keywords)
            asked = _Asked(asked.add, EVERY_FLAG & ~asked.add, False, asked.add_keywords, gone)
        return _Asked(
            asked.add & allowed,
            asked.remove & allowed,
            False,
            asked.add_keywords if words else (),
            asked.remove_keywords if words else (),
        )

    async def expunge(self, ranges: UidRanges | None, *, only_deleted: bool = True) -> Changes:
        inner = await self._with(Right.EXPUNGE if only_deleted else Right.EXPUNGE | Right.DELETE)
        return await inner.expunge(ranges, only_deleted=only_deleted)

    async def copy(self, ranges: UidRanges, target: str) -> Copied:
        inner = await self._readable()
        place = await self._landing(target)
        if self._together(place):
            copied = await inner.copy(ranges, place.folder.name)
        else:
            copied = await carry(self._doors, inner, ranges, place)
        return _told(copied, place)

    async def move(self, ranges: UidRanges, target: str) -> Copied:
        """RFC 6851 3.3: what COPY, STORE \\Deleted and EXPUNGE need."""
        inner = await self._with(Right.EXPUNGE | Right.DELETE)
        place = await self._landing(target)
        if self._together(place):
            return _told(await inner.move(ranges, place.folder.name), place)
        copied = await carry(self._doors, inner, ranges, place)
        if copied.pairs:
            await inner.expunge(ranges_of(sorted(uid for uid, _ in copied.pairs)), only_deleted=False)
        return _told(copied, place)

    async def replace(self, uid: Uid, content: Content, placement: Placement) -> Appended:
        """RFC 8508 3.5: what APPEND, STORE \\Deleted and EXPUNGE need. Across accounts the new message comes first."""
        inner = await self._with(Right.EXPUNGE | Right.DELETE)
        place = await self._landing(placement.folder)
        fitted = self._doors.fitted(place, placement)
        if place.store.ref.id == self._place.store.ref.id:
            appended = await inner.replace(uid, content, fitted)
        else:
            (await inner.open(uid)).close()  # NotFoundError before anything is written
            (appended,) = await place.store.append([(content, fitted)])
            await inner.expunge([(uid, uid)], only_deleted=False)
        return appended

    async def touch(self) -> None:
        await (await self._readable()).touch()

    async def _landing(self, name: str) -> Place:
        place = await self._doors.landing(name)
        if place is None:
            raise absent()
        return place

    def _together(self, place: Place) -> bool:
        """The store can copy by itself: one account, and all flags may come along."""
        return place.store.ref.id == self._place.store.ref.id and ALL_FLAGS in place.rights


@dataclass(frozen=True, slots=True)
class _Asked:
    """The arguments of `store_flags`."""

    add: Flag
    remove: Flag
    replace: bool
    add_keywords: tuple[str, ...]
    remove_keywords: tuple[str, ...]

    def touches(self, rights: Right) -> bool:
        """Something of it is allowed, or it asks for nothing."""
        if self.replace:
            return bool(rights & ALL_FLAGS)
        flags, words = self.add | self.remove, self.add_keywords or self.remove_keywords
        return not (flags or words) or bool(flags & allowed_flags(rights)) or bool(words and Right.WRITE in rights)


def _told(copied: Copied, place: Place) -> Copied:
    """RFC 4315 3: the UIDs of a folder that one may not read are not told."""
    return copied if Right.READ in place.rights else Copied(copied.uidvalidity, ())
