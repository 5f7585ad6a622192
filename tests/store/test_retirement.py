"""Accounts that nobody uses are closed, and nobody notices."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from pathlib import Path

import pytest

from core import heap
from core.clock import ManualClock
from store import accounts, flusher, service
from store.handle import Handle
from store.lockfile import State
from store.search import filler
from store.service import MaildirStore
from store.types import AccountRef, Flag, Hint
from tests.store.helpers import MAIRIE, VOISIN, deliver, inbox_of


async def _until_open(store: MaildirStore, count: int) -> None:
    async with asyncio.timeout(20):
        while store.open_accounts != count:
            await asyncio.sleep(0.01)


async def _until_stopped(store: MaildirStore) -> None:
    """Closed, and its clean stop is written: that comes after it left the table of open accounts."""
    await _until_open(store, 0)
    async with asyncio.timeout(20):
        while (word := store._word(MAIRIE)) is None or word.state is not State.CLEAN:
            await asyncio.sleep(0.01)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a minute had passed since every use; the background is in a hurry."""
    monkeypatch.setattr(accounts, "IDLE_AFTER", 0.0)
    monkeypatch.setattr(filler, "LOOK_EVERY", 0.05)
    for module in (flusher, service):
        monkeypatch.setattr(module, "FLUSH_EVERY", 0.05)


@pytest.mark.usefixtures("at_once")
async def test_an_account_nobody_uses_is_closed_when_its_text_is_filled_and_works_again(store: MaildirStore) -> None:
    mailbox = await inbox_of(store)
    await deliver(store, MAIRIE, 1)
    await mailbox.store_flags([(1, 1)], add=Flag.FLAGGED)
    assert store.open_accounts == 1
    await _until_open(store, 0)
    assert (await mailbox.snapshot()).messages == 1
    changed = await (await inbox_of(store)).store_flags([(1, 1)], add=Flag.SEEN)
    assert [row.flags for row in changed.messages] == [Flag.SEEN | Flag.FLAGGED]
    assert (await mailbox.snapshot()).folder.unseen == 0


@pytest.mark.usefixtures("at_once")
async def test_who_listens_to_a_closed_account_is_told_of_what_another_process_delivers(
    store: MaildirStore, data: Path, clock: ManualClock
) -> None:
    hints: list[Hint] = []
    (await store.account(MAIRIE)).listen(hints.append)
    await _until_open(store, 0)
    other = MaildirStore(data, clock=clock)
    await other.open()
    other._hub._send = lambda *_: None  # type: ignore[union-attr,method-assign]  # the hint is lost, too
    appended = await deliver(other, MAIRIE, 1)
    async with asyncio.timeout(10):
        while appended.modseq not in [hint.modseq for hint in hints if hint.folder_id == appended.folder_id]:
            await asyncio.sleep(0.01)
    await _until_open(store, 0)  # the look that opened it does not keep it open
    await other.close()


@pytest.mark.usefixtures("at_once")
async def test_a_look_does_not_open_again_what_was_closed_and_tells_nothing_twice(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hints: list[Hint] = []
    account = await store.account(MAIRIE)
    account.listen(hints.append)
    await deliver(store, MAIRIE, 1)
    await store._open_hub.look_now()
    await _until_stopped(store)  # another word in the lock file
    told = list(hints)
    opened: list[str] = []
    opening = store._open_accounts.open_handle

    def noted(ref: AccountRef) -> Handle:
        opened.append(ref.id)
        return opening(ref)

    monkeypatch.setattr(store._open_accounts, "open_handle", noted)
    for _ in range(3):
        await store._open_hub.look_now()
    assert (hints, opened) == (told, [])


@pytest.mark.usefixtures("at_once")
async def test_a_look_opens_what_the_word_does_not_vouch_for(store: MaildirStore, data: Path) -> None:
    hints: list[Hint] = []
    (await store.account(MAIRIE)).listen(hints.append)
    appended = await deliver(store, MAIRIE, 1)
    await _until_open(store, 0)
    (data / "domains" / MAIRIE.domain / MAIRIE.local / "index.db").unlink()
    store._generations.clear()
    hints.clear()
    store._open_hub._seen.clear()
    await store._open_hub.look_now()
    assert appended.folder_id in {hint.folder_id for hint in hints}


async def test_an_account_in_use_or_not_yet_filled_stays_open(store: MaildirStore) -> None:
    for ref in (MAIRIE, VOISIN):
        await deliver(store, ref, 1)
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    assert store._open_accounts.retire(lambda _: True) == 0  # both were used just now
    for each in store._open_accounts.entries():
        each.used -= 2 * accounts.IDLE_AFTER
        each.handle.dirty = False
    assert store._open_accounts.retire(lambda _: False) == 0
    with entry.handle.pinned():
        assert store._open_accounts.retire(lambda _: True) == 1
    assert store._open_accounts.opened(MAIRIE) is entry
    assert store._open_accounts.opened(VOISIN) is None


@pytest.mark.usefixtures("at_once")
async def test_the_memory_of_a_closed_account_is_free(store: MaildirStore) -> None:
    """Without a collection: nothing of it holds itself. On a front where thousands idle, what is old is never looked
    at, and each of them kept 4 KiB of an account that was closed long ago."""
    gc.collect()
    gc.disable()
    try:
        mailbox = await inbox_of(store)
        await deliver(store, MAIRIE, 1)
        await mailbox.store_flags([(1, 1)], add=Flag.SEEN)
        (handle,) = (weakref.ref(entry.handle) for entry in store._open_accounts.entries())
        async with asyncio.timeout(20):
            while handle() is not None:
                await asyncio.sleep(0.01)
    finally:
        gc.enable()


@pytest.mark.usefixtures("at_once")
async def test_memory_goes_back_once_after_a_wave_of_closings(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    monkeypatch.setattr(service, "WORTH_GIVING_BACK", 2)
    monkeypatch.setattr(service, "QUIET", 1000)
    monkeypatch.setattr(heap, "give_back", lambda: given.append(1))
    await store.account(MAIRIE)
    await _until_open(store, 0)
    await store.account(VOISIN)
    async with asyncio.timeout(20):
        while not given:
            await asyncio.sleep(0.01)
    await asyncio.sleep(5 * flusher.FLUSH_EVERY)
    assert given == [1]


@pytest.mark.usefixtures("at_once")
async def test_memory_of_the_few_behind_a_wave_goes_back_once_it_is_quiet(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    monkeypatch.setattr(heap, "give_back", lambda: given.append(1))
    await store.account(MAIRIE)
    await _until_open(store, 0)
    async with asyncio.timeout(20):
        while not given:
            await asyncio.sleep(0.01)
    await asyncio.sleep(3 * service.QUIET * flusher.FLUSH_EVERY)
    assert given == [1]


@pytest.mark.usefixtures("at_once")
async def test_memory_does_not_go_back_before_the_last_is_closed(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    gate = threading.Event()
    close = accounts._close_handle

    def slow(handle: Handle) -> None:
        gate.wait(20)
        close(handle)

    monkeypatch.setattr(accounts, "_close_handle", slow)
    monkeypatch.setattr(service, "WORTH_GIVING_BACK", 1)
    monkeypatch.setattr(heap, "give_back", lambda: given.append(1))
    await store.account(MAIRIE)
    await _until_open(store, 0)
    await asyncio.sleep(4 * flusher.FLUSH_EVERY)
    assert (given, store._open_accounts.closing) == ([], True)
    gate.set()
    async with asyncio.timeout(20):
        while not given:
            await asyncio.sleep(0.01)


def test_the_c_library_here_gives_memory_back() -> None:
    assert isinstance(heap.give_back(), bool)


@pytest.mark.usefixtures("at_once")
async def test_an_account_whose_disk_fails_keeps_no_other_open(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ref in (VOISIN, MAIRIE):  # the one that is looked for last: on a slow machine the other one is closed by then
        await deliver(store, ref, 1)
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None

    def fails() -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(entry.handle.lock, "read", fails)
    await _until_open(store, 1)
    assert store._open_accounts.opened(MAIRIE) is entry
    monkeypatch.undo()
