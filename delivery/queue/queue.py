"""The queue's face to the rest of delivery: enter, claim, report results, pay debts. Each call is one durable commit.

`Queue(file, run_dir, clock=…, owner=…)`: `owner` names this process among those that hold leases; a process that
starts again takes a new name, so that its former leases simply run out.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from sqlalchemy import Connection

from core.clock import Clock
from delivery.queue import claims, content, entering, reports, results, tls_counts
from delivery.queue.administration import Administration
from delivery.queue.claims import Choose, Claimed
from delivery.queue.database import Database
from delivery.queue.hints import HintSender
from delivery.queue.reports import Debt
from delivery.queue.results import Backlog, Judge, Settled
from delivery.queue.rows import NewMessage, StoredMessage
from delivery.queue.tls_counts import TlsKey
from delivery.types import Result
from message.content import Content

LEASE = 60.0  # seconds a worker may be silent before others take over; renewed every quarter of it
FRONT_LEASE = 600.0  # a front that delivers its own local recipients does so within one transaction


class Queue:
    """Raises `StorageError` (disk), `TemporaryError` (busy), `ConflictError` (queue id exists)."""

    def __init__(self, file: Path, run_dir: Path, *, clock: Clock, lease: float = LEASE, busy: float = 5.0) -> None:
        self._database = Database(file, busy=busy)
        self._hints = HintSender(run_dir)
        self._clock = clock
        self.lease = lease
        self.owner = secrets.token_hex(8)
        self.administration = Administration(self._database, self._hints, clock)

    async def open(self) -> None:
        try:
            await self._database.open()
        except BaseException:
            self._hints.close()
            raise

    async def close(self) -> None:
        await self._database.close()
        self._hints.close()

    # --- entering ----------------------------------------------------------------------------------------------------

    async def enqueue(self, new: NewMessage) -> list[int]:
        """Durable when it returns: the recipients' ids in their order. Wakes the runner."""
        now = self._clock.now()
        until = now + FRONT_LEASE
        ids = await self._database.write(
            lambda connection: entering.enqueue(connection, new, now=now, owner=self.owner, until=until)
        )
        self._hints.send()
        return ids

    async def enqueue_all(self, news: Sequence[NewMessage]) -> list[list[int]]:
        """Several messages in one commit: all of them or none."""
        now = self._clock.now()
        until = now + FRONT_LEASE

        def act(connection: Connection) -> list[list[int]]:
            return [entering.enqueue(connection, new, now=now, owner=self.owner, until=until) for new in news]

        ids = await self._database.write(act)
        self._hints.send()
        return ids

    async def charge(self, account_id: str, recipients: int, limit: int) -> bool:
        """Count against the account's day; False, with nothing counted, when that would pass `limit`."""
        now = self._clock.now()
        return await self._database.write(lambda c: entering.charge(c, account_id, recipients, limit, now))

    async def refund(self, account_id: str, recipients: int) -> None:
        """Take back what was charged for a message that was not kept."""
        now = self._clock.now()
        await self._database.write(lambda c: entering.refund(c, account_id, recipients, now))

    async def sent_recently(self, account_id: str) -> int:
        now = self._clock.now()
        return await self._database.read(lambda c: entering.sent_recently(c, account_id, now))

    # --- working -----------------------------------------------------------------------------------------------------

    async def claim(self, choose: Choose, full: Collection[str] = ()) -> list[Claimed]:
        """Lease what `choose` takes of what is due. `choose` runs in the queue's thread and must be pure."""
        now = self._clock.now()
        until = now + self.lease
        return await self._database.write(
            lambda c: claims.claim(c, choose, full, now=now, owner=self.owner, until=until)
        )

    async def content(self, stored: StoredMessage) -> Content:
        return await self._database.read(
            lambda c: content.load(c, self._database, stored.queue_id, stored.size, stored.head_size)
        )

    async def apply(self, done: Sequence[Result], judge: Judge) -> list[Settled]:
        now = self._clock.now()
        return await self._database.write(lambda c: results.apply(c, done, judge, owner=self.owner, now=now))

    async def put_off(self, backlog: Backlog, judge: Judge) -> list[Settled]:
        now = self._clock.now()
        return await self._database.write(lambda c: results.put_off(c, backlog, judge, now=now))

    async def next_due(self) -> float | None:
        return await self._database.read(claims.next_due)

    # --- reports -----------------------------------------------------------------------------------------------------

    async def debts(self) -> list[Debt]:
        return await self._database.read(reports.debts)

    async def settle(self, debt: Debt, report: NewMessage | None) -> None:
        now = self._clock.now()
        await self._database.write(lambda c: reports.settle(c, debt, report, now=now))
        self._hints.send()

    # --- TLS reports -------------------------------------------------------------------------------------------------

    async def count_tls(self, counts: Mapping[TlsKey, int]) -> None:
        await self._database.write(lambda c: tls_counts.add(c, counts))

    async def tls_days(self, before: int) -> list[tuple[int, str]]:
        return await self._database.read(lambda c: tls_counts.days(c, before))

    async def tls_counts(self, day: int, domain: str) -> dict[TlsKey, int]:
        return await self._database.read(lambda c: tls_counts.counts(c, day, domain))

    async def settle_tls(self, day: int, domain: str, mails: Sequence[NewMessage]) -> None:
        """`ConflictError` when another worker was quicker; then nothing was done."""
        now = self._clock.now()
        await self._database.write(lambda c: tls_counts.settle(c, day, domain, mails, now=now))
        self._hints.send()

    # --- leases ------------------------------------------------------------------------------------------------------

    async def renew(self) -> None:
        """Keep what this worker holds, and free what dead ones held."""
        now = self._clock.now()
        longest = max(self.lease, FRONT_LEASE) * 2

        def act(connection: Connection) -> None:
            claims.renew(connection, self.owner, now + self.lease)
            claims.recover(connection, owner=self.owner, now=now, longest=longest)

        await self._database.write(act)

    async def put_back(self, ids: Collection[int], wait: float) -> None:
        """Give up leases whose work ended without a result; the recipients are due again in `wait` seconds."""
        due = self._clock.now() + wait
        await self._database.write(lambda c: claims.put_back(c, ids, owner=self.owner, due=due))

    async def pull_back(self, horizon: float) -> int:
        now = self._clock.now()
        return await self._database.write(lambda c: claims.pull_back(c, now=now, horizon=horizon))

    async def tidy(self) -> None:
        await self._database.tidy()

    async def give_back(self) -> int:
        now = self._clock.now()
        return await self._database.write(lambda c: claims.give_back(c, owner=self.owner, now=now))
