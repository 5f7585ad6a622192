"""STATUS (RFC 9051 6.3.11, RFC 8438, RFC 8474 4.2, RFC 7889 5, RFC 9208 4.1.4); LIST's RETURN (STATUS ...) uses the
same table (RFC 5819)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.config import Limits
from imap import responses
from imap.command import AFTER_LOGIN, Command
from imap.errors import BadSyntax, Code, No
from imap.responses import Ok
from imap.session import Session
from imap.types import Feature
from imap.wire.scanner import Scanner
from store.types import Column, Flag, Folder

DELETED_STORAGE = "DELETED-STORAGE"  # no column of a folder: its messages are asked
HIGHEST_MODSEQ = "HIGHESTMODSEQ"
ITEMS: dict[str, Callable[[Folder, Limits], int | str]] = {
    "MESSAGES": lambda folder, _: folder.messages,
    "RECENT": lambda folder, _: 0,  # RFC 3501; \Recent is not kept
    "UIDNEXT": lambda folder, _: folder.uidnext,
    "UIDVALIDITY": lambda folder, _: folder.uidvalidity,
    "UNSEEN": lambda folder, _: folder.unseen,
    "DELETED": lambda folder, _: folder.deleted,
    "SIZE": lambda folder, _: folder.size,
    "MAILBOXID": lambda folder, _: f"({folder.id})",  # RFC 8474 4.2
    "APPENDLIMIT": lambda _, limits: limits.message_octets,  # RFC 7889 5
    HIGHEST_MODSEQ: lambda folder, _: folder.highest_modseq,  # RFC 7162 3.1.7
}


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


async def describe(session: Session, folder: Folder, items: Sequence[str], *, name: str = "") -> bytes:
    """The STATUS response for one folder, under `name` when the client knows it by another than its own."""
    if HIGHEST_MODSEQ in items and not session.condstore:
        session.enable(Feature.CONDSTORE)  # RFC 7162 3.1: asking for it enables
    limits = session.limits
    values = [(item, str(ITEMS[item](folder, limits))) for item in items if item != DELETED_STORAGE]
    if DELETED_STORAGE in items:
        values.insert(items.index(DELETED_STORAGE), (DELETED_STORAGE, str(await _deleted_storage(session, folder))))
    return responses.status(name or folder.name, values, utf8=session.utf8)


async def _deleted_storage(session: Session, folder: Folder) -> int:
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
