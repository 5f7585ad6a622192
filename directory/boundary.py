"""Where administrative work begins and ends: one call, one transaction, one commit, its audit lines inside it.

Only this file commits. A commit whose outcome is unknown, because the connection broke in it, is looked up by the
operation's name in the audit, never assumed (fault 158). What was not the actor's to touch is audited as denied.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from core.clock import Clock
from core.errors import MailError
from core.ids import Ids
from core.log import get
from directory.database import CommitUnknown, Database
from directory.repositories.audit import DENIED, Audit, Line
from directory.scope import Denied
from directory.types import Actor
from directory.work import Work

T = TypeVar("T")
_log = get(__name__)


class Boundary:
    """`changed` is called after each commit: the caches of this process forget then."""

    def __init__(self, database: Database, clock: Clock, ids: Ids, changed: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._changed = changed

    async def read(self, actor: Actor, operation: Callable[[Work], Awaitable[T]]) -> T:
        try:
            async with self._database.read() as session:
                return await operation(Work(session, self._clock, self._ids))
        except Denied as denied:
            await self.denied(actor, denied)
            raise

    async def write(self, actor: Actor, operation: Callable[[Work], Awaitable[T]]) -> T:
        """Raises what the operation raises, and `TemporaryError` when the database is away."""
        name = self._ids.object_id()
        finished: list[T] = []
        try:
            async with self._database.write() as session:
                work = Work(session, self._clock, self._ids)
                finished.append(await operation(work))
                if work.lines:
                    await work.audit.add(actor, work.lines, operation=name, at_ms=work.now_ms())
                    await work.state.raise_version()
        except Denied as denied:
            await self.denied(actor, denied)
            raise
        except CommitUnknown:
            if not await self._happened(name):
                raise
        self._changed()
        return finished[0]

    async def _happened(self, operation: str) -> bool:
        async with self._database.read() as session:
            return await Audit(session).has(operation)

    async def denied(self, actor: Actor, denied: Denied) -> None:
        """Row 121: the attempt is written down; that it cannot be is no reason to answer otherwise."""
        line = Line("denied", denied.target, actor.organisation_id, outcome=DENIED)
        _log.warning("access-denied", actor=actor.name, organisation=actor.organisation_id, target=denied.target)
        try:
            async with self._database.write() as session:
                now = int(self._clock.now() * 1000)
                await Audit(session).add(actor, [line], operation=self._ids.object_id(), at_ms=now)
        except MailError as error:
            _log.error("audit-failed", cause=error.code)
