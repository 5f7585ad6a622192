"""Whole commands of a stranger, and of somebody logged in, in each state of an IMAP session, over a store in memory.

One tagged answer for each command, no bug (SERVERBUG), no control character in what is said, and nothing that the
grammar of responses does not admit.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import cast

from core.clock import SystemClock
from core.config import Imap, Limits
from core.wake import Wake
from directory.directory import Directory
from directory.types import Account
from imap import dispatch
from imap.commands.table import TABLE
from imap.errors import Bye
from imap.language import DEFAULT
from imap.session import Services, Session
from imap.types import Feature
from imap.wire.framing import Bounds, Complete, Framer, Streamed
from imap.writer import Writer
from store.store import Store
from store.types import AccountRef
from tests.fakes.imap_session import MemoryOutlet
from tests.fakes.imap_world import PASSWORD, MemoryDirectory
from tests.fakes.memory_store import MemoryStore
from tests.imap.syntax import responses as syntax

BOUNDS = Bounds(line=4096, literals=4096, discard=1 << 16, stream=True)
MAIL = b"Subject: one\r\nFrom: a@b.test\r\n\r\nbody\r\n"
LOGIN = f'a LOGIN alice@mairie.test "{PASSWORD}"'.encode()
# What brings a session into a state.
STATES: dict[str, tuple[bytes, ...]] = {
    "stranger": (),
    "authenticated": (LOGIN,),
    "selected": (LOGIN, b"a SELECT INBOX"),
    "resynchronising": (LOGIN, b"a ENABLE UTF8=ACCEPT QRESYNC IMAP4rev2", b"a SELECT INBOX"),
    "uid-only": (LOGIN, b"a ENABLE UIDONLY CONDSTORE", b"a SELECT INBOX"),
    "examined": (LOGIN, b"a EXAMINE INBOX", b"a NOTIFY SET (selected (MessageNew MessageExpunge))"),
}
_ANSWER = re.compile(rb"^[^ *+\r\n]+ (?:OK|NO|BAD) |^\* BAD ", re.MULTILINE)
_SPOKEN = re.compile(rb"^(?:[^ *+\r\n]+|\*) (?:OK|NO|BAD|BYE) [^\r\n]*", re.MULTILINE)  # to people
_CONTROL = re.compile(rb"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]")
_runner = asyncio.Runner()


class FuzzLink:
    """A connection whose peer sends a message as every literal, and behind it the lines of the input."""

    remote, secure, loopback, can_start_tls, compressed = "127.0.0.1", True, True, False, False
    certificate = b""
    append_at_hand = False

    def __init__(self, data: bytes) -> None:
        self._rests = iter(data.split(b"\r\n")[1:])

    async def read_line(self, *, limit: int) -> bytes:
        return b"*"

    async def idle_line(self, wake: Wake, timeout: float) -> bytes:
        return b"DONE"

    async def literal(self) -> AsyncIterator[bytes]:
        yield MAIL

    async def rest_of_command(self) -> bytes:
        return next(self._rests, b"")

    def before_tls(self) -> None: ...

    before_compression = before_clear_text = wake = logged_out = before_tls

    async def start_tls(self) -> None: ...

    compress = uncompress = start_tls

    def logged_in(self, account: Account) -> None: ...


def in_state(name: str) -> Callable[[bytes], None]:
    """The fuzz target that begins in this state."""
    before = STATES[name]
    return lambda data: _runner.run(_session(before, data))


async def _session(before: tuple[bytes, ...], data: bytes) -> None:
    directory, store = MemoryDirectory(), MemoryStore()
    account = directory.add("alice", quota=10**6)
    services = SimpleNamespace(
        directory=cast(Directory, directory), store=cast(Store, store), limits=Limits(), clock=SystemClock(),
        hostname="imap.test", version="1", plaintext_on_loopback=True, settings=Imap(), teacher=None,
        namespaces=Services.__dataclass_fields__["namespaces"].default, exact_collation=False,
    )  # fmt: skip
    outlet = MemoryOutlet()
    session = Session(cast(Services, services), FuzzLink(data), Writer(outlet))
    (await store.account(AccountRef.of(account))).deliver(MAIL)
    for command in before:
        await dispatch.run(session, TABLE, command)
    for command in _commands(data):
        outlet.data.clear()
        language = session.language
        try:
            await dispatch.run(session, TABLE, command)
        except (Bye, ConnectionError):
            return
        said = bytes(outlet.data)
        if b"[SERVERBUG]" in said or len(_ANSWER.findall(_without_literals(said))) != 1 or _CONTROL.search(said):
            raise AssertionError(f"{before}: {command!r}: {said!r}")
        _read(session, said, translated={language, session.language} != {DEFAULT})
        if {language, session.language} != {DEFAULT}:  # RFC 5255 3.2: what is said to people is UTF-8 from then on
            said = _SPOKEN.sub(lambda line: line[0].decode("utf-8").encode("ascii", "replace"), said)
        if Feature.UTF8 not in session.features and Feature.REV2 not in session.features and not said.isascii():
            raise AssertionError(f"{before}: {command!r}: {said!r}")


def _read(session: Session, said: bytes, *, translated: bool) -> None:
    """As a strict client of this session would. Raises `Ungrammatical`."""
    rev2 = Feature.REV2 in session.features
    mode = syntax.Mode(utf8=rev2 or Feature.UTF8 in session.features, rev2=rev2, language=translated)
    for response in syntax.split(said):
        syntax.check(response, mode)


def _commands(data: bytes) -> list[bytes]:
    framer = Framer(BOUNDS)
    framer.feed(data + b"\r\n")
    found = []
    for _ in range(20):
        event = framer.next_event()
        if isinstance(event, Complete | Streamed):
            found.append(event.data)
        if isinstance(event, Streamed):
            framer.abandon()
    return found


def _without_literals(said: bytes) -> bytes:
    kept = b""
    while (match := re.search(rb"\{(\d+)\}\r\n", said)) is not None:
        kept += said[: match.start()]
        said = said[match.end() + int(match[1]) :]
    return kept + said
