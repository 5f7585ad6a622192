"""The runner of the queue: claims what is due, gives each job to its agent with a deadline, writes results back.

Owns all its tasks (one TaskGroup in `run`). A hint wakes it, and without one it looks every 2 s; what it holds is
leased and renewed, so that a dead runner's work goes to another. Results are written until the database takes them:
a result forgotten is a duplicate for the recipient (fault 146). Under load it looks, and writes, at the beats of one
clock, so that many messages share a commit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from core import log
from core.clock import Clock
from core.errors import MailError
from core.status import Status, deferred
from delivery import telling
from delivery.agents import Agents
from delivery.destinations import Destinations
from delivery.ledger import Beat, Ledger
from delivery.next_hop import HERE, NextHop, Routes
from delivery.outcome import TOO_LATE, Rules, asks_for_fewer, overdue, unreached
from delivery.queue.backlog import Backlog
from delivery.queue.claims import Claimed
from delivery.queue.hints import HintListener
from delivery.queue.queue import Queue
from delivery.queue.results import Outcome, Settled
from delivery.queue.rows import StoredMessage, StoredRecipient
from delivery.queue.schema import Owed, State
from delivery.reporter import Reporter
from delivery.types import DeliveryAgent, Job, Result, ResultKind
from message.content import Content

POLL = 2.0  # seconds between looks without a hint (design.md section 5)
BEAT = 0.02  # seconds between two looks, or two writes, that follow each other
PLACES = 200  # jobs at a time
JOB_DEADLINE = 7200.0  # seconds; the last resort: an agent's own deadline comes first, because it knows what is done
DRAIN = 24.0  # seconds that running jobs get when the runner is stopped (fault 148)
ENDING = 4.0  # seconds for those that were cancelled then, to hear and write what became of what they sent
WRITE_TRIES = 300  # of writing down a result, while the lease is kept
WRITE_PAUSE = 1.0  # seconds between them
BACKLOG_WAIT = 1800.0  # longest time a domain's backlog is put off by one failed attempt

_log = log.get(__name__)

_BROKEN = deferred("local error in processing", "agent-error")
_TOO_LONG = deferred("delivery took too long", "agent-timeout", "4.4.2")


@dataclass(frozen=True, slots=True)
class Means:
    """What a configuration says of deliveries. `reporter` pays what is owed to senders."""

    agents: Agents
    rules: Rules
    reporter: Reporter
    routes: Routes


class Scheduler:
    """`run()` until `stop()`. Each job ends by the means that it began with, whatever is adopted meanwhile."""

    def __init__(
        self,
        queue: Queue,
        means: Means,
        *,
        run_dir: Path,
        clock: Clock,
        places: int = PLACES,
        deadline: float = JOB_DEADLINE,
        drain: float = DRAIN,
        poll: float = POLL,
    ) -> None:
        self._queue = queue
        self._means = means
        self._run_dir = run_dir
        self._clock = clock
        self._deadline = deadline
        self._drain = drain
        self._poll = poll
        self._destinations = Destinations(places, means.routes.next_hop)
        self._ledger = Ledger(queue, self._judge, BEAT, self._told)
        self._heard = True  # of something new; a runner before us may have left anything
        self._due: float | None = None  # when the next recipient is, by all that is known here
        self._wake = asyncio.Event()
        self._owing = asyncio.Event()
        self._stopping = asyncio.Event()
        self._jobs: set[asyncio.Task[None]] = set()
        self._unrecorded: set[int] = set()  # recipients whose job ended and left no result

    def adopt(self, means: Means) -> Collection[asyncio.Task[None]]:
        """For jobs that begin from now on; those that go on with the former means, which some have not called yet. Who
        runs is neither waited for nor cut off: a message whose final dot was sent may take ten minutes to be answered
        (RFC 5321 4.5.3.2.6), and would be sent again."""
        self._means = means
        self._destinations.next_hop = means.routes.next_hop
        self._hinted(owed=False)
        return tuple(self._jobs)

    def _judge(self, message: StoredMessage, recipient: StoredRecipient, result: Result) -> Outcome:
        return self._means.rules.judge(message, recipient, result)

    def stop(self) -> None:
        """Claim nothing more; `run` ends when the running jobs are done or their time is over."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        listener = HintListener(self._run_dir, self._hinted)
        self._owing.set()  # a runner before us may have died between a failure and its report (fault 147)
        try:
            async with asyncio.TaskGroup() as outer:
                ledger = outer.create_task(self._ledger.run())  # as long as any job writes, also one that was cancelled
                try:
                    await self._run_jobs()
                finally:
                    ledger.cancel()
        finally:
            listener.close()
            await self._ledger.finish()
            with contextlib.suppress(MailError):
                await self._queue.give_back()

    async def _run_jobs(self) -> None:
        async with asyncio.TaskGroup() as group:
            helpers = [group.create_task(self._keep_leases()), group.create_task(self._pay_debts())]
            await self._work(group)
            await self._finish_jobs()
            for helper in helpers:
                helper.cancel()

    def _hinted(self, owed: bool) -> None:
        self._heard = True
        self._wake.set()
        if owed:
            self._owing.set()

    # --- the loop ----------------------------------------------------------------------------------------------------

    async def _work(self, group: asyncio.TaskGroup) -> None:
        loop, beat = asyncio.get_running_loop(), Beat(BEAT)
        look = loop.time() + self._poll
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                if loop.time() >= look:  # hints may be lost, and other machines' never come
                    look = loop.time() + self._poll
                    self._due = await self._queue.next_due()
                if self._heard or self._is_due():
                    await self._start_due(group)
                pause = self._until_due()
            except MailError as error:
                _log.error("queue-unavailable", code=error.code, **error.fields)
                pause, self._heard = self._poll, True
            if await self._woken(min(pause, max(0.0, look - loop.time()))):
                await beat.wait()

    async def _woken(self, pause: float) -> bool:
        """False when nobody called for so long."""
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def _is_due(self) -> bool:
        return self._due is not None and self._due <= self._clock.now()

    async def _start_due(self, group: asyncio.TaskGroup) -> None:
        if self._destinations.full or self._stopping.is_set():
            return
        self._heard = False
        taken, self._due = await self._queue.take(self._destinations.selection())
        means = self._means  # after the wait: who adopts others has been told of all jobs that began with these
        for claimed in taken:
            if self._stopping.is_set():
                return  # stopped while the claim ran: `run` gives back what no job holds (fault 148)
            hop = means.routes.next_hop(claimed.recipients[0].domain)
            self._destinations.started(hop.name, claimed.recipients[0].organisation_id)
            task = group.create_task(self._job(claimed, hop, means.agents.for_hop(hop.name)))
            self._jobs.add(task)
            task.add_done_callback(self._jobs.discard)

    def _until_due(self) -> float:
        """Seconds to sleep without a wake-up. What is due but has no place is started when a job ends."""
        if self._due is None:
            return self._poll
        return min(max(self._due - self._clock.now(), 0.0) or self._poll, self._poll)

    async def _finish_jobs(self) -> None:
        """A job that is cancelled tells what it knows: without that, what it sent would be sent again."""
        for patience in (self._drain, ENDING):
            if self._jobs:
                await asyncio.wait(self._jobs, timeout=patience)
            for task in self._jobs:
                task.cancel()

    # --- one job -----------------------------------------------------------------------------------------------------

    async def _job(self, claimed: Claimed, hop: NextHop, agent: DeliveryAgent) -> None:
        reached, crowded = True, False
        try:
            results = await self._deliver(claimed, hop, agent)
            if not _cancelled():
                results = _complete(claimed, results)
            reached = hop.name == HERE or not all(map(unreached, results))
            crowded = any(map(asks_for_fewer, results))
            await self._write(claimed, results)
            if not reached and self._destinations.unreached(hop.name):
                await self._put_off(claimed, results[0])
        except MailError as error:
            _log.error("delivery-not-recorded", queue_id=claimed.message.queue_id, code=error.code, **error.fields)
            self._unrecorded.update(item.id for item in claimed.recipients)
        except Exception:  # a bug met by one message: it waits, everybody else's mail goes on
            _log.exception("job-failed", queue_id=claimed.message.queue_id)
            self._unrecorded.update(item.id for item in claimed.recipients)
        finally:
            owner = claimed.recipients[0].organisation_id
            self._destinations.ended(hop.name, reached=reached, crowded=crowded, owner=owner)
            self._wake.set()

    async def _deliver(self, claimed: Claimed, hop: NextHop, agent: DeliveryAgent) -> Sequence[Result]:
        """Never raises: whatever goes wrong with one job is a deferral of that job."""
        if overdue(claimed.message, self._clock.now()):
            return [Result(item.id, ResultKind.FAILED, TOO_LATE) for item in claimed.recipients]
        try:
            content = claimed.content or await self._queue.content(claimed.message)
            async with asyncio.timeout(self._deadline):
                return await agent.deliver(_job_of(claimed, hop, content))
        except TimeoutError:
            return _all(claimed, _TOO_LONG)
        except MailError as error:
            return _all(claimed, deferred(error.public, error.code))
        except Exception:  # a bug of an agent: that job is tried again
            _log.exception("agent-failed", queue_id=claimed.message.queue_id, next_hop=hop.name)
            return _all(claimed, _BROKEN)

    async def _write(self, claimed: Claimed, results: Sequence[Result]) -> None:
        for attempt in range(1, WRITE_TRIES + 1):
            try:
                missing = await self._ledger.write(results)
                self._queue.note(telling.unheld(claimed, results, missing, self._clock.now()))
                return
            except MailError as error:
                if attempt == WRITE_TRIES:
                    raise
                _log.warning("result-waits", queue_id=claimed.message.queue_id, code=error.code)
            try:
                await asyncio.sleep(WRITE_PAUSE)
            except asyncio.CancelledError:
                self._ledger.keep(results)
                raise

    async def _put_off(self, claimed: Claimed, result: Result) -> None:
        """One host that does not answer speaks for all that is due for its domain (row 141)."""
        now, backoff = self._clock.now(), self._means.rules.backoff
        attempts = 1 + min(item.attempts for item in claimed.recipients)
        backlog = Backlog(
            domain=claimed.recipients[0].domain,
            next_attempt=now + min(backoff.wait(attempts, 0.5), BACKLOG_WAIT),
            status=result.status,
            diagnostic=result.diagnostic,
            expired=now - backoff.lifetime,
            late=now - backoff.delay_notice,
        )
        self._told(await self._queue.put_off(backlog, self._judge))

    def _told(self, settled: Sequence[Settled]) -> None:
        """One event per recipient and attempt; a failure that nobody is told about is told to the postmaster here."""
        now = self._clock.now()
        self._queue.note([telling.traced(item, now) for item in settled])
        again = [item.outcome.next_attempt for item in settled if item.outcome.state is State.WAITING]
        if again:
            self._due = min(again if self._due is None else (self._due, *again))
            self._wake.set()
        for item in settled:
            telling.log_attempt(item)
            if item.outcome.state.value == "failed" and item.outcome.owed is Owed.NOTHING:
                _log.warning("failure-not-reported", queue_id=item.message.queue_id, reason=item.outcome.reason)
        if any(item.outcome.owed is not Owed.NOTHING for item in settled):
            self._owing.set()

    # --- helpers -----------------------------------------------------------------------------------------------------

    async def _keep_leases(self) -> None:
        while True:
            try:
                await self._put_back_unrecorded()
                await self._queue.renew()
                backoff = self._means.rules.backoff
                await self._queue.pull_back(backoff.horizon)
                self._told(await self._queue.end_orphans(backoff.lifetime, self._judge))
                await self._queue.tidy()
            except MailError as error:
                _log.error("leases-not-renewed", code=error.code, **error.fields)
            await asyncio.sleep(self._queue.lease / 4)

    async def _put_back_unrecorded(self) -> None:
        """Our leases are renewed together, so what no job holds any more has to be given up by name. It waits for the
        longest interval: perhaps it was delivered, and each attempt is a duplicate then."""
        ids = tuple(self._unrecorded)
        if ids:
            backoff = self._means.rules.backoff
            await self._queue.put_back(ids, backoff.wait(len(backoff.intervals), 0.5))
            self._unrecorded.difference_update(ids)

    async def _pay_debts(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._queue.lease):
                    await self._owing.wait()
            self._owing.clear()
            try:
                if await self._means.reporter.pay():
                    self._owing.set()
            except MailError as error:
                _log.error("reports-wait", code=error.code, **error.fields)
            except Exception:  # a bug in one report must not stop deliveries
                _log.exception("reports-failed")


def _job_of(claimed: Claimed, hop: NextHop, content: Content) -> Job:
    message = claimed.message
    return Job(
        queue_id=message.queue_id,
        sender=message.sender,
        recipients=tuple(item.for_job() for item in claimed.recipients),
        content=content,
        next_hop=hop.name,
        static=hop.static,
        smtputf8=message.smtputf8,
        body=message.body,
        ret=message.ret,
        envid=message.envid,
        require_tls=message.require_tls,
        schedule=message.schedule,
        account_id=message.account_id or None,
        local_prefix=message.local_prefix,
        submitter=message.submitter,
    )


def _all(claimed: Claimed, status: Status) -> list[Result]:
    return [Result(item.id, ResultKind.DEFERRED, status) for item in claimed.recipients]


def _complete(claimed: Claimed, results: Sequence[Result]) -> list[Result]:
    """One result per recipient, whatever the agent forgot."""
    told = {result.recipient_id: result for result in results}
    return [told.get(item.id) or Result(item.id, ResultKind.DEFERRED, _BROKEN) for item in claimed.recipients]


def _cancelled() -> bool:
    """The job's task was: what its agent did not name is given back, as if it had not been tried."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
