"""What the disk does not give is left out by name, and everything else is done: new numbers after a restore, mail
brought back, `store verify`."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

import apsw
import pytest

from core.clock import ManualClock
from core.errors import NotFoundError, StorageError
from store import recycle, restore, verify
from store.handle import Handle
from store.misplaced import Misplaced
from store.types import AccountRef, Flag, Placement, Recycled
from tests.fakes.mail import content, mail
from tests.fakes.odd_disk import Disk as OddFiles
from tests.store.helpers import MAIRIE, VOISIN, all_rows, cur, deliver, inbox_of
from tests.store.picture import numbers, opened
from tests.store.test_unopened import HOWS, Disk

EIO = os.strerror(errno.EIO)
GREFFE = AccountRef("acc7", "org1", "greffe.test", "greffe")


@pytest.mark.faults
@pytest.mark.parametrize("how", HOWS)
async def test_f167_a_folder_that_cannot_be_read_is_named_and_all_others_get_new_numbers(
    data: Path, clock: ManualClock, how: str
) -> None:
    """Cause: it was passed by without a word, and gave UIDs again that mail programs knew."""
    disk = Disk()
    store = await opened(data, clock, fs=disk)
    await (await store.account(MAIRIE)).create("Cadastre")
    for place in ("INBOX", "Cadastre"):
        await deliver(store, MAIRIE, 1, Placement(place))
    await deliver(store, VOISIN, 2)
    await store.flush()
    before = {item.name: item for item in await (await store.account(MAIRIE)).folders()}
    disk.bad, disk.how = ".Cadastre", how
    done, told = await store.administration.raise_numbers(None)
    line = f"maire@mairie.test Cadastre: the folder cannot be read: {EIO}"
    assert (done, told) == (2, [] if how == "list" else [line])  # whose files alone cannot be told has new numbers
    assert (await deliver(store, MAIRIE, 3)).uid > before["INBOX"].uidnext + 1000
    assert (await deliver(store, VOISIN, 3)).uid > 1000
    disk.bad = "nothing"
    clock.advance(6.0)
    assert await store.administration.raise_numbers(None) == (2, [])
    given = (await numbers(store))[before["Cadastre"].id]
    assert given[0] > before["Cadastre"].uidnext + 1000
    assert (await deliver(store, MAIRIE, 4, Placement("Cadastre"))).uid >= given[0]
    assert await store.verify(None) == []
    await store.close()


@pytest.mark.faults
@pytest.mark.parametrize("error", [errno.EIO, errno.EACCES])
@pytest.mark.parametrize(("bad", "named"), [("greffe.test", "greffe.test"), ("greffe", "greffe.test/greffe")])
async def test_f151_a_domain_or_an_account_that_cannot_be_read_is_named_and_the_others_are_done(
    data: Path, clock: ManualClock, bad: str, named: str, error: int
) -> None:
    """Cause: `verify` told "storage failed" and nothing else; new numbers, and an account to be removed, were passed
    by."""
    disk = Disk()
    store = await opened(data, clock, fs=disk)
    for ref in (MAIRIE, GREFFE):
        await deliver(store, ref, 1)
    await store.close()
    store = await opened(data, clock, fs=disk)
    disk.bad, disk.error = bad, error
    line = f"{named}: {os.strerror(error)}; its mail serves nobody"
    assert await store.verify(None) == [line]
    assert await store.administration.raise_numbers(None) == (1, [line])
    assert (await deliver(store, MAIRIE, 2)).uid > 1000
    with pytest.raises(StorageError):
        await store.remove_account(GREFFE)
    disk.bad = "nothing"
    assert await store.verify(None) == []
    await store.remove_account(GREFFE)
    assert [item.messages for item in await store.administration.recycled("org1")] == [1]
    await store.close()


@pytest.mark.faults
@pytest.mark.parametrize("at_open", [True, False], ids=["opening it", "reading it"])
@pytest.mark.parametrize("copy", [True, False], ids=["from a copy", "from the bin"])
async def test_f151_a_message_that_cannot_be_read_is_named_and_all_others_come_back(
    data: Path, clock: ManualClock, tmp_path: Path, at_open: bool, copy: bool
) -> None:
    """Cause: one that could not be opened was missing without a word; one that could not be read ended the run, each
    time at the same place."""
    disk = OddFiles()
    store = await opened(data, clock, fs=disk)
    account = await store.account(MAIRIE)
    await account.create("Urbanisme")
    await account.append([(content(number), Placement("Urbanisme", Flag.SEEN)) for number in (1, 2, 3)])
    await store.flush()
    odd = cur(data, MAIRIE, ".Urbanisme")[1].name
    shutil.copytree(data, tmp_path / "copy", ignore=shutil.ignore_patterns("*index*", "run"))
    await account.delete("Urbanisme")
    items = await store.administration.recycled()
    disk.part, disk.at_open = odd, at_open
    if copy:
        done = await store.administration.restore_copy(MAIRIE, tmp_path / "copy")
    else:
        done = await store.administration.restore(MAIRIE, items)
    assert done.left_out == (f"Urbanisme: file {odd!r}: {EIO}",)
    assert done.messages == 2
    rows = await all_rows(await inbox_of(store, MAIRIE, f"{done.folder}/Urbanisme"))
    assert [(row.size, row.flags) for row in rows] == [(len(mail(n)), Flag.SEEN) for n in (1, 3)]
    disk.part = "nothing"
    again = await store.administration.restore_copy(MAIRIE, tmp_path / "copy", "Urbanisme")
    assert (again.messages, again.left_out) == (3, ())
    assert await store.verify(None) == []
    await store.close()


@pytest.mark.faults
async def test_f151_a_message_of_the_bin_cut_short_is_named(data: Path, clock: ManualClock) -> None:
    store = await opened(data, clock)
    account = await store.account(MAIRIE)
    await account.create("A")
    await account.append([(content(number), Placement("A")) for number in (1, 2)])
    await account.delete("A")
    (item,) = await store.administration.recycled()
    first, _ = sorted((data / "recycle" / item.id / "cur").iterdir())
    os.truncate(first, 10)
    done = await store.administration.restore(MAIRIE, [item])
    size = len(mail(1))
    assert (done.messages, done.left_out) == (
        1,
        (f"A: file {first.name!r}: it has 10 octets, and {size} by its name",),
    )
    await store.close()


@pytest.mark.faults
async def test_f151_our_own_disk_that_fails_is_told_as_such(
    data: Path, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy can be read: nothing of it is said to be lost."""
    disk = Disk()
    store = await opened(data, clock, fs=disk)
    await deliver(store, MAIRIE, 1)
    await store.flush()
    shutil.copytree(data, tmp_path / "copy", ignore=shutil.ignore_patterns("*index*", "run"))

    def failing(fd: int, data: bytes, offset: int) -> None:
        raise OSError(errno.EIO, EIO)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write", failing)
        with pytest.raises(StorageError):
            await store.administration.restore_copy(MAIRIE, tmp_path / "copy")
    assert (await store.administration.restore_copy(MAIRIE, tmp_path / "copy")).messages == 1
    await store.close()


@pytest.mark.faults
@pytest.mark.parametrize("how", HOWS)
async def test_f151_a_folder_of_a_copy_that_cannot_be_read_is_named_and_all_others_come_back(
    data: Path, clock: ManualClock, tmp_path: Path, how: str
) -> None:
    disk = Disk()
    store = await opened(data, clock, fs=disk)
    account = await store.account(MAIRIE)
    for name in ("Urbanisme", "Voirie"):
        await account.create(name)
        await account.append([(content(1), Placement(name))])
    await store.flush()
    shutil.copytree(data, tmp_path / "copy", ignore=shutil.ignore_patterns("*index*", "run"))
    for name in ("Urbanisme", "Voirie"):
        await account.delete(name)
    disk.bad, disk.how = ".Urbanisme", how
    done = await store.administration.restore_copy(MAIRIE, tmp_path / "copy")
    assert (done.messages, done.left_out) == (1, (f"Urbanisme: {EIO}",))
    only = await store.administration.restore_copy(MAIRIE, tmp_path / "copy", "Urbanisme")
    assert (only.folder, only.messages, only.left_out) == ("", 0, (f"Urbanisme: {EIO}",))
    with pytest.raises(NotFoundError, match="no folder Voirie/Routes"):
        await store.administration.restore_copy(MAIRIE, tmp_path / "copy", "Voirie/Routes")
    await store.close()


@pytest.mark.faults
@pytest.mark.parametrize("how", HOWS)
async def test_f151_what_cannot_be_read_in_the_bin_is_there_all_the_same(
    data: Path, clock: ManualClock, how: str
) -> None:
    """Cause: it was not shown, as if it had never been removed."""
    disk = Disk()
    store = await opened(data, clock, fs=disk)
    account = await store.account(MAIRIE)
    for number, name in enumerate(("A", "B"), 1):
        await account.create(name)
        await account.append([(content(number), Placement(name))])
        await account.delete(name)
        clock.advance(60)
    before = list(await store.administration.recycled())
    disk.bad, disk.how = before[0].id.partition("/")[2], how
    shown = list(await store.administration.recycled())
    assert [item.id for item in shown] == [item.id for item in before]
    assert shown[1] == before[1]
    assert shown[0].folder in ("A", recycle.UNKNOWN)  # never a removed mailbox
    done = await store.administration.restore(MAIRIE, shown)
    assert done.messages == 1
    assert len(done.left_out) == 1
    assert done.left_out[0].endswith(EIO)
    disk.bad = "nothing"
    assert (await store.administration.restore(MAIRIE, [shown[0]])).messages == 1
    await store.close()


async def _restored(data: Path, clock: ManualClock, bad: int, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """What is told where so many of five messages cannot be read, and four may be named."""
    monkeypatch.setattr(restore, "NAMED", 4)
    disk = OddFiles()
    store = await opened(data, clock, fs=disk)
    account = await store.account(MAIRIE)
    await account.create("A")
    await account.append([(content(number), Placement("A")) for number in range(1, 6)])
    await account.delete("A")
    items: list[Recycled] = list(await store.administration.recycled())
    real = disk.open_to_read

    def open_to_read(directory: int, name: str) -> int:
        if ",U=" in name and int(name.partition(",U=")[2].partition(",")[0]) <= bad:
            raise OSError(errno.EIO, EIO)
        return real(directory, name)

    monkeypatch.setattr(disk, "open_to_read", open_to_read)
    done = await store.administration.restore(MAIRIE, items)
    assert done.messages == 5 - bad
    with contextlib.suppress(StorageError):
        await store.close()
    return done.left_out


async def test_past_a_bound_what_does_not_come_back_is_named_in_the_log_alone(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = await _restored(data, clock, 4, monkeypatch)
    assert len(told) == 4
    assert all(line.endswith(EIO) for line in told)


async def test_one_more_than_may_be_named_is_in_the_log(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = await _restored(data, clock, 5, monkeypatch)
    assert len(told) == 5
    assert told[-1] == "more, which the log names (store-not-restored)"


@pytest.mark.faults
async def test_f157_verify_tells_that_an_index_is_damaged_and_looks_at_the_others(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only looking at all of it tells. Cause: it was told as a storage that failed."""
    store = await opened(data, clock)
    for ref in (MAIRIE, VOISIN):
        await deliver(store, ref, 1)
    (cur(data, VOISIN)[0]).unlink()
    real = verify.verify_account

    def meeting_damage(handle: Handle, amiss: Misplaced) -> list[str]:
        if handle.ref.id == MAIRIE.id:
            raise apsw.CorruptError("database disk image is malformed")
        return real(handle, amiss)

    monkeypatch.setattr(verify, "verify_account", meeting_damage)
    assert await store.verify(None) == [
        "maire@mairie.test: index is damaged: database disk image is malformed",
        "secretariat@mairie.test INBOX: UID 1 has no file",
    ]
    await store.close()
