"""APPEND (RFC 9051 6.3.12, RFC 4315): the message is streamed into the store's spool, never collected in memory.

Everything that can be refused is refused before "+" is sent. Octets are kept as they come, except that a bare LF
becomes CRLF (RFC 5322 2.3: lines end in CRLF; section offsets rely on it); NUL is refused (RFC 9051 4.3.1).
"""

from __future__ import annotations

from dataclasses import dataclass

from imap import responses
from imap.command import AFTER_LOGIN, Command
from imap.commands.guards import check_keywords
from imap.errors import BadSyntax, Code, No
from imap.responses import Ok
from imap.session import Session
from imap.types import FlagSet
from imap.wire.scanner import Announced, Scanner
from store.store import Spool
from store.types import Placement

LATEST = 2**32 - 1  # Unix seconds a file's time can hold everywhere


@dataclass(frozen=True, slots=True)
class Append:
    """`date`: Unix seconds, None for now."""

    name: str
    flags: FlagSet
    date: int | None
    literal: Announced


def _parse(scanner: Scanner) -> Append:
    """append = "APPEND" SP mailbox [SP flag-list] [SP date-time] SP literal"""
    scanner.space()
    name = scanner.mailbox()
    scanner.space()
    flags, date = FlagSet(), None
    if scanner.peek() == b"(":
        flags = scanner.flag_list()
        scanner.space()
    if scanner.peek() == b'"':
        date = min(max(scanner.date_time(), 0), LATEST)
        scanner.space()
    return Append(name, flags, date, scanner.announced_literal())


async def _handle(session: Session, asked: Append) -> Ok:
    await _check(session, asked)
    limit = session.limits.message_octets
    spool = session.services.store.spool(limit=limit, declared=asked.literal.size)
    try:
        await _receive(session, spool)
        placement = Placement(asked.name, asked.flags.flags, asked.flags.keywords, asked.date)
        (appended,) = await session.store.append([(spool.content(), placement)])
    finally:
        await spool.close()
    return Ok("APPEND completed", responses.append_uid(appended.uidvalidity, [appended.uid]))


async def _check(session: Session, asked: Append) -> None:
    if asked.literal.size > session.limits.message_octets:
        raise No("message too large", Code.TOOBIG)
    if asked.literal.size == 0:
        raise No("message is empty", Code.CANNOT)
    check_keywords(asked.flags, session.limits)
    if await session.store.folder(asked.name) is None:
        raise No("no such mailbox", Code.TRYCREATE)
    quota = session.store.ref.quota
    if quota and (await session.store.usage())[0] + asked.literal.size > quota:
        raise No("mailbox is full", Code.OVERQUOTA)


async def _receive(session: Session, spool: Spool) -> None:
    """Nothing counts before the command's own CRLF: a client that leaves earlier has appended nothing (row 103)."""
    lines = LineEnds()
    async for block in session.link.literal():
        if b"\0" in block:
            raise No("message contains NUL", Code.CANNOT)
        await spool.write(lines.mend(block))
    if await session.link.rest_of_command():
        raise BadSyntax("unexpected text after the message")


class LineEnds:
    """Bare LF to CRLF, block by block."""

    __slots__ = ("_after_cr",)

    def __init__(self) -> None:
        self._after_cr = False

    def mend(self, block: bytes) -> bytes:
        whole = block.count(b"\r\n") + (self._after_cr and block.startswith(b"\n"))
        bare = block.count(b"\n") != whole
        if bare:
            block = self._mended(block)
        if block:
            self._after_cr = block.endswith(b"\r")
        return block

    def _mended(self, block: bytes) -> bytes:
        head = b""
        if self._after_cr and block.startswith(b"\n"):
            head, block = b"\n", block[1:]
        return head + block.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


APPEND = Command("APPEND", AFTER_LOGIN, _parse, _handle)
