"""DELETE (RFC 9051 6.3.5): the folder and its messages go, its children stay."""

from __future__ import annotations

from core.errors import NotFoundError
from directory.rights import Right
from imap.command import AFTER_LOGIN, Command
from imap.errors import Code, No
from imap.permits import Place, demand
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner
from store.types import DELIMITER, INBOX


def _parse(scanner: Scanner) -> str:
    scanner.space()
    name = scanner.mailbox()
    scanner.end()
    return name


async def _handle(session: Session, name: str) -> Ok:
    if name == INBOX:
        raise No("INBOX cannot be deleted", Code.CANNOT)
    place = await session.store.find(name)
    if place is not None:
        demand(place, Right.REMOVE)
        _leave(session, place)
    try:
        await session.store.delete(name)
    except NotFoundError:
        if any(folder.name.startswith(name + DELIMITER) for folder in await session.store.folders()):
            raise No("only a name, with mailboxes below it", Code.HASCHILDREN) from None
        raise
    await session.named(name)
    return Ok("DELETE completed")


def _leave(session: Session, place: Place) -> None:
    """Deleting the selected mailbox closes it first (RFC 2180 3.2: the session goes on)."""
    selected = session.selection
    if selected is not None and selected.mailbox.folder_id == place.folder.id:
        session.unselect()
        session.say("OK", "mailbox closed", Code.CLOSED)


DELETE = Command("DELETE", AFTER_LOGIN, _parse, _handle, tells_spelling=(("\\NonExistent",),))
