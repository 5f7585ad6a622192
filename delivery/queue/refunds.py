"""What accounts are given back: charges of messages that were not kept, until the database takes it.

A charge whose commit was lost on the way to PostgreSQL (fault 158) is in doubt: it was counted, or it was not, and the
client was told 4xx in either case. The server knows what became of the transaction once it can be asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from core import log
from core.errors import MailError
from delivery.queue import entering
from delivery.queue.postgres import CommitUnknownError, status
from delivery.queue.store import QueueStore

PAUSE = 1.0  # seconds between two tries
MOST = 10_000  # in memory: what cannot be given back for long is dropped, and said so

_log = log.get(__name__)


@dataclass(slots=True)
class Refund:
    """`charged`: the transaction that perhaps counted it; "": it is counted for sure. `given`: the one that perhaps
    gave it back already; None: none did."""

    account_id: str
    recipients: int
    charged: str = ""
    given: str | None = None


class Refunds:
    """Owns its tasks, which `close` ends after a last try."""

    def __init__(self, database: QueueStore, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now
        self._waiting: list[Refund] = []
        self._one = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._tries: set[asyncio.Task[None]] = set()

    async def give(self, account_id: str, recipients: int) -> None:
        """Now, or as soon as the database is there. Who gives does not wait for what others were not given yet."""
        self._put(Refund(account_id, recipients))
        try:
            if len(self._waiting) == 1:
                await self.settle()
        finally:
            self._go_on()

    def doubt(self, account_id: str, recipients: int, transaction: str) -> None:
        """Give it back if that transaction was committed."""
        self._put(Refund(account_id, recipients, transaction))
        self._go_on()

    def _put(self, refund: Refund) -> None:
        if len(self._waiting) < MOST:
            self._waiting.append(refund)
        else:
            _log.error("refund-dropped", account=refund.account_id)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(*self._tries, return_exceptions=True)
        await self.settle()

    async def settle(self) -> None:
        """What can be; never raises for a database that is away. Who is cancelled leaves a try to its end: what it
        wrote would be given once more."""
        one = asyncio.get_running_loop().create_task(self._settle())
        self._tries.add(one)
        one.add_done_callback(self._tries.discard)
        await asyncio.shield(one)

    async def _settle(self) -> None:
        async with self._one:
            for refund in list(self._waiting):
                try:
                    paid = await self._database.write(partial(self._pay, refund=refund), durable=False)
                except CommitUnknownError as unknown:
                    if unknown.value:  # else nothing was given, nor is what became of an earlier try known
                        refund.given = unknown.transaction
                    return
                except MailError as error:
                    self._waiting.remove(refund)
                    self._waiting.append(refund)  # where it is the fault, as after a failover, the others go before it
                    _log.warning("refund-waits", code=error.code, refunds=len(self._waiting))
                    return
                if paid:
                    self._waiting.remove(refund)

    def _pay(self, connection: Connection, refund: Refund) -> bool:
        """False while a transaction that matters is not over yet."""
        given = False if refund.given is None else status(connection, refund.given)
        charged = status(connection, refund.charged)
        if given is None or charged is None:
            return False
        if charged and not given:
            entering.refund(connection, refund.account_id, refund.recipients, self._now())
        return True

    def _go_on(self) -> None:
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._later())

    async def _later(self) -> None:
        while self._waiting:
            await asyncio.sleep(PAUSE)
            await self.settle()
