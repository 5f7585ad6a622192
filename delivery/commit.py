"""The one durable step of every accepted message, inbound or submitted: mailboxes here, the queue for the rest.

Order (design.md section 4.4): written and synced under a temporary name > what leaves or must wait is durably queued
> made visible to each local recipient > answered. A failure before the first commit leaves nothing and is a 4xx;
after it the answer is 250 and the rest is the queue's. What is queued together with local recipients holds those too,
leased to us, so that no crash between two commits forgets one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import field, replace
from typing import Protocol

from core import log
from core.address import Address
from core.envelope import Dsn, Envelope
from core.errors import MailError, QuotaError, RefusedError, TemporaryError
from core.frozen import dataclass
from core.status import Status, accepted, deferred
from delivery.content import Rewritten
from delivery.forward import Forwarder, Verified
from delivery.outcome import Rules
from delivery.queue.queue import Queue
from delivery.queue.rows import NewMessage, NewRecipient
from delivery.toll import Toll
from delivery.types import Result, ResultKind, TraceEntry
from directory.types import Account
from message.content import Content
from message.header import Head
from store.store import Staged, Store
from store.types import INBOX, NO_FLAGS, AccountRef, Flag, Placement

AT_ONCE = 8  # mailboxes that one message is made visible in at a time
FULL = ("storage-full", "queue-full")  # codes of an error that more room would mend
AGAIN = 5.0  # seconds for which a result that the queue did not take is tried again; its sender waits for the 250
PAUSE = 0.5  # seconds between two of these tries
RETRY_LOCAL = 30.0  # seconds until the runner tries a mailbox that could not take the message

_log = log.get(__name__)

DELIVERED = accepted("delivered", "delivered", "2.1.5")


@dataclass(frozen=True, slots=True)
class Target:
    """One mailbox here: `address` is the recipient it was reached by."""

    account: Account
    address: Address
    dsn: Dsn = field(default_factory=Dsn)
    folder: str = ""  # another one than the plan's: a copy of what its own name sent
    flags: Flag = NO_FLAGS


@dataclass(frozen=True, slots=True)
class Plan:
    """A message that was accepted. Its bytes are `head` + `body[skip:]`; a mailbox here gets `local_prefix` before
    them, and `fields` are those of both, where they are known. `folder` is for all local recipients; `outgoing` goes to
    the queue; `verified` is for those that aliases send on; `toll` is what its account is charged, which may be denied;
    `submitter` as in `delivery.types.Job`; `message_id` as it is traced."""

    envelope: Envelope
    head: bytes
    body: Content
    skip: int
    local_prefix: bytes
    targets: tuple[Target, ...]
    outgoing: tuple[NewRecipient, ...] = ()
    folder: str = INBOX
    account_id: str = ""
    verified: Verified | None = None
    toll: Toll | None = None
    submitter: str = ""
    message_id: str = ""
    fields: Head | None = None


def traced_id(head: Head, otherwise: str = "") -> str:
    """The Message-ID as the trace tells it; `otherwise`: the one that a message without any is given."""
    value = head.value(b"message-id")
    if value is None:
        return otherwise
    text = value.decode("ascii", "replace").removeprefix("<").removesuffix(">")
    return text if text.isprintable() else ""


def delivery_id(queue_id: str, account: Account) -> str:
    """By this a redelivery after a crash is recognised (`Placement.delivery_id`)."""
    return f"{queue_id}.{account.id}"


@dataclass(frozen=True, slots=True)
class Received:
    """What was put into mailboxes here, as far as an answer needs it. `head`: its header block; `verified` is None for
    what our own people wrote."""

    sender: Address | None
    head: bytes
    targets: tuple[Target, ...]
    verified: Verified | None = None
    require_tls: bool = False


class Responder(Protocol):
    """Who tells senders that somebody is away: `delivery.vacation.Responder`."""

    async def respond(self, received: Received) -> None:
        """After the commit; never raises."""


class Committer:
    """`Committer(store, queue, rules)`; shared by inbound and submission."""

    def __init__(
        self,
        store: Store,
        queue: Queue,
        rules: Rules,
        forwarder: Forwarder | None = None,
        responder: Responder | None = None,
    ) -> None:
        self._store = store
        self._queue = queue
        self._rules = rules
        self._forwarder = forwarder
        self._responder = responder

    def came_back(self, head: Head, outgoing: Sequence[NewRecipient]) -> frozenset[str]:
        """The keys of aliases that would send this on and have done so before."""
        return frozenset() if self._forwarder is None else self._forwarder.came_back(head, outgoing)

    async def commit(self, plan: Plan) -> Status:
        """250 when it is all durable; a 4xx when nothing was kept. Who is away answers at once, though his mailbox may
        take it later only; to what its sender wants kept back when it is there (`LocalAgent`)."""
        if plan.envelope.schedule.release_at > self._queue.now():
            return await self._committed(_held(plan))
        status = await self._committed(plan)
        if status.ok and self._responder is not None and plan.folder == INBOX:
            envelope = plan.envelope
            await self._responder.respond(
                Received(envelope.sender, plan.head, plan.targets, plan.verified, envelope.require_tls)
            )
        return status

    async def _committed(self, plan: Plan) -> Status:
        try:
            if not plan.targets:
                entered = await self._enter(plan, plan.outgoing)
                return entered if isinstance(entered, Status) else self._accepted(plan)
            first, start = AccountRef.of(plan.targets[0].account), plan.fields or plan.local_prefix + plan.head
            synced = _needs_queue(plan)
            async with await self._store.stage(start, plan.body, first=first, skip=plan.skip, synced=synced) as staged:
                return await self._publish(plan, staged, first)
        except MailError as error:
            _log.warning("commit-failed", queue_id=plan.envelope.queue_id, code=error.code, **error.fields)
            return refusal(error)

    async def _publish(self, plan: Plan, staged: Staged, first: AccountRef) -> Status:
        if _needs_queue(plan):
            return await self._with_queue(plan, staged)
        denial = await self._charge(plan.toll)
        if denial is not None:
            return denial
        _, error = await _deliver_one(plan, plan.targets[0], staged, first)
        if error is None:
            return self._accepted(plan)
        await self._refund(plan.toll)
        return refusal(error)

    async def _with_queue(self, plan: Plan, staged: Staged) -> Status:
        """The queue's commit is the first one here: from then on the answer is 250."""
        leased = [_local(target, plan.folder) for target in plan.targets]
        # The leased ones keep the sender, hence stand first in the first message.
        entered = await self._enter(plan, [*leased, *plan.outgoing])
        if isinstance(entered, Status):
            return entered
        ids, *_ = entered
        outcomes = await self._deliver(plan, staged)
        results = [local_result(id_, error) for id_, (_, error) in zip(ids, outcomes, strict=False)]
        try:
            await self._queue.apply(results, self._rules.judge)
        except MailError as error:
            await self._apply_again(plan, results, error)
        return self._accepted(plan, [target for target, error in outcomes if error is not None])

    async def _apply_again(self, plan: Plan, results: Sequence[Result], error: MailError) -> None:
        """On another connection: what was lost with one (fault 158) would keep its recipients leased to us for ten
        minutes. Results that were written all the same change nothing. Past `AGAIN` the leases run out and the runner
        delivers again, recognised by delivery_id."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AGAIN):
                while isinstance(error, TemporaryError):
                    await asyncio.sleep(PAUSE)
                    try:
                        await self._queue.apply(results, self._rules.judge)
                    except MailError as again:
                        error = again
                    else:
                        return
        _log.warning("local-result-lost", queue_id=plan.envelope.queue_id, code=error.code)

    def _accepted(self, plan: Plan, waiting: Sequence[Target] = ()) -> Status:
        """250, and the trace of it; `waiting`: the local targets that the queue will try."""
        sender, message_id = str(plan.envelope.sender or ""), plan.message_id
        now, queue_id = self._queue.now(), plan.envelope.queue_id
        entries = []
        for target in plan.targets:
            to, event = target.account, "accepted" if target in waiting else "delivered"
            entries.append(TraceEntry(now, queue_id, event, sender, str(to.address), to.organisation_id, message_id))
        for item in plan.outgoing:
            if not item.expanded:
                to_whom, owner = str(item.address), item.organisation_id
                entries.append(TraceEntry(now, queue_id, "accepted", sender, to_whom, owner, message_id))
        self._queue.note(entries)
        return accepted(f"queued as {queue_id}", "accepted")

    async def _enter(self, plan: Plan, recipients: Sequence[NewRecipient]) -> list[list[int]] | Status:
        """In one commit with the charge for it: a denial keeps nothing, and what was not kept costs nothing."""
        news = await self._onward(plan, recipients)
        toll = plan.toll
        if toll is None:
            return await self._queue.enqueue_all(news)
        toll.charge, ids = await self._queue.enter(news, toll.account_id, toll.keys, toll.rules)
        return toll.denial or ids

    async def _charge(self, toll: Toll | None) -> Status | None:
        if toll is None:
            return None
        toll.charge = await self._queue.charge(toll.account_id, toll.keys, toll.rules)
        return toll.denial

    async def _refund(self, toll: Toll | None) -> None:
        if toll is not None:
            await self._queue.refund(toll.account_id, len(toll.keys))

    async def _onward(self, plan: Plan, recipients: Sequence[NewRecipient]) -> list[NewMessage]:
        message = _queued(plan, recipients)
        return [message] if self._forwarder is None else await self._forwarder.onward(message, plan.verified)

    async def _deliver(self, plan: Plan, staged: Staged) -> list[tuple[Target, MailError | None]]:
        """Every target, a few at a time; one that fails does not stop the others."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(target: Target) -> tuple[Target, MailError | None]:
            async with gate:
                return await _deliver_one(plan, target, staged, AccountRef.of(target.account))

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(target)) for target in plan.targets]
        return [task.result() for task in tasks]


def _needs_queue(plan: Plan) -> bool:
    """One mailbox is one commit. Several, or anything else beside, are the queue's first: else one of them could have
    the message, and the sender be told that nobody has (promise P2)."""
    return bool(plan.outgoing) or len(plan.targets) > 1 or "SUCCESS" in plan.targets[0].dsn.notify


async def _deliver_one(
    plan: Plan, target: Target, staged: Staged, account: AccountRef
) -> tuple[Target, MailError | None]:
    placement = Placement(
        folder=target.folder or plan.folder,
        flags=target.flags,
        delivery_id=delivery_id(plan.envelope.queue_id, target.account) + (".copy" if target.folder else ""),
    )
    try:
        await staged.deliver(account, placement)
    except MailError as error:
        return target, error
    return target, None


def _held(plan: Plan) -> Plan:
    """A message whose sender wants it kept back (RFC 4865): all of it waits in the queue, but the copies in Sent."""
    copies = tuple(target for target in plan.targets if target.folder)
    waiting = [replace(_local(item, plan.folder), leased=False) for item in plan.targets if not item.folder]
    return replace(plan, targets=copies, outgoing=(*waiting, *plan.outgoing))


def _local(target: Target, folder: str) -> NewRecipient:
    return NewRecipient(
        target.account.address,
        target.account.organisation_id,
        target.dsn,
        local=True,
        forwarded=target.address.key != target.account.address.key,
        folder=target.folder or folder,
        leased=True,
    )


def _queued(plan: Plan, recipients: Sequence[NewRecipient]) -> NewMessage:
    envelope = plan.envelope
    return NewMessage(
        queue_id=envelope.queue_id,
        sender=envelope.sender,
        content=Rewritten(plan.head, plan.body, plan.skip),
        recipients=tuple(recipients),
        account_id=plan.account_id,
        smtputf8=envelope.smtputf8,
        body=envelope.body,
        ret=envelope.ret,
        envid=envelope.envid,
        require_tls=envelope.require_tls,
        schedule=envelope.schedule,
        local_prefix=plan.local_prefix,
        submitter=plan.submitter,
    )


def local_result(recipient_id: int, error: MailError | None) -> Result:
    """What a mailbox here said, as an agent's result. An error is never final: a full mailbox may empty, a disk be
    replaced; time decides."""
    if error is None:
        return Result(recipient_id, ResultKind.DELIVERED, DELIVERED, final=True)
    return Result(recipient_id, ResultKind.DEFERRED, refusal(error))


def refusal(error: MailError) -> Status:
    """An error of store or queue, told to the sending server (faults 149-152). Only a full disk is called one (RFC 3463
    3.4, X.3.1): one that is read-only or broken sends whoever reads the senders' logs to the wrong place."""
    if isinstance(error, QuotaError):
        return deferred("mailbox is full", "over-quota", "4.2.2", code=452)
    if error.code in FULL:
        return deferred("insufficient system storage", error.code, "4.3.1", code=452)
    if isinstance(error, RefusedError):
        return deferred("mailbox is unavailable", error.code, "4.2.0", code=450)
    return deferred("try again later", error.code)
