"""GETACL, SETACL, DELETEACL, LISTRIGHTS, MYRIGHTS (RFC 4314 3): who may do what in a folder.

Identifiers are addresses of the owner's organisation and "anyone", everybody of it; any other one is unknown, whether
it exists or not (promise P8). With "-" before it an identifier names what is taken from it, whatever else grants it
(negative rights, RFC 4314 2); an account whose own name begins with "-", which no new one may, is told and taken with
its local part in quotes, as addresses may be written. The owner has every right, always.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.address import Address, AddressError, parse
from core.errors import InvalidError, NotFoundError
from directory import rights
from directory.rights import ANYONE, LETTERS, NEGATIVE, OBSOLETE, Right
from directory.types import Change
from imap import responses
from imap.command import AFTER_LOGIN, Command
from imap.errors import Bad, BadSyntax, Code, No
from imap.permits import Place, demand
from imap.responses import Ok
from imap.session import Session
from imap.wire import encode
from imap.wire.scanner import Scanner

MAX_IDENTIFIER = 320


@dataclass(frozen=True, slots=True)
class Entry:
    """`identifier` as the client wrote it."""

    name: str
    identifier: bytes


@dataclass(frozen=True, slots=True)
class SetAcl:
    entry: Entry
    change: Change


def _parse_name(scanner: Scanner) -> str:
    scanner.space()
    name = scanner.mailbox()
    scanner.end()
    return name


def _entry(scanner: Scanner) -> Entry:
    """mailbox SP identifier"""
    scanner.space()
    name = scanner.mailbox()
    scanner.space()
    identifier = scanner.astring()
    # RFC 4314 3: what stringprep leaves nothing of is BAD.
    if not 0 < len(identifier) <= MAX_IDENTIFIER or not identifier.decode("utf-8", "replace").isprintable():
        raise BadSyntax("malformed identifier")
    return Entry(name, identifier)


def _parse_entry(scanner: Scanner) -> Entry:
    entry = _entry(scanner)
    scanner.end()
    return entry


def _parse_set(scanner: Scanner) -> SetAcl:
    """setacl = "SETACL" SP mailbox SP identifier SP mod-rights"""
    entry = _entry(scanner)
    scanner.space()
    text = scanner.astring().decode("ascii", "replace")
    scanner.end()
    sign = text[:1] if text[:1] in ("+", "-") else ""
    try:
        return SetAcl(entry, Change(sign, rights.parse(text.removeprefix(sign))))
    except ValueError as error:
        raise Bad("there is no such right") from error  # RFC 4314 3.1


async def _administered(session: Session, name: str) -> Place:
    place = await session.store.place(name)
    demand(place, Right.ADMINISTER)
    return place


def _grantee(identifier: bytes) -> tuple[Address | None, bool]:
    """None for anyone; and whether it is about negative rights. Raises `No` for what cannot be an account."""
    text = identifier.decode("utf-8", "replace")
    negative = text.startswith(NEGATIVE)
    text = text.removeprefix(NEGATIVE)
    if text == ANYONE:
        return None, negative
    try:
        return parse(text), negative
    except AddressError as error:
        raise _unknown() from error


def _identifier(grantee: Address | None) -> str:
    """None for anyone. What begins with "-" would be read as negative rights of somebody else."""
    if grantee is None:
        return ANYONE
    text = str(grantee)
    local, at, domain = text.rpartition("@")
    return f'"{local}"{at}{domain}' if text.startswith(NEGATIVE) else text


def _unknown() -> No:
    return No("nobody of that name here", Code.CANNOT)


async def _change(session: Session, entry: Entry, change: Change) -> None:
    place = await _administered(session, entry.name)
    if session.login is None:
        raise RuntimeError("no login")
    sharing = session.services.directory.sharing
    grantee, negative = _grantee(entry.identifier)
    change = replace(change, negative=negative)
    try:
        await sharing.set_acl(session.login.account, place.owner, place.folder.id, grantee, change)
    except NotFoundError as error:
        raise _unknown() from error
    except InvalidError as error:
        raise No("the owner always has every right", Code.CANNOT) from error


async def _set(session: Session, asked: SetAcl) -> Ok:
    await _change(session, asked.entry, asked.change)
    return Ok("SETACL completed")


async def _delete(session: Session, entry: Entry) -> Ok:
    await _change(session, entry, Change("", Right.NONE))
    return Ok("DELETEACL completed")


async def _get(session: Session, name: str) -> Ok:
    place = await _administered(session, name)
    entries = [(_identifier(place.owner.address), rights.for_clients(rights.ALL))]
    for entry in await session.services.directory.sharing.acl(place.owner, place.folder.id):
        sign = NEGATIVE if entry.negative else ""
        entries.append((f"{sign}{_identifier(entry.grantee)}", rights.for_clients(entry.rights)))
    session.writer.write(responses.acl(name, entries, utf8=session.utf8))
    return Ok("GETACL completed")


async def _list(session: Session, entry: Entry) -> Ok:
    """RFC 4314 3.7: first what is always granted, then what can be, none tied to another. From the owner nothing can
    be taken."""
    place = await _administered(session, entry.name)
    grantee, negative = _grantee(entry.identifier)
    optional = (*LETTERS, *OBSOLETE)
    required = ""
    if grantee is not None and grantee.key == place.owner.address.key:
        required, optional = "" if negative else "".join(optional), ()
    session.writer.write(responses.list_rights(entry.name, entry.identifier, required, optional, utf8=session.utf8))
    return Ok("LISTRIGHTS completed")


async def _mine(session: Session, name: str) -> Ok:
    place = await session.store.place(name)
    session.writer.write(responses.my_rights(encode.mailbox(name, utf8=session.utf8), rights.for_clients(place.rights)))
    return Ok("MYRIGHTS completed")


GETACL = Command("GETACL", AFTER_LOGIN, _parse_name, _get)
SETACL = Command("SETACL", AFTER_LOGIN, _parse_set, _set)
DELETEACL = Command("DELETEACL", AFTER_LOGIN, _parse_entry, _delete)
LISTRIGHTS = Command("LISTRIGHTS", AFTER_LOGIN, _parse_entry, _list)
MYRIGHTS = Command("MYRIGHTS", AFTER_LOGIN, _parse_name, _mine)
