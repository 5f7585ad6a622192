"""Pays what is owed to senders: makes each report and queues it in the debt's own transaction.

What a report says is `delivery.bounce`'s. A debt whose report cannot be made is dropped with an event, not retried for
ever. Reports to senders of ours are local deliveries, others go out; a report itself never causes one (null sender).
"""

from __future__ import annotations

import asyncio

from core import log
from core.clock import Clock
from core.errors import ConflictError, StorageError
from core.ids import Ids
from delivery import bounce
from delivery.queue.queue import Queue
from delivery.queue.reports import MESSAGES, Debt
from delivery.queue.rows import NewMessage
from directory.directory import Directory

PASSED_OVER = 1000  # messages of one look

_log = log.get(__name__)


class Reporter:
    """`hostname` is ours; `lifetime` seconds a message is tried, told to senders of delayed mail."""

    def __init__(
        self, queue: Queue, directory: Directory, *, hostname: str, lifetime: float, clock: Clock, ids: Ids
    ) -> None:
        self._queue = queue
        self._directory = directory
        self._hostname = hostname
        self._lifetime = lifetime
        self._clock = clock
        self._ids = ids
        self._unpaid: set[str] = set()  # messages of this look, which goes on with the others'

    async def pay(self) -> bool:
        """Pay a page of debts; True when some were and there may be more: debts that cannot be paid now are not tried
        without a pause. Raises `TemporaryError` when the queue or the directory is away: the debts wait."""
        debts = await self._queue.debts(self._unpaid)
        paid = False
        for debt in debts:
            try:
                report = await self._report(debt)
                await self._queue.settle(debt, report)
            except ConflictError:
                continue  # another worker was quicker
            except StorageError as error:  # of one message's bytes perhaps: the others' senders are told first
                _log.error("report-waits", queue_id=debt.message.queue_id, code=error.code, **error.fields)
                paid = (error.code == "queue-damaged" and self._pass_over(debt.message.queue_id)) or paid
                continue
            paid = True
            _log.info(
                "report-queued" if report else "report-dropped",
                queue_id=debt.message.queue_id,
                report=report.queue_id if report else "",
                kind=debt.owed.value,
                sender=str(debt.message.sender or ""),
                recipients=[str(item.address) for item in debt.recipients],
            )
        more = paid and len({debt.message.queue_id for debt in debts}) >= MESSAGES
        if not more:
            self._unpaid.clear()  # tried again at the next look
        return more

    def _pass_over(self, queue_id: str) -> bool:
        """A page of messages whose bytes are lost must not be all that is ever looked at."""
        if queue_id in self._unpaid or len(self._unpaid) >= PASSED_OVER:
            return False
        self._unpaid.add(queue_id)
        return True

    async def _report(self, debt: Debt) -> NewMessage | None:
        sender = debt.message.sender
        if sender is None:
            return None
        ours = await self._directory.hosted_domain(sender.domain) is not None
        original = await self._queue.content(debt.message)
        try:
            return await asyncio.to_thread(
                bounce.compose,
                debt,
                original,
                hostname=self._hostname,
                ours=ours,
                lifetime=self._lifetime,
                ids=self._ids,
                now=self._clock.now(),
            )
        except Exception:  # hostile bytes in an original must not stop everybody's reports
            _log.exception("report-failed", queue_id=debt.message.queue_id)
            return None
