"""What others plant in the tree, and a directory that is not ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import StorageError
from store.service import MaildirStore, initialise
from store.types import AccountRef, Placement, Uid
from tests.fakes.mail import content, mail
from tests.store.helpers import AUTRE, MAIRIE, all_rows, by_hand, deliver, inbox_of, read

LONG = 100_000  # octets: past what is written without tmp/


async def test_h109_a_link_in_place_of_a_message_is_never_followed(store: MaildirStore, data: Path) -> None:
    secret = data / "secret"
    secret.write_bytes(b"secret")
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    (path,) = (data / "domains/mairie.test/maire/cur").iterdir()
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(StorageError):
        await inbox.open(Uid(1))
    new = data / "domains/mairie.test/maire/new"
    (new / "1.lien.hote").symlink_to(secret)
    by_hand(path.parent)
    await inbox.snapshot()
    assert b"secret" not in [await read(inbox, row.uid) for row in await all_rows(inbox) if row.uid > 1]
    assert secret.read_bytes() == b"secret"


@pytest.mark.parametrize("planted", ["cur", "new", "tmp"])
async def test_h109_a_link_in_place_of_a_directory_is_refused(data: Path, clock: ManualClock, planted: str) -> None:
    store = MaildirStore(data, clock=clock)
    await store.open()
    await deliver(store, MAIRIE, 1)
    await deliver(store, AUTRE, 1)
    await store.close()
    here, other = data / "domains/mairie.test/maire" / planted, data / "domains/autre.test/maire" / planted
    before = sorted(path.name for path in other.iterdir())
    here.rename(here.with_name("moved"))
    here.symlink_to(other)
    store = MaildirStore(data, clock=clock)
    await store.open()
    if planted == "new":  # nothing is ever written there
        assert len(await all_rows(await inbox_of(store))) == 1
    else:
        mailbox = await inbox_of(store)
        with pytest.raises(StorageError):
            await (store.stage(b"", content(2, size=LONG), first=MAIRIE) if planted == "tmp" else mailbox.open(Uid(1)))
    assert sorted(path.name for path in other.iterdir()) == before
    await store.close()


async def test_h109_an_account_directory_that_is_a_link_is_refused(store: MaildirStore, data: Path) -> None:
    await deliver(store, AUTRE, 1)
    (data / "domains/mairie.test").mkdir(mode=0o700)
    (data / "domains/mairie.test/maire").symlink_to(data / "domains/autre.test/maire")
    with pytest.raises(StorageError):
        await store.account(MAIRIE)


async def test_h109_a_folder_that_is_a_link_is_no_folder(data: Path, clock: ManualClock) -> None:
    store = MaildirStore(data, clock=clock)
    await store.open()
    await deliver(store, MAIRIE, 1)
    await deliver(store, AUTRE, 1)
    await store.close()
    (data / "domains/mairie.test/maire/.Voisin").symlink_to(data / "domains/autre.test/maire")
    (data / "domains/mairie.test/maire/beffroi.lock").unlink()
    store = MaildirStore(data, clock=clock)
    await store.open()
    assert "Voisin" not in [folder.name for folder in await (await store.account(MAIRIE)).folders()]
    await store.close()


async def test_h109_a_foreign_hard_link_becomes_a_file_of_its_own(store: MaildirStore, data: Path) -> None:
    await deliver(store, AUTRE, 1)
    await deliver(store, MAIRIE, 2)
    (other,) = (data / "domains/autre.test/maire/cur").iterdir()
    cur = data / "domains/mairie.test/maire/cur"
    os.link(other, cur / "1790000000.M1P1.hote:2,S")
    inbox = await inbox_of(store)
    by_hand(cur)
    await inbox.snapshot()
    rows = await all_rows(inbox)
    assert len(rows) == 2
    assert other.stat().st_nlink == 1
    assert all(path.stat().st_ino != other.stat().st_ino for path in cur.iterdir())
    assert await read(inbox, rows[1].uid) == mail(1)


@pytest.mark.parametrize("hurt", ["marker", "domain-marker", "domains", "recycle"])
async def test_f170_a_missing_mount_is_refused_and_nothing_is_made(data: Path, clock: ManualClock, hurt: str) -> None:
    if hurt == "marker":
        (data / "store.beffroi").unlink()
    elif hurt == "domain-marker":
        (data / "domains/store.beffroi").unlink()
    else:
        (data / hurt).rename(data / "away")
    before = sorted(str(path) for path in data.rglob("*"))
    store = MaildirStore(data, clock=clock)
    with pytest.raises(StorageError):
        await store.open()
    await store.close()
    assert sorted(str(path) for path in data.rglob("*")) == before
    with pytest.raises(StorageError):
        await store.account(MAIRIE)


async def test_f170_who_makes_a_store_anew_makes_nothing_over_a_missing_mount(data: Path, clock: ManualClock) -> None:
    """Cause: the refusal advised `init`, which put its marker over the mount point; then everybody got an empty
    mailbox."""
    store = MaildirStore(data, clock=clock)
    await store.open()
    await store.close()
    (data / "domains").rename(data / "away")
    for there in (False, True):
        if there:
            (data / "domains").mkdir()
        with pytest.raises(StorageError, match=r"domains: the marker file .* \(is its disk mounted\?\)$"):
            initialise(data)
        with pytest.raises(StorageError) as refused:
            await MaildirStore(data, clock=clock).open()
        assert "init" not in refused.value.public
        assert "/domains: " in refused.value.public
        assert (data / "domains").exists() == there
        assert not list(data.glob("domains/*"))
    (data / "domains").rmdir()
    (data / "away").rename(data / "domains")
    initialise(data)


async def test_f170_no_directory_at_all(tmp_path: Path) -> None:
    store = MaildirStore(tmp_path / "absent")
    with pytest.raises(StorageError):
        await store.open()
    await store.close()
    assert not (tmp_path / "absent").exists()


async def test_h112_a_store_that_others_may_write_is_refused(data: Path) -> None:
    (data / "domains").chmod(0o777)
    store = MaildirStore(data)
    with pytest.raises(StorageError) as refused:
        await store.open()
    assert "others" in refused.value.public
    await store.close()


def test_initialise_may_run_again(data: Path) -> None:
    initialise(data)
    assert (data / "store.beffroi").read_text() == "beffroi store, format 1\n"


async def test_few_accounts_stay_open_and_all_work(data: Path, clock: ManualClock) -> None:
    store = MaildirStore(data, clock=clock, open_accounts=3)
    await store.open()
    refs = [AccountRef(f"a{number}", "org1", "mairie.test", f"elu{number}") for number in range(12)]
    accounts = [await store.account(ref) for ref in refs]
    for turn in (1, 2):
        for number, account in enumerate(accounts):
            await account.append([(content(number), Placement())])
            assert (await account.usage())[1] == turn
    assert store.open_accounts <= 4
    mailboxes = [await account.mailbox("INBOX") for account in accounts]
    for number, mailbox in enumerate(mailboxes):
        assert await read(mailbox, 2) == mail(number)
    await store.close()
