"""GETMETADATA and SETMETADATA (RFC 5464): annotations of folders and of the server, shared ones and one's own.

A folder's annotations are for who may look it up and do something with what is in it (RFC 5464 3.3); shared ones are
set only by who may write there. On the server everybody keeps private ones; its shared ones are the operator's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from core.errors import QuotaError
from directory.rights import Right
from directory.types import Account
from imap import responses
from imap.command import AFTER_LOGIN, Command
from imap.errors import BadSyntax, Code, No
from imap.permits import Place, forbidden
from imap.responses import Ok
from imap.session import Session
from imap.types import MAX_NUMBER
from imap.wire import encode
from imap.wire.scanner import Scanner
from store.types import Folder

SERVER = ""  # the mailbox name, and the folder id, that mean the server
SPECIAL_USE = "/private/specialuse"
INFINITE = 1000  # levels: deeper than any name
MAX_ENTRY = 500
MAX_ENTRIES = 200  # of one command
SOMETHING = Right.READ | Right.SEEN | Right.WRITE | Right.INSERT | Right.POST  # RFC 5464 3.3
_ENTRY = re.compile(r"/(?:private|shared)(?:/[!-$&-)+-.0-~]+)*")  # ABNF: neither "*" nor "%", no empty level
_OPTIONS = re.compile(rb"\((?=(?:MAXSIZE|DEPTH) )", re.IGNORECASE)
_OPTION = re.compile(rb"MAXSIZE|DEPTH", re.IGNORECASE)
_DEPTH = re.compile(rb"0|1|infinity", re.IGNORECASE)
_DEPTHS = {b"0": 0, b"1": 1, b"INFINITY": INFINITE}


@dataclass(frozen=True, slots=True)
class Get:
    name: str
    entries: tuple[str, ...]
    max_size: int | None = None
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Set:
    name: str
    values: Mapping[str, bytes | None]


def _parse_get(scanner: Scanner) -> Get:
    """getmetadata = "GETMETADATA" [SP options] SP mailbox SP entries; the RFC's examples put the options behind."""
    options: dict[str, int] = {}
    scanner.space()
    if scanner.try_match(_OPTIONS):
        options = _options(scanner)
        scanner.space()
    name = scanner.mailbox(empty=True)
    scanner.space()
    if scanner.try_match(_OPTIONS):
        options |= _options(scanner)
        scanner.space()
    entries = scanner.parenthesised(lambda: entry(scanner)) if scanner.peek() == b"(" else [entry(scanner)]
    while scanner.try_space():  # as the examples have it, too
        entries.append(entry(scanner))
    scanner.end()
    if len(entries) > MAX_ENTRIES:
        raise BadSyntax("too many entries")
    return Get(name, tuple(dict.fromkeys(entries)), options.get("MAXSIZE"), options.get("DEPTH", 0))


def _options(scanner: Scanner) -> dict[str, int]:
    found: dict[str, int] = {}
    while True:
        option = scanner.match(_OPTION, "option").group().upper().decode("ascii")
        scanner.space()
        found[option] = _OPTION_VALUES[option](scanner)
        if scanner.try_token(b")"):
            return found
        scanner.space()


_OPTION_VALUES: dict[str, Callable[[Scanner], int]] = {
    "MAXSIZE": lambda scanner: scanner.number(MAX_NUMBER),
    "DEPTH": lambda scanner: _DEPTHS[scanner.match(_DEPTH, "depth").group().upper()],
}


def entry(scanner: Scanner) -> str:
    """An entry name in lower case: they are compared without case (RFC 5464 3.2.1)."""
    text = scanner.astring().decode("ascii", "replace").lower()
    if len(text) > MAX_ENTRY or not _ENTRY.fullmatch(text):
        raise BadSyntax("malformed entry name")
    return text


def _parse_set(scanner: Scanner) -> Set:
    """setmetadata = "SETMETADATA" SP mailbox SP "(" entry-value *(SP entry-value) ")" """
    scanner.space()
    name = scanner.mailbox(empty=True)
    scanner.space()
    pairs = scanner.parenthesised(lambda: _pair(scanner))
    scanner.end()
    if len(pairs) > MAX_ENTRIES:
        raise BadSyntax("too many entries")
    return Set(name, dict(pairs))


def _pair(scanner: Scanner) -> tuple[str, bytes | None]:
    name = entry(scanner)
    if name.count("/") < 2:
        raise BadSyntax("malformed entry name")
    scanner.space()
    return name, scanner.nstring8()


def reader(session: Session) -> Account:
    if session.login is None:
        raise RuntimeError("no login")
    return session.login.account


async def _get(session: Session, asked: Get) -> Ok:
    me = reader(session)
    owner, folder_id = me, SERVER
    if asked.name != SERVER:
        place = await _readable(session, asked.name)
        owner, folder_id = place.owner, place.folder.id
    found = (await session.services.directory.annotations.read(me, owner, [folder_id])).get(folder_id, {})
    if asked.name != SERVER:
        found = with_use(found, place.folder if place.own else None)
    values = select(found, asked.entries, asked.depth)
    small = [(name, value) for name, value in values if fits(value, asked.max_size)]
    if small:
        session.writer.write(responses.metadata(encode.mailbox(asked.name, utf8=session.utf8), small))
    return Ok("GETMETADATA completed", long_entries(values, asked.max_size))


def with_use(found: Mapping[str, bytes], folder: Folder | None) -> Mapping[str, bytes]:
    """The special use of one's own folder, as an annotation that is read only (RFC 6154 4)."""
    return found if folder is None or not folder.special_use else {**found, SPECIAL_USE: folder.special_use.encode()}


def select(found: Mapping[str, bytes], wanted: Sequence[str], depth: int) -> list[tuple[str, bytes | None]]:
    """Each entry asked for, NIL when it is absent and nothing below it was asked for, and what lies below it."""
    chosen: dict[str, bytes | None] = {}
    for name in wanted:
        if name in found or not depth:
            chosen[name] = found.get(name)
        for candidate, value in found.items():
            below = candidate.removeprefix(name + "/")
            if below != candidate and below.count("/") < depth:
                chosen[candidate] = value
    return list(chosen.items())


def fits(value: bytes | None, max_size: int | None) -> bool:
    return value is None or max_size is None or len(value) <= max_size


def long_entries(values: Sequence[tuple[str, bytes | None]], max_size: int | None) -> str:
    """RFC 5464 4.2.1: the size of the largest that was left out."""
    left_out = [len(value) for _, value in values if value is not None and not fits(value, max_size)]
    return f"METADATA LONGENTRIES {max(left_out)}" if left_out else Code.NONE


async def _readable(session: Session, name: str) -> Place:
    place = await session.store.place(name)
    if not may_read(place.rights):
        raise forbidden()
    return place


def may_read(rights: Right) -> bool:
    """RFC 5464 3.3: "l" and any of "r", "s", "w", "i", "p"."""
    return Right.LOOKUP in rights and bool(rights & SOMETHING)


async def _set(session: Session, asked: Set) -> Ok:
    me, place = reader(session), None
    owner, folder_id, writable = me, SERVER, False
    if asked.name != SERVER:
        place = await _readable(session, asked.name)
        owner, folder_id, writable = place.owner, place.folder.id, Right.WRITE in place.rights
    if SPECIAL_USE in asked.values:
        raise No("a special use is given when a mailbox is created", Code.CANNOT)  # RFC 6154 4
    if not writable and any(name.startswith("/shared/") for name in asked.values):
        raise forbidden()
    try:
        await session.services.directory.annotations.change(me, owner, folder_id, asked.values)
    except QuotaError as error:
        raise _too_much(session, error) from error
    if session.annotations is not None:
        session.annotations.mine(folder_id, asked.values)
    if session.notices is not None:
        session.notices.annotated(folder_id, asked.values)
    # It raises the mod-sequence (RFC 7162 3.2); what somebody notes in another's mailbox for himself is no news there.
    if place is not None and (place.own or any(name.startswith("/shared/") for name in asked.values)):
        await (await place.store.mailbox(place.folder.name)).touch()
    return Ok("SETMETADATA completed")


def _too_much(session: Session, error: QuotaError) -> No:
    """RFC 5464 4.3."""
    if error.code == "annotation-too-big":
        return No("the value is too large", f"METADATA MAXSIZE {session.limits.metadata_value}")
    if error.code == "annotations-too-many":
        return No("too many annotations", "METADATA TOOMANY")
    return No("no room left for annotations", Code.OVERQUOTA)


GETMETADATA = Command("GETMETADATA", AFTER_LOGIN, _parse_get, _get)
SETMETADATA = Command("SETMETADATA", AFTER_LOGIN, _parse_set, _set)
