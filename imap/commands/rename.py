"""RENAME (RFC 9051 6.3.6): children follow; INBOX leaves an empty INBOX behind (the store's work)."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import MailError
from core.log import get
from imap import responses
from imap.command import AFTER_LOGIN, Command
from imap.commands.guards import check_new_name
from imap.commands.metadata import reader
from imap.errors import Code, No
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner
from store.types import DELIMITER, INBOX

log = get(__name__)


@dataclass(frozen=True, slots=True)
class Rename:
    """`told`: the former name as the client wrote it, when it or the new one is another spelling."""

    old: str
    new: str
    told: str = ""


def _parse(scanner: Scanner) -> Rename:
    """rename = "RENAME" SP mailbox SP mailbox"""
    scanner.space()
    old = scanner.mailbox()
    scanner.space()
    new = scanner.mailbox()
    scanner.end()
    (_, spelt), (_, other) = scanner.names
    return Rename(old, new, spelt or (old if other else ""))


async def _handle(session: Session, rename: Rename) -> Ok:
    new = check_new_name(rename.new)
    if new == INBOX:
        raise No("mailbox exists", Code.ALREADYEXISTS)
    if new.startswith(rename.old + DELIMITER) and rename.old != INBOX:
        raise No("a mailbox cannot move below itself", Code.CANNOT)
    await session.store.rename(rename.old, new)
    if rename.old == INBOX:
        await _copy_annotations(session, new)
    await session.named(rename.old, new)
    if rename.told and session.utf8:  # RFC 9051 6.3.6: the new name as it is, OLDNAME as it was supplied
        session.writer.write(responses.listed("LIST", [], new, utf8=True, old_name=rename.told))
    return Ok("RENAME completed")


async def _copy_annotations(session: Session, new: str) -> None:
    """INBOX keeps its annotations, what it has become gets a copy (RFC 5464 4.1). The mailbox is renamed already, so a
    copy that fails fails quietly."""
    me, annotations = reader(session), session.services.directory.annotations
    try:
        inbox, made = await session.store.place(INBOX), await session.store.place(new)
        values = (await annotations.read(me, me, [inbox.folder.id])).get(inbox.folder.id, {})
        if values:
            await annotations.change(me, me, made.folder.id, values)
    except MailError as error:
        log.warning("annotations-not-copied", reason=error.code)


RENAME = Command("RENAME", AFTER_LOGIN, _parse, _handle)
