"""What SELECT is told when somebody else is at a folder's files in that very moment."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from message.content import BytesContent
from store import catalog, odd, outside, records
from store.catalog import FolderRow
from store.handle import Handle
from store.index import Connection
from store.lockfile import State, Word
from store.service import MaildirStore
from store.transaction import Transaction
from store.types import Flag, Placement
from tests.fakes.mail import content, mail
from tests.store.helpers import MAIRIE, all_rows, by_hand, deliver, inbox_of, looks_counted, read


async def test_h110_a_file_put_there_once_the_folder_was_read_is_found_by_the_same_look(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    assert (await inbox.snapshot()).messages == 1
    cur = data / "domains/mairie.test/maire/cur"
    known = catalog.known

    def read_and_changed(db: Connection, folder_id: str) -> FolderRow:
        row = known(db, folder_id)
        (cur / "1.hote:2,S").write_bytes(mail(2))
        by_hand(cur)
        monkeypatch.setattr(catalog, "known", known)
        return row

    monkeypatch.setattr(catalog, "known", read_and_changed)
    snapshot = await inbox.snapshot(take_recent=True)
    assert (snapshot.messages, snapshot.uidnext, snapshot.recent) == (2, 3, 2)
    assert await read(inbox, 2) == mail(2)


async def test_a_mail_that_comes_once_the_folder_was_read_is_not_looked_for_in_its_files(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer at work has changed the files, and will say so when it commits: nobody waits for it."""
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    before = entry.handle.lock.read()
    row = catalog.by_name(entry.handle.reader, "INBOX")
    assert before is not None
    assert row is not None

    def refused(*_: object) -> None:
        raise AssertionError("it was looked for")

    monkeypatch.setattr(outside, "examine", refused)
    changed = outside._changed
    monkeypatch.setattr(outside, "_changed", lambda *given: changed(*given) + 1)
    entry.handle.lock.write(Word(before.boot, before.generation, State.BUSY, (str(row.number),)))
    snapshot = await inbox.snapshot()
    assert (snapshot.messages, snapshot.uidnext) == (1, 2)
    entry.handle.lock.write(before)
    with pytest.raises(AssertionError, match="looked for"):
        await inbox.snapshot()


async def test_a_folder_that_nobody_touched_is_looked_at_once(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    looks = list[FolderRow]()
    changed = outside._changed

    def counted(handle: Handle, row: FolderRow) -> int:
        looks.append(row)
        return changed(handle, row)

    monkeypatch.setattr(outside, "_changed", counted)
    assert (await inbox.snapshot(take_recent=True)).recent == 1
    assert (await inbox.snapshot(take_recent=True)).recent == 0
    assert len(looks) == 2


@pytest.mark.parametrize("act", ["deliver", "flags", "expunge", "append"])
async def test_h110_what_was_put_there_before_our_own_change_is_found_after_it(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """Cause: the time that our commit noted stood for both, and the file was found by a rebuild alone."""
    await deliver(store, MAIRIE, 1)
    await store.flush()
    inbox = await inbox_of(store)
    cur = data / "domains/mairie.test/maire/cur"
    (cur / "1.hote:2,S").write_bytes(mail(7))
    by_hand(cur)
    if act == "deliver":
        await deliver(store, MAIRIE, 2)
    elif act == "append":
        await (await store.account(MAIRIE)).append([(content(2), Placement("INBOX"))])
    elif act == "flags":
        await inbox.store_flags([(1, 1)], add=Flag.SEEN)
    else:
        await inbox.expunge([(1, 1)], only_deleted=False)
    await store.flush()
    assert (await inbox.snapshot()).messages == {"flags": 2, "expunge": 1}.get(act, 3)
    assert [row.email_id for row in await all_rows(inbox)].count(records.email_id(sha256(mail(7)).digest())) == 1
    await store.flush()
    looks = list[str]()
    monkeypatch.setattr(outside, "examine", lambda _, folder_id: looks.append(folder_id))
    await deliver(store, MAIRIE, 3)
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    assert not outside.suspicious(entry.handle, inbox.folder_id)
    await inbox.snapshot()
    assert not looks


async def test_what_is_taken_back_and_begun_again_in_a_thread_is_nobody_elses_change(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = list[str]()
    left = Transaction.left

    def noted(self: Transaction, *, whole: bool, again: bool) -> None:
        begun.extend(self._touched if again else ())
        left(self, whole=whole, again=again)

    monkeypatch.setattr(Transaction, "left", noted)
    for number, told in enumerate((9, 1, 2), 1):  # the last one's thread is the first one's: that is journalled
        octets = b"Message-ID: <%d@a.test>\r\nReferences: <%d@a.test>\r\n\r\n" % (number, told)
        async with await store.stage(b"", BytesContent(octets), first=MAIRIE) as staged:
            await staged.deliver(MAIRIE, Placement())
    assert begun
    inbox = await inbox_of(store)
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    assert not outside.suspicious(entry.handle, inbox.folder_id)


async def test_h110_a_new_that_was_taken_away_is_looked_for_once(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: each SELECT compared the whole folder with its files."""
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    (data / "domains/mairie.test/maire/new").rmdir()
    await inbox.snapshot()
    looks = list[str]()
    monkeypatch.setattr(outside, "examine", lambda _, folder_id: looks.append(folder_id))
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    assert not outside.suspicious(entry.handle, inbox.folder_id)
    assert (await inbox.snapshot()).messages == 1
    assert not looks


@pytest.mark.parametrize("kind", ["directory", "link"])
async def test_h110_what_is_left_alone_in_new_is_looked_at_once(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Cause: as long as it lay there each SELECT compared the whole folder with its files."""
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    new = data / "domains/mairie.test/maire/new"
    if kind == "directory":
        (new / "odd").mkdir()
    else:
        (new / "odd").symlink_to("/etc/hostname")
    for _ in range(3):
        await inbox.snapshot()
    looks = looks_counted(monkeypatch)
    assert (await inbox.snapshot()).messages == 1
    assert not looks
    (new / "1.hote").write_bytes(mail(5))
    by_hand(new)
    assert (await inbox.snapshot()).messages == 2
    assert looks


@pytest.mark.parametrize("kind", ["empty", "many", "permission"])
async def test_h110_what_was_left_alone_in_new_and_is_a_message_now_is_found(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Cause: a file that was looked at before its writer had filled it, or before it was given to us, changes no time
    of new/, and was not looked at again."""
    inbox = await inbox_of(store)
    new = data / "domains/mairie.test/maire/new"
    if kind == "many":
        monkeypatch.setattr(outside, "MOST_LEFT", 2)
        for number in range(3):
            (new / f"zz{number}").mkdir()
    octets = mail(5) if kind == "permission" else b""
    (new / "1.hote").write_bytes(octets)
    if kind == "permission":
        monkeypatch.setattr(odd, "stranger", lambda _status, _owner: "is another's")
    for _ in range(3):
        assert (await inbox.snapshot()).messages == 0
    time = new.stat().st_mtime_ns
    if kind == "permission":
        monkeypatch.undo()
        (new / "1.hote").chmod(0o600)
    else:
        (new / "1.hote").write_bytes(mail(5))
    assert new.stat().st_mtime_ns == time
    assert (await inbox.snapshot()).messages == 1


@pytest.mark.parametrize("name", ["1.hote", "1.hote:2,S", "ours"])
async def test_h110_what_root_put_into_cur_is_found_once_it_is_given_to_us(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Cause: giving it changes no time of cur/, and it was looked at before: it stayed invisible until a rebuild."""
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    folder = data / "domains/mairie.test/maire/cur"
    if name == "ours":  # from a copy of the mailbox
        (message,) = folder.iterdir()
        name = message.name.replace("U=1:", "U=7:").replace("U=1,", "U=7,")
    (folder / name).write_bytes(mail(1))
    by_hand(folder)
    stranger = odd.stranger
    monkeypatch.setattr(odd, "stranger", lambda status, owner: "is root's" if status.st_nlink == 1 else "")
    for _ in range(3):
        assert (await inbox.snapshot()).messages == 1
    await deliver(store, MAIRIE, 2)
    looks = looks_counted(monkeypatch)
    assert (await inbox.snapshot()).messages == 2
    assert not looks
    monkeypatch.setattr(odd, "stranger", stranger)
    time = folder.stat().st_mtime_ns
    (folder / name).chmod(0o640)  # as chown does, its time
    assert folder.stat().st_mtime_ns == time
    assert (await inbox.snapshot()).messages == 3
    assert looks


async def test_h110_a_new_that_stays_empty_is_read_once_and_again_when_it_changed(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    new = data / "domains/mairie.test/maire/new"
    entry = store._open_accounts.opened(MAIRIE)
    assert entry is not None
    reads = list[str]()
    names_below = entry.handle.fs.names_below

    def counted(parent: int, name: str) -> list[str]:
        reads.append(name)
        return names_below(parent, name)

    monkeypatch.setattr(entry.handle.fs, "names_below", counted)
    for _ in range(2):  # just made: a file that comes this moment may leave it the time it has
        await inbox.snapshot()
    assert reads == ["new", "new"]
    monkeypatch.setattr(outside, "SETTLED", -(10.0**10))
    for _ in range(3):
        await inbox.snapshot()
    assert reads == ["new"] * 3
    (new / "1.hote").write_bytes(mail(5))
    by_hand(new)
    assert (await inbox.snapshot()).messages == 2
    assert await read(inbox, 2) == mail(5)
