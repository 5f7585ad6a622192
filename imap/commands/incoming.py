"""Messages that a client sends: what APPEND and REPLACE have in common (RFC 9051 6.3.12, 3502, 8508, 3516, 6855).

Each message is streamed into a spool of the store, never collected in memory; all that can be refused is refused before
"+" is sent. Octets are kept as they come, except that a bare LF becomes CRLF (RFC 5322 2.3: lines end in CRLF; section
offsets rely on it); NUL is refused (RFC 9051 4.3.1, RFC 3516 4.4). Knows no folder and commits nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType

from imap.commands.catenate import MAX_URL, Part, copy_part, read_part
from imap.commands.guards import check_keywords
from imap.commands.share import limit_code
from imap.errors import BadSyntax, Code, No
from imap.session import Session
from imap.types import FlagSet
from imap.wire.scanner import Announced, Scanner
from message.content import Content
from store.store import AccountStore, Spool
from store.types import Placement

LATEST = 2**32 - 1  # Unix seconds a file's time can hold everywhere
MOST_MESSAGES = 1000  # of one command
SMALL = 256 * 1024  # octets up to which a spool stays in memory
MOST_SMALL = 16 * 1024 * 1024  # octets of small messages of one command: they all are in memory until the commit
MOST_LARGE = 20  # larger messages of one command: each is an open file until the commit


class Kind(Enum):
    """How the octets of a message are written in the command."""

    LITERAL = "literal"  # literal or literal8
    UTF8 = "utf8"  # RFC 6855 4
    CATENATE = "catenate"  # RFC 4469


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before a message's octets. `date`: Unix seconds, None for now."""

    flags: FlagSet
    date: int | None
    kind: Kind

    def placement(self, folder: str) -> Placement:
        return Placement(folder, self.flags.flags, self.flags.keywords, self.date)


def read_head(scanner: Scanner) -> Head:
    """append-message = [SP flag-list] [SP date-time] SP append-data, up to the first literal or catenate part."""
    scanner.space()
    scanner.try_space()  # imapclient sends two between the messages of MULTIAPPEND (docs/quirks.md)
    flags, date = FlagSet(), None
    if scanner.peek() == b"(":
        flags = scanner.flag_list()
        scanner.space()
    if scanner.peek() == b'"':
        date = min(max(scanner.date_time(), 0), LATEST)
        scanner.space()
    if scanner.try_token(b"UTF8 ("):
        return Head(flags, date, Kind.UTF8)
    return Head(flags, date, Kind.CATENATE if scanner.try_token(b"CATENATE (") else Kind.LITERAL)


class Incoming:
    """`async with` it; `scanner` stands at what comes next. Messages are readable until the end of the `with`."""

    def __init__(self, session: Session, scanner: Scanner, account: AccountStore) -> None:
        """`account`: whose room it takes."""
        self._session = session
        self._account = account
        self._spools: list[Spool] = []
        self._declared = 0  # octets of all messages so far
        self._small = self._large = 0
        self.scanner = scanner

    async def __aenter__(self) -> Incoming:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.keep()()

    @property
    def small(self) -> bool:
        """All that came is in memory."""
        return not self._large

    def keep(self) -> Callable[[], Awaitable[None]]:
        """Let the messages be readable past the `with`, until what this returns was awaited."""
        spools, self._spools = self._spools, []

        async def close() -> None:
            for spool in spools:
                await spool.close()

        return close

    async def message(self, head: Head) -> Content:
        """The message that `head` announces. Raises `No`, `Bad`, `StorageError`, `ConnectionError`."""
        check_keywords(head.flags, self._session.limits)
        most = self._session.save_limit
        if most and len(self._spools) >= most:  # RFC 9738 3.1: MULTIAPPEND is all or nothing
            raise No("too many messages in one command", limit_code(most))
        if len(self._spools) >= MOST_MESSAGES:
            raise No("too many messages in one command", Code.LIMIT)
        if head.kind is Kind.CATENATE:
            return await self._catenated()
        if head.kind is Kind.UTF8 and not self._session.utf8:
            raise No("ENABLE UTF8=ACCEPT first", Code.CANNOT)  # RFC 6855 4
        announced = self.scanner.announced_literal()
        if head.kind is Kind.UTF8 and not announced.binary:
            raise BadSyntax("literal8 expected")
        if announced.size == 0:
            raise No("message is empty", Code.CANNOT)  # RFC 3502 6.3.11: how a client gives up
        await self._admit(announced.size)
        spool = self._open(announced.size)
        await self._receive(announced, spool, LineEnds())
        if head.kind is Kind.UTF8:
            self.scanner.token(b")")
        self._weigh(spool)
        return spool.content()

    def _open(self, size: int) -> Spool:
        spool = self._session.services.store.spool(limit=self._session.limits.message_octets, declared=size)
        self._spools.append(spool)
        return spool

    async def _admit(self, size: int) -> None:
        """Before "+" is said for `size` octets more."""
        if size > self._session.limits.message_octets:
            raise No("message too large", Code.TOOBIG)
        self._declared += size
        quota = self._account.ref.quota
        if quota and (await self._account.usage())[0] + self._declared > quota:
            raise No("mailbox is full", Code.OVERQUOTA)

    def _weigh(self, spool: Spool) -> None:
        """What one command may hold until its commit."""
        if spool.size <= SMALL:
            self._small += spool.size
        else:
            self._large += 1
        if self._small > MOST_SMALL or self._large > MOST_LARGE:
            raise No("too many messages in one command", Code.LIMIT)

    async def _receive(self, announced: Announced, spool: Spool, lines: LineEnds) -> None:
        """Nothing counts before the command's own CRLF: a client that leaves earlier has sent nothing (row 103)."""
        async for block in self._session.link.literal():
            if b"\0" in block:
                code = "UNKNOWN-CTE" if announced.binary else Code.CANNOT  # RFC 3516 4.4
                raise No("a message must not contain NUL octets", code)
            await spool.write(lines.mend(block))
        self.scanner = Scanner(await self._session.link.rest_of_command(), utf8=self._session.utf8)

    # --- CATENATE --------------------------------------------------------------------------------------------------

    async def _catenated(self) -> Content:
        """cat-part *(SP cat-part) ")" (RFC 4469 5)"""
        spool, lines = self._open(0), LineEnds()
        while True:
            await self._part(read_part(self.scanner), spool, lines)
            if self.scanner.try_token(b")"):
                break
            self.scanner.space()
        if spool.size == 0:
            raise No("message is empty", Code.CANNOT)
        self._weigh(spool)
        return spool.content()

    async def _part(self, part: Part, spool: Spool, lines: LineEnds) -> None:
        if part.url is None and not part.is_url:
            announced = self.scanner.announced_literal()
            await self._admit(announced.size)
            await self._receive(announced, spool, lines)
            if part.closing:
                self.scanner.token(b")")
            return
        async for block in copy_part(self._session, part.url or await self._url()):
            await self._admit(len(block))
            await spool.write(lines.mend(block))

    async def _url(self) -> bytes:
        """A URL that comes as a literal."""
        if self.scanner.announced_literal().size > MAX_URL:
            raise No("URL too long", Code.TOOBIG)
        url = b"".join([block async for block in self._session.link.literal()])
        self.scanner = Scanner(await self._session.link.rest_of_command(), utf8=self._session.utf8)
        return url


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
