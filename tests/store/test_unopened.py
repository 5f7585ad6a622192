"""A folder whose directory cannot be read for a while: its row, UIDs and UIDVALIDITY stay, and it is refused until it
can be read; nobody else waits for it."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import StorageError
from store.fsops import FileSystem
from store.lockfile import LOCK_FILE
from store.types import Flag, Placement
from tests.store.helpers import MAIRIE, VOISIN, all_rows, cur, deliver, read
from tests.store.picture import delete, fill, numbers, opened, picture


class Disk(FileSystem):
    """Does not open directories called `bad`, or does not list or tell what is in them (`how`)."""

    bad, how, error = "nothing", "open", errno.EIO

    def __init__(self) -> None:
        super().__init__()
        self._bad: set[int] = set()

    def _refuse(self, odd: bool, how: str) -> None:
        if odd and self.how == how and self.bad != "nothing":
            raise OSError(self.error, os.strerror(self.error))

    def open_directory(self, parent: int, name: str) -> int:
        odd = name == self.bad or parent in self._bad
        self._refuse(odd, "open")
        fd = super().open_directory(parent, name)
        (self._bad.add if odd else self._bad.discard)(fd)
        return fd

    def names(self, directory: int) -> list[str]:
        self._refuse(directory in self._bad, "list")
        return super().names(directory)

    def stat(self, directory: int, name: str) -> os.stat_result:
        self._refuse(directory in self._bad or name.startswith(f"{self.bad}/"), "stat")
        return super().stat(directory, name)

    def names_below(self, parent: int, name: str) -> list[str]:
        self._refuse(name.startswith(f"{self.bad}/"), "open")
        return super().names_below(parent, name)

    def read_file(self, directory: int, name: str, limit: int) -> bytes:
        self._refuse(directory in self._bad, "read")
        return super().read_file(directory, name, limit)

    def close(self, fd: int) -> None:
        self._bad.discard(fd)
        super().close(fd)


HOWS = ["open", "list", "stat", "read"]


def lose_power(data: Path) -> None:
    """Every folder is looked at, and no row is believed."""
    (data / "domains/mairie.test/maire" / LOCK_FILE).unlink()


@pytest.mark.faults
@pytest.mark.parametrize("how", HOWS)
async def test_h109_a_folder_that_cannot_be_read_after_a_power_loss_keeps_its_uids(
    data: Path, clock: ManualClock, how: str
) -> None:
    """Cause: its row went with all its messages, and programs threw away what they had of it."""
    disk = Disk()
    store = await opened(data, clock, fs=disk)
    await fill(store)
    await store.flush()
    before, higher = await picture(store), await numbers(store)
    await store.close()
    lose_power(data)
    disk.bad, disk.how = ".Archive", how
    store = await opened(data, clock, fs=disk)
    account = await store.account(MAIRIE)
    folder = await account.folder("Archive")
    assert folder is not None
    assert (folder.id, folder.uidvalidity) == before["Archive"][:2]  # type: ignore[index]  # a tuple
    archive = await account.mailbox("Archive")
    for _ in range(2):
        with pytest.raises(StorageError):
            await archive.snapshot()
        with pytest.raises(StorageError):
            await deliver(store, MAIRIE, 20, Placement("Archive"))
        with pytest.raises(StorageError):
            await archive.store_flags([(1, 9)], add=Flag.FLAGGED)
        with pytest.raises(StorageError):
            await archive.expunge([(1, 9)], only_deleted=False)
        assert "maire@mairie.test Archive: the folder cannot be read: Input/output error" in await store.verify(None)
        assert {item.name for item in await account.folders()} == set(before) - {"usage"}
        clock.advance(6.0)
    given = (await deliver(store, MAIRIE, 21)).uid  # the others are as they were
    await (await account.mailbox("INBOX")).expunge([(given, given)], only_deleted=False)
    await store.close()
    store = await opened(data, clock, fs=disk)
    archive = await (await store.account(MAIRIE)).mailbox("Archive")
    with pytest.raises(StorageError):
        await archive.snapshot()
    disk.bad = "nothing"
    clock.advance(6.0)
    assert (await archive.snapshot()).messages == 1
    assert await picture(store) == before
    assert all(uid >= higher[id_][0] for id_, (uid, _) in (await numbers(store)).items())
    assert (await deliver(store, MAIRIE, 20, Placement("Archive"))).uid >= higher[folder.id][0]
    assert await store.verify(None) == []
    await store.close()


@pytest.mark.faults
@pytest.mark.parametrize("how", HOWS)
async def test_h109_an_index_made_while_a_folder_cannot_be_read_has_it_as_soon_as_it_can(
    data: Path, clock: ManualClock, how: str
) -> None:
    disk = Disk()
    store = await opened(data, clock, fs=disk)
    await fill(store)
    await store.flush()
    before = await picture(store)
    await store.close()
    delete(data)
    disk.bad, disk.how = ".Archive", how
    store = await opened(data, clock, fs=disk)
    account = await store.account(MAIRIE)
    for _ in range(3):
        with pytest.raises(StorageError):
            await deliver(store, MAIRIE, 20, Placement("Archive"))
        await deliver(store, MAIRIE, 30, Placement("Junk"))
        await account.folders()
        clock.advance(1.0)
    junk = await account.mailbox("Junk")
    await junk.expunge(None, only_deleted=False)
    disk.bad = "nothing"
    clock.advance(6.0)
    assert "Archive" in {item.name for item in await account.folders()}
    assert await picture(store) == before
    assert await store.verify(None) == []
    await store.close()


@pytest.mark.faults
@pytest.mark.parametrize("first", ["list", "select", "deliver"])
async def test_h110_folders_changed_by_hand_while_another_cannot_be_read(
    data: Path, clock: ManualClock, first: str
) -> None:
    disk = Disk()
    store = await opened(data, clock, fs=disk)
    account = await store.account(MAIRIE)
    for number in range(3):
        await deliver(store, MAIRIE, number, Placement("Archive"))
    archive = await account.mailbox("Archive")
    rows = await all_rows(archive)
    await store.flush()
    root = data / "domains/mairie.test/maire"
    disk.bad = ".Archive"
    (root / ".Junk").rename(root / ".Alt")
    names = {item.name for item in await account.folders()}
    assert {"Archive", "Alt"} <= names
    assert "Junk" not in names
    await deliver(store, MAIRIE, 9)
    with pytest.raises(StorageError):
        await archive.snapshot()
    disk.bad = "nothing"
    clock.advance(6.0)
    if first == "list":
        await account.folders()
    elif first == "deliver":
        assert (await deliver(store, MAIRIE, 7, Placement("Archive"))).uid == 4
    assert (await archive.snapshot()).messages == 3 + (first == "deliver")
    assert (await all_rows(archive))[:3] == rows
    assert await read(archive, 1)
    await store.close()


@pytest.mark.faults
async def test_h109_what_is_done_behind_goes_on_beside_a_folder_that_cannot_be_read(
    data: Path, clock: ManualClock
) -> None:
    disk = Disk()
    store = await opened(data, clock, fs=disk)
    account = await store.account(MAIRIE)
    for name in ("INBOX", "Archive"):
        for number in range(2):
            await deliver(store, MAIRIE, number, Placement(name))
    await store.flush()
    boxes = [await account.mailbox(name) for name in ("INBOX", "Archive")]
    disk.bad = ".Archive"
    for box in boxes:
        with contextlib.suppress(StorageError):
            await box.store_flags([(1, 1)], add=Flag.FLAGGED)
        with contextlib.suppress(StorageError):
            await box.expunge([(2, 2)], only_deleted=False)
    (data / "domains/mairie.test/maire/.Junk").rename(data / "domains/mairie.test/maire/.Alt")
    await account.folders()
    await store.flush()
    (left,) = cur(data, MAIRIE)
    assert left.name.endswith(":2,F")
    disk.bad = "nothing"
    clock.advance(6.0)
    assert (await boxes[1].snapshot()).messages
    await store.flush()
    assert sorted(path.name.partition(":2,")[2] for path in cur(data, MAIRIE, ".Archive")) == ["", "F"]
    await store.close()


@pytest.mark.faults
@pytest.mark.parametrize("known", [False, True])
async def test_h109_who_idles_is_told_of_others_beside_a_folder_that_cannot_be_read(
    data: Path, clock: ManualClock, *, known: bool
) -> None:
    """Cause: the look for changes by other processes ended at the first folder that could not be looked at."""
    disk = Disk()
    store = await opened(data, clock, fs=disk)
    other = await opened(data, clock)
    await deliver(store, MAIRIE, 1)
    await store._look(MAIRIE)
    disk.bad = ".Archive"
    if known:
        (data / "domains/mairie.test/maire/.Junk").rename(data / "domains/mairie.test/maire/.Alt")
        await (await store.account(MAIRIE)).folders()
    for number in (2, 3):
        told = await deliver(other, MAIRIE, number)
        assert (told.folder_id, told.modseq) in {(hint.folder_id, hint.modseq) for hint in await store._look(MAIRIE)}
    await other.close()
    await store.close()


@pytest.mark.faults
@pytest.mark.parametrize("lost", ["believed", "power", "index"])
async def test_h109_an_inbox_whose_directory_is_lost_is_not_forgotten(
    data: Path, clock: ManualClock, lost: str
) -> None:
    """Cause: after a power loss, as when fsck moved cur/ to lost+found, INBOX was forgotten with all its messages."""
    store = await opened(data, clock)
    await fill(store)
    await store.flush()
    before = await picture(store)
    await store.close()
    inbox = data / "domains/mairie.test/maire/cur"
    inbox.rename(data / "found")
    if lost == "power":
        lose_power(data)
    elif lost == "index":
        delete(data)
    store = await opened(data, clock)
    for _ in range(2):
        with pytest.raises(StorageError):
            await deliver(store, MAIRIE, 9)
        clock.advance(6.0)
    if lost != "index":
        await deliver(store, MAIRIE, 9, Placement("Junk"))
        await (await (await store.account(MAIRIE)).mailbox("Junk")).expunge(None, only_deleted=False)
    (data / "found").rename(inbox)
    await (await store.account(MAIRIE)).folders()
    clock.advance(6.0)
    await (await (await store.account(MAIRIE)).mailbox("INBOX")).snapshot()
    assert await picture(store) == before
    assert await store.verify(None) == []
    await store.close()


@pytest.mark.faults
async def test_h109_too_few_descriptors_lose_no_folder(data: Path, clock: ManualClock) -> None:
    """Cause: each folder that could not be opened for want of one was taken for none."""
    disk = Disk()
    store = await opened(data, clock, fs=disk)
    await fill(store)
    await store.flush()
    before = await picture(store)
    await store.close()
    lose_power(data)
    disk.bad, disk.error = ".Archive", errno.EMFILE
    store = await opened(data, clock, fs=disk)
    with pytest.raises(StorageError):
        await store.account(MAIRIE)
    disk.bad = "nothing"
    assert await picture(store) == before
    await store.close()


@pytest.mark.faults
@pytest.mark.parametrize("how", HOWS)
async def test_h109_a_rebuild_beside_a_folder_that_cannot_be_read_forgets_nothing_of_it(
    data: Path, clock: ManualClock, how: str
) -> None:
    """Cause: the new index did not have it, so that programs took it for deleted, and flags that were not in file names
    yet were lost."""
    disk = Disk()
    store = await opened(data, clock, fs=disk)
    account = await store.account(MAIRIE)
    await account.create("Cadastre")
    for ref, place in ((MAIRIE, "Cadastre"), (MAIRIE, "INBOX"), (VOISIN, "INBOX")):
        await deliver(store, ref, 1, Placement(place))
    await store.flush()
    await (await account.mailbox("Cadastre")).store_flags([(1, 1)], add=Flag.FLAGGED)
    before = await picture(store)
    disk.bad, disk.how = ".Cadastre", how
    with pytest.raises(StorageError) as told:
        await store.rebuild(None)
    assert told.value.public.partition(": [Errno")[0] == (
        "maire@mairie.test: folder Cadastre cannot be read (Input/output error); the index stays as it is until it can"
    )
    assert "Cadastre" in {item.name for item in await account.folders()}
    assert not list((data / "domains").rglob("tmp/*"))
    disk.bad = "nothing"
    clock.advance(6.0)
    assert await store.rebuild(None) == 3
    assert await picture(store) == before
    assert await store.verify(None) == []
    await store.close()
