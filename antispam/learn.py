"""Teaching rspamd from what people do: mail moved into Junk is spam, mail moved out of it is not.

A bounded queue and one task: nobody waits for it, nothing fails because of it. What does not fit, is too large, or is
gone by the time it is looked at, is not learnt. Refuses to know how it was moved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from core.errors import MailError
from core.log import get
from message.content import BLOCK, BytesContent, Content
from store.store import Mailbox, MessageFile
from store.types import Uid

log = get(__name__)

WAITING = 1000  # messages; somebody who empties a large folder teaches the first thousand
LARGEST = 4 * 1024 * 1024  # octets; spam is small, and this is memory


class Scanner(Protocol):
    """What `antispam.rspamd.Rspamd` offers."""

    async def learn_spam(self, content: Content) -> bool: ...

    async def learn_ham(self, content: Content) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Lesson:
    mailbox: Mailbox
    uid: Uid
    spam: bool


class Learner:
    """`teach` from anywhere on the loop; `close` ends it, what waits is forgotten."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._waiting: asyncio.Queue[_Lesson] = asyncio.Queue(WAITING)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def use(self, scanner: Scanner) -> None:
        """A reload's."""
        self._scanner = scanner

    def teach(self, mailbox: Mailbox, uids: Sequence[Uid], *, spam: bool) -> None:
        """The messages as they lie in `mailbox` now. Never waits, never raises."""
        for count, uid in enumerate(uids):
            try:
                self._waiting.put_nowait(_Lesson(mailbox, uid, spam))
            except asyncio.QueueFull:
                log.warning("learning-full", left_out=len(uids) - count)
                return

    async def settled(self) -> None:
        """Until all that was taught is learnt (tests)."""
        await self._waiting.join()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            lesson = await self._waiting.get()
            try:
                await self._learn(lesson)
            except MailError as error:
                log.info("learning-skipped", reason=error.code)
            except Exception:  # one message's bug must not end all learning
                log.exception("learning-failed")
            finally:
                self._waiting.task_done()

    async def _learn(self, lesson: _Lesson) -> None:
        file = await lesson.mailbox.open(lesson.uid)
        try:
            if file.size > LARGEST:
                return
            content = BytesContent(await _read(file))
        finally:
            file.close()
        learn = self._scanner.learn_spam if lesson.spam else self._scanner.learn_ham
        await learn(content)


async def _read(file: MessageFile) -> bytes:
    return b"".join([await file.read(start, min(start + BLOCK, file.size)) for start in range(0, file.size, BLOCK)])
