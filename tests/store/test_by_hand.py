"""Hands in the files, and the operator's `store rebuild` and `store verify`: contents never mix, UIDs never return."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.clock import ManualClock
from store import journal
from store.service import MaildirStore
from store.types import AccountRef, Uid
from tests.fakes.mail import mail
from tests.store.helpers import AUTRE, MAIRIE, VOISIN, all_rows, by_hand, cur, deliver, inbox_of, read
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


async def test_verify_tells_what_is_wrong(data: Path, clock: ManualClock) -> None:
    store = await opened(data, clock)
    await fill(store)
    await store.flush()
    cur = data / "domains/mairie.test/maire/cur"
    first, second, third = sorted(cur.iterdir(), key=lambda path: int(path.name.split("U=")[1].split(",")[0]))
    first.unlink()
    second.write_bytes(b"x")
    (cur / "odd").mkdir()
    faults = await store.verify("mairie.test")
    assert any("UID 1 has no file" in line for line in faults)
    assert any("UID 2: file has 1 octets" in line for line in faults)
    assert any("'odd' is not in the index" in line for line in faults)
    assert third.exists()
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
