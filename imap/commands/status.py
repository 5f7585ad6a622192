"""STATUS (RFC 9051 6.3.11, RFC 8438); LIST's RETURN (STATUS ...) uses the same table (RFC 5819)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imap import responses
from imap.command import AFTER_LOGIN, Command
from imap.errors import BadSyntax, Code, No
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner
from store.types import Folder

ITEMS: dict[str, Callable[[Folder], int]] = {
    "MESSAGES": lambda folder: folder.messages,
    "RECENT": lambda folder: 0,  # RFC 3501; \Recent is not kept
    "UIDNEXT": lambda folder: folder.uidnext,
    "UIDVALIDITY": lambda folder: folder.uidvalidity,
    "UNSEEN": lambda folder: folder.unseen,
    "DELETED": lambda folder: folder.deleted,
    "SIZE": lambda folder: folder.size,
}


@dataclass(frozen=True, slots=True)
class Status:
    name: str
    items: tuple[str, ...]


def parse_items(scanner: Scanner) -> tuple[str, ...]:
    """ "(" status-att *(SP status-att) ")"; each is answered once."""
    items = tuple(dict.fromkeys(scanner.parenthesised(scanner.keyword)))
    if any(item not in ITEMS for item in items):
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


def describe(folder: Folder, items: Sequence[str], *, utf8: bool) -> bytes:
    return responses.status(folder.name, [(item, ITEMS[item](folder)) for item in items], utf8=utf8)


async def _handle(session: Session, asked: Status) -> Ok:
    folder = await session.store.folder(asked.name)
    if folder is None:
        raise No("no such mailbox", Code.NONEXISTENT)
    session.writer.write(describe(folder, asked.items, utf8=session.utf8))
    return Ok("STATUS completed")


STATUS = Command("STATUS", AFTER_LOGIN, _parse, _handle)
