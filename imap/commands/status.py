"""STATUS (RFC 9051 6.3.11, RFC 8438, RFC 8474 4.3, RFC 7889 3, RFC 9208 4.1.4); LIST's RETURN (STATUS ...) uses the
same table (RFC 5819)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from core.config import Limits
from core.errors import MailError
from imap.command import AFTER_LOGIN, Command
from imap.errors import BadSyntax, Code, No
from imap.responses import Ok
from imap.session import Session
from imap.types import Feature
from imap.wire import encode
from imap.wire.scanner import Scanner
from store.types import Column, Flag, Folder

DELETED_STORAGE = "DELETED-STORAGE"  # no column of a folder: its messages are asked
RECENT = "RECENT"  # likewise (RFC 3501 6.3.10)
COUNTED = (DELETED_STORAGE, RECENT)  # behind the fields of a folder
HIGHEST_MODSEQ = "HIGHESTMODSEQ"
MAILBOX_ID = "MAILBOXID"
# Each as the client gets it: a field of the folder, or a word made from the limits.
ITEMS: dict[str, str | Callable[[Limits], str]] = {
    "MESSAGES": "messages",
    "UIDNEXT": "uidnext",
    "UIDVALIDITY": "uidvalidity",
    "UNSEEN": "unseen",
    "DELETED": "deleted",
    "SIZE": "size",
    MAILBOX_ID: "id",  # RFC 8474 4.3
    "APPENDLIMIT": lambda limits: str(limits.message_octets),  # RFC 7889 5
    HIGHEST_MODSEQ: "highest_modseq",  # RFC 7162 3.1.7
}


# Where a value stands behind the fields of a folder.
_PLACES = {name: place for place, name in enumerate((*Folder._fields, *COUNTED, MAILBOX_ID, "NAME"))}
_PLACES["id"], _NAME = _PLACES[MAILBOX_ID], _PLACES["NAME"]  # as octets

Counted = tuple[int, int]  # what DELETED-STORAGE and RECENT tell
NOT_COUNTED: Counted = (0, 0)
Describer = Callable[[Folder, bytes, Counted], bytes]


@dataclass(frozen=True, slots=True)
class Status:
    name: str
    items: tuple[str, ...]


def parse_items(scanner: Scanner) -> tuple[str, ...]:
    """ "(" status-att *(SP status-att) ")"; each is answered once."""
    items = tuple(dict.fromkeys(scanner.parenthesised(scanner.keyword)))
    if any(item not in ITEMS and item not in COUNTED for item in items):
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
    found = await counted(session, [folder], items)
    return describer(session, items)(folder, encode.mailbox(folder.name, utf8=session.utf8), found[folder.id])


def describer(session: Session, items: Sequence[str]) -> Describer:
    """What makes the STATUS responses of many folders: of a folder, its name on the wire, and what was `counted`."""
    if HIGHEST_MODSEQ in items and not session.condstore:
        session.enable(Feature.CONDSTORE)  # RFC 7162 3.1: asking for it enables
    frame, places = [], [_NAME]
    for item in items:
        field = ITEMS.get(item, "")
        if not isinstance(field, str):
            frame.append(f"{item} {field(session.limits)}")
            continue
        frame.append(f"{item} (%b)" if item == MAILBOX_ID else f"{item} %d")
        places.append(_PLACES[field or item])
    form = f"* STATUS %b ({' '.join(frame)})\r\n".encode("ascii")
    chosen = itemgetter(*places) if len(places) > 1 else itemgetter(slice(_NAME, _NAME + 1))

    def line(folder: Folder, name: bytes, found: Counted) -> bytes:
        values: tuple[object, ...] = chosen((*folder, *found, folder.id.encode("ascii"), name))
        return form % values

    return line


async def counted(session: Session, folders: Sequence[Folder], items: Sequence[str]) -> Mapping[str, Counted]:
    """By folder id, of folders that one may read, what of it is asked for."""
    found = dict.fromkeys((folder.id for folder in folders), NOT_COUNTED)
    if RECENT in items and not session.rev2:  # RFC 9051 appendix E
        found |= {key: (0, recent) for key, recent in (await _recent(session, folders)).items()}
    if DELETED_STORAGE in items:
        for folder in folders:
            found[folder.id] = (await _deleted_storage(session, folder), found[folder.id][1])
    return found


async def _recent(session: Session, folders: Sequence[Folder]) -> Mapping[str, int]:
    """What whoever selects them next would find recent; of the selected one also what is so in this session."""
    found = await session.store.recent(folders)
    selected = session.selection
    if selected is not None and not selected.read_only and (here := selected.mailbox.folder_id) in found:
        return {**found, here: found[here] + selected.view.recent_count()}
    return found


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
    session.writer.write(await describe(session, await _looked(session, folder), asked.items))
    return Ok("STATUS completed")


async def _looked(session: Session, folder: Folder) -> Folder:
    """With what hands did to its files, or as it is known where it cannot be looked at. Of many folders (LIST-STATUS)
    the index tells."""
    try:
        found = (await (await session.store.mailbox(folder.name)).snapshot()).folder
    except MailError:
        return folder
    return found._replace(name=folder.name, special_use=folder.special_use)


STATUS = Command("STATUS", AFTER_LOGIN, _parse, _handle)
