"""A selected IMAP session without a socket: commands in, bytes out, through the real dispatch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from core.clock import SystemClock
from core.config import Imap, Limits
from imap import dispatch
from imap.doors import Link
from imap.session import Selected, Services, Session
from imap.writer import Writer
from store.store import Mailbox


class MemoryOutlet:
    """Counts how much lies unread between two drains."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.waiting = 0
        self.most_waiting = 0

    def send(self, data: bytes) -> None:
        self.data += data
        self.waiting += len(data)
        self.most_waiting = max(self.most_waiting, self.waiting)

    async def drained(self) -> None:
        self.waiting = 0


class Desk:
    """`await desk.ask(b"1 FETCH 1 FLAGS")` gives all that was answered."""

    def __init__(self, session: Session, outlet: MemoryOutlet, table: dispatch.Table) -> None:
        self.session = session
        self.outlet = outlet
        self.table = table

    async def ask(self, command: bytes) -> bytes:
        self.outlet.data.clear()
        await dispatch.run(self.session, self.table, command)
        return bytes(self.outlet.data)


async def desk(mailbox: Mailbox, table: dispatch.Table, *, read_only: bool = False) -> Desk:
    outlet = MemoryOutlet()
    services = cast(
        Services, SimpleNamespace(limits=Limits(), clock=SystemClock(), settings=Imap(), exact_collation=False)
    )
    session = Session(services, cast(Link, SimpleNamespace()), Writer(outlet))
    snapshot = await mailbox.snapshot()
    session.select(Selected.begin("INBOX", mailbox, snapshot, read_only=read_only))
    return Desk(session, outlet, table)
