"""What RETURN adds behind each line of LIST: STATUS (RFC 5819), MYRIGHTS (RFC 8440), METADATA (RFC 9590)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from directory import rights
from directory.rights import ALL, Right
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

    async def prepared(self, session: Session, rows: Sequence[Row], rights: Sequence[Right]) -> Answers | None:
        """What can tell the lines of all these rows, on which one has `rights`; None: nothing is asked for."""
        if not (self.status or self.my_rights or self.metadata):
            return None
        granted = [(row.folder, each) for row, each in zip(rows, rights, strict=True) if row.folder and row.chosen]
        folders = [folder for folder, _ in granted]
        counted: Mapping[str, status.Counted] = {}
        if not frozenset(self.status).isdisjoint(status.COUNTED):
            read = [folder for folder, each in granted if each is ALL or Right.READ in each]
            counted = await status.counted(session, read, self.status)
        describe = status.describer(session, self.status) if self.status else None
        return Answers(self, describe, counted, await self._values(session, folders))

    async def _values(self, session: Session, folders: Sequence[Folder]) -> Values:
        """The annotations of all folders, one question for each owner."""
        if not self.metadata:
            return {}
        owners = {}
        by_owner: dict[str, list[str]] = {}
        for folder in folders:
            owner = session.store.listed_owner(folder)
            owners[owner.id] = owner
            by_owner.setdefault(owner.id, []).append(folder.id)
        found: dict[str, Mapping[str, bytes]] = {}
        for owner_id, folder_ids in by_owner.items():
            read = session.services.directory.annotations.read
            found |= await read(metadata.reader(session), owners[owner_id], folder_ids)
        return found

    def attributes(self, row: Row, granted: Right) -> tuple[str, ...]:
        """RFC 9051 6.3.9.2: a mailbox whose STATUS is withheld is told to be one that cannot be selected."""
        if granted is ALL or not self.status or row.folder is None or Right.READ in granted:
            return row.attributes
        return (*row.attributes, "\\NoSelect")


@dataclass(frozen=True, slots=True)
class Answers:
    """What is told of each folder. `counted`: what STATUS wants that is no field of it, by folder id; `values`:
    annotations."""

    asked: Extras
    describe: status.Describer | None
    counted: Mapping[str, status.Counted]
    values: Values

    def lines(self, folder: Folder, name: bytes, granted: Right) -> list[bytes]:
        """`name` on the wire. A mailbox that one may not read has no STATUS, and no METADATA (RFC 5819 2, RFC 9590
        3)."""
        lines = []
        if self.describe is not None and (granted is ALL or Right.READ in granted):
            lines.append(self.describe(folder, name, self.counted.get(folder.id, status.NOT_COUNTED)))
        if self.asked.my_rights:
            lines.append(responses.my_rights(name, rights.for_clients(granted)))
        if self.asked.metadata and metadata.may_read(granted):
            found = metadata.with_use(self.values.get(folder.id, {}), folder)
            lines.append(responses.metadata(name, metadata.select(found, self.asked.metadata, 0)))
        return lines


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
