"""Whose message is taken next: as many at once as keep the machine busy, the others wait for their 354.

A message that has come is not the sender's any more and not yet ours: when the connection breaks between its final dot
and the 250, it comes twice (RFC 1047). Where more messages come than can be written at once, somebody has to wait; here
he does so before 354, where nothing can be doubled, and in the order in which they asked. Clients wait two minutes for
it (RFC 5321 4.5.3.2.4); ours are moments: who has not ended his message soon after 354, or waits for others than us
(DNS, Rspamd), gives his turn away, and who got none goes on without. So nobody keeps others waiting by sending slowly,
or not at all (promise P7). Measured with 50 connections on a busy machine: from the final dot to the 250 33 ms instead
of 50 at the median and 80 instead of 261 at p99, at the same rate.
"""

from __future__ import annotations

import asyncio
from collections import deque

MOST = 4  # messages at once: fewer leave disk or core idle, more only wait for each other
HASTE = 0.02  # seconds after 354 in which a message is expected; later it is the network that is waited for, or nothing
WORK = 0.1  # seconds that writing one takes at most; what takes longer waits for others (DNS, Rspamd, a lock)
PATIENCE = 0.5  # seconds that a 354 waits


class Turns:
    """What the sessions of one listener share. `next` before 354 gives a `Turn`. Whose time is over is asked only where
    somebody wants a turn and none is free: a timer for each, set and taken back, was a hundredth of a session."""

    def __init__(
        self, most: int = MOST, *, haste: float = HASTE, work: float = WORK, patience: float = PATIENCE
    ) -> None:
        self.haste, self.work, self._patience = haste, work, patience
        self._free = most
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.held: dict[Turn, float] = {}  # until when, in the loop's time
        self._timer: asyncio.TimerHandle | None = None  # for the first of them, where somebody waits

    async def next(self) -> Turn:
        loop = asyncio.get_running_loop()
        if self._free <= 0:
            self._look(loop)
        if self._free > 0:
            self._free -= 1
        else:
            await self._granted(loop)
        turn = Turn(self, loop)
        if self._waiting:
            self._look(loop)
        return turn

    async def _granted(self, loop: asyncio.AbstractEventLoop) -> None:
        mine: asyncio.Future[None] = loop.create_future()
        self._waiting.append(mine)
        self._look(loop)
        timer = loop.call_later(self._patience, self._impatient, mine)
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():  # it was ours already
                self.give()
            elif mine in self._waiting:
                self._waiting.remove(mine)
            raise
        finally:
            timer.cancel()

    @property
    def free(self) -> int:
        """Turns that are left; below zero where some went on without."""
        self._look(asyncio.get_running_loop())
        return self._free

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take back the turns whose time is over, and look again when the next one's is, if anybody waits."""
        now = loop.time()
        for turn in [turn for turn, end in self.held.items() if end <= now]:
            turn.over()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and self.held:
            self._timer = loop.call_at(min(self.held.values()), self._look, loop)

    def _impatient(self, mine: asyncio.Future[None]) -> None:
        if not mine.done():
            self._waiting.remove(mine)
            self._grant(mine)

    def _grant(self, mine: asyncio.Future[None]) -> None:
        self._free -= 1
        mine.set_result(None)

    def take(self) -> None:
        self._free -= 1

    def give(self) -> None:
        self._free += 1
        while self._free > 0 and self._waiting:
            mine = self._waiting.popleft()
            if not mine.cancelled():  # its session is told so at its next step only
                self._grant(mine)


class Turn:
    """One message's, from its 354 on. `ended`: all of it is here. `over`: it is answered, or will not be."""

    __slots__ = ("_loop", "_turns")

    def __init__(self, turns: Turns, loop: asyncio.AbstractEventLoop) -> None:
        self._turns, self._loop = turns, loop
        turns.held[self] = loop.time() + turns.haste

    def ended(self) -> None:
        turns = self._turns
        if self not in turns.held:
            turns.take()
        turns.held[self] = self._loop.time() + turns.work

    def over(self) -> None:
        """Once more is no harm."""
        if self._turns.held.pop(self, None) is not None:
            self._turns.give()
