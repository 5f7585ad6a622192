"""Hints: in the process, between processes, and healed when lost."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from pathlib import Path

import pytest

from core.clock import ManualClock
from store import changes, records
from store import mailbox as mailbox_module
from store.service import MaildirStore
from store.types import Column, Flag, Hint
from tests.store.helpers import MAIRIE, VOISIN, deliver, inbox_of


async def _until(hints: list[Hint], count: int) -> None:
    async with asyncio.timeout(10):
        while len(hints) < count:
            await asyncio.sleep(0.01)


async def test_a_listener_is_told_before_the_answer(store: MaildirStore) -> None:
    account = await store.account(MAIRIE)
    hints: list[Hint] = []
    stop = account.listen(hints.append)
    appended = await deliver(store, MAIRIE, 1)
    assert hints == [Hint("acc1", appended.folder_id, appended.modseq)]
    await deliver(store, VOISIN, 1)
    assert len(hints) == 1
    stop()
    stop()
    await deliver(store, MAIRIE, 2)
    assert len(hints) == 1


async def test_a_failing_listener_harms_nobody(store: MaildirStore) -> None:
    account = await store.account(MAIRIE)
    hints: list[Hint] = []

    def fails(_hint: Hint) -> None:
        raise ValueError("bug")

    account.listen(fails)
    account.listen(hints.append)
    await deliver(store, MAIRIE, 1)
    assert len(hints) == 1


async def test_a_process_that_gets_no_socket_looks_by_itself_and_leaks_none(
    store: MaildirStore, data: Path, clock: ManualClock
) -> None:
    deaf = MaildirStore(data, clock=clock)
    await deaf.open()
    hub = deaf._open_hub
    hub._name = f"{'x' * 300}"  # no directory takes such a name
    account = await deaf.account(MAIRIE)
    before = len(os.listdir("/proc/self/fd"))
    hints: list[Hint] = []
    for _ in range(3):
        account.listen(hints.append)()
    account.listen(hints.append)
    assert len(os.listdir("/proc/self/fd")) == before
    appended = await deliver(store, MAIRIE, 1)
    await hub.look_now()
    assert Hint("acc1", appended.folder_id, appended.modseq) in hints
    await deaf.close()


async def test_another_process_is_told(
    store: MaildirStore, data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "LOOK_EVERY", 60.0)  # a look would find it, too
    other = MaildirStore(data, clock=clock)
    await other.open()
    hints: list[Hint] = []
    (await other.account(MAIRIE)).listen(hints.append)
    await deliver(store, MAIRIE, 1)
    await _until(hints, 1)
    snapshot = await (await inbox_of(other)).snapshot()
    assert (snapshot.messages, snapshot.modseq) == (1, hints[0].modseq)
    await (await inbox_of(other)).store_flags([(1, 1)], add=Flag.SEEN)
    assert (await (await inbox_of(store)).snapshot()).folder.unseen == 0
    await other.close()


async def test_a_lost_hint_is_healed_by_a_look(store: MaildirStore, data: Path, clock: ManualClock) -> None:
    hints: list[Hint] = []
    account = await store.account(MAIRIE)
    account.listen(hints.append)
    other = MaildirStore(data, clock=clock)
    await other.open()
    other._hub._send = lambda *_: None  # type: ignore[union-attr,method-assign]  # the datagram is lost
    await deliver(other, MAIRIE, 1)
    await _until(hints, 1)
    await other.close()


async def test_a_folder_that_went_without_a_hint_is_told_once(
    store: MaildirStore, data: Path, clock: ManualClock
) -> None:
    hints: list[Hint] = []
    account = await store.account(MAIRIE)
    folder = await account.create("Passager")
    for _ in range(2):  # who left and came back must hear of it as well
        leave = account.listen(hints.append)
        await store._open_hub.look_now()
        leave()
    account.listen(hints.append)
    await store._open_hub.look_now()
    other = MaildirStore(data, clock=clock)
    await other.open()
    other._hub._send = lambda *_: None  # type: ignore[union-attr,method-assign]  # the hint is lost
    await (await other.account(MAIRIE)).delete("Passager")
    await other.close()
    hints.clear()
    await store._open_hub.look_now()
    await store._open_hub.look_now()
    assert [hint.folder_id for hint in hints] == [folder.id]


async def test_dead_sockets_are_swept(store: MaildirStore, data: Path) -> None:
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    dead.bind(str(data / "run/changes/1.dead"))
    dead.close()
    await deliver(store, MAIRIE, 1)
    assert not (data / "run/changes/1.dead").exists()


async def test_a_file_dropped_into_new_by_another_program_is_adopted(store: MaildirStore, data: Path) -> None:
    hints: list[Hint] = []
    account = await store.account(MAIRIE)
    account.listen(hints.append)
    new = data / "domains/mairie.test/maire/new"
    (new / "1790000000.M1P2.autre").write_bytes(b"Subject: LF\n\nune ligne\nsans fin")
    await _until(hints, 1)
    inbox = await account.mailbox("INBOX")
    file = await inbox.open(next(iter([row.uid async for batch in inbox.rows([(1, 9)], Column.NONE) for row in batch])))
    assert await file.read(0, 99) == b"Subject: LF\r\n\r\nune ligne\r\nsans fin\r\n"
    file.close()
    assert list(new.iterdir()) == []


async def test_many_changes_are_read_beside_the_loop(store: MaildirStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred thousand rows kept every other session of the process waiting; few are faster read at once."""
    for number in range(6):
        await deliver(store, MAIRIE, number)
    inbox = await inbox_of(store)
    before = await inbox.snapshot()
    await inbox.store_flags([(1, 5)], add=Flag.SEEN)
    await inbox.expunge([(6, 6)], only_deleted=False)
    readers: list[threading.Thread] = []
    read = records.changed_since

    def noted(*arguments: object) -> object:
        readers.append(threading.current_thread())
        return read(*arguments)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(records, "changed_since", noted)
    at_hand = await inbox.changes(before.modseq, before.uidnext)
    monkeypatch.setattr(mailbox_module, "AT_HAND", 5)
    beside = await inbox.changes(before.modseq, before.uidnext)
    assert at_hand == beside
    assert (len(beside.messages), beside.vanished) == (5, (6,))
    assert [thread is threading.main_thread() for thread in readers] == [True, False]


async def test_a_map_of_many_gaps_is_made_beside_the_loop(store: MaildirStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        await deliver(store, MAIRIE, number)
    inbox = await inbox_of(store)
    await inbox.expunge([(2, 2), (4, 5)], only_deleted=False)
    snapshot = await inbox.snapshot()
    at_hand = list(await inbox.uids(snapshot))
    monkeypatch.setattr(mailbox_module, "AT_HAND", 2)
    assert list(await inbox.uids(snapshot)) == at_hand == [1, 3, 6]
