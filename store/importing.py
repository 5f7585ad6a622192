"""Messages of a large APPEND, scanned behind its answer from what is in memory still: opening their files again costs
as much as scanning them. One command at a time; what comes meanwhile, and what a stop cuts off, is read from the files
(`store.unscanned`). Whoever asks for what the octets tell waits, or both would read them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import core.log
from core.errors import MailError
from store import stage, unscanned
from store.entry import Entry
from store.faults import IndexDamagedError, translated
from store.index import Connection
from store.records import Prepared
from store.schema import key
from store.types import AccountRef

log = core.log.get(__name__)

SOON = 0.01  # seconds in which the answer leaves
TURN = 4  # messages scanned in one turn of the loop: some 1 ms
TURN_OCTETS = 16 * 1024  # and no more octets than these, past the last one's
WRITTEN = 100  # messages in one transaction: some 4 ms


class Unread(NamedTuple):
    """One that is committed; `date`: its internal date."""

    uid: int
    octets: bytes
    date: int


class Imports:
    """Of all accounts of this process."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._account = ""

    def begin(self, entry: Entry, folder_id: str, messages: Sequence[Unread]) -> None:
        """Unless others are being scanned."""
        if self._task is None:
            self._account = entry.handle.ref.id
            self._task = asyncio.create_task(self._run(entry, folder_id, messages))

    async def over(self, ref: AccountRef) -> bool:
        """Until those of this account are known; False: there were none."""
        if self._task is None or self._account != ref.id:
            return False
        await asyncio.wait((self._task,))
        return True

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self, entry: Entry, folder_id: str, messages: Sequence[Unread]) -> None:
        try:
            with entry.handle.pinned():
                await asyncio.sleep(SOON)
                await _read(entry, folder_id, messages)
        except (MailError, IndexDamagedError) as error:  # the files are there, and are read like others
            log.info("store-import-unread", account=entry.handle.ref.id, cause=str(error))
        except Exception:  # a bug costs no answer: it was given already
            log.exception("store-import-unread", account=entry.handle.ref.id)
        finally:
            self._task = None


async def _read(entry: Entry, folder_id: str, messages: Sequence[Unread]) -> None:
    for start in range(0, len(messages), WRITTEN):
        some = messages[start : start + WRITTEN]
        with translated():
            names = _names(entry.handle.reader, folder_id, some)
        count = octets = 0
        read: dict[int, tuple[str, Prepared | None]] = {}
        for message in some:
            if message.uid in names:  # else it is gone already
                made = stage.prepared(entry.handle.tools, message.octets, message.date)
                read[message.uid] = names[message.uid], made
            count, octets = count + 1, octets + len(message.octets)
            if count == TURN or octets >= TURN_OCTETS:
                count = octets = 0
                await asyncio.sleep(0)  # others have their turns (promise P7)
        await entry.writer.submit(partial(unscanned.take, folder_id=folder_id, read=read))


def _names(db: Connection, folder_id: str, messages: Sequence[Unread]) -> dict[int, str]:
    number = db.value("SELECT number FROM folders WHERE id = ?", (folder_id,))
    if number is None:
        return {}
    name = "SELECT name FROM messages WHERE key = ?"
    found = ((each.uid, db.value(name, (key(number, each.uid),))) for each in messages)
    return {uid: name for uid, name in found if name}
