"""APPEND (RFC 9051 6.3.12, RFC 4315) with several messages at once (MULTIAPPEND, RFC 3502): all or none."""

from __future__ import annotations

from dataclasses import dataclass

from directory.rights import Right
from imap import responses
from imap.command import AFTER_LOGIN, Command
from imap.commands.incoming import Head, Incoming, read_head
from imap.errors import Code, No
from imap.progress import working
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner


@dataclass(frozen=True, slots=True)
class Append:
    """`head` of the first message; `scanner` stands at its octets: the rest of the command is still to come."""

    name: str
    head: Head
    scanner: Scanner


def _parse(scanner: Scanner) -> Append:
    """append = "APPEND" SP mailbox 1*append-message"""
    scanner.space()
    name = scanner.mailbox()
    return Append(name, read_head(scanner), scanner)


async def _handle(session: Session, asked: Append) -> Ok:
    place = await session.store.landing(asked.name)
    if place is None:
        raise No("no such mailbox", Code.TRYCREATE)
    head = asked.head
    async with Incoming(session, asked.scanner, place.store) as incoming:
        items = [(await incoming.message(head), head.placement(asked.name))]
        while not incoming.scanner.at_end:
            head = read_head(incoming.scanner)
            items.append((await incoming.message(head), head.placement(asked.name)))
        with working(session):
            appended = await session.store.append(items)
    if Right.READ not in place.rights:  # RFC 4315 3: who may not read there is told no UID
        return Ok("APPEND completed")
    code = responses.append_uid(appended[0].uidvalidity, [item.uid for item in appended])
    return Ok("APPEND completed", code)


APPEND = Command("APPEND", AFTER_LOGIN, _parse, _handle)
