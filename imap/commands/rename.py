"""RENAME (RFC 9051 6.3.6): children follow; INBOX leaves an empty INBOX behind (the store's work)."""

from __future__ import annotations

from dataclasses import dataclass

from imap.command import AFTER_LOGIN, Command
from imap.commands.guards import check_new_name
from imap.errors import Code, No
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner
from store.types import DELIMITER, INBOX


@dataclass(frozen=True, slots=True)
class Rename:
    old: str
    new: str


def _parse(scanner: Scanner) -> Rename:
    """rename = "RENAME" SP mailbox SP mailbox"""
    scanner.space()
    old = scanner.mailbox()
    scanner.space()
    new = scanner.mailbox()
    scanner.end()
    return Rename(old, new)


async def _handle(session: Session, rename: Rename) -> Ok:
    new = check_new_name(rename.new)
    if new == INBOX:
        raise No("mailbox exists", Code.ALREADYEXISTS)
    if new.startswith(rename.old + DELIMITER) and rename.old != INBOX:
        raise No("a mailbox cannot move below itself", Code.CANNOT)
    await session.store.rename(rename.old, new)
    return Ok("RENAME completed")


RENAME = Command("RENAME", AFTER_LOGIN, _parse, _handle)
