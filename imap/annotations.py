"""Changes of annotations that others made, told by name alone (RFC 5464 4.4.2, RFC 5465 5.6, 5.7).

The directory is asked again once it has changed, and every few seconds besides, while somebody wants to know. What the
client itself changed is not told (RFC 5465 5). Refuses to know how a client asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from directory.rights import Right
from directory.types import Account
from imap import responses
from imap.session import Session
from store.types import Folder

EVERY = 5.0  # seconds between two looks
SERVER = ""  # the mailbox name, and the folder id, that mean the server

Known = Mapping[str, Mapping[str, int]]  # by folder id, then by entry: a digest of the value


class Wanted(Protocol):
    def __call__(self, folder: Folder, own: bool) -> bool:
        """Changes of this folder's annotations are told. `own`: in the personal namespace."""


class Watch:
    """Of one session. `wanted`: of which folders; `server`: of the server's own as well."""

    def __init__(self, wanted: Wanted, *, server: bool) -> None:
        self._wanted = wanted
        self._server = server
        self._known: Known = {}
        self._again = 0.0  # when to look again
        self._changes = 0  # of the directory, at the last look

    async def begin(self, session: Session) -> None:
        """What is there now counts as told."""
        self._changes = session.services.directory.changes()
        self._known = await self._read(session, await self._folders(session))
        self._again = session.services.clock.monotonic() + EVERY

    def mine(self, folder_id: str, values: Mapping[str, bytes | None]) -> None:
        """The client changed these itself."""
        known = {entry: digest for entry, digest in self._known.get(folder_id, {}).items() if entry not in values}
        known |= {entry: hash(value) for entry, value in values.items() if value is not None}
        self._known = {**self._known, folder_id: known}

    async def tell(self, session: Session) -> None:
        """All that changed since the last look, when it is time for one. Raises `TemporaryError`."""
        now, changes = session.services.clock.monotonic(), session.services.directory.changes()
        if now < self._again and changes == self._changes:
            return
        # Steps of a grid: counted from this look, the second beat of a timer with this period would come too early.
        self._again += EVERY * (1 + (now - self._again) // EVERY)
        self._changes = changes
        folders = await self._folders(session)
        found = await self._read(session, folders)
        before, self._known = self._known, found
        names = {folder.id: folder.name for folder in folders} | {SERVER: SERVER}
        for folder_id, values in found.items():
            if folder_id in before and (entries := changed(before[folder_id], values)):
                session.writer.write(responses.metadata_changed(names[folder_id], entries, utf8=session.utf8))

    async def _folders(self, session: Session) -> list[Folder]:
        """Those whose annotations may be read (RFC 5464 3.3) and whose events may be told (RFC 5465 5)."""
        store = session.store
        return [
            folder
            for folder in await store.folders()
            if self._wanted(folder, store.namespaces.split(folder.name) is None)
            and Right.LOOKUP | Right.READ in store.listed_rights(folder)
        ]

    async def _read(self, session: Session, folders: Sequence[Folder]) -> Known:
        assert session.login is not None
        me = session.login.account
        by_owner: dict[str, tuple[Account, list[str]]] = {}
        for folder in folders:
            owner = session.store.listed_owner(folder)
            by_owner.setdefault(owner.id, (owner, []))[1].append(folder.id)
        if self._server:
            by_owner.setdefault(me.id, (me, []))[1].append(SERVER)
        found: dict[str, Mapping[str, int]] = {}
        for owner, folder_ids in by_owner.values():
            values = await session.services.directory.annotations.read(me, owner, folder_ids)
            for folder_id in folder_ids:
                here = values.get(folder_id, {})
                found[folder_id] = {entry: hash(value) for entry, value in here.items()}
        return found


def changed(before: Mapping[str, int], after: Mapping[str, int]) -> Collection[str]:
    """New, other and removed entries (RFC 5465 5.6: those that were deleted, too)."""
    return sorted(entry for entry in before.keys() | after.keys() if before.get(entry) != after.get(entry))
