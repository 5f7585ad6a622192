"""The queue for administrators: list, show, retry, hold, release, drop (implements `QueueAdministration`).

Every call is bounded by an organisation in one place (`_within`): what belongs to another one is absent, and of a
message that several organisations share each sees and handles its own recipients only (promise P8).
"""

from __future__ import annotations

import asyncio
import functools
import operator
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Literal

from sqlalchemy import ColumnElement, Connection, delete, select, true, update

from core import log
from core.clock import Clock
from core.errors import NotFoundError
from delivery.queue import allowance, orphans, picking, tracing, vacations
from delivery.queue.hints import HintSender
from delivery.queue.holds import OPEN, Hold, concerned, free_accounts, freed_of, held_by, hold_accounts, names
from delivery.queue.results import finish
from delivery.queue.rows import Row, schedule_of
from delivery.queue.schema import Owed, State, message, recipient
from delivery.queue.store import QueueStore
from delivery.queue.trace_book import TraceBook
from delivery.types import (
    EVERYTHING,
    Action,
    Picked,
    QueuedMessage,
    QueuedRecipient,
    QueueShape,
    TraceEntry,
    Vacation,
)

BREATH = 0.005  # seconds between two parts of many
LISTED = 1000  # messages whose recipients are asked for in one statement: PostgreSQL takes 32,767 parameters
ACCOUNTS = 100  # held or freed in one transaction: other writers have their turn in between

_log = log.get(__name__)


class Administration:
    """Raises `NotFoundError`, `TemporaryError`, `StorageError`."""

    def __init__(self, database: QueueStore, hints: HintSender, clock: Clock, book: TraceBook) -> None:
        self._database = database
        self._hints = hints
        self._clock = clock
        self._book = book

    async def unlock(self, account_id: str) -> bool:
        unlocked = await self._database.write(lambda connection: allowance.unlock(connection, account_id))
        self._hints.send()
        return unlocked

    async def locked(self, account_id: str) -> bool:
        return await self._database.read(lambda connection: allowance.locked(connection, account_id))

    async def suspend(self, account_ids: Collection[str]) -> None:
        for some in _parts(account_ids):
            await self._database.write(partial(hold_accounts, account_ids=some, reason=Hold.SUSPENSION))

    async def resume(self, account_ids: Collection[str]) -> None:
        for some in _parts(account_ids):
            await self._database.write(partial(free_accounts, account_ids=some, reason=Hold.SUSPENSION))
        self._hints.send()

    async def orphan(self, account_ids: Collection[str]) -> None:
        now = self._clock.now()
        for some in _parts(account_ids):
            await self._database.write(partial(orphans.mark, account_ids=some, now=now))

    async def reclaim(self, account_ids: Collection[str]) -> None:
        now = self._clock.now()
        for some in _parts(account_ids):
            await self._database.write(partial(orphans.unmark, account_ids=some, now=now))

    async def forget(self, account_id: str) -> None:
        def act(connection: Connection) -> None:
            vacations.put(connection, account_id, None)
            allowance.forget(connection, account_id)

        await self._database.write(act)

    async def remembered(self) -> Collection[str]:
        return await self._database.read(lambda c: allowance.remembered(c) | vacations.load(c).keys())

    async def concerned(self) -> Collection[str]:
        return await self._database.read(concerned)

    async def vacation(self, account_id: str) -> Vacation | None:
        return await self._database.read(lambda connection: vacations.get(connection, account_id))

    async def set_vacation(self, account_id: str, vacation: Vacation | None) -> None:
        await self._database.write(lambda connection: vacations.put(connection, account_id, vacation))

    async def list(
        self, organisation_id: str | None, *, limit: int = 1000, picked: Picked = EVERYTHING, after: str = ""
    ) -> list[QueuedMessage]:
        return await self._database.read(lambda connection: _list(connection, organisation_id, limit, picked, after))

    async def shape(self, organisation_id: str | None, by: Literal["domain", "sender"]) -> Sequence[QueueShape]:
        now = self._clock.now()
        return await self._database.read(lambda connection: picking.shape(connection, organisation_id, by, now))

    async def act(self, organisation_id: str | None, picked: Picked, action: Action) -> int:
        now, after, count = self._clock.now(), "", 0
        last = await self._database.read(picking.last)  # what enters meanwhile is not meant, or there were no end

        def one(connection: Connection) -> tuple[list[str], list[tuple[str, str, str, str]]]:
            ids = picking.part(connection, organisation_id, picked, action, after, last)
            return ids, picking.act(connection, organisation_id, picked, ids, action, now) if ids else []

        while True:
            ids, dropped = await self._database.write(one)
            self._book.note([TraceEntry(now, id_, "dropped", *rest) for id_, *rest in dropped])
            await self._book.flush()
            if not ids:
                break
            after, count = ids[-1], count + len(ids)
            self._hints.send()
            await asyncio.sleep(BREATH)
        _log.info(f"queue-{action}", messages=count)
        return count

    async def show(self, organisation_id: str | None, queue_id: str) -> QueuedMessage:
        return await self._database.read(lambda connection: _show(connection, organisation_id, queue_id))

    async def retry(self, organisation_id: str | None, queue_id: str) -> None:
        await self._change("queue-retry", organisation_id, queue_id, {"next_attempt": picking.soon(self._clock.now())})

    async def hold(self, organisation_id: str | None, queue_id: str) -> None:
        await self._change("queue-hold", organisation_id, queue_id, held_by(Hold.ADMINISTRATOR))

    async def release(self, organisation_id: str | None, queue_id: str) -> None:
        """Whatever held it: who lets one message go has looked at it."""
        values = {**freed_of(), "next_attempt": picking.soon(self._clock.now())}
        await self._change("queue-release", organisation_id, queue_id, values)

    async def drop(self, organisation_id: str | None, queue_id: str) -> None:
        """Without a bounce. A recipient whose delivery runs this moment may still get the message."""

        dropped = await self.show(organisation_id, queue_id)

        def act(connection: Connection) -> None:
            _known(connection, organisation_id, queue_id)
            connection.execute(delete(recipient).where(_within(organisation_id, queue_id)))
            finish(connection, [queue_id])

        await self._write("queue-drop", queue_id, act)
        now = self._clock.now()
        self._book.note(
            [
                TraceEntry(now, queue_id, "dropped", dropped.sender, item.address, item.organisation_id)
                for item in dropped.recipients
                if item.state in picking.WAITS
            ]
        )

    async def trace(self, organisation_id: str | None, text: str) -> Sequence[TraceEntry]:
        await self._book.flush()  # what this process just noted
        return await self._database.read(lambda c: tracing.search(c, organisation_id, text, 0.0))

    async def _change(self, event: str, organisation_id: str | None, queue_id: str, values: dict[str, object]) -> None:
        def act(connection: Connection) -> None:
            _known(connection, organisation_id, queue_id)
            connection.execute(update(recipient).where(_within(organisation_id, queue_id), OPEN).values(values))

        await self._write(event, queue_id, act)

    async def _write(self, event: str, queue_id: str, act: Callable[[Connection], None]) -> None:
        await self._database.write(act)
        self._hints.send()
        _log.info(event, queue_id=queue_id)


def _within(organisation_id: str | None, queue_id: str | None = None) -> ColumnElement[bool]:
    """The recipients an administrator may see: the one place that decides it."""
    mine = true() if organisation_id is None else recipient.c.organisation_id == organisation_id
    return mine if queue_id is None else mine & (recipient.c.queue_id == queue_id)


def _known(connection: Connection, organisation_id: str | None, queue_id: str) -> None:
    found = connection.execute(select(recipient.c.id).where(_within(organisation_id, queue_id)).limit(1)).scalar()
    if found is None:
        raise NotFoundError("no such message in the queue", code="queue-not-found")


def _list(
    connection: Connection, organisation_id: str | None, limit: int, picked: Picked = EVERYTHING, after: str = ""
) -> list[QueuedMessage]:
    """By queue id, which sorts by time: the last one of a page says where the next begins."""
    meant = picking.which(organisation_id, picked)
    if after:
        meant &= recipient.c.queue_id > after
    mine = select(recipient.c.queue_id).where(meant)
    rows = connection.execute(
        select(message).where(message.c.queue_id.in_(mine)).order_by(message.c.queue_id).limit(limit)
    )
    return _queued(connection, organisation_id, rows.mappings().all())


def _show(connection: Connection, organisation_id: str | None, queue_id: str) -> QueuedMessage:
    _known(connection, organisation_id, queue_id)
    rows = connection.execute(select(message).where(message.c.queue_id == queue_id)).mappings().all()
    return _queued(connection, organisation_id, rows)[0]


def _queued(connection: Connection, organisation_id: str | None, messages: Sequence[Row]) -> list[QueuedMessage]:
    """The messages with those of their recipients that the administrator may see."""
    of_message: dict[str, list[Row]] = {row["queue_id"]: [] for row in messages}
    ids = list(of_message)
    for start in range(0, len(ids), LISTED):
        shown = _within(organisation_id) & recipient.c.queue_id.in_(ids[start : start + LISTED])
        for row in connection.execute(select(recipient).where(shown).order_by(recipient.c.id)).mappings():
            of_message[row["queue_id"]].append(row)
    return [_as_value(row, of_message[row["queue_id"]]) for row in messages]


def _parts(account_ids: Collection[str]) -> Iterator[Sequence[str]]:
    ids = sorted(account_ids)
    for start in range(0, len(ids), ACCOUNTS):
        yield ids[start : start + ACCOUNTS]


def _is_open(row: Row) -> bool:
    """`OPEN` of a row that was read: one that ended while it was held is held no more."""
    return row["state"] in (State.WAITING.value, State.ACTIVE.value) or row["owed"] == Owed.EXPANDED.value


def _as_value(row: Row, recipients: Sequence[Row]) -> QueuedMessage:
    owners = {item["organisation_id"] for item in recipients}
    holds = functools.reduce(operator.or_, (item["holds"] for item in recipients if _is_open(item)), 0)
    return QueuedMessage(
        queue_id=row["queue_id"],
        sender=row["sender"],
        size=row["size"],
        created=row["created"],
        held=holds != 0,
        held_by=names(holds),
        organisation_id=owners.pop() if len(owners) == 1 else "",
        recipients=tuple(
            QueuedRecipient(
                item["address"],
                item["state"],
                item["attempts"],
                item["next_attempt"],
                item["last_status"],
                item["organisation_id"],
                bool(item["held"]) and _is_open(item),
                item["last_attempt"],
                item["remote"],
                item["diagnostic"],
            )
            for item in recipients
        ),
        schedule=schedule_of(row),
    )
