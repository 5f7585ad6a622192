"""Programs that ask now and then, and never idle, hear of what hands did to a mailbox's files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.imap.test_real_store import MAIL, deliver, real


@pytest.mark.parametrize("command", [b"NOOP", b"CHECK"])
async def test_h110_a_poll_tells_of_files_that_hands_added_and_took_away(tmp_path: Path, command: bytes) -> None:
    """Cause: nobody looked but LIST, SELECT, IDLE and deliveries."""
    async with real(tmp_path) as (world, store):
        await deliver(store, world.services)
        client = await world.login()
        await client.ok(b"SELECT INBOX")
        [inbox] = _inboxes(tmp_path)
        (inbox / "new/1700000000.a.host").write_bytes(MAIL)
        assert b"* 2 EXISTS" in await client.ok(command)
        [file] = [path for path in (inbox / "cur").iterdir() if ",U=1," in path.name]
        file.unlink()
        assert b"* 1 EXPUNGE" in await client.ok(command)


async def test_h110_status_counts_what_hands_put_into_a_folder(tmp_path: Path) -> None:
    async with real(tmp_path) as (world, store):
        await deliver(store, world.services)
        client = await world.login()
        assert (await client.ok(b"STATUS INBOX (MESSAGES)"))[0] == b"* STATUS INBOX (MESSAGES 1)"
        [inbox] = _inboxes(tmp_path)
        (inbox / "new/1700000000.a.host").write_bytes(MAIL)
        assert (await client.ok(b"STATUS INBOX (MESSAGES)"))[0] == b"* STATUS INBOX (MESSAGES 2)"


def _inboxes(path: Path) -> Iterator[Path]:
    return (file.parent for file in (path / "data/domains").rglob("beffroi-account"))
