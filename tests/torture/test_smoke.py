"""A handful of what `make torture` does at length: kills, failing calls, many at once; exchanged indexes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from core.clock import ManualClock
from message.content import BytesContent
from store.service import MaildirStore, initialise
from store.types import Flag, Placement
from tests.torture import clients, crowd, failing, kills, sweep
from tests.torture.__main__ import room
from tests.torture.judge import Found, look
from tests.torture.load import mail
from tests.torture.workload import AUTRE, MAIRIE, VOISIN, WHOLE

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


@pytest.fixture
def directory() -> Iterator[Path]:
    with room() as directory:
        yield directory


def test_f144_a_kill_at_a_system_call_of_a_rename(directory: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:  # it forks, which threads forbid
        template = pool.submit(sweep.prepared, directory, ()).result()
        killed = pool.submit(kills.one_kill, template, directory, "rename", "renameat", 2).result()
    assert killed == []


@pytest.mark.parametrize("task", ["deliver", "replace", "give_back"])
def test_f144_f147_kills_at_some_calls_of_an_operation(directory: Path, task: str) -> None:
    swept = sweep.sweep(directory, [task], step=40, processes=1, tell=print)
    assert swept.violations == []
    assert swept.kills >= 2


def test_f145_a_few_kills_of_processes_at_work(directory: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        violations, told, count = pool.submit(kills.storm, directory, 1, 8).result()
    assert violations == []
    assert count == 8
    assert told.ok


@pytest.mark.parametrize(
    ("operation", "fault"), [("deliver", "ENOSPC"), ("move with a flush", "EIO"), ("create", "EMFILE")]
)
@pytest.mark.parametrize("lasting", [False, True])
async def test_f149_f151_f154_calls_that_fail(directory: Path, operation: str, fault: str, lasting: bool) -> None:
    violations, calls = await failing.every_call(directory, operation, fault, lasting=lasting, step=5)
    assert violations == []
    assert calls >= 2


def test_f164_many_write_and_read_one_mailbox(directory: Path) -> None:
    counted = crowd.crowd(directory, 2.0, processes=2, each=4)
    assert counted.violations == []
    assert counted.written > 0
    assert counted.looked > 0


def test_h104_imap_clients_at_one_mailbox_believe_what_is_true(directory: Path) -> None:
    counted = clients.torture(directory, 1, 4.0)
    assert counted.violations == []
    assert counted.rounds > 0


# -- indexes ---------------------------------------------------------------------------------------------------------


def _older(files: Path, kept: Path) -> None:
    _without(files, kept)
    shutil.copy(kept / "index.db", files / "index.db")


def _without(files: Path, _kept: Path) -> None:
    for path in files.glob("index*"):
        path.unlink()


def _foreign(files: Path, kept: Path) -> None:
    _without(files, kept)
    shutil.copy(files.parents[1] / "autre.test/maire/index.db", files / "index.db")


def _corrupt(files: Path, _kept: Path) -> None:
    data = bytearray((files / "index.db").read_bytes())
    for offset in range(4096, len(data), 4096):
        data[offset : offset + 32] = b"\xff" * 32
    (files / "index.db").write_bytes(data)


def _cut(files: Path, _kept: Path) -> None:
    data = (files / "index.db").read_bytes()
    (files / "index.db").write_bytes(data[: len(data) // 2])


def _foreign_wal(files: Path, _kept: Path) -> None:
    (files / "index.db-wal").write_bytes(b"\x37\x7f\x06\x82" + bytes(range(256)) * 64)


INDEXES: dict[str, Callable[[Path, Path], None]] = {
    "deleted": _without,
    "older": _older,
    "another account's": _foreign,
    "corrupt": _corrupt,
    "cut": _cut,
    "with a WAL of something else": _foreign_wal,
}


@pytest.mark.parametrize("damage", INDEXES)
@pytest.mark.parametrize("boot", ["same kernel", "after a power loss"])
async def test_f157_f159_a_client_notices_nothing_of_an_index_that_was_exchanged(
    directory: Path, damage: str, boot: str
) -> None:
    data, kept, clock = directory / "data", directory / "kept", ManualClock()
    kept.mkdir()
    initialise(data)
    files = data / "domains/mairie.test/maire"
    first = await _day(data, clock)
    shutil.copy(files / "index.db", kept / "index.db")
    before = await _day(data, clock)
    assert before != first
    INDEXES[damage](files, kept)
    store = MaildirStore(data, clock=clock, boot="two" if boot == "after a power loss" else "one")
    await store.open()
    account = await store.account(MAIRIE)
    assert _told(await look(account)) == _told(before)
    for folder in await account.folders():
        was = before.folders[folder.id]
        assert (folder.uidvalidity, folder.uidnext) >= (was.uidvalidity, was.uidnext)
        changes = await (await account.mailbox(folder.name)).changes(was.highest_modseq, was.uidnext)
        present = {uid for where, uid in before.mail if where == folder.id}
        assert not present & {int(uid) for uid in changes.vanished}
    assert await store.verify("mairie.test") == []
    await store.close()


def _told(found: Found) -> object:
    """What a client has: all but counters that may have risen."""
    folders = {folder._replace(uidnext=0, highest_modseq=0) for folder in found.folders.values()}
    return folders, found.mail, found.subscriptions


async def _day(data: Path, clock: ManualClock) -> Found:
    """Some mail, flags and a move, cleanly stopped; what a client saw at the end."""
    store = MaildirStore(data, clock=clock, boot="one")
    await store.open()
    clock.advance(100)
    for ref in (MAIRIE, VOISIN, AUTRE):
        account = await store.account(ref)
        for number in range(3):
            placement = Placement(keywords=("Urgent",), internal_date=1_600_000_000 + number)
            await account.append([(BytesContent(mail(f"{clock.now()}.{number}")), placement)])
        inbox = await account.mailbox("INBOX")
        await inbox.store_flags(WHOLE, add=Flag.SEEN, add_keywords=("A-classer",))
        await inbox.move([(1, 1)], "Archive")
    found = await look(await store.account(MAIRIE))
    await store.close()
    return found
