"""A store copied while it serves, brought back older or newer than what mail programs know (security.md row 167)."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import MailError
from store import sidefile
from store.backup import MODSEQS_AHEAD, UIDS_AHEAD, Backup, Copied
from store.fsops import FileSystem
from store.service import MaildirStore
from store.types import Flag, Placement
from tests.fakes.mail import content, mail
from tests.fakes.odd_disk import Disk
from tests.store.helpers import MAIRIE, VOISIN, all_rows, cur, deliver, inbox_of, read
from tests.store.picture import opened


def back_up(data: Path, target: Path, fs: FileSystem | None = None) -> Copied:
    target.mkdir(exist_ok=True)
    fs = fs or FileSystem()
    source, copy = fs.open_root(str(data)), fs.open_root(str(target))
    try:
        return Backup(fs, source, copy).run()
    finally:
        fs.close(source)
        fs.close(copy)


async def _fill(store: MaildirStore) -> None:
    account = await store.account(MAIRIE)
    await account.create("Été/Élus")
    words = tuple(f"mot{number}" for number in range(30))
    await account.append([(content(n), Placement("Été/Élus", Flag.SEEN, words)) for n in range(1, 5)])
    await (await account.mailbox("Été/Élus")).expunge([(2, 2)], only_deleted=False)
    await deliver(store, VOISIN, 9)


async def test_f167_a_copy_is_a_store_with_the_same_mail(
    store: MaildirStore, data: Path, clock: ManualClock, tmp_path: Path
) -> None:
    await _fill(store)
    folder = await inbox_of(store, MAIRIE, "Été/Élus")
    before = {row.uid: (row.flags, row.keywords, row.email_id, row.internal_date) for row in await all_rows(folder)}
    shown = (await folder.snapshot()).folder
    target = tmp_path / "copy"
    assert back_up(data, target) == Copied(accounts=2, messages=5, new=5)  # the expunged one's file is still there
    assert not [path for path in target.rglob("*") if "index" in path.name]
    restored = await opened(target, clock)
    again = await inbox_of(restored, MAIRIE, "Été/Élus")
    rows = await all_rows(again)
    assert {row.uid: (row.flags, row.keywords, row.email_id, row.internal_date) for row in rows} == before
    assert await read(again, 4) == mail(4)
    now = (await again.snapshot()).folder
    assert (now.id, now.uidvalidity) == (shown.id, shown.uidvalidity)
    assert now.uidnext >= shown.uidnext + UIDS_AHEAD
    assert now.highest_modseq >= shown.highest_modseq + MODSEQS_AHEAD
    await restored.rebuild(None)
    assert await restored.verify(None) == []
    await restored.close()


async def test_p4_no_uid_given_after_the_backup_is_given_again(
    store: MaildirStore, data: Path, clock: ManualClock, tmp_path: Path
) -> None:
    await _fill(store)
    back_up(data, tmp_path / "copy")
    later = await deliver(store, VOISIN, 10)
    restored = await opened(tmp_path / "copy", clock)
    inbox = await inbox_of(restored, VOISIN)
    fresh = await deliver(restored, VOISIN, 11)
    assert fresh.uid > later.uid
    changes = await inbox.changes(later.modseq, later.uid + 1)
    assert (changes.vanished, [row.uid for row in changes.messages]) == ((later.uid,), [1, fresh.uid])
    await restored.close()


async def test_a_second_run_copies_what_is_new_and_follows_what_changed(
    store: MaildirStore, data: Path, clock: ManualClock, tmp_path: Path
) -> None:
    await _fill(store)
    target = tmp_path / "copy"
    await store.flush()
    assert back_up(data, target).new == 4
    assert back_up(data, target).new == 0
    folder = await inbox_of(store, MAIRIE, "Été/Élus")
    await folder.store_flags([(1, 1)], add=Flag.FLAGGED)
    await folder.expunge([(3, 3)], only_deleted=False)
    await folder.move([(4, 4)], "Archive")
    account = await store.account(MAIRIE)
    await account.rename("Été", "Hiver")
    await account.create("Vide")
    await account.delete("Vide")
    await store.remove_account(VOISIN)
    await store.flush()
    done = back_up(data, target)
    assert done.messages == 3  # with the one in the recycle bin
    assert not (target / "domains/mairie.test/secretariat").exists()
    restored = await opened(target, clock)
    assert [(row.uid, row.flags) for row in await all_rows(await inbox_of(restored, MAIRIE, "Hiver/Élus"))] == [
        (1, Flag.SEEN | Flag.FLAGGED)
    ]
    assert len(await all_rows(await inbox_of(restored, MAIRIE, "Archive"))) == 1
    items = [(item.address, item.folder, item.messages) for item in await restored.administration.recycled()]
    assert sorted(items) == [("maire@mairie.test", "Vide", 0), ("secretariat@mairie.test", "", 1)]
    await restored.flush()
    assert await restored.verify(None) == []
    await restored.close()


async def test_f167_a_copy_taken_under_load_is_whole(store: MaildirStore, data: Path, clock: ManualClock) -> None:
    """Messages travel between folders while they are copied: none is missed, none is there twice."""
    memory = data.parent
    account = await store.account(MAIRIE)
    await account.append([(content(number), Placement()) for number in range(40)])
    stop = asyncio.Event()

    async def travel() -> None:
        places = ["INBOX", "Archive", "Sent", "Drafts"]
        step = 0
        while not stop.is_set():
            source, target = places[step % 4], places[(step + 1 + step // 4) % 4]
            if source != target:
                await (await account.mailbox(source)).move([(1, 0xFFFFFFFF)], target)
            step += 1
            await asyncio.sleep(0)

    busy = asyncio.create_task(travel())
    for number in range(3):
        await asyncio.to_thread(back_up, data, memory / "copy")
        shutil.copytree(memory / "copy", memory / f"restored{number}", copy_function=shutil.copy2)
    stop.set()
    await busy
    for number in range(3):
        restored = await opened(memory / f"restored{number}", clock)
        found = []
        for folder in await (await restored.account(MAIRIE)).folders():
            mailbox = await inbox_of(restored, MAIRIE, folder.name)
            found += [await read(mailbox, row.uid) for row in await all_rows(mailbox)]
        assert sorted(found) == sorted(mail(n) for n in range(40))
        await restored.flush()
        assert await restored.verify(None) == []
        await restored.close()


async def test_f147_a_run_that_was_cut_off_is_finished_by_the_next(
    store: MaildirStore, data: Path, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _fill(store)
    await store.flush()
    copies = 0

    def cut(self: FileSystem, *arguments: int) -> None:
        nonlocal copies
        copies += 1
        if copies == 3:
            raise OSError(28, "No space left on device")
        whole(self, *arguments)

    whole = FileSystem.copy_range
    monkeypatch.setattr(FileSystem, "copy_range", cut)
    with pytest.raises(OSError, match="space"):
        back_up(data, tmp_path / "copy")
    back_up(data, tmp_path / "copy")
    restored = await opened(tmp_path / "copy", clock)
    assert await restored.rebuild(None) == 4
    assert await restored.verify(None) == []
    assert not list((tmp_path / "copy").rglob("cur/.*"))
    await restored.close()


async def test_a_copy_by_other_tools_goes_on_with_new_numbers(
    store: MaildirStore, data: Path, clock: ManualClock, tmp_path: Path
) -> None:
    await _fill(store)
    await store.flush()
    shutil.copytree(data, tmp_path / "copy", ignore=shutil.ignore_patterns("run", "beffroi.lock"))
    (tmp_path / "copy/run").mkdir()
    later = await deliver(store, VOISIN, 10)
    restored = await opened(tmp_path / "copy", clock)
    assert await restored.administration.raise_numbers(None) == (2, [])
    assert (await deliver(restored, VOISIN, 11)).uid > later.uid + 1000
    await restored.flush()
    assert await restored.verify(None) == []
    await restored.close()


async def test_h109_links_are_not_copied(store: MaildirStore, data: Path, tmp_path: Path) -> None:
    await deliver(store, VOISIN, 1)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (cur(data, VOISIN)[0].parent / "1.M2.x:2,").symlink_to(secret)
    (data / "domains/mairie.test/lien").symlink_to(tmp_path)
    assert back_up(data, tmp_path / "copy").new == 1
    assert not [path for path in (tmp_path / "copy").rglob("*") if path.is_symlink() or path.name == "secret"]
    with pytest.raises(MailError):
        await store.administration.restore_copy(MAIRIE, tmp_path / "copy")


async def test_an_account_that_fails_keeps_no_other_from_its_new_numbers(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _fill(store)
    last = await deliver(store, VOISIN, 10)
    await (await store.account(MAIRIE)).usage()
    real = sidefile.write_folder

    def failing(fs: FileSystem, directory: int, file: sidefile.FolderFile) -> None:
        if "/maire" in os.readlink(f"/proc/self/fd/{directory}"):
            raise OSError(5, "Input/output error")
        real(fs, directory, file)

    with monkeypatch.context() as disk:
        disk.setattr(sidefile, "write_folder", failing)
        told = await store.administration.raise_numbers(None)
    assert told == (1, ["maire@mairie.test: storage failed: [Errno 5] Input/output error"])
    assert (await deliver(store, VOISIN, 11)).uid > last.uid + 1000
    assert await store.verify(None) == []


class _Bad(Disk):
    """Directories, too, whose names are `directory` cannot be opened."""

    directory = "nothing"

    def open_directory(self, parent: int, name: str) -> int:
        if name == self.directory:
            raise OSError(self.error, os.strerror(self.error))
        return super().open_directory(parent, name)

    def copy_range(self, source: int, start: int, size: int, target: int, offset: int) -> None:
        self._refuse(source, start + size)
        super().copy_range(source, start, size, target, offset)


def _files(target: Path) -> set[str]:
    return {str(path.relative_to(target)) for path in (target / "domains").rglob("*") if path.parent.name == "cur"}


@pytest.mark.parametrize("at_open", [True, False], ids=["opening it", "reading it"])
async def test_f151_a_message_that_cannot_be_read_is_named_and_all_others_are_copied(
    store: MaildirStore, data: Path, tmp_path: Path, at_open: bool
) -> None:
    await _fill(store)
    odd = sorted(path.name for path in (data / "domains").rglob("cur/*"))[1]
    fs = _Bad()
    fs.part, fs.at_open = odd, at_open
    done = back_up(data, tmp_path / "copy", fs)
    [(path, cause)] = done.left_out.items()
    assert (data / path).name == odd
    assert cause == os.strerror(errno.EIO)
    assert (done.accounts, done.messages, done.new) == (2, 4, 4)
    assert _files(tmp_path / "copy") == _files(data) - {path}
    assert back_up(data, tmp_path / "copy").left_out == {}  # once the disk gives it again
    assert _files(tmp_path / "copy") == _files(data)


@pytest.mark.parametrize(
    "directory", ["", "cur", MAIRIE.local, MAIRIE.domain], ids=["a folder", "every cur", "an account", "a domain"]
)
async def test_f151_what_an_earlier_run_copied_of_what_cannot_be_read_stays(
    store: MaildirStore, data: Path, tmp_path: Path, directory: str
) -> None:
    await _fill(store)
    await store.flush()
    target = tmp_path / "copy"
    back_up(data, target)
    before = _files(target)
    fs = _Bad()
    fs.directory = directory or next(path.parent.name for path in (data / "domains").rglob(".*/cur"))
    done = back_up(data, target, fs)
    assert done.left_out
    assert set(done.left_out.values()) == {os.strerror(errno.EIO)}
    assert all((data / path).is_dir() for path in done.left_out)
    assert _files(target) == before
    assert back_up(data, target).left_out == {}


@pytest.mark.parametrize("inbox", [True, False], ids=["INBOX", "another folder"])
async def test_f151_a_folder_that_lost_its_cur_is_named_and_keeps_what_an_earlier_run_copied(
    store: MaildirStore, data: Path, clock: ManualClock, tmp_path: Path, inbox: bool
) -> None:
    """Cause: nobody was told; without INBOX's the account's own file was missing from a first copy, and of any other
    folder the earlier copy was removed."""
    await _fill(store)
    await deliver(store, MAIRIE, 7)
    await store.flush()
    root = data / f"domains/{MAIRIE.domain}/{MAIRIE.local}"
    folder = root if inbox else next(path.parent for path in root.glob(".*/cur") if any(path.iterdir()))
    kept = tmp_path / "kept"
    back_up(data, kept)
    before = _files(kept)
    shutil.rmtree(folder / "cur")
    where = str(folder.relative_to(data))
    for target in (kept, tmp_path / "first"):
        done = back_up(data, target)
        assert done.left_out == {where: "it has no cur/"}
        assert done.accounts == 2
        assert (target / f"domains/{MAIRIE.domain}/{MAIRIE.local}/beffroi-account").exists()
    assert _files(kept) == before
    (data / "domains" / MAIRIE.domain / "notes").mkdir()
    assert back_up(data, kept).left_out == {where: "it has no cur/"}
    again = await opened(kept, clock)
    assert len(await all_rows(await inbox_of(again, MAIRIE))) == 1
    await again.close()


async def test_f151_past_a_bound_what_is_left_out_is_named_in_the_log_alone(
    store: MaildirStore, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _fill(store)
    fs = _Bad()
    fs.part, fs.at_open = ",S=", True
    for bound, more in ((5, False), (4, True)):
        monkeypatch.setattr("store.backup.NAMED", bound)
        done = back_up(data, tmp_path / f"copy{bound}", fs)
        assert (len(done.left_out), done.more_left_out) == (bound, more)


async def test_f154_without_descriptors_a_backup_ends_and_drops_nothing(
    store: MaildirStore, data: Path, tmp_path: Path
) -> None:
    await _fill(store)
    target = tmp_path / "copy"
    back_up(data, target)
    before = _files(target)
    fs = _Bad()
    fs.directory, fs.error = MAIRIE.local, errno.EMFILE
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        back_up(data, target, fs)
    assert _files(target) == before
