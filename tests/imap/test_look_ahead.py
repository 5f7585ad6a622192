"""LOGIN asks for nothing what SELECT INBOX will ask (`imap.ahead`): nobody notices, whatever is there or happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from structlog.testing import capture_logs

from core.errors import StorageError
from store.account import Account
from store.accounts import Accounts
from store.handle import Handle
from store.service import MaildirStore
from store.types import AccountRef, Snapshot
from tests.fakes.imap_world import World
from tests.imap.test_real_store import MAIL, deliver, real

T = TypeVar("T")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Snapshot | None]:
    """What was told to those who looked ahead: they take nothing, as SELECT does."""
    found: list[Snapshot | None] = []
    glance = Account.glance

    async def noted(self: Account, name: str, *, take_recent: bool = False) -> Snapshot | None:
        told = await glance(self, name, take_recent=take_recent)
        if not take_recent:
            found.append(told)
        return told

    monkeypatch.setattr(Account, "glance", noted)
    return found


async def closed(world: World, store: MaildirStore) -> AccountRef:
    """Nobody has used alice's account for a while."""
    account = await world.services.directory.account_by_id("id-alice")
    assert account is not None
    ref = AccountRef.of(account)
    await store._open_accounts.release(ref)
    return ref


async def test_a_login_that_opens_the_account_looks_ahead_and_takes_nothing(
    tmp_path: Path, told: list[Snapshot | None]
) -> None:
    async with real(tmp_path) as (world, store):
        await deliver(store, world.services)
        await closed(world, store)
        client = await world.login()
        assert [snapshot and snapshot.recent for snapshot in told] == [1]
        lines = await client.ok(b"SELECT INBOX")
        assert b"* 1 RECENT" in lines  # RFC 3501 2.3.2: told to the session that selects
        assert b"* 0 RECENT" in await client.ok(b"SELECT INBOX")


async def test_what_happens_between_login_and_select_is_seen(tmp_path: Path, told: list[Snapshot | None]) -> None:
    async with real(tmp_path) as (world, store):
        ref = await closed(world, store)
        client = await world.login()
        await deliver(store, world.services)
        assert b"* 1 EXISTS" in await client.ok(b"SELECT INBOX")
        root = tmp_path / "data" / "domains" / ref.domain / ref.local
        (root / "new" / "byhand").write_bytes(MAIL)
        assert b"* 2 EXISTS" in await client.ok(b"SELECT INBOX")
        assert len(told) == 1


async def test_a_login_does_not_wait_for_files_that_were_changed_by_hand(
    tmp_path: Path, told: list[Snapshot | None]
) -> None:
    async with real(tmp_path) as (world, store):
        await deliver(store, world.services)
        ref = await closed(world, store)
        root = tmp_path / "data" / "domains" / ref.domain / ref.local
        (root / "new" / "byhand").write_bytes(MAIL)
        client = await world.login()
        assert told == [None]
        assert (root / "new" / "byhand").exists()
        assert b"* 2 EXISTS" in await client.ok(b"SELECT INBOX")


async def test_nobody_looks_ahead_in_an_open_account_or_in_a_wave_of_logins(
    tmp_path: Path, told: list[Snapshot | None]
) -> None:
    async with real(tmp_path) as (world, store):
        ref = await closed(world, store)
        await world.login()
        await world.login()
        assert len(told) == 1
        await closed(world, store)
        opening = asyncio.ensure_future(store.account(ref))
        await asyncio.sleep(0)
        assert not store.opens_alone(ref)
        assert not store.opens_alone(AccountRef("other", "org", ref.domain, "other"))
        await opening
        assert not store.opens_alone(ref)
        assert store.opens_alone(AccountRef("other", "org", ref.domain, "other"))


@pytest.mark.parametrize("error", [StorageError("storage failed", code="storage"), ValueError("a bug"), None])
async def test_whatever_goes_wrong_the_login_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    async def failing(_self: Account, _name: str, *, take_recent: bool = False) -> Snapshot | None:
        if take_recent:
            return None
        if error is not None:
            raise error
        never: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()
        return await never

    monkeypatch.setattr(Account, "glance", failing)
    async with real(tmp_path) as (world, store):
        await closed(world, store)
        with capture_logs() as logs:
            client = await world.login()
        assert ("imap-look-ahead-failed" in [entry["event"] for entry in logs]) is isinstance(error, ValueError)
        assert b"* 0 EXISTS" in await client.ok(b"SELECT INBOX")


async def test_another_process_that_changes_the_mailbox_between_login_and_select_is_seen(
    tmp_path: Path, told: list[Snapshot | None]
) -> None:
    async with real(tmp_path) as (world, store):
        await deliver(store, world.services)
        ref = await closed(world, store)
        client = await world.login()
        assert [snapshot and snapshot.messages for snapshot in told] == [1]
        other = MaildirStore(tmp_path / "data", limits=world.services.limits)
        await other.open()
        try:
            inbox = await (await other.account(ref)).mailbox("INBOX")
            await inbox.store_flags([(1, 1)], add_keywords=["Urgent"])
            await deliver(other, world.services)
            await inbox.expunge([(1, 1)], only_deleted=False)
        finally:
            await other.close()
        lines = await client.ok(b"SELECT INBOX")
        assert lines[1:4] == [b"* 1 EXISTS", b"* 1 RECENT", b"* OK [UNSEEN 1] first unseen"]
        assert b"* OK [UIDNEXT 3] next UID" in lines
        assert any(line.startswith(b"* FLAGS") and b"Urgent" in line for line in lines)


async def test_a_select_asks_the_index_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cause: the name was looked up in one transaction, and the folder it names read in another."""
    async with real(tmp_path) as (world, _):
        client = await world.login()
        reads = list[object]()
        read = Accounts.read

        async def counted(self: Accounts, ref: AccountRef, ask: Callable[[Handle], T], *, once: bool = False) -> T:
            reads.append(ask)
            return await read(self, ref, ask, once=once)

        monkeypatch.setattr(Accounts, "read", counted)
        await client.ok(b"SELECT INBOX")
        assert len(reads) == 1
        await client.ok(b"NOOP")
        assert len(reads) == 3  # what hands did to the files, what is new
