"""What the power loss proof found in the store, each as the smallest case that showed it.

A list that only grows: one case after the other, which share nothing but how a disk is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import random
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from core.clock import ManualClock
from core.errors import StorageError
from store import journal
from store.fsops import Call, FileSystem
from store.lockfile import LOCK_FILE, State, Word
from store.service import MaildirStore, initialise
from store.types import Flag, Placement
from tests.fakes.mail import content, mail
from tests.store.helpers import MAIRIE, all_rows, cur, deliver, fail_commits, inbox_of, read
from tests.torture.__main__ import room
from tests.torture.disk import Replay, apply, read_tree
from tests.torture.recorder import Fault, RecordingFileSystem, RecordingVfs, SyncEnd, Tape
from tests.torture.twice import First, interrupted
from tests.torture.workload import Delivery, account_path, small_blocks

pytestmark = pytest.mark.faults
ACCOUNT = account_path(MAIRIE)


class Recorded:
    """A store on a recorded disk, opened as often as needed."""

    def __init__(self, data: Path) -> None:
        initialise(data)
        self.data, self.tape, self.clock = data, Tape(), ManualClock()
        self.baseline, self.numbers = read_tree(data)
        self.fs = RecordingFileSystem(self.tape)

    async def opened(self, boot: str = "one") -> MaildirStore:
        store = MaildirStore(self.data, clock=self.clock, fs=self.fs, boot=boot)
        await store.open()
        return store

    def replay(self, until: int | None = None) -> Replay:
        """The disk in front of event `until`; at the end without one."""
        replay = Replay(self.baseline, self.numbers, self.tape.events)
        while replay.position < (len(self.tape.events) if until is None else until):
            replay.step()
        return replay

    def durable(self, path: str, until: int | None = None) -> bytes:
        """What a power loss leaves of an account's file."""
        disk = self.replay(until).durable
        number = disk.find(f"{ACCOUNT}/{path}")
        assert number is not None
        return disk.files[number].data


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    with room() as directory:
        yield Recorded(directory / "data")


@pytest.fixture
async def store(recorded: Recorded) -> AsyncIterator[MaildirStore]:
    with small_blocks():
        store = await recorded.opened()
        yield store
        await store.close()


async def test_f155_that_a_clean_stop_is_over_is_durable_before_anything_is_written(recorded: Recorded) -> None:
    """An index brought back from that stop would else be believed after a power loss."""
    store = await recorded.opened()
    await deliver(store, MAIRIE, 1)
    await store.close()
    word = Word.unpack(recorded.durable(LOCK_FILE))
    assert word is not None
    assert word.state is State.CLEAN
    store = await recorded.opened()
    await deliver(store, MAIRIE, 2)
    word = Word.unpack(recorded.durable(LOCK_FILE))
    assert word is not None
    assert word.state is not State.CLEAN
    await store.close()


async def test_f155_a_clean_stop_is_durably_over_when_an_index_had_to_be_made_again(recorded: Recorded) -> None:
    """The same where the index of that stop is gone when the account is opened: it may be what is brought back."""
    store = await recorded.opened()
    await store.account(MAIRIE)
    await store.close()
    for path in recorded.data.rglob("index*"):
        path.unlink()
    store = await recorded.opened()
    await deliver(store, MAIRIE, 1)
    word = Word.unpack(recorded.durable(LOCK_FILE))
    assert word is None or word.state is not State.CLEAN
    await store.close()


async def test_f155_files_unlinked_before_a_clean_stop_do_not_come_back(recorded: Recorded) -> None:
    store = await recorded.opened()
    await deliver(store, MAIRIE, 1)
    await (await inbox_of(store)).expunge(None, only_deleted=False)
    await store.flush()
    await store.close()
    disk = recorded.replay().durable
    directory = disk.find(f"{ACCOUNT}/cur")
    assert directory is not None
    assert disk.directories[directory] == {}


async def test_f155_what_a_recovery_swept_away_stays_away(recorded: Recorded) -> None:
    """After the clean stop that follows nobody looks again: a folder half made would lie there for `verify` to tell."""
    store = await recorded.opened()
    await deliver(store, MAIRIE, 1)
    root = recorded.fs.open_root(str(recorded.data / ACCOUNT))
    recorded.fs.make_directory(root, ".new.0123456789abcdefghjk")
    recorded.fs.sync(root)
    recorded.fs.close(root)
    again = await recorded.opened("two")  # the first one is gone with its machine
    await again.account(MAIRIE)
    assert not (recorded.data / ACCOUNT / ".new.0123456789abcdefghjk").exists()
    await again.close()
    assert recorded.replay().durable.find(f"{ACCOUNT}/.new.0123456789abcdefghjk") is None
    await store.close()


async def test_p4_the_floor_stays_above_every_modseq_told(recorded: Recorded, store: MaildirStore) -> None:
    """A power loss that takes flags makes the floor HIGHESTMODSEQ: it must be news to whoever knew the last one."""
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    for number in range(12):
        await inbox.store_flags([(1, 1)], add=Flag(number % 2), remove=Flag(1 - number % 2))
        floor = json.loads(recorded.durable("beffroi-folder"))["modseq_floor"]
        assert floor > (await inbox.snapshot()).modseq


async def test_p4_a_removal_is_durable_only_below_a_floor_that_tells_it(recorded: Recorded) -> None:
    """After a clean stop the floor is exact; the first expunge raises it before it writes the journal."""
    store = await recorded.opened()
    await deliver(store, MAIRIE, 1)
    await store.close()
    store = await recorded.opened()
    inbox = await inbox_of(store)
    known = (await inbox.snapshot()).modseq
    await inbox.expunge(None, only_deleted=False)
    events = enumerate(recorded.tape.events)
    written = [n for n, e in events if isinstance(e, Call) and e.name == "write" and e.path.endswith(journal.JOURNAL)]
    assert json.loads(recorded.durable("beffroi-folder", written[-1]))["modseq_floor"] > known
    await store.close()


async def test_f144_keywords_of_a_dead_writer_are_read_with_its_letters(recorded: Recorded) -> None:
    """A move killed before its commit: the target's side file has the keyword, its row in the index has not."""
    vfs = RecordingVfs(recorded.tape)
    store = await recorded.opened()
    account = await store.account(MAIRIE)
    await account.append([(content(1), Placement(keywords=("Urgent",)))])
    await account.create("D")
    begin = len(recorded.tape.events)
    await (await account.mailbox("INBOX")).move([(1, 1)], "D")
    events = recorded.tape.events[begin:]
    await store.close()
    vfs.unregister()
    places = [n for n, e in enumerate(events, begin) if isinstance(e, Call)]
    assert len(places) > 5
    for place in places:
        killed = recorded.data.with_name(f"killed{place}")
        recorded.replay(place).now.write_to(killed)
        later = MaildirStore(killed, clock=recorded.clock, boot="one")
        await later.open()
        rows = [row for name in ("INBOX", "D") for row in await all_rows(await inbox_of(later, name=name))]
        assert rows
        assert {row.keywords for row in rows} == {("Urgent",)}
        await later.close()


async def test_f159_a_removed_file_goes_under_the_name_it_has_not_the_one_an_old_row_tells(recorded: Recorded) -> None:
    store = await recorded.opened()
    await deliver(store, MAIRIE, 1)
    await store.close()
    index = recorded.data / ACCOUNT / "index.db"
    older = index.read_bytes()
    store = await recorded.opened()
    inbox = await inbox_of(store)
    await inbox.store_flags([(1, 1)], add=Flag.SEEN)
    await store.flush()
    await store.close()
    journal.append(FileSystem(), FileSystem().open_root(str(index.parent)), [journal.removal([1])])
    for name in ("index.db-wal", "index.db-shm"):
        index.with_name(name).unlink(missing_ok=True)
    index.write_bytes(older)
    store = await recorded.opened(boot="two")
    assert await all_rows(await inbox_of(store)) == []
    await store.flush()
    assert cur(recorded.data, MAIRIE) == []
    await store.close()


@pytest.mark.parametrize("fails", [False, True])
async def test_a_rename_of_long_named_folders_is_whole_or_nothing(recorded: Recorded, fails: bool) -> None:
    """Their names lie in side files, which change one after the other: the intent must be there before the first."""
    store = await recorded.opened()
    account = await store.account(MAIRIE)
    child = "y" * 60 + "/" + "z" * 60
    await account.create(f"{'x' * 190}/{child}")
    old = {folder.name for folder in await account.folders()}
    begin = len(recorded.tape.events)
    if fails:
        heal = fail_commits(store)
        with pytest.raises(StorageError):
            await account.rename("x" * 190, "w" * 190)
        heal()
    else:
        await account.rename("x" * 190, "w" * 190)
    new = {folder.name for folder in await account.folders()}
    assert (new == old) is fails
    await store.rebuild(None)
    assert {folder.name for folder in await account.folders()} == new
    events = recorded.tape.events
    places = [n for n in range(begin, len(events)) if isinstance(events[n], SyncEnd)]
    assert len(places) > 5
    if fails:  # and when the newest change alone was kept, while it is undone
        told = (n for n in range(begin, len(events)) if "beffroi-intent" in getattr(events[n], "target", ""))
        places = [n for n in range(next(told), len(events)) if isinstance(events[n], Call | SyncEnd)]
    for place in places if fails else places[::2]:
        lost = recorded.data.with_name(f"lost{place}")
        replay = recorded.replay(place)
        for _, change in replay.pending[-1:] if fails else ():
            apply(replay.durable, change)
        replay.durable.write_to(lost)
        later = MaildirStore(lost, clock=recorded.clock, boot="two")
        await later.open()
        names = {folder.name for folder in await (await later.account(MAIRIE)).folders()}
        assert names in (old, {name.replace("x" * 190, "w" * 190) for name in old})
        await later.close()
    await store.close()


LAST = "key = (SELECT max(key) FROM messages)"
DAMAGES = {
    "one table lacks a row": [f"DELETE FROM summaries WHERE {LAST}"],
    "tables tell of different messages": [
        *(f"DELETE FROM {table} WHERE NOT {LAST}" for table in ("summaries", "heads", "sorting")),
        f"DELETE FROM messages WHERE {LAST}",
    ],
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_f157_an_index_that_contradicts_itself_is_made_again_after_a_power_loss(
    recorded: Recorded, damage: str
) -> None:
    store = await recorded.opened()
    for number in (1, 2):
        await deliver(store, MAIRIE, number)
    await store.flush()
    (path,) = recorded.data.rglob("index.db")
    db = apsw.Connection(str(path))
    for statement in DAMAGES[damage]:
        db.execute(statement)
    db.close()
    later = await recorded.opened(boot="two")
    inbox = await inbox_of(later)
    assert [row.uid for row in await all_rows(inbox)] == [1, 2]
    assert all(row.envelope for row in await all_rows(inbox))
    assert await read(inbox, 2) == mail(2)
    assert await later.verify(None) == []
    await later.close()
    await store.close()


async def test_f144_f155_what_a_killed_delivery_linked_is_durable_before_it_is_acknowledged_again(
    recorded: Recorded,
) -> None:
    """Killed between link and sync; told again, recognised and acknowledged; then the power goes."""
    store = await recorded.opened()
    await deliver(store, MAIRIE, 1)
    begin = len(recorded.tape.events)
    again = Delivery(MAIRIE, "q2", mail(2))
    await deliver(store, MAIRIE, 2, Placement(delivery_id=again.delivery_id))
    events = enumerate(recorded.tape.events[begin:], begin)
    linked = next(n for n, event in events if isinstance(event, Call) and event.name == "link")
    await store.close()
    killed = recorded.replay(linked + 1)
    killed.now.write_to(recorded.data.with_name("killed"))
    pending = [change for _, change in killed.pending]
    first = First(recorded.data.with_name("killed"), killed.now, killed.durable, pending, "one", recorded.clock.now())
    between = await interrupted(first, MAIRIE, [again], Last())
    assert between.acked == [again]
    later = MaildirStore(first.data, clock=recorded.clock, boot="two")
    await later.open()
    assert [await read(await inbox_of(later), uid) for uid in (1, 2)] == [mail(1), mail(2)]
    await later.close()


class Last(random.Random):
    """The last place, and nothing survives."""

    def choice(self, seq: Any) -> Any:
        return "nothing" if "nothing" in seq else seq[-1]


async def test_f144_f155_an_account_whose_maker_was_killed_is_durable_before_mail_is(recorded: Recorded) -> None:
    """Killed in front of each sync of names while it made the domain and the account; the next one delivers."""
    store = await recorded.opened()
    await store.account(MAIRIE)
    await store.close()
    places = [n for n, event in enumerate(recorded.tape.events) if isinstance(event, SyncEnd)][:40]
    for place in places:
        killed = recorded.replay(place)
        data = recorded.data.with_name(f"killed{place}")
        killed.now.write_to(data)
        pending = [change for _, change in killed.pending]
        first = First(data, killed.now, killed.durable, pending, "one", recorded.clock.now())
        again = Delivery(MAIRIE, "q1", mail(1))
        between = await interrupted(first, MAIRIE, [again], Last())
        later = MaildirStore(data, clock=recorded.clock, boot="two")
        await later.open()
        assert between.acked == [again]
        assert await read(await inbox_of(later), 1) == mail(1)
        await later.close()


@pytest.mark.parametrize("together", [1, 3])
async def test_f149_f155_what_a_refusal_took_back_does_not_come_back(recorded: Recorded, together: int) -> None:
    """Linked and synced before the commit failed: the unlinking is synced, too, before the refusal."""
    store = await recorded.opened()
    await deliver(store, MAIRIE, 1)
    heal = fail_commits(store)
    outcomes = await asyncio.gather(*(deliver(store, MAIRIE, 2 + n) for n in range(together)), return_exceptions=True)
    assert all(isinstance(outcome, StorageError) for outcome in outcomes)
    lost = recorded.data.with_name("lost")
    recorded.replay().durable.write_to(lost)
    later = MaildirStore(lost, clock=recorded.clock, boot="two")
    await later.open()
    inbox = await inbox_of(later)
    assert [await read(inbox, row.uid) for row in await all_rows(inbox)] == [mail(1)]
    await later.close()
    heal()
    await store.close()


async def test_f149_f155_a_refused_append_whose_batch_went_on_does_not_come_back(recorded: Recorded) -> None:
    """The second link of a command fails: its first is taken back, what else is in the batch stays."""
    store = await recorded.opened()
    account = await store.account(MAIRIE)
    await account.append([(content(1), Placement())])
    begin = len(recorded.tape.events)
    recorded.tape.fault = Fault(errno.ENOSPC, ("link", "link_open"), 2)
    with pytest.raises(StorageError):
        await account.append([(content(2), Placement()), (content(3), Placement())])
    events = recorded.tape.events[begin:]
    assert [event.name for event in events if isinstance(event, Call) and event.name in ("link", "unlink")] == [
        "link",
        "unlink",
    ]
    replay = recorded.replay()
    assert not [change for _, change in replay.pending if ",U=" in change.name]
    await store.close()


async def test_f149_keywords_of_a_refused_message_are_told_back(recorded: Recorded) -> None:
    """The side file knew them, the index did not: `store verify` complained."""
    store = await recorded.opened()
    account = await store.account(MAIRIE)
    await account.append([(content(1), Placement(keywords=("Urgent",)))])
    recorded.tape.fault = Fault(errno.ENOSPC, ("link", "link_open"), 1)
    with pytest.raises(StorageError):
        await account.append([(content(2), Placement(keywords=("Nouveau",)))])
    assert await store.verify(None) == []
    await account.append([(content(3), Placement(keywords=("Autre",)))])
    assert [row.keywords for row in await all_rows(await inbox_of(store))] == [("Urgent",), ("Autre",)]
    await store.rebuild(None)
    assert [row.keywords for row in await all_rows(await inbox_of(store))] == [("Urgent",), ("Autre",)]
    await store.close()


async def test_f149_f155_a_refused_folder_does_not_come_back(recorded: Recorded) -> None:
    store = await recorded.opened()
    account = await store.account(MAIRIE)
    before = {folder.name for folder in await account.folders()}
    heal = fail_commits(store)
    with pytest.raises(StorageError):
        await account.create("Refusé")
    lost = recorded.data.with_name("lost")
    recorded.replay().durable.write_to(lost)
    later = MaildirStore(lost, clock=recorded.clock, boot="two")
    await later.open()
    assert {folder.name for folder in await (await later.account(MAIRIE)).folders()} == before
    await later.close()
    heal()
    await store.close()


async def test_f149_a_refused_deletion_lists_no_subscription(recorded: Recorded) -> None:
    """It wrote the name beside those without a folder first: then it was told twice, and could not be given up."""
    store = await recorded.opened()
    account = await store.account(MAIRIE)
    before = sorted(await account.subscriptions())
    heal = fail_commits(store)
    with pytest.raises(StorageError):
        await account.delete("Drafts")
    heal()
    assert sorted(await account.subscriptions()) == before
    await account.subscribe("Drafts", False)
    assert "Drafts" not in await account.subscriptions()
    await store.close()


async def test_f144_a_deletion_that_was_cut_off_leaves_a_subscription_that_can_be_given_up(recorded: Recorded) -> None:
    """Killed when the name was listed, and the folder not yet in the bin."""
    store = await recorded.opened()
    account = await store.account(MAIRIE)
    begin = len(recorded.tape.events)
    await account.delete("Drafts")
    events = enumerate(recorded.tape.events[begin:], begin)
    moved = next(n for n, event in events if isinstance(event, Call) and "/folder." in event.target)
    await store.close()
    killed = recorded.data.with_name("killed")
    recorded.replay(moved).now.write_to(killed)
    later = MaildirStore(killed, clock=recorded.clock, boot="one")
    await later.open()
    account = await later.account(MAIRIE)
    assert list(await account.subscriptions()).count("Drafts") == 1
    await account.subscribe("Drafts", False)
    assert "Drafts" not in await account.subscriptions()
    await later.close()


@pytest.mark.parametrize("lost_index", [False, True])
async def test_f152_f155_that_a_clean_stop_is_over_is_told_again_where_its_sync_failed(
    recorded: Recorded, lost_index: bool
) -> None:
    store = await recorded.opened()
    await deliver(store, MAIRIE, 1)
    await store.close()
    for path in recorded.data.rglob("index*") if lost_index else ():
        path.unlink()
    store = await recorded.opened()
    recorded.tape.fault = Fault(errno.EIO, ("sync",), 1)
    with pytest.raises(StorageError):
        await (await inbox_of(store)).store_flags([(1, 1)], add=Flag.SEEN)
    await (await inbox_of(store)).store_flags([(1, 1)], add=Flag.SEEN)
    word = Word.unpack(recorded.durable(LOCK_FILE))
    assert word is not None
    assert word.state is not State.CLEAN
    await store.close()


FLOORS = ("uid_floor", "modseq_floor")


async def test_f152_f155_floors_whose_sync_failed_are_not_believed(recorded: Recorded) -> None:
    """The next one found them in the side file, where no sync had covered them, and believed them durable."""
    with small_blocks():
        store = await recorded.opened()
        for number in (1, 2, 3, 4):
            await deliver(store, MAIRIE, number)
        for at in range(1, 6):
            recorded.tape.fault = Fault(errno.EIO, ("sync",), at)
            with contextlib.suppress(StorageError):
                await (await store.account(MAIRIE)).append([(content(5), Placement("Archive"))])
            recorded.tape.fault = None
            told = json.loads((recorded.data / ACCOUNT / ".Archive/beffroi-folder").read_bytes())
            durable = json.loads(recorded.durable(".Archive/beffroi-folder"))
            assert [told[name] for name in FLOORS] == [durable[name] for name in FLOORS]  # a rebuild would tell them
            (made,) = await (await store.account(MAIRIE)).append([(content(6), Placement("Archive"))])
            told = json.loads(recorded.durable(".Archive/beffroi-folder"))
            assert told["uid_floor"] > made.uid
            assert told["modseq_floor"] > made.modseq
        await store.close()


async def test_f149_f155_a_folder_whose_making_is_undone_is_there_whole_or_not_at_all(recorded: Recorded) -> None:
    """Power lost at every event of the undo, what came last kept, or all but that."""
    store = await recorded.opened()
    account = await store.account(MAIRIE)
    before = {folder.name for folder in await account.folders()}
    heal = fail_commits(store)
    begin = len(recorded.tape.events)
    with pytest.raises(StorageError):
        await account.create("A/b")
    heal()
    await store.close()
    changes = [n for n in range(begin, len(recorded.tape.events)) if isinstance(recorded.tape.events[n], Call)]
    for place in changes:
        replay = recorded.replay(place)
        pending = [change for _, change in replay.pending]
        for kept in (pending[-3:], pending):
            disk = replay.durable.copy()
            for change in kept:
                apply(disk, change)
            lost = recorded.data.with_name(f"lost{place}-{len(kept)}")
            disk.write_to(lost)
            later = MaildirStore(lost, clock=recorded.clock, boot="two")
            await later.open()
            names = {folder.name for folder in await (await later.account(MAIRIE)).folders()}
            assert names - before <= {"A", "A/b"}
            for name in names:
                await (await later.account(MAIRIE)).append([(content(1), Placement(name))])
            assert [line for line in await later.verify(None) if "index is missing" not in line] == []
            await later.close()


async def test_f155_two_messages_under_one_uid_stay_two_however_often_recovery_is_cut_off(recorded: Recorded) -> None:
    """The second gets its new UID by a rename: copied, it was there once more after each power loss."""
    store = await recorded.opened()
    again = Delivery(MAIRIE, "q2", mail(2))
    await deliver(store, MAIRIE, 1)
    await deliver(store, MAIRIE, 2, Placement(delivery_id=again.delivery_id))
    await store.flush()
    (second,) = (path for path in cur(recorded.data, MAIRIE) if ",U=2," in path.name)
    second.rename(second.with_name(second.name.replace("U=2,", "U=1,")))
    state, _ = read_tree(recorded.data)
    await store.close()
    for number in range(1, 200, 5):
        data = recorded.data.with_name(f"lost{number}")
        state.write_to(data)
        lost = First(data, state, state, [], "two", recorded.clock.now())
        between = await interrupted(lost, MAIRIE, [again], Place(number))
        later = MaildirStore(data, clock=recorded.clock, boot="three")
        await later.open()
        inbox = await inbox_of(later)
        assert sorted([await read(inbox, row.uid) for row in await all_rows(inbox)]) == [mail(1), mail(2)]
        await later.close()
        if between.position < number:
            break
    assert number > 20


class Place(random.Random):
    """The n-th place, or the last, and everything survives there."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def choice(self, seq: Any) -> Any:
        return "everything" if "everything" in seq else seq[min(self.number, len(seq) - 1)]


@pytest.mark.parametrize("index", ["kept", "lost"])
async def test_f144_f155_floors_of_a_killed_writer_are_durable_before_they_are_believed(
    recorded: Recorded, index: str
) -> None:
    """Killed between the rename of a side file and its sync, before anything said "busy"; the next one delivers by the
    floors that it finds there, and the power goes."""
    with small_blocks():
        vfs = RecordingVfs(recorded.tape)
        store = await recorded.opened()
        for number in range(1, 11):
            await deliver(store, MAIRIE, number)
        renamed = [
            n
            for n, event in enumerate(recorded.tape.events)
            if isinstance(event, Call)
            and event.name == "rename"
            and event.path.endswith(f"{ACCOUNT}/.beffroi-folder.new")
        ]
        await store.close()
        vfs.unregister()
        assert len(renamed) > 2  # the first makes the account
        for place in renamed[1:3]:
            killed = recorded.replay(place + 1)
            if index == "lost":
                names = killed.now.directories[killed.now.find(ACCOUNT) or 0]
                for name in [name for name in names if name.startswith("index.db")]:
                    del names[name]
            data = recorded.data.with_name(f"killed{place}")
            killed.now.write_to(data)
            found = json.loads((data / ACCOUNT / "beffroi-folder").read_bytes())
            pending = [change for _, change in killed.pending]
            again = Delivery(MAIRIE, "again", mail(11))
            left = dict.fromkeys(FLOORS, 0)
            for back in range(1, 100):  # the earliest place where they were believed: no clean stop has begun there
                first = First(data, killed.now, killed.durable, pending, "one", recorded.clock.now())
                between = await interrupted(first, MAIRIE, [again], Before(back))
                if not (between.told if index == "lost" else between.acked):
                    break
                left = json.loads((data / ACCOUNT / "beffroi-folder").read_bytes())
                shutil.rmtree(data)
                killed.now.write_to(data)
            assert [left[name] >= found[name] for name in FLOORS] == [True, True]
            shutil.rmtree(data)


class Before(random.Random):
    """So many places before the end, and nothing survives."""

    def __init__(self, back: int) -> None:
        super().__init__(0)
        self._back = back

    def choice(self, seq: Any) -> Any:
        return "nothing" if "nothing" in seq else seq[-self._back]
