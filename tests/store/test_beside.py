"""An index that is made again while its account goes on: who reads and who delivers does not wait for it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import StorageError
from message import facts
from message.content import Content
from message.facts import Facts
from store import beside, folders
from store.fsops import FileSystem
from store.handle import Handle
from store.index import Connection, Index
from store.service import MaildirStore
from store.types import AccountRef, Flag, Placement, SortCriterion, SortKey, Uid
from tests.store.helpers import AUTRE, MAIRIE, VOISIN, WHOLE, all_rows, cur, deliver, inbox_of, read

COUNT = 12
STOP_AT = 5  # messages read
PATIENCE = 20.0


@dataclass
class Scanner:
    """Reads messages, and stops in the middle of a rebuild until it is told to go on."""

    armed: bool = False
    seen: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    loop: int = field(default_factory=threading.get_ident)

    def __call__(self, content: Content) -> Facts:
        if self.armed and threading.get_ident() != self.loop:
            self.seen += 1
            if self.seen == STOP_AT:
                self.armed = False
                self.reached.set()
                assert self.go_on.wait(PATIENCE)
        return facts.gather(content)

    async def stopped(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, PATIENCE)


@pytest.fixture
def scanner() -> Scanner:
    return Scanner()


@pytest.fixture
async def served(data: Path, clock: ManualClock, scanner: Scanner) -> AsyncIterator[MaildirStore]:
    """A process that serves."""
    store = MaildirStore(data, clock=clock, gather=scanner)
    await store.open()
    for number in range(COUNT):
        await deliver(store, MAIRIE, number)
    await (await inbox_of(store)).store_flags(((1, 3),), add=Flag.SEEN, add_keywords=("$a",))
    yield store
    await store.close()


async def test_mail_is_delivered_read_flagged_moved_and_expunged_in_the_middle_of_a_rebuild(
    data: Path, clock: ManualClock, served: MaildirStore, scanner: Scanner
) -> None:
    operator = MaildirStore(data, clock=clock, gather=scanner)  # `beffroi store rebuild`, another process
    await operator.open()
    scanner.armed = True
    rebuilding = asyncio.create_task(operator.rebuild(None))
    await scanner.stopped()

    inbox = await inbox_of(served)
    before = await inbox.snapshot()
    new = await asyncio.wait_for(deliver(served, MAIRIE, 100), PATIENCE)
    assert new.uid == COUNT + 1
    assert await read(inbox, 4)
    await inbox.store_flags(((4, 5),), add=Flag.FLAGGED, add_keywords=("$b",))
    await inbox.store_flags(((11, 12),), add=Flag.ANSWERED)
    await inbox.store_flags(((1, 2),), add=Flag.DELETED)
    await inbox.expunge(None)
    moved = await inbox.move(((6, 6), (10, 10)), "Archive")
    await (await served.account(MAIRIE)).create("Nouveau")
    in_new = await deliver(served, MAIRIE, 101, Placement(folder="Nouveau"))
    assert (await inbox.snapshot()).messages == before.messages + 1 - 4

    scanner.go_on.set()
    await asyncio.wait_for(rebuilding, PATIENCE)
    for store in (served, operator):
        assert await store.verify(None) == []
        there = await inbox_of(store)
        rows = {int(row.uid): row for row in await all_rows(there)}
        assert sorted(rows) == [3, 4, 5, 7, 8, 9, 11, 12, 13]
        assert (rows[3].flags, rows[3].keywords) == (Flag.SEEN, ("$a",))
        assert {(rows[uid].flags, rows[uid].keywords) for uid in (4, 5)} == {(Flag.FLAGGED, ("$b",))}
        assert {rows[uid].flags for uid in (11, 12)} == {Flag.ANSWERED}
        assert [await read(there, uid) for uid in (4, 13)]
        archived = await all_rows(await inbox_of(store, name="Archive"))
        assert [row.uid for row in archived] == [pair[1] for pair in moved.pairs]
        assert [row.uid for row in await all_rows(await inbox_of(store, name="Nouveau"))] == [in_new.uid]
    changes = await inbox.changes(before.modseq, before.uidnext)
    assert {1, 2, 6, 10} <= set(changes.vanished)  # whoever resynchronises hears of them
    assert (await inbox.snapshot()).modseq > before.modseq
    assert (await deliver(served, MAIRIE, 102)).uid > new.uid
    assert not list((data / "domains").rglob("tmp/*"))
    await operator.close()


async def test_keywords_past_the_letters_that_change_in_the_middle_are_kept(
    data: Path, clock: ManualClock, served: MaildirStore, scanner: Scanner
) -> None:
    inbox = await inbox_of(served)
    await inbox.store_flags(((5, 6),), add_keywords=[f"k{number}" for number in range(30)])
    operator = MaildirStore(data, clock=clock, gather=scanner)
    await operator.open()
    await served.flush()
    scanner.armed = True
    rebuilding = asyncio.create_task(operator.rebuild(None))
    await scanner.stopped()
    await inbox.store_flags(((1, 1),), add_keywords=("k29",))
    await inbox.store_flags(((5, 5),), remove_keywords=("k28",))
    await served.flush()  # letters are what they were; the journal alone tells
    scanner.go_on.set()
    await asyncio.wait_for(rebuilding, PATIENCE)
    rows = {int(row.uid): set(row.keywords) for row in await all_rows(await inbox_of(served))}
    assert rows[1] == {"$a", "k29"}
    assert rows[5] == {f"k{number}" for number in range(30)} - {"k28"}
    assert rows[6] == {f"k{number}" for number in range(30)}
    assert await served.verify(None) == []
    await operator.close()


async def test_two_rebuilds_at_once_and_a_commit_of_every_account(served: MaildirStore) -> None:
    await deliver(served, AUTRE, 1)
    counts = await asyncio.gather(served.rebuild(None), served.rebuild(None))
    assert list(counts) == [COUNT + 1, COUNT + 1]
    assert len(await all_rows(await inbox_of(served))) == COUNT
    assert await served.verify(None) == []


def _fail(*_arguments: object) -> None:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize("where", ["records.insert_all", "install", "journal.read"])
async def test_a_rebuild_that_fails_leaves_the_index_that_was_there(
    data: Path, served: MaildirStore, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    before = await all_rows(await inbox_of(served))
    with monkeypatch.context() as broken:
        target: object = beside
        for name in where.split(".")[:-1]:
            target = getattr(target, name)
        broken.setattr(target, where.rpartition(".")[2], _fail)
        with pytest.raises(StorageError):
            await served.rebuild(None)
    assert not list((data / "domains").rglob("tmp/*"))
    assert await all_rows(await inbox_of(served)) == before


async def test_cut_off_after_the_old_index_went_the_new_one_is_made_from_the_files(
    data: Path, clock: ManualClock, served: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {(row.uid, row.flags, row.keywords) for row in await all_rows(await inbox_of(served))}
    real: Callable[[Handle, int, str], None] = Handle.install

    def after(self: Handle, directory: int, name: str) -> None:
        real(self, directory, name)
        _fail()

    for step in (after, _fail):
        monkeypatch.setattr(Handle, "install", step)
        with pytest.raises(StorageError):
            await served.rebuild("mairie.test")
        monkeypatch.setattr(Handle, "install", real)
        rows = await all_rows(await inbox_of(served))
        assert {(row.uid, row.flags, row.keywords) for row in rows} == wanted
        assert await served.verify(None) == []
    await (await inbox_of(served)).expunge(WHOLE, only_deleted=False)
    assert await served.rebuild(None) == 0


async def test_a_folder_that_was_copied_by_hand_does_not_keep_an_account_from_its_rebuild(
    data: Path, served: MaildirStore
) -> None:
    await deliver(served, MAIRIE, 100, Placement(folder="Archive"))
    root = data / "domains" / MAIRIE.domain / MAIRIE.local
    shutil.copytree(root / ".Archive", root / ".Copie")
    assert await served.rebuild(None) == COUNT + 2
    account = await served.account(MAIRIE)
    ids = {folder.name: folder.id for folder in await account.folders()}
    assert ids["Archive"] != ids["Copie"]
    assert [len(await all_rows(await inbox_of(served, name=name))) for name in ("Archive", "Copie")] == [1, 1]
    assert await served.verify(None) == []


@pytest.mark.parametrize("way", ["rebuild", "an older index"])
async def test_the_original_of_a_folder_copied_by_hand_keeps_its_identity(
    data: Path, clock: ManualClock, tmp_path: Path, way: str
) -> None:
    """The copy's name comes first: clients of the original would have to fetch it all again."""
    store = MaildirStore(data, clock=clock)
    await store.open()
    await deliver(store, MAIRIE, 100, Placement(folder="Sent"))
    before = await (await store.account(MAIRIE)).folder("Sent")
    await store.close()
    root = data / "domains" / MAIRIE.domain / MAIRIE.local
    shutil.copy(root / "index.db", tmp_path)
    store = MaildirStore(data, clock=clock)
    await store.open()
    await deliver(store, MAIRIE, 101)
    await store.close()
    shutil.copytree(root / ".Sent", root / ".Copie")
    if way == "an older index":
        shutil.copy(tmp_path / "index.db", root)
    store = MaildirStore(data, clock=clock)
    await store.open()
    if way == "rebuild":
        await store.rebuild(None)
    account = await store.account(MAIRIE)
    after, made = await account.folder("Sent"), await account.folder("Copie")
    assert before is not None
    assert after is not None
    assert made is not None
    assert (after.id, after.uidvalidity, after.messages) == (before.id, before.uidvalidity, 1)
    assert (made.id != before.id, made.uidvalidity != before.uidvalidity, made.messages) == (True, True, 1)
    await store.flush()
    assert await store.verify(None) == []
    await store.close()


async def test_a_delivery_taken_back_in_the_middle_of_a_rebuild_is_no_delivery_when_it_comes_again(
    data: Path, served: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file had its name when the rebuild looked, the sync failed, and the name was gone again."""
    again = Placement(delivery_id="q1 maire")
    await deliver(served, MAIRIE, 100, again)
    (path,) = [each for each in cur(data, MAIRIE) if f",U={COUNT + 1}," in each.name]
    real = beside._Builder._round

    def taken_back(self: beside._Builder, directory: int, cur: int) -> bool:
        there = self._folder.name == "INBOX" and path.exists()
        more = real(self, directory, cur)
        if there:
            os.unlink(path)
        return more

    monkeypatch.setattr(beside._Builder, "_round", taken_back)
    assert await served.rebuild(None) == COUNT
    appended = await deliver(served, MAIRIE, 100, again)
    inbox = await inbox_of(served)
    assert appended.uid in [row.uid for row in await all_rows(inbox)]
    assert await read(inbox, Uid(appended.uid))
    assert await served.verify(None) == []


async def test_an_account_that_fails_is_named_and_the_others_are_made_again(
    data: Path, served: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deliver(served, AUTRE, 1)
    old = {ref.id: _inode(data, ref) for ref in (AUTRE, MAIRIE)}
    real: Callable[[Handle], str] = beside.build

    def build(handle: Handle) -> str:
        if handle.ref.id == MAIRIE.id:
            raise StorageError("storage failed", code="storage-odd")
        return real(handle)

    for bug in (False, True):
        monkeypatch.setattr(beside, "build", build if not bug else lambda handle: _broken(handle, real))
        with pytest.raises(StorageError) as told:
            await served.rebuild(None)
        assert told.value.public == f"{MAIRIE.local}@{MAIRIE.domain}: storage failed"
        assert _inode(data, MAIRIE) == old[MAIRIE.id]
        assert _inode(data, AUTRE) != old[AUTRE.id]
        old[AUTRE.id] = _inode(data, AUTRE)


def _broken(handle: Handle, real: Callable[[Handle], str]) -> str:
    assert handle.ref.id != MAIRIE.id
    return real(handle)


def _inode(data: Path, ref: AccountRef) -> int:
    return (data / "domains" / ref.domain / ref.local / "index.db").stat().st_ino


async def test_p2_what_waits_while_the_index_is_replaced_is_answered_as_it_ends(
    data: Path, served: MaildirStore
) -> None:
    """Cause: the connection that was made roomy before the new index was opened is closed, and was tidied up after the
    commit: what had been committed was answered as failed."""
    account = await served.account(MAIRIE)
    entry = await served._open_accounts.use(MAIRIE)
    entry.handle.discard_files()  # as a rebuild does, between somebody's look for the account and his turn to write
    row = await entry.writer.submit(lambda transaction: folders.create(transaction, "Neuf"))
    found = await account.folder("Neuf")
    assert found is not None
    assert found.id == row.id
    assert len(await all_rows(await inbox_of(served))) == COUNT


async def test_what_another_takes_out_of_tmp_meanwhile_ends_no_recovery(
    data: Path, clock: ManualClock, served: MaildirStore
) -> None:
    """Two rebuilds at once: what SQLite keeps beside the one's new index goes while the other looks through tmp/."""

    class Late(FileSystem):
        def names(self, directory: int) -> list[str]:
            found = super().names(directory)
            return [*found, "index-1.db-wal"] if self.real_path(directory).endswith("/tmp") else found

    await served.flush()
    (data / "domains" / MAIRIE.domain / MAIRIE.local / "index.db").unlink()
    other = MaildirStore(data, clock=clock, fs=Late())
    await other.open()
    assert len(await all_rows(await inbox_of(other))) == COUNT
    await other.close()


async def test_a_long_look_that_meets_an_index_in_the_making_is_repeated(
    served: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: readers in threads open the index by its name, which for a moment was nobody's, or an empty file's."""
    inbox = await inbox_of(served)
    entry = await served._open_accounts.use(MAIRIE)
    real: Callable[[Index], Connection] = Index.another

    def meeting(self: Index) -> Connection:
        monkeypatch.setattr(Index, "another", real)
        entry.handle.discard_files()
        return real(self)

    monkeypatch.setattr(Index, "another", meeting)
    uids = list(range(1, COUNT + 1))
    assert await inbox.sort(uids, [SortCriterion(SortKey.ARRIVAL)]) == uids


@pytest.mark.parametrize("let_go", [True, False])
async def test_f156_a_rebuild_that_meets_a_kept_lock_waits_without_a_thread(
    data: Path,
    clock: ManualClock,
    served: MaildirStore,
    scanner: Scanner,
    monkeypatch: pytest.MonkeyPatch,
    let_go: bool,
) -> None:
    """Cause: it had read everything, and kept one of its process's threads for half a minute. What was read is not read
    again; where the lock is kept for too long it is refused, and leaves nothing."""
    for name, value in (("IN_THREAD", 0.05), ("OPEN_AGAIN", 0.01), ("WAIT", 20.0 if let_go else 0.3)):
        monkeypatch.setattr(f"store.accounts.{name}", value)
    monkeypatch.setattr("store.service.THREADS", 1)
    await served.flush()
    operator = MaildirStore(data, clock=clock, gather=scanner)
    await operator.open()
    scanner.armed = True
    rebuilding = asyncio.create_task(operator.rebuild(None))
    await scanner.stopped()
    with (data / "domains/mairie.test/maire/beffroi.lock").open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        scanner.armed = True  # goes on counting
        scanner.go_on.set()
        async with asyncio.timeout(PATIENCE):
            while scanner.seen < COUNT:
                await asyncio.sleep(0.005)
        await asyncio.wait_for(deliver(operator, VOISIN, 100), 10)
        if not let_go:
            with pytest.raises(StorageError, match=r"^maire@mairie\.test: the mailbox is busy$"):
                await asyncio.wait_for(rebuilding, PATIENCE)
        else:
            assert not rebuilding.done()
    if let_go:
        assert await asyncio.wait_for(rebuilding, PATIENCE) == COUNT
    assert scanner.seen == COUNT
    await operator.close()
    assert not list((data / "domains").rglob("tmp/*"))
    assert await served.verify(None) == []
