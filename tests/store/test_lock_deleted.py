"""The lock file of an account is deleted by hand while a process that has it stands still: SIGSTOP, a frozen container.
Who has it open waits for its holder as before; who opens the account then makes the file anew and has that one."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from core.errors import StorageError
from store import index
from store.fsops import FileSystem
from store.lockfile import LOCK_FILE
from store.service import MaildirStore, initialise
from tests.store.helpers import MAIRIE, all_rows, deliver, inbox_of

T = TypeVar("T")
PLACES = 60  # calls of a small delivery, with some to spare: that there are no more is asserted


class Standing(FileSystem):
    """Stands still before its n-th call from `count` on, until `go`; what is called meanwhile by others runs."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 0
        self.stands, self.go = threading.Event(), threading.Event()

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name.startswith("_") or name in ("left", "stands", "go", "turn", "close") or not callable(value):
            return value

        def called(*arguments: Any, **more: Any) -> Any:
            if self.left:
                self.left -= 1
                if not self.left:
                    self.stands.set()
                    assert self.go.wait(30)
            return value(*arguments, **more)

        return called


@contextlib.contextmanager
def elsewhere() -> Iterator[Callable[[Coroutine[Any, Any, T]], asyncio.Future[T]]]:
    """An event loop of its own, which stands still without ours."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield lambda work: asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def one_stands_at(place: int, data: Path) -> bool:
    """False where a delivery has no such call. Both stores are processes of their own as far as locks can tell."""
    disk, late = Standing(), MaildirStore(data)
    slow = MaildirStore(data, fs=disk)
    with elsewhere() as there:
        await there(slow.open())
        await there(deliver(slow, MAIRIE, 0))
        disk.left = place
        running = there(deliver(slow, MAIRIE, 2))
        while not disk.stands.is_set() and not running.done():
            await asyncio.sleep(0.001)
        stood, given = disk.stands.is_set(), []
        if stood:
            (data / "domains" / MAIRIE.domain / MAIRIE.local / LOCK_FILE).unlink()
            await late.open()
            with contextlib.suppress(StorageError):
                given.append(await deliver(late, MAIRIE, 3))
        disk.left = 0
        disk.go.set()
        given.append(await running)
        if not stood:
            await late.open()
        given.append(await deliver(late, MAIRIE, 4))
        given.append(await there(deliver(slow, MAIRIE, 5)))
        uids = [item.uid for item in given]
        assert len(set(uids)) == len(uids), uids
        for rows in (await told(late), await there(told(slow))):
            assert set(uids) <= set(rows)
            assert len(set(rows)) == len(rows) == 1 + len(uids)
        await there(slow.close())
    await late.close()
    return stood


async def told(store: MaildirStore) -> list[int]:
    return [row.uid for row in await all_rows(await inbox_of(store))]


def another(data: Path, number: int) -> Path:
    initialise(data.parent / str(number))
    return data.parent / str(number)


async def test_f164_a_lock_file_deleted_while_its_holder_stands_still_gives_no_uid_twice(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every third call of a delivery (at all 30 it was seen to hold): SQLite's own lock is held wherever a UID is
    chosen, and whoever comes then is told that the mailbox is busy."""
    monkeypatch.setattr(index, "BUSY_MS", 20)
    stood = 0
    for place in range(1, PLACES, 3):
        if not await one_stands_at(place, another(data, place)):
            break
        stood += 1
    assert stood >= 8
    assert place < PLACES - 3
