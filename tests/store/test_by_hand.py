"""Hands in the files, and the operator's `store rebuild` and `store verify`: contents never mix, UIDs never return."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from core.clock import ManualClock
from store import journal
from store.fsops import FileSystem
from store.layout import UID_BLOCK
from store.service import MaildirStore
from store.types import AccountRef, Uid
from tests.fakes.mail import mail
from tests.store.helpers import AUTRE, MAIRIE, VOISIN, all_rows, by_hand, cur, deliver, inbox_of, looks_counted, read
from tests.store.picture import delete, fill, opened, picture


async def test_rebuild_and_verify_as_the_operator_runs_them(data: Path, clock: ManualClock) -> None:
    store = await opened(data, clock)
    await fill(store)
    await deliver(store, AUTRE, 1)
    before = await picture(store)
    assert await store.verify(None) == []
    assert await store.rebuild("autre.test") == 1
    assert await store.rebuild(None) == 9
    assert await picture(store) == before
    assert await store.verify(None) == []
    await store.close()
    delete(data)
    store = await opened(data, clock)
    assert await store.verify("autre.test") == ["maire@autre.test: index is missing"]
    await store.close()


async def test_a_rebuild_tells_how_many_messages_it_has_read_while_it_reads(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cause: of one large mailbox it told "0 of 1 accounts" for minutes."""
    monkeypatch.setattr("store.beside.TOGETHER", 2)
    store = await opened(data, clock)
    for ref, count in ((MAIRIE, 5), (VOISIN, 3)):
        for number in range(count):
            await deliver(store, ref, number)
    told: list[tuple[int, int, int]] = []
    assert await store.rebuild(None, lambda *figures: told.append(figures)) == 8
    assert told[0] == (0, 2, 0)
    assert [messages for *_, messages in told] == sorted(messages for *_, messages in told)
    assert told[-1][2] == 8
    assert any(0 < messages < 8 for done, _, messages in told if done < 2)
    await store.close()


async def test_verify_tells_what_is_wrong(data: Path, clock: ManualClock) -> None:
    store = await opened(data, clock)
    await fill(store)
    await store.flush()
    cur = data / "domains/mairie.test/maire/cur"
    first, second, third = sorted(cur.iterdir(), key=lambda path: int(path.name.split("U=")[1].split(",")[0]))
    first.unlink()
    second.write_bytes(b"x")
    (cur / "odd").mkdir()
    (cur / "neuf").write_bytes(mail(9))
    faults = await store.verify("mairie.test")
    assert any("UID 1 has no file" in line for line in faults)
    assert any("UID 2: file has 1 octets" in line for line in faults)
    left = "; it is left alone, and no client sees it"
    assert f"maire@mairie.test INBOX: file 'cur/odd' is a directory{left}: take it away" in faults
    assert "maire@mairie.test INBOX: file 'neuf' is not in the index" in faults
    assert third.exists()
    await store.close()


def planted(data: Path, tmp_path: Path) -> set[str]:
    """Files that can be no messages, in both places; the lines that tell of them."""
    root = data / "domains/mairie.test/maire"
    (tmp_path / "autre").write_bytes(mail(8))
    for where in ("cur", "new"):
        (root / where / "lien").symlink_to(tmp_path / "autre")
        (root / where / "vide").touch()
        (root / where / "autrui").write_bytes(mail(8))
        os.chown(root / where / "autrui", 12345, -1)
    why = (
        (
            "autrui",
            f"belongs to user number 12345, not {os.geteuid()}",
            "give it to the suite's user (chown), or take it away",
        ),
        ("lien", "is a symbolic link", "take it away"),
        ("vide", "is empty", "take it away"),
    )
    left = "; it is left alone, and no client sees it"
    return {
        f"maire@mairie.test INBOX: file '{where}/{name}' {told}{left}: {remedy}"
        for where in ("cur", "new")
        for name, told, remedy in why
    }


@pytest.mark.faults
async def test_h109_verify_and_rebuild_say_why_a_file_is_left_alone(
    data: Path, clock: ManualClock, tmp_path: Path
) -> None:
    store = await opened(data, clock)
    await fill(store)
    lines = planted(data, tmp_path)
    assert set(await store.verify("mairie.test")) == lines
    await store.rebuild(None)
    assert set(await store.administration.left_alone(None)) == lines
    await store.close()


@pytest.mark.faults
async def test_h109_a_message_of_another_owner_is_told_by_its_uid(data: Path, clock: ManualClock) -> None:
    store = await opened(data, clock)
    await fill(store)
    await store.flush()
    first = min((data / "domains/mairie.test/maire/cur").iterdir())
    os.chown(first, 12345, -1)
    (line,) = await store.verify("mairie.test")
    assert line.startswith("maire@mairie.test INBOX: UID ")
    assert line.endswith(f"file {first.name!r} belongs to user number 12345, not {os.geteuid()}")
    await store.close()


@pytest.mark.faults
async def test_h110_what_is_left_alone_is_logged_once_with_its_name(
    data: Path, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, str]] = []
    monkeypatch.setattr("store.handle.log.warning", lambda event, **fields: told.append({"event": event, **fields}))
    store = await opened(data, clock)
    await fill(store)
    planted(data, tmp_path)
    inbox = await inbox_of(store)
    for _ in range(3):
        await inbox.snapshot()
    names = ("autrui", "lien", "vide")
    assert sorted(item["file"] for item in told) == [f"{where}/{name}" for where in ("cur", "new") for name in names]
    assert {item["reason"] for item in told} >= {"is a symbolic link", "is empty"}
    assert {(item["event"], item["account"]) for item in told} == {("store-odd-file", MAIRIE.id)}
    await store.close()


@pytest.mark.parametrize("text", [None, '{"id":'])
async def test_verify_tells_a_lost_side_file_from_a_lost_folder(
    data: Path, clock: ManualClock, text: str | None
) -> None:
    store = await opened(data, clock)
    await fill(store)
    await store.flush()
    root = data / "domains/mairie.test/maire"
    (root / ".Sent/beffroi-folder").unlink()
    if text is not None:
        (root / ".Sent/beffroi-folder").write_text(text)
    (root / ".Trash").rename(data / "elsewhere")
    faults = await store.verify("mairie.test")
    told = "maire@mairie.test: folder 'Sent': beffroi-folder is missing or damaged in its directory '.Sent'"
    assert told in faults
    assert "maire@mairie.test: folder 'Trash' has no directory" in faults
    await store.rebuild(None)
    assert await store.verify(None) == []
    await store.close()


async def test_h110_files_changed_by_hand_heal_without_mixing_contents(store: MaildirStore, data: Path) -> None:
    for number in range(1, 7):
        await deliver(store, MAIRIE, number)
    inbox = await inbox_of(store)
    snapshot = await inbox.snapshot()
    cur = data / "domains/mairie.test/maire/cur"
    files = {int(path.name.split("U=")[1].split(",")[0]): path for path in cur.iterdir()}
    files[1].unlink()
    files[2].rename(files[2].with_name(files[2].name + "PQz"))  # letters we do not know, a keyword nobody named
    shutil.copy(files[3], cur / files[3].name.replace("Ma", "Mb"))  # two files claim UID 3
    files[4].rename(cur / "sans-lettres")
    (cur / ("x" * 255)).write_bytes(mail(90))
    (cur / "1.vide.hote:2,S").write_bytes(b"")
    with (cur / "1.creux.hote:2,S").open("wb") as file:
        file.truncate(3_000_000_000)
    by_hand(cur)
    assert (await inbox.snapshot()).messages == 7
    rows = await all_rows(inbox)
    assert [row.uid for row in rows][:4] == [2, 3, 5, 6]
    for row in rows[4:]:
        assert row.uid > 6
    bodies = sorted([await read(inbox, row.uid) for row in rows])
    assert bodies == sorted([mail(2), mail(3), mail(3), mail(4), mail(5), mail(6), mail(90)])
    changes = await inbox.changes(snapshot.modseq, snapshot.uidnext)
    assert set(changes.vanished) == {1, 4}


async def test_a_foreign_file_that_is_put_back_by_hand_is_a_message_again(store: MaildirStore, data: Path) -> None:
    """Cause: a snapshot made of hard links brings back the same inode, name, size and time, which were taken for an
    adoption that had been cut off: the file went, and no message came."""
    new = data / "domains/mairie.test/maire/new"
    inbox = await inbox_of(store)
    (new / "1.hote").write_bytes(mail(1))
    (data / "kept").hardlink_to(new / "1.hote")
    assert (await inbox.snapshot()).messages == 1
    await inbox.expunge([(1, 1)], only_deleted=False)
    await store.flush()
    (new / "1.hote").hardlink_to(data / "kept")
    assert (await inbox.snapshot()).messages == 1
    assert await read(inbox, 2) == mail(1)
    assert not list(new.iterdir())


async def test_an_expunged_uid_never_comes_back(store: MaildirStore, data: Path, tmp_path: Path) -> None:
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    (path,) = (data / "domains/mairie.test/maire/cur").iterdir()
    shutil.copy2(path, tmp_path / "kept")
    await inbox.expunge([(1, 1)], only_deleted=False)
    await store.flush()
    shutil.copy2(tmp_path / "kept", path)  # somebody restores the old file by hand
    by_hand(path.parent)
    await inbox.snapshot()
    await store.flush()
    assert Uid(1) not in {row.uid for row in await all_rows(inbox)}


async def test_an_expunged_uid_never_comes_back_even_when_the_journal_forgot_it(
    data: Path, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "COMPACT_AT", 1)
    store = await opened(data, clock)
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    (path,) = cur(data, MAIRIE)
    shutil.copy2(path, tmp_path / "kept")
    await inbox.expunge([(1, 1)], only_deleted=False)
    await store.flush()
    assert (data / "domains/mairie.test/maire" / journal.JOURNAL).stat().st_size == 0
    await store.close()
    shutil.copy2(tmp_path / "kept", path)
    (data / "domains/mairie.test/maire/beffroi.lock").unlink()
    store = await opened(data, clock)
    assert [row.uid for row in await all_rows(await inbox_of(store))] == [2]  # the same octets, as a new message
    await store.close()


async def test_refs_without_an_organisation_in_common_do_not_meet(store: MaildirStore) -> None:
    same_local = AccountRef("acc4", "org2", "autre.test", "maire")
    await deliver(store, MAIRIE, 1)
    assert await (await store.account(same_local)).usage() == (0, 0)


@pytest.mark.parametrize("text", [None, '{"id":'])
async def test_verify_tells_of_mail_whose_account_nobody_can_name_and_looks_at_the_others(
    data: Path, clock: ManualClock, text: str | None
) -> None:
    store = MaildirStore(data, clock=clock)
    await store.open()
    for ref in (MAIRIE, VOISIN):
        await deliver(store, ref, 1)
    await store.close()
    side_file = data / "domains/mairie.test/maire/beffroi-account"
    side_file.unlink()
    if text is not None:
        side_file.write_text(text)
    cut = data / "domains/mairie.test/secretariat/cur"
    cut.rename(cut.with_name("elsewhere"))
    store = MaildirStore(data, clock=clock)
    await store.open()
    faults = await store.verify(None)
    told = "mairie.test/maire: beffroi-account is missing or damaged, or the directory is a symbolic link"
    assert faults[0] == told
    assert [fault for fault in faults[1:] if not fault.startswith("secretariat@mairie.test")] == []
    assert len(faults) > 1
    await deliver(store, MAIRIE, 2)  # the account's owner makes it again
    assert (await store.verify(None))[0] != told
    await store.close()


class Closed(FileSystem):
    """Another user's directory, to one who is not root."""

    name = ""

    def open_directory(self, parent: int, name: str) -> int:
        if name == self.name:
            raise PermissionError(13, "Permission denied", name)
        return super().open_directory(parent, name)

    def exists(self, directory: int, name: str) -> bool:
        if name.split("/")[0] == self.name:
            raise PermissionError(13, "Permission denied", name)
        return super().exists(directory, name)


@pytest.mark.parametrize(("closed", "told"), [("maire", "mairie.test/maire"), ("mairie.test", "mairie.test")])
async def test_verify_names_what_another_user_owns_and_looks_at_the_others(data: Path, closed: str, told: str) -> None:
    disk = Closed()
    store = MaildirStore(data, fs=disk)
    await store.open()
    for ref in (MAIRIE, AUTRE):
        await deliver(store, ref, 1)
    await store.close()
    disk.name = closed
    (data / "domains/autre.test/maire").rename(data / "domains/autre.test/agent")
    (data / "domains/autre.test/agent/index.db").unlink()
    store = MaildirStore(data, fs=disk)
    await store.open()
    faults = await store.verify(None)
    assert faults == [f"{told}: Permission denied; its mail serves nobody", "agent@autre.test: index is missing"]
    await store.close()


def plant(data: Path, uid: int) -> None:
    """A copy of the first message's file whose name tells another UID."""
    first = min(cur(data, MAIRIE), key=lambda path: int(path.name.split("U=")[1].split(",")[0]))
    shutil.copy(first, first.with_name(first.name.replace(",U=1,", f",U={uid},").replace(".M", ".Mx")))
    by_hand(first.parent)


@pytest.mark.parametrize(("uid", "given"), [(2**32 - 1, 4), (2**31, 4), (2**31 - 1, 2**31 - 1)])
@pytest.mark.parametrize("lost", ["nothing", "index", "rebuilt"])
async def test_h109_a_planted_file_takes_no_uids_from_the_messages_to_come(
    data: Path, clock: ManualClock, uid: int, given: int, lost: str
) -> None:
    store = await opened(data, clock)
    await fill(store)
    await store.close()
    plant(data, uid)
    if lost == "index":
        delete(data)
    store = await opened(data, clock)
    if lost == "rebuilt":
        await store.rebuild(None)
    inbox = await inbox_of(store)
    await inbox.snapshot()
    assert [message.uid for message in await all_rows(inbox)] == [1, 2, 3, given]
    uid = (await deliver(store, MAIRIE, 9)).uid
    # A rebuild makes sure of the number with the old index first; the new one begins where that one's floor was.
    assert given < uid <= given + 1 + (UID_BLOCK if lost == "rebuilt" else 0)
    assert await store.verify("mairie.test") == []
    await store.close()


async def test_h109_uids_past_the_half_are_believed_where_the_side_file_tells_of_them(
    data: Path, clock: ManualClock
) -> None:
    """A backup's side files tell more than was given: so may years of them."""
    store = await opened(data, clock)
    await fill(store)
    await store.close()
    file = data / "domains/mairie.test/maire/beffroi-folder"
    told = json.loads(file.read_text())
    file.write_text(json.dumps(told | {"uid_floor": 3 * 2**30}))
    plant(data, 3 * 2**30 - 1)
    delete(data)
    store = await opened(data, clock)
    inbox = await inbox_of(store)
    await inbox.snapshot()
    assert [message.uid for message in await all_rows(inbox)] == [1, 2, 3, 3 * 2**30 - 1]
    await store.close()


async def test_h109_verify_and_the_log_tell_of_a_uid_that_no_folder_gave(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("store.handle.log.warning", lambda event, **_: told.append(event))
    store = await opened(data, clock)
    await fill(store)
    await store.flush()
    plant(data, 2**32 - 1)
    (line,) = await store.verify("mairie.test")
    assert line.endswith("; the folder never gave UID 4294967295, the message gets the next one")
    inbox = await inbox_of(store)
    for _ in range(3):
        await inbox.snapshot()
    assert told == ["store-odd-uid"]
    await store.close()


@pytest.mark.faults
@pytest.mark.parametrize("killed", [False, True], ids=["a clean stop", "a kill"])
@pytest.mark.parametrize("others", [False, True], ids=["nobody else", "another process delivers meanwhile"])
async def test_h110_what_is_given_to_us_while_we_are_stopped_is_found_at_the_next_look(
    data: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, killed: bool, others: bool
) -> None:
    """Cause: giving it changes no time of cur/, and only memory knew that something was left alone there."""
    store = await opened(data, clock, boot="here")
    await deliver(store, MAIRIE, 1)
    file = data / "domains/mairie.test/maire/cur/1.hote:2,S"
    file.write_bytes(mail(8))
    os.chown(file, 12345, -1)
    by_hand(file.parent)
    assert (await (await inbox_of(store)).snapshot()).messages == 1
    if not killed:
        await store.close()
    if others:
        other = await opened(data, clock, boot="here")
        await deliver(other, MAIRIE, 2)
        await other.close()
    looks = looks_counted(monkeypatch)
    again = await opened(data, clock, boot="here")
    for _ in range(3):
        assert (await (await inbox_of(again)).snapshot()).messages == 1 + others
    assert len(looks) == 1
    await again.close()
    os.chown(file, os.geteuid(), -1)
    again = await opened(data, clock, boot="here")
    for _ in range(3):
        assert (await (await inbox_of(again)).snapshot()).messages == 2 + others
    assert len(looks) == 2
    assert await again.verify(None) == []
    await again.close()
    if killed:
        assert (await (await inbox_of(store)).snapshot()).messages == 2 + others
        await store.close()
