"""The agent for mailboxes here: what waited in the queue for one of our accounts, and reports to our own senders.

Follows aliases like RCPT does; an alias that leads outside is queued onward before the result says "done".
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from core.errors import MailError
from core.ids import Ids
from core.status import Status
from delivery.commit import AT_ONCE, RETRY_LOCAL, Received, Responder, Target, delivery_id, local_result
from delivery.forward import Forwarder
from delivery.queue.queue import Queue
from delivery.queue.rows import NewMessage, NewRecipient
from delivery.routing import Addresses, Forward, Route, route
from delivery.spread import LOOP, with_original
from delivery.types import Job, JobRecipient, Result, ResultKind
from directory.types import Account
from store.store import Staged, Store
from store.types import INBOX, AccountRef, Placement

Routed = tuple[JobRecipient, Route]


class LocalAgent:
    """`LocalAgent(directory, store, queue, ids, alias_depth=…)` implements `DeliveryAgent`."""

    def __init__(
        self,
        directory: Addresses,
        store: Store,
        queue: Queue,
        ids: Ids,
        *,
        alias_depth: int,
        forwarder: Forwarder | None = None,
        responder: Responder | None = None,
    ) -> None:
        self._directory = directory
        self._responder = responder
        self._forwarder = forwarder
        self._store = store
        self._queue = queue
        self._ids = ids
        self._depth = alias_depth

    async def deliver(self, job: Job) -> list[Result]:
        results: list[Result] = []
        routed: list[Routed] = []
        for item in job.recipients:
            found = await self._route(job, item)
            if isinstance(found, Result):
                results.append(found)
            else:
                routed.append((item, found))
        return results + await self._place(job, routed)

    async def _route(self, job: Job, item: JobRecipient) -> Route | Result:
        try:
            found = await route(self._directory, item.address, depth=self._depth)
        except MailError as error:
            return local_result(item.id, error)
        if isinstance(found, Route) and found.forwards and self._forwarder is not None:
            found = LOOP if self._forwarder.circles(job.content.head, item.address) else found
        return Result(item.id, ResultKind.FAILED, found) if isinstance(found, Status) else found

    async def _place(self, job: Job, routed: list[Routed]) -> list[Result]:
        first = next((AccountRef.of(account) for _, found in routed for account in found.accounts), None)
        if first is None:
            return [await self._recipient(job, item, found, None) for item, found in routed]
        try:
            async with await self._store.stage(job.local_prefix, job.content, first=first) as staged:
                return await self._placed(job, routed, staged)
        except MailError as error:
            return [local_result(item.id, error) for item, _ in routed]

    async def _placed(self, job: Job, routed: list[Routed], staged: Staged) -> list[Result]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(item: JobRecipient, found: Route) -> Result:
            async with gate:
                return await self._recipient(job, item, found, staged)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item, found)) for item, found in routed]
        return [task.result() for task in tasks]

    async def _recipient(self, job: Job, item: JobRecipient, found: Route, staged: Staged | None) -> Result:
        """All of one recipient's mailboxes. What an alias names besides, and those of its mailboxes that could not take
        the message, get queue rows of their own, once: a full mailbox must not repeat or hold up the others."""
        failed = [(account, error) for account in found.accounts if (error := await _put(job, item, account, staged))]
        await self._respond(job, item, [account for account in found.accounts if account not in dict(failed)])
        if len(found.accounts) == 1 and not found.forwards:
            return local_result(item.id, failed[0][1] if failed else None)
        try:
            if failed or found.forwards:
                onward = self._onward(job, item, found.forwards, [account for account, _ in failed])
                # What waited here has lost what was verified of it: it goes on unsealed.
                moved = [onward] if self._forwarder is None else await self._forwarder.onward(onward)
                await self._queue.enqueue_all(moved)
        except MailError as error:
            return local_result(item.id, error)
        return local_result(item.id, None)

    async def _respond(self, job: Job, item: JobRecipient, accounts: Sequence[Account]) -> None:
        """Who is away answers what was kept back (RFC 4865) when he gets it; to everything else the answer went out
        when it was accepted. The alias that led to him is not known any more: who wrote to that alone gets none."""
        if self._responder is not None and job.schedule.release_at and item.folder in ("", INBOX):
            targets = tuple(Target(account, account.address) for account in accounts)
            await self._responder.respond(Received(job.sender, job.content.head, targets, None, job.require_tls))

    def _onward(
        self, job: Job, item: JobRecipient, forwards: Sequence[Forward], accounts: Sequence[Account]
    ) -> NewMessage:
        dsn = with_original(item.dsn, item.address)
        outside = [
            NewRecipient(to.address, to.organisation_id, dsn, forwarded=True, via=to.via, passed=item.address)
            for to in forwards
        ]
        again = [
            NewRecipient(
                account.address, account.organisation_id, dsn, local=True, folder=item.folder, wait=RETRY_LOCAL
            )
            for account in accounts
        ]
        return NewMessage(
            queue_id=self._ids.queue_id(),
            sender=job.sender,
            content=job.content,
            recipients=(*outside, *again),
            smtputf8=job.smtputf8,
            body=job.body,
            ret=job.ret,
            envid=job.envid,
            account_id=job.account_id or "",
            require_tls=job.require_tls,
            schedule=job.schedule,
            local_prefix=job.local_prefix,
            submitter=job.submitter,
        )


async def _put(job: Job, item: JobRecipient, account: Account, staged: Staged | None) -> MailError | None:
    """Into one mailbox; a mailbox that has it already recognises it."""
    if staged is None:
        return None
    placement = Placement(folder=item.folder or INBOX, delivery_id=delivery_id(job.queue_id, account))
    try:
        await staged.deliver(AccountRef.of(account), placement)
    except MailError as error:
        return error
    return None
