"""LOGIN asks for nothing what SELECT INBOX will ask (`imap.ahead`): nobody notices, whatever is there or happens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from core.errors import StorageError
from store.mailbox import FolderView
from store.service import MaildirStore
from store.types import AccountRef, Snapshot
from tests.fakes.imap_world import World
from tests.imap.test_real_store import MAIL, deliver, real

Glance = Callable[[FolderView], Awaitable[Snapshot | None]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Snapshot | None]:
    """What was told to those who looked ahead."""
    found: list[Snapshot | None] = []
    glance = FolderView.glance

    async def noted(self: FolderView) -> Snapshot | None:
        found.append(await glance(self))
        return found[-1]

    monkeypatch.setattr(FolderView, "glance", noted)
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
    async def failing(_self: FolderView) -> Snapshot | None:
        if error is not None:
            raise error
        never: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()
        return await never

    monkeypatch.setattr(FolderView, "glance", failing)
    async with real(tmp_path) as (world, store):
        await closed(world, store)
        with capture_logs() as logs:
            client = await world.login()
        assert ("imap-look-ahead-failed" in [entry["event"] for entry in logs]) is isinstance(error, ValueError)
        assert b"* 0 EXISTS" in await client.ok(b"SELECT INBOX")
