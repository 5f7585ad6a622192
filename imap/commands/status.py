"""STATUS (RFC 9051 6.3.11, RFC 8438, RFC 8474 4.2, RFC 7889 5, RFC 9208 4.1.4); LIST's RETURN (STATUS ...) uses the
same table (RFC 5819)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from core.config import Limits
from imap.command import AFTER_LOGIN, Command
from imap.errors import BadSyntax, Code, No
from imap.responses import Ok
from imap.session import Session
from imap.types import Feature
from imap.wire import encode
from imap.wire.scanner import Scanner
from store.types import Column, Flag, Folder

DELETED_STORAGE = "DELETED-STORAGE"  # no column of a folder: its messages are asked
HIGHEST_MODSEQ = "HIGHESTMODSEQ"
MAILBOX_ID = "MAILBOXID"
# Each as the client gets it: a field of the folder, or a word made from the limits.
ITEMS: dict[str, str | Callable[[Limits], str]] = {
    "MESSAGES": "messages",
    "RECENT": lambda _: "0",  # RFC 3501; \\Recent is not kept
    "UIDNEXT": "uidnext",
    "UIDVALIDITY": "uidvalidity",
    "UNSEEN": "unseen",
    "DELETED": "deleted",
    "SIZE": "size",
    MAILBOX_ID: "id",  # RFC 8474 4.2
    "APPENDLIMIT": lambda limits: str(limits.message_octets),  # RFC 7889 5
    HIGHEST_MODSEQ: "highest_modseq",  # RFC 7162 3.1.7
}


Describer = Callable[[Folder, bytes, int], bytes]


@dataclass(frozen=True, slots=True)
class Status:
    name: str
    items: tuple[str, ...]


def parse_items(scanner: Scanner) -> tuple[str, ...]:
    """ "(" status-att *(SP status-att) ")"; each is answered once."""
    items = tuple(dict.fromkeys(scanner.parenthesised(scanner.keyword)))
    if any(item not in ITEMS and item != DELETED_STORAGE for item in items):
        raise BadSyntax("unknown status item")
    return items


def _parse(scanner: Scanner) -> Status:
    """status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")" """
    scanner.space()
    name = scanner.mailbox()
    scanner.space()
    items = parse_items(scanner)
    scanner.end()
    return Status(name, items)


async def describe(session: Session, folder: Folder, items: Sequence[str]) -> bytes:
    """The STATUS response for one folder."""
    freed = await deleted_storage(session, folder) if DELETED_STORAGE in items else 0
    return describer(session, items)(folder, encode.mailbox(folder.name, utf8=session.utf8), freed)


def describer(session: Session, items: Sequence[str]) -> Describer:
    """What makes the STATUS responses of many folders: of a folder, its name on the wire, and the value of
    `DELETED_STORAGE`."""
    if HIGHEST_MODSEQ in items and not session.condstore:
        session.enable(Feature.CONDSTORE)  # RFC 7162 3.1: asking for it enables
    frame, fields = [], []
    for item in items:
        field = ITEMS.get(item, "")
        if isinstance(field, str):
            frame.append(f"{item} (%s)" if item == MAILBOX_ID else f"{item} %s")
            fields.append(Folder._fields.index(field) if field else len(Folder._fields))
        else:
            frame.append(f"{item} {field(session.limits)}")
    form, values = f" ({' '.join(frame)})\r\n", _getter(fields)

    def line(folder: Folder, name: bytes, freed: int) -> bytes:
        return b"* STATUS %b%b" % (name, (form % values((*folder, freed))).encode("ascii"))

    return line


def _getter(places: Sequence[int]) -> Callable[[tuple[object, ...]], tuple[object, ...]]:
    """A tuple of what stands there, however many they are."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda row: tuple(row[place] for place in places)


async def deleted_storage(session: Session, folder: Folder) -> int:
    """What EXPUNGE would free, in octets (RFC 9208 4.1.4)."""
    if not folder.deleted:
        return 0
    mailbox = await session.store.mailbox(folder.name)
    freed = 0
    async for batch in mailbox.rows([(1, folder.uidnext)], Column.DATES):
        freed += sum(message.size for message in batch if Flag.DELETED in message.flags)
    return freed


async def _handle(session: Session, asked: Status) -> Ok:
    folder = await session.store.folder(asked.name)
    if folder is None:
        raise No("no such mailbox", Code.NONEXISTENT)
    session.writer.write(await describe(session, folder, asked.items))
    return Ok("STATUS completed")


STATUS = Command("STATUS", AFTER_LOGIN, _parse, _handle)
