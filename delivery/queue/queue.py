"""The queue's face to the rest of delivery: enter, claim, report results, pay debts. Each call is one commit.

`Queue(file, run_dir, clock=…, owner=…)`: `owner` names this process among those that hold leases; a process that
starts again takes a new name, so that its former leases are given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from antispam.greylist import Greylisting, Terms
from core import log
from core.clock import Clock
from delivery.queue import (
    allowance,
    belonging,
    claims,
    content,
    entering,
    greylist,
    leases,
    orphans,
    planning,
    reports,
    results,
    tls_counts,
    tracing,
    vacations,
)
from delivery.queue import backlog as backlogs
from delivery.queue.administration import Administration
from delivery.queue.allowance import Answer, Charge, Rules
from delivery.queue.backlog import Backlog
from delivery.queue.claims import Choose, Claimed
from delivery.queue.database import Database
from delivery.queue.hints import HintSender
from delivery.queue.leases import Lease, Looks
from delivery.queue.outbox import Outbox
from delivery.queue.owners import boot, machine, new_owner
from delivery.queue.planning import Stand
from delivery.queue.postgres import CommitUnknownError, PostgresDatabase
from delivery.queue.refunds import Refunds
from delivery.queue.reports import Debt
from delivery.queue.results import Judge, Settled
from delivery.queue.rows import NewMessage, StoredMessage
from delivery.queue.schema import Owed
from delivery.queue.store import QueueStore
from delivery.queue.tls_counts import TlsKey
from delivery.queue.trace_book import TraceBook
from delivery.types import Result, TraceEntry, Vacation
from message.content import Content

LEASE = 60.0  # seconds a worker may be silent before others take over; renewed every quarter of it
TRACE = 180 * 86_400.0  # seconds the trace is kept (security.md section 8)
BREATH = 0.005  # seconds between two parts of a long backlog
KNOWN_FOR = 2.0  # seconds that what an account sent is known to this process
KNOWN_ACCOUNTS = 10_000
FRONT_LEASE = 600.0  # a front that delivers its own local recipients does so within one transaction


Entering = Callable[[Connection], tuple[Charge, list[list[int]]]]
_UNCHARGED = Charge(Answer.GRANTED)

_log = log.get(__name__)


class Queue:
    """Raises `StorageError` (disk), `TemporaryError` (busy), `ConflictError` (queue id exists).

    What is acknowledged is durable when its call returns. Leases, results and counts are not synced by themselves, but
    within a second (`QueueStore.write`): power that fails takes a worker with its leases, may have what was sent in the
    last second sent again, and forgives an account a moment.
    """

    def __init__(
        self,
        file: Path,
        run_dir: Path,
        *,
        clock: Clock,
        lease: float = LEASE,
        busy: float = 5.0,
        url: str = "",
        trace: float = TRACE,
        home: str = "",
    ) -> None:
        self._trace_seconds = trace
        self._database: QueueStore = PostgresDatabase(url) if url else Database(file, busy=busy)
        self._hints = HintSender(run_dir)
        self._clock = clock
        self.lease = lease
        self.owner = new_owner()
        self._sent: dict[str, tuple[float, int]] = {}  # recipients of each account's day, and until when that is new
        self._home = home if url else ""  # which instance this is, where there may be several (`homes`)
        self._one_machine = not url  # a file is on one machine: all who hold leases are
        self._claiming: set[float] = set()  # marks of leases whose claim runs
        self._lost: set[float] = set()  # and of those whose claim may have been committed unheard
        self._looks = Looks(clock.monotonic(), {})
        self._book = TraceBook(self._database)
        self._refunds = Refunds(self._database, clock.now)
        self._outbox = Outbox(self.enqueue)
        self.administration = Administration(self._database, self._hints, clock, self._book)

    async def open(self) -> None:
        try:
            await self._database.open()
        except BaseException:
            self._hints.close()
            raise

    async def close(self) -> None:
        await self._outbox.close()
        await self._book.close()
        await self._refunds.close()
        await self._database.close()
        self._hints.close()

    async def belong_to(self, directory: str) -> None:
        """For whoever serves: raises `RefusedError` where it is another directory's. A file is its installation's."""
        if not self._one_machine:
            await self._database.write(lambda c: belonging.belong_to(c, directory))

    async def is_not_of_another(self, directory: str) -> None:
        """For whoever only looks in: refuses like `belong_to`, and gives a queue that is nobody's yet to nobody."""
        if not self._one_machine:
            await self._database.read(lambda c: belonging.is_not_of_another(c, directory))

    async def assign(self, directory: str) -> None:
        await self._database.write(lambda c: belonging.assign(c, directory))

    # --- entering ----------------------------------------------------------------------------------------------------

    async def enqueue(self, new: NewMessage) -> list[int]:
        """Durable when it returns: the recipients' ids in their order. Wakes the runner."""
        [ids] = await self.enqueue_all([new])
        return ids

    def enqueue_later(self, new: NewMessage) -> None:
        """For what nobody waits for: durable a moment later, or when the database is there again."""
        self._outbox.put(new)

    async def enqueue_all(self, news: Sequence[NewMessage]) -> list[list[int]]:
        """Several messages in one commit: all of them or none."""
        now = self._clock.now()
        lease = self._lease(now, FRONT_LEASE)

        def act(connection: Connection) -> tuple[Charge, list[list[int]]]:
            return _UNCHARGED, self._enter_all(connection, news, now, lease)

        return (await self._entered(news, act))[1]

    async def enter(
        self, news: Sequence[NewMessage], account_id: str, keys: Collection[str], rules: Rules
    ) -> tuple[Charge, list[list[int]]]:
        """`charge` and `enqueue_all` in one commit: what is refused does not enter, what does not enter is not
        counted."""
        now = self._clock.now()
        lease = self._lease(now, FRONT_LEASE)

        def act(connection: Connection) -> tuple[Charge, list[list[int]]]:
            charged = allowance.charge(connection, account_id, keys, rules, now)
            if charged.answer is not Answer.GRANTED:
                return charged, []
            return charged, self._enter_all(connection, news, now, lease)

        charged, ids = await self._entered(news, act)
        if charged.total:
            self._keep_sent(account_id, charged.total)
        return charged, ids

    def _enter_all(
        self, connection: Connection, news: Sequence[NewMessage], now: float, lease: Lease
    ) -> list[list[int]]:
        self._database.leave_room(sum(new.content.size for new in news))
        return [entering.enqueue(connection, new, now=now, lease=lease, home=self._home) for new in news]

    async def _entered(self, news: Sequence[NewMessage], act: Entering) -> tuple[Charge, list[list[int]]]:
        charged, ids = await self._database.write(act)
        if charged.answer is Answer.GRANTED:
            self._told(news)
        return charged, ids

    def _told(self, news: Sequence[NewMessage]) -> None:
        self._hints.send()
        if any(item.expanded for new in news for item in new.recipients):
            self._hints.send(owed=True)

    async def charge(self, account_id: str, keys: Collection[str], rules: Rules) -> Charge:
        """Count a message to these recipients (address keys) against the account's day; refused: nothing is counted."""
        now = self._clock.now()
        try:
            charged = await self._database.write(
                lambda c: allowance.charge(c, account_id, keys, rules, now), durable=False
            )
        except CommitUnknownError as unknown:  # the message is refused with 4xx: it costs nothing
            if unknown.value.answer is Answer.GRANTED:
                self._refunds.doubt(account_id, len(keys), unknown.transaction)
            raise
        if charged.total:
            self._keep_sent(account_id, charged.total)
        return charged

    async def greylisted(self, key: str, terms: Terms) -> Greylisting:
        """Whether this key (`antispam.greylist.key`) is known by now; it is remembered."""
        now = self._clock.now()
        return await self._database.write(lambda c: greylist.ask(c, key, now, terms))

    async def vacations(self) -> Mapping[str, Vacation]:
        """Everybody's absence, past and to come, by account id."""
        return await self._database.read(vacations.load)

    async def tell_once(self, account_id: str, *keys: str) -> bool:
        """Whether this sender, whose addresses these are, is to be told of the account's absence; counted as told."""
        now = self._clock.now()
        return await self._database.write(lambda c: vacations.tell_once(c, account_id, keys, now))

    async def unlock(self, account_id: str) -> bool:
        """Let an account send again; False when it was not locked."""
        return await self.administration.unlock(account_id)

    async def kept_back(self, account_id: str) -> int:
        """Messages of the account that wait for a time that it chose."""
        now = self._clock.now()
        return await self._database.read(lambda c: allowance.kept_back(c, account_id, now))

    async def locked(self, account_id: str) -> bool:
        return await self._database.read(lambda c: allowance.locked(c, account_id))

    async def refund(self, account_id: str, recipients: int) -> None:
        """Take back what was charged for a message that was not kept, as soon as the database is there."""
        await self._refunds.give(account_id, recipients)
        self._sent.pop(account_id, None)

    async def sent_recently(self, account_id: str) -> int:
        """As of 2 s ago at most, for what is asked at each recipient; `charge` is exact."""
        kept = self._sent.get(account_id)
        if kept is not None and 0 < kept[0] - self._clock.monotonic() <= KNOWN_FOR:
            return kept[1]
        now = self._clock.now()
        found = await self._database.read(lambda c: entering.sent_recently(c, account_id, now))
        self._keep_sent(account_id, found)
        return found

    def _keep_sent(self, account_id: str, recipients: int) -> None:
        if len(self._sent) >= KNOWN_ACCOUNTS:
            self._sent.clear()
        self._sent[account_id] = self._clock.monotonic() + KNOWN_FOR, recipients

    # --- working -----------------------------------------------------------------------------------------------------

    async def claim(self, choose: Choose, full: Collection[str] = ()) -> list[Claimed]:
        """Lease what `choose` takes of what is due. It runs in the queue's thread. Each try has a copy of it: what it
        remembers of one that was lost may be another's by now."""
        return (await self.take(choose, full))[0]

    async def take(self, choose: Choose, full: Collection[str] = ()) -> tuple[list[Claimed], float | None]:
        """`claim`, and when what is left is due (`next_due`) as of the same commit."""
        now = self._clock.now()
        lease = self._lease(now, self.lease)

        def act(connection: Connection) -> tuple[list[Claimed], float | None]:
            claimed = claims.claim(connection, copy(choose), full, now=now, lease=lease, home=self._home)
            return claimed, claims.next_due(connection, self._home)

        self._claiming.add(lease.mark)
        try:
            return await self._database.write(act, durable=False)
        except CommitUnknownError:
            self._lost.add(lease.mark)
            raise
        finally:
            self._claiming.discard(lease.mark)

    async def content(self, stored: StoredMessage) -> Content:
        return await self._database.read(
            lambda c: content.load(c, self._database, stored.queue_id, stored.size, stored.head_size)
        )

    async def apply(self, done: Sequence[Result], judge: Judge) -> list[Settled]:
        now = self._clock.now()
        settled = await self._database.write(
            lambda c: results.apply(c, done, judge, owner=self.owner, now=now), durable=False
        )
        if any(item.outcome.owed is not Owed.NOTHING for item in settled):
            self._hints.send(owed=True)  # a front that delivers pays nobody: the runner does
        return settled

    async def put_off(self, backlog: Backlog, judge: Judge) -> list[Settled]:
        """In parts, with a pause between them in which other processes get the database."""
        now, settled, after = self._clock.now(), [], 0
        while True:
            part, after = await self._database.write(
                partial(backlogs.put_off, backlog=backlog, judge=judge, now=now, after=after), durable=False
            )
            settled += part
            if not after:
                return settled
            await asyncio.sleep(BREATH)

    async def end_orphans(self, lifetime: float, judge: Judge) -> list[Settled]:
        """Return what is held of accounts that went `lifetime` seconds ago. In parts, as `put_off`."""
        now, settled = self._clock.now(), []
        while True:
            part = await self._database.write(lambda c: orphans.end(c, judge, marked_before=now - lifetime, now=now))
            settled += part
            if len(part) < orphans.PAGE:
                return settled
            await asyncio.sleep(BREATH)

    async def next_due(self) -> float | None:
        return await self._database.read(lambda c: claims.next_due(c, self._home))

    # --- reports -----------------------------------------------------------------------------------------------------

    async def debts(self, besides: Collection[str] = ()) -> list[Debt]:
        now = self._clock.now()
        return await self._database.read(lambda c: reports.debts(c, now, self._home, besides))

    async def settle(self, debt: Debt, report: NewMessage | None) -> None:
        now = self._clock.now()
        await self._database.write(lambda c: reports.settle(c, debt, report, now=now, home=self._home))
        self._hints.send()

    # --- TLS reports -------------------------------------------------------------------------------------------------

    async def count_tls(self, counts: Mapping[TlsKey, int]) -> None:
        await self._database.write(lambda c: tls_counts.add(c, counts))

    async def tls_days(self, before: int) -> list[tuple[int, str]]:
        return await self._database.read(lambda c: tls_counts.days(c, before))

    async def tls_counts(self, day: int, domain: str) -> dict[TlsKey, int]:
        return await self._database.read(lambda c: tls_counts.counts(c, day, domain))

    async def claim_tls(self, day: int, domain: str, term: float) -> frozenset[str] | None:
        now = self._clock.now()
        return await self._database.write(lambda c: tls_counts.claim(c, day, domain, now=now, term=term))

    async def posted_tls(self, day: int, domain: str, done: Collection[str]) -> None:
        await self._database.write(lambda c: tls_counts.posted(c, day, domain, done))

    async def settle_tls(self, day: int, domain: str, mails: Sequence[NewMessage]) -> None:
        """`ConflictError` when another worker was quicker; then nothing was done."""
        now = self._clock.now()
        await self._database.write(lambda c: tls_counts.settle(c, day, domain, mails, now=now))
        self._hints.send()

    # --- leases ------------------------------------------------------------------------------------------------------

    async def renew(self) -> None:
        """Keep what this worker holds, and free what dead and silent ones held."""
        now, at, lost = self._clock.now(), self._clock.monotonic(), tuple(self._lost)
        lease, but = self._lease(now, self.lease), self._claiming | self._lost

        def act(connection: Connection) -> Looks:
            if lost:
                leases.let_go(connection, owner=self.owner, marks=lost, now=now)
            leases.renew(connection, lease, but=but)
            looks = self._looks.next(leases.of_others(connection, self.owner), at, self.lease / 2)
            leases.free(connection, looks.over(), now)
            leases.free_dead(connection, looks.silent, now, one_machine=self._one_machine)
            return looks

        self._looks = await self._database.write(act)
        self._lost.difference_update(lost)

    def _lease(self, now: float, term: float) -> Lease:
        return Lease(self.owner, now + term, term)

    async def put_back(self, ids: Collection[int], wait: float) -> None:
        """Give up leases whose work ended without a result; the recipients are due again in `wait` seconds."""
        due = self._clock.now() + wait
        await self._database.write(lambda c: leases.put_back(c, ids, owner=self.owner, due=due))

    async def pull_back(self, horizon: float) -> int:
        """Plan again what a clock that went back, or ran ahead, would keep waiting."""
        now = self._clock.now()
        stand = Stand(machine(), boot(), now - self._clock.monotonic())
        back = await self._database.write(lambda c: planning.replan(c, stand, now))
        if back:
            _log.warning("clock-went-back", seconds=round(back))
        return await self._database.write(lambda c: planning.pull_back(c, now=now, horizon=horizon))

    async def tidy(self) -> None:
        before = self._clock.now() - self._trace_seconds
        await self._database.write(lambda c: tracing.purge(c, before))
        await self._database.tidy()

    def now(self) -> float:
        """Of the queue's clock, Unix seconds."""
        return self._clock.now()

    # --- the trace ---------------------------------------------------------------------------------------------------

    def note(self, entries: Sequence[TraceEntry]) -> None:
        """For people who ask where a message is; written a moment later."""
        self._book.note(entries)

    async def give_back(self) -> int:
        now = self._clock.now()
        return await self._database.write(lambda c: leases.give_back(c, owner=self.owner, now=now))
