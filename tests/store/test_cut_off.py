"""Something is cancelled, cut off or fails beside us at a bad moment: what else was under way keeps its promises."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import warnings
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import StorageError
from store import flusher
from store.flush import flush
from store.fsops import FileSystem
from store.lockfile import AccountLock
from store.service import MaildirStore
from store.transaction import Transaction
from store.types import AccountRef, Flag, Hint
from tests.fakes.mail import mail
from tests.store.helpers import MAIRIE, VOISIN, all_rows, cur, deliver, inbox_of, read


async def test_f154_an_account_opened_while_all_others_are_busy_stays_open_for_its_user(
    data: Path, clock: ManualClock
) -> None:
    store = MaildirStore(data, clock=clock, open_accounts=1)
    await store.open()
    with contextlib.ExitStack() as busy:
        for ref in (MAIRIE, VOISIN):
            await store.account(ref)
            entry = store._open_accounts.opened(ref)
            assert entry is not None
            busy.enter_context(entry.handle.pinned())
        third = AccountRef("a3", "org1", "mairie.test", "adjoint")
        entry = await store._open_accounts.use(third)
        await asyncio.sleep(0.1)
        assert entry.handle.is_current()
        assert store._open_accounts.opened(third) is entry
        assert len(store._open_accounts) == 3  # who is at work keeps his, too
    await store.close()


async def test_an_account_that_is_let_go_stays_open_for_who_works_with_it(store: MaildirStore) -> None:
    """A message that is being staged is written to a directory whose descriptor must not become another's."""
    await deliver(store, MAIRIE, 1)
    accounts_, entry = store._open_accounts, store._open_accounts.opened(MAIRIE)
    assert entry is not None
    with entry.handle.pinned():
        letting_go = asyncio.create_task(accounts_.release(MAIRIE))
        done, _ = await asyncio.wait([letting_go], timeout=0.1)
        assert not done
        assert accounts_.opened(MAIRIE) is None
        assert await entry.writer.submit(lambda transaction: transaction.held()) == 1
    await letting_go
    assert not entry.handle.is_current()
    assert len(await all_rows(await inbox_of(store))) == 1


async def test_a_spool_whose_writer_was_cancelled_is_closed_after_its_write(store: MaildirStore) -> None:
    """A descriptor closed under a thread that writes is soon another file's, which would be written to."""
    fs = store._fs
    spool = store.spool(limit=2_000_000)
    reached, go_on = threading.Event(), threading.Event()
    real = fs.reserve
    written: list[int] = []
    closed: list[int] = []

    def slow(fd: int, start: int, size: int) -> None:
        reached.set()
        go_on.wait(10)
        real(fd, start, size)
        written.append(len(closed))

    def close(fd: int) -> None:
        closed.append(fd)
        FileSystem.close(fs, fd)

    fs.reserve, fs.close = slow, close  # type: ignore[method-assign]  # slow
    writing = asyncio.create_task(spool.write(b"x" * 300_000))
    await asyncio.to_thread(reached.wait, 10)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    closing = asyncio.create_task(spool.close())
    await asyncio.sleep(0.1)
    go_on.set()
    await closing
    assert written == [0]
    assert closed
    fs.reserve, fs.close = real, FileSystem.close.__get__(fs)  # type: ignore[method-assign]  # as before


async def test_a_caller_cancelled_twice_waits_for_what_has_begun(store: MaildirStore) -> None:
    """It would else close the file that the thread is about to link."""
    await store.account(MAIRIE)
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    begun, gate, over = threading.Event(), threading.Event(), []

    def work(_: Transaction) -> None:
        begun.set()
        gate.wait(10)
        over.append(True)

    task = asyncio.create_task(entry.writer.submit(work))
    await asyncio.to_thread(begun.wait, 10)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0.02)
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert over == [True]


async def test_one_account_that_cannot_be_looked_at_stops_no_other_s_looks(
    store: MaildirStore, data: Path, clock: ManualClock
) -> None:
    """A session still listens to an account that was removed: the look neither dies of it nor makes it again."""
    hints: list[Hint] = []
    removed = await store.account(MAIRIE)
    removed.listen(lambda _: None)
    (await store.account(VOISIN)).listen(hints.append)
    other = MaildirStore(data, clock=clock)
    await other.open()
    await other.remove_account(MAIRIE)
    await store._open_hub.look_now()
    assert not (data / "domains/mairie.test/maire").exists()
    successor = AccountRef("acc9", "org1", "mairie.test", "maire")
    await other.account(successor)
    other._hub._send = lambda *_: None  # type: ignore[union-attr,method-assign]  # the datagram is lost
    await deliver(other, VOISIN, 1)
    await store._open_hub.look_now()
    assert [hint.account_id for hint in hints if hint.modseq > 1]
    assert await (await other.account(successor)).usage() == (0, 0)
    await other.close()


async def test_f159_with_side_file_and_index_lost_no_uid_told_is_given_again(data: Path, clock: ManualClock) -> None:
    """UIDNEXT is told to clients at once: it needs a durable floor before the first allocation, too (promise P4)."""
    store = MaildirStore(data, clock=clock)
    await store.open()
    for number in (1, 2, 3):
        await deliver(store, MAIRIE, number)
    await store.close()
    home = data / "domains/mairie.test/maire"
    (home / "beffroi-folder").unlink()
    stores = []
    for _ in range(2):  # no clean stop in between: the floors are all that is known
        for path in home.glob("index.db*"):
            path.unlink()
        stores.append(MaildirStore(data, clock=clock))
        await stores[-1].open()
        inbox = await inbox_of(stores[-1])
        assert (await inbox.snapshot()).uidnext >= 4
        assert await stores[-1].verify(None) == []
        await inbox.expunge([(3, 3)], only_deleted=False)
        await stores[-1].flush()
    assert (await deliver(stores[-1], MAIRIE, 4)).uid >= 4
    for store in reversed(stores):
        await store.close()


async def test_an_unexpected_error_in_one_flush_does_not_end_all_flushing(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def failing(transaction: Transaction) -> None:
        calls.append(transaction.handle.ref.id)
        if len(calls) == 1:
            raise RuntimeError("a bug")
        flush(transaction)

    monkeypatch.setattr(flusher, "flush", failing)
    await deliver(store, MAIRIE, 1)
    await store._open_accounts.flusher.flush_all()
    assert calls
    assert store._open_accounts.flusher.has_work or len(calls) > 1
    await store.flush()
    assert not store._open_accounts.flusher.has_work


async def test_a_flush_that_is_asked_for_ends_where_an_account_keeps_failing(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: it was tried again at once, for ever, and whoever had asked waited as long."""
    monkeypatch.setattr(flusher, "WAIT", 0.3)
    monkeypatch.setattr(flusher, "FLUSH_AGAIN", 0.1)
    tries: list[str] = []

    def failing(transaction: Transaction) -> None:
        if transaction.handle.ref == MAIRIE:
            tries.append(MAIRIE.id)
            raise OSError(5, "Input/output error")
        flush(transaction)

    for ref in (MAIRIE, VOISIN):
        await deliver(store, ref, 1)
        await (await inbox_of(store, ref)).store_flags([(1, 1)], add=Flag.FLAGGED)
    monkeypatch.setattr(flusher, "flush", failing)
    async with asyncio.timeout(20):
        with pytest.raises(StorageError, match=r"^maire@mairie\.test: storage failed"):
            await store.flush()
    assert 1 < len(tries) < 8
    assert cur(data, VOISIN)[0].name.endswith(":2,F")
    monkeypatch.setattr(flusher, "flush", flush)
    await store.flush()
    assert cur(data, MAIRIE)[0].name.endswith(":2,F")


async def test_an_opening_that_fails_after_its_caller_left_is_no_traceback(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    gate = threading.Event()

    def failing(*_: object, **__: object) -> int:
        gate.wait(10)
        raise OSError(5, "Input/output error")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()  # what another test left is no fault of this one
    monkeypatch.setattr("store.layout.open_account", failing)
    caller = asyncio.create_task(store.account(MAIRIE))
    while not store._open_accounts._opening:
        await asyncio.sleep(0)
    opening = next(iter(store._open_accounts._opening.values()))
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    gate.set()
    await asyncio.wait((opening,))
    del opening, caller
    await asyncio.sleep(0)
    gc.collect()
    assert told == []


async def test_f144_a_foreign_file_whose_adoption_was_cut_off_is_adopted_once(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the commit of its copy and the removal of the original, then seen again."""
    inbox = await inbox_of(store)
    await inbox.snapshot()
    dropped = data / "domains/mairie.test/maire/new/1790000000.M1P2.autre"
    dropped.write_bytes(mail(1))
    with monkeypatch.context() as patched:
        patched.setattr("store.adopt._remove", lambda *_: None)
        assert (await inbox.snapshot()).messages == 1
    assert dropped.exists()
    await store.rebuild(None)
    assert not dropped.exists()
    rows = await all_rows(await inbox_of(store))
    assert [await read(await inbox_of(store), row.uid) for row in rows] == [mail(1)]
    assert await store.verify(None) == []


async def test_a_flush_that_is_asked_for_waits_for_the_one_under_way(store: MaildirStore, data: Path) -> None:
    """Who asks has everything on the disk when it returns; what the flusher had just begun was left out."""
    inbox = await inbox_of(store)
    await deliver(store, MAIRIE, 1)
    await store.flush()
    await inbox.store_flags([(1, 1)], add=Flag.FLAGGED)
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    other = AccountLock(FileSystem(), entry.handle.root)
    with other.held():
        first = asyncio.create_task(store.flush())
        while entry.handle.dirty:
            await asyncio.sleep(0)
        second = asyncio.create_task(store.flush())
        done, _ = await asyncio.wait([second], timeout=0.1)
        assert not done
    other.close()
    await asyncio.gather(first, second)
    assert [path.name[-1] for path in cur(data, MAIRIE)] == ["F"]


async def test_p5_an_account_whose_lock_is_kept_elsewhere_keeps_no_other_s_flags_from_the_disk(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flusher waited for it before it looked at anybody again."""
    monkeypatch.setattr(flusher, "FLUSH_EVERY", 0.01)
    store = MaildirStore(data, clock=clock)
    await store.open()
    for ref in (MAIRIE, VOISIN):
        await deliver(store, ref, 1)
    inbox = await inbox_of(store, VOISIN)
    await store.flush()
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    other = AccountLock(FileSystem(), entry.handle.root)
    with other.held():
        async with asyncio.timeout(20):
            entry.handle.dirty = True
            while entry.handle.dirty:  # until its turn has begun
                await asyncio.sleep(0.001)
            for flag, letters in ((Flag.FLAGGED, "F"), (Flag.SEEN, "FS")):
                await inbox.store_flags([(1, 1)], add=flag)
                while not cur(data, VOISIN)[0].name.endswith(f":2,{letters}"):
                    await asyncio.sleep(0.001)
    other.close()
    await store.close()
