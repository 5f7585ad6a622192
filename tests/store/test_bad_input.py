"""What a disk may hold that we did not put there, names at their limits, a disk that became read-only."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from core.clock import ManualClock
from core.errors import InvalidError, MailError, NotFoundError, StorageError
from store.fsops import FileSystem
from store.service import MaildirStore, initialise
from store.types import Flag, Placement
from tests.fakes.mail import content, mail
from tests.store.helpers import MAIRIE, VOISIN, all_rows, by_hand, cur, deliver, inbox_of, read

LONGEST = (
    "x" * 255,
    "é" * 127,
    "文" * 85,
    "/".join(["Élus et séances du conseil municipal " + "e" * 20] * 8),
    "." * 3 + "caché",
    "cur",
    "index.db-wal",
    "%2E%2E",
    "e\u0301te\u0301",
)


async def test_h097_names_at_their_limits_live_on_disk_and_come_back(data: Path, clock: ManualClock) -> None:
    store = MaildirStore(data, clock=clock)
    await store.open()
    account = await store.account(MAIRIE)
    made = {}
    for number, name in enumerate(LONGEST):
        made[(await account.create(name)).name] = number
        await account.append([(content(number), Placement(name))])
    assert "été" in made
    await store.close()
    root = data / "domains/mairie.test/maire"
    for path in root.iterdir():
        assert len(os.fsencode(path.name)) <= 255
        assert path.name.isascii()
    for path in root.glob("*index*"):
        path.unlink()
    again = MaildirStore(data, clock=clock)
    await again.open()
    for name, number in made.items():
        assert await read(await inbox_of(again, name=name), 1) == mail(number)
    assert await again.verify(None) == []
    await again.close()


@pytest.mark.parametrize(
    "name", ["a\0b", "../../x", "a//b", "..", "a/\x1b[2J", "x" * 1001, "/".join("abcdefghijklmnopqrstuv")]
)
async def test_h097_names_out_of_bounds_change_nothing(store: MaildirStore, data: Path, name: str) -> None:
    account = await store.account(MAIRIE)
    before = sorted(path.name for path in (data / "domains/mairie.test/maire").iterdir())
    for step in (account.create(name), account.rename("Sent", name), account.append([(content(1), Placement(name))])):
        with pytest.raises(InvalidError):
            await step
    with pytest.raises(NotFoundError):
        await account.mailbox(name)
    assert sorted(path.name for path in (data / "domains/mairie.test/maire").iterdir()) == before


async def test_h110_whatever_is_planted_in_new_harms_nobody(store: MaildirStore, data: Path, tmp_path: Path) -> None:
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    root = data / "domains/mairie.test/maire"
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (root / "new/lien").symlink_to(secret)
    (root / "new/dossier").mkdir()
    os.mkfifo(root / "new/tube")
    (root / "new/vide").touch()
    (root / "new" / os.fsdecode(b"latin-\xe9t\xe9:2,S")).write_bytes(b"Subject: a\n\nb\n")
    (root / "new/1700000000.M1P1.autre:2,FS").write_bytes(mail(2))
    (root / "new/énorme").write_bytes(b"")
    os.truncate(root / "new/énorme", 9 * 60 << 20)  # sparse: more than any message we would take
    by_hand(root / "new")
    await inbox.snapshot()
    rows = await all_rows(inbox)
    assert sorted([await read(inbox, row.uid) for row in rows]) == sorted(
        [mail(1), mail(2), b"Subject: a\r\n\r\nb\r\n"]
    )
    assert {path.name for path in (root / "new").iterdir()} == {"lien", "dossier", "tube", "vide", "énorme"}
    assert secret.read_bytes() == b"secret"
    assert await store.rebuild(None) == 3


async def test_h109_a_fifo_in_place_of_a_message_holds_nobody_up(store: MaildirStore, data: Path) -> None:
    await deliver(store, MAIRIE, 1)
    (path,) = cur(data, MAIRIE)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(MailError):
        await read(await inbox_of(store), 1)


async def test_h110_folders_that_nobody_can_name_are_left_alone(store: MaildirStore, data: Path) -> None:
    await deliver(store, MAIRIE, 1)
    root = data / "domains/mairie.test/maire"
    for name in (b".latin-\xe9", b".a..b", b".", b".\x1b[2J"):
        if name != b".":
            (root / os.fsdecode(name) / "cur").mkdir(parents=True)
    await store.rebuild(None)
    names = {folder.name for folder in await (await store.account(MAIRIE)).folders()}
    assert names == {"INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"}


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m,mode=0700", "tmpfs", str(mount)], check=True)
    try:
        initialise(mount / "data")
        yield mount / "data"
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def remount(data: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(data.parent)], check=True)


@pytest.mark.faults
async def test_f170_a_store_on_a_read_only_disk_is_refused(mounted: Path) -> None:
    remount(mounted, "ro")
    store = MaildirStore(mounted)
    with pytest.raises(StorageError) as refused:
        await store.open()
    assert "usable store" in refused.value.public
    await store.close()


class ReadOnly(FileSystem):
    """A disk that the kernel made read-only after an error (`errors=remount-ro`): every change is EROFS. A real
    remount is refused while the store holds files open for writing."""

    now = False

    def _refuse(self) -> None:
        if self.now:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def create(self, directory: int, name: str) -> int:
        self._refuse()
        return super().create(directory, name)

    def nameless(self, directory: int) -> int | None:
        self._refuse()
        return super().nameless(directory)

    def write(self, fd: int, data: bytes, offset: int) -> None:
        self._refuse()
        super().write(fd, data, offset)

    def rename(self, source: int, name: str, target: int, new: str) -> None:
        self._refuse()
        super().rename(source, name, target, new)

    def link(self, source: int, name: str, target: int, new: str) -> None:
        self._refuse()
        super().link(source, name, target, new)

    def unlink(self, directory: int, name: str) -> None:
        self._refuse()
        super().unlink(directory, name)

    def make_directory(self, parent: int, name: str) -> None:
        self._refuse()
        super().make_directory(parent, name)


async def test_f170_a_disk_that_stays_read_only_is_told_once_and_so_is_its_return(data: Path) -> None:
    disk = ReadOnly()
    store = MaildirStore(data, fs=disk)
    await store.open()
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    await inbox.store_flags([(1, 1)], add=Flag.SEEN)
    accounts = store._open_accounts
    with capture_logs() as logs:
        disk.now = True
        for _ in range(3):
            await accounts.flusher.flush_all()
        disk.now = False
        await store.flush()
    told = [(entry["event"], entry["account"]) for entry in logs if entry["event"].startswith("store-flush")]
    assert told == [("store-flush-failed", MAIRIE.id), ("store-flush-recovered", MAIRIE.id)]
    await store.close()


async def test_f170_a_word_that_cannot_be_written_is_told_once_for_each_reason(data: Path) -> None:
    class Wordless(FileSystem):
        why = 0

        def write(self, fd: int, data: bytes, offset: int) -> None:
            if self.why and b" idle" in data[:80]:
                why, self.why = self.why, 0
                raise OSError(why, os.strerror(why))
            super().write(fd, data, offset)

    disk = Wordless()
    store = MaildirStore(data, fs=disk)
    await store.open()
    for ref in (MAIRIE, VOISIN):
        await deliver(store, ref, 1)
    with capture_logs() as logs:
        for number, why in enumerate((errno.EIO, errno.EIO, errno.ENOSPC, errno.EIO, errno.ENOSPC), 2):
            disk.why = why
            await deliver(store, MAIRIE, number)
            await deliver(store, MAIRIE, 10 + number)  # which looks where the other was
        disk.why = errno.ENOSPC
        await deliver(store, VOISIN, 2)
    told = [(entry["account"], entry["cause"][:10]) for entry in logs if entry["event"] == "store-word-failed"]
    assert told == [(MAIRIE.id, "[Errno 5] "), (MAIRIE.id, "[Errno 28]"), (VOISIN.id, "[Errno 28]")]
    await store.close()


async def test_a_store_of_another_owner_is_named_with_its_path(data: Path) -> None:
    os.chown(data / "domains", 65534, 65534)
    store = MaildirStore(data)
    with pytest.raises(StorageError) as refused:
        await store.open()
    assert (
        f"{data}/domains: run as the user to whom it belongs (it belongs to user number 65534" in refused.value.public
    )
    assert "init" not in refused.value.public
    await store.close()


async def test_f170_a_disk_that_became_read_only_is_still_read_and_recovers(data: Path) -> None:
    disk = ReadOnly()
    store = MaildirStore(data, fs=disk)
    await store.open()
    await deliver(store, MAIRIE, 1)
    await store.flush()
    account, inbox = await store.account(MAIRIE), await inbox_of(store)
    disk.now = True
    for step in (
        deliver(store, MAIRIE, 2),
        inbox.copy([(1, 1)], "Archive"),
        inbox.move([(1, 1)], "Archive"),
        inbox.expunge([(1, 1)], only_deleted=False),
        inbox.store_flags([(1, 1)], add=Flag.SEEN),
        account.create("A"),
        account.rename("Sent", "B"),
        account.delete("Junk"),
    ):
        with pytest.raises(StorageError):
            await step
    assert await read(inbox, 1) == mail(1)
    assert [row.flags for row in await all_rows(inbox)] == [Flag(0)]
    disk.now = False
    assert (await deliver(store, MAIRIE, 3)).uid > 1
    assert {folder.name for folder in await account.folders()} >= {"Sent", "Junk"}
    await store.flush()
    assert await store.verify(None) == []
    await store.close()
