"""What RETURN adds behind each line of LIST: STATUS (RFC 5819), MYRIGHTS (RFC 8440), METADATA (RFC 9590)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from directory import rights
from directory.rights import Right
from imap import responses
from imap.commands import metadata, status
from imap.listing import Row
from imap.session import Session
from imap.wire.scanner import Scanner
from store.types import Folder

MAX_ENTRIES = 20  # of METADATA, each answered for each mailbox

Values = Mapping[str, Mapping[str, bytes]]  # by folder id, then by entry


@dataclass(frozen=True, slots=True)
class Extras:
    """`status`: items; `metadata`: entry names."""

    status: tuple[str, ...] = ()
    my_rights: bool = False
    metadata: tuple[str, ...] = ()

    async def values(self, session: Session, rows: Sequence[Row]) -> Values:
        """The annotations of all rows, one question for each owner."""
        if not self.metadata:
            return {}
        owners = {}
        by_owner: dict[str, list[str]] = {}
        for row in rows:
            if row.folder is not None:
                owner = session.store.listed_owner(row.folder)
                owners[owner.id] = owner
                by_owner.setdefault(owner.id, []).append(row.folder.id)
        found: dict[str, Mapping[str, bytes]] = {}
        for owner_id, folder_ids in by_owner.items():
            read = session.services.directory.annotations.read
            found |= await read(metadata.reader(session), owners[owner_id], folder_ids)
        return found

    def attributes(self, session: Session, row: Row) -> tuple[str, ...]:
        """RFC 9051 6.3.9.2: a mailbox whose STATUS is withheld is told to be one that cannot be selected."""
        if not self.status or row.folder is None or Right.READ in session.store.listed_rights(row.folder):
            return ()
        return ("\\NoSelect",)

    async def write(self, session: Session, folder: Folder, values: Values) -> None:
        """A mailbox that one may not read has no STATUS, and no METADATA (RFC 5819 2, RFC 9590 3)."""
        granted, writer = session.store.listed_rights(folder), session.writer
        if self.status and Right.READ in granted:
            writer.write(await status.describe(session, folder, self.status))
        if self.my_rights:
            writer.write(responses.my_rights(folder.name, rights.for_clients(granted), utf8=session.utf8))
        if self.metadata and metadata.may_read(granted):
            found = metadata.with_use(values.get(folder.id, {}), folder)
            chosen = metadata.select(found, self.metadata, 0)
            writer.write(responses.metadata(folder.name, chosen, utf8=session.utf8))


def read_extra(scanner: Scanner, name: str, extras: Extras) -> Extras:
    """`extras` with the return option `name`, whose argument comes next; the same when it is none of these."""
    if name == "STATUS":
        scanner.space()
        return Extras(status.parse_items(scanner), extras.my_rights, extras.metadata)
    if name == "MYRIGHTS":
        return Extras(extras.status, True, extras.metadata)
    if name == "METADATA":
        scanner.space()
        entries = scanner.parenthesised(lambda: metadata.entry(scanner))[:MAX_ENTRIES]
        return Extras(extras.status, extras.my_rights, tuple(dict.fromkeys(entries)))
    return extras
