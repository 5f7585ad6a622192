"""An index that goes, is exchanged or breaks under connected clients: they notice nothing (promise P5, f157, f159)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from message.content import BytesContent
from store import unscanned
from store.types import AccountRef, Placement
from tests.fakes.imap_world import Client
from tests.imap.test_real_store import MAIL, deliver, real

ALL = b"UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE PREVIEW EMAILID THREADID)"
ASKED = (
    ALL,
    b"UID SEARCH SUBJECT three",
    b"UID SORT (SUBJECT) UTF-8 ALL",
    b"UID THREAD REFERENCES UTF-8 ALL",
    b"UID FETCH 2 BODY.PEEK[]",
    b"STATUS Archive (MESSAGES UNSEEN SIZE UIDVALIDITY)",
)
WORDS = (b"one", b"two", b"three", b"four", b"five", b"six")


def _deleted(files: Path, _kept: Path) -> None:
    for path in files.glob("index*"):
        path.unlink()


def _older(files: Path, kept: Path) -> None:
    _deleted(files, kept)
    shutil.copy(kept, files / "index.db")


def _put_in_place(files: Path, octets: bytes) -> None:
    """As a restore does: another file under the name, not other octets under the feet of who has it open."""
    (files.parent / "new.db").write_bytes(octets)
    (files.parent / "new.db").rename(files / "index.db")


def _corrupt(files: Path, _kept: Path) -> None:
    octets = bytearray((files / "index.db").read_bytes())
    for offset in range(4096, len(octets), 4096):
        octets[offset : offset + 32] = b"\xff" * 32
    _put_in_place(files, bytes(octets))


def _cut(files: Path, _kept: Path) -> None:
    octets = (files / "index.db").read_bytes()
    _put_in_place(files, octets[: len(octets) // 2])


def _foreign(files: Path, kept: Path) -> None:
    _deleted(files, kept)
    shutil.copy(files.parent / "bob/index.db", files / "index.db")


def _nonsense(files: Path, _kept: Path) -> None:
    _put_in_place(files, b"no database at all" * 1000)


def _empty(files: Path, _kept: Path) -> None:
    _put_in_place(files, b"")


DAMAGES: dict[str, Callable[[Path, Path], None]] = {
    "deleted": _deleted,
    "older": _older,
    "corrupt": _corrupt,
    "cut": _cut,
    "another account's": _foreign,
    "nonsense": _nonsense,
    "empty": _empty,
}


TOLD = re.compile(rb"\* (SEARCH|SORT|THREAD|STATUS) |.*(ENVELOPE|BODY\[\])", re.DOTALL)


async def _answers(client: Client) -> list[list[bytes]]:
    """What was asked for; flags may be told unasked once more, with another mod-sequence."""
    return [
        [re.sub(rb" ?\\Recent", b"", line) for line in await client.ok(command) if TOLD.match(line)]
        for command in ASKED
    ]


async def _counters(client: Client) -> list[int]:
    status = await client.ok(b"STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)")
    return [int(number) for line in status if b"STATUS" in line for number in re.findall(rb" (\d+)", line)]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_f157_f159_connected_clients_notice_nothing_of_an_index_that_is_exchanged(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unscanned, "TURN", 2)
    async with real(tmp_path) as (world, store):
        neighbour = AccountRef("id-bob", "org-1", "mairie.test", "bob")
        async with await store.stage(b"", BytesContent(MAIL), first=neighbour) as staged:
            await staged.deliver(neighbour, Placement())
        client, idle = await world.login(), await world.login()
        for word in WORDS:
            await client.append(b"INBOX", MAIL.replace(b"one", word), b"(\\Seen $Work) ")
        await client.ok(b"SELECT INBOX")
        await idle.ok(b"SELECT INBOX")
        await client.ok(b"UID COPY 1:3 Archive")
        await store.flush()
        files = tmp_path / "data/domains/mairie.test/alice"
        shutil.copy(files / "index.db", tmp_path / "kept")
        await client.ok(b"UID STORE 4 +FLAGS (\\Flagged)")
        await client.ok(b"UID STORE 6 +FLAGS (\\Deleted)")
        await client.ok(b"UID EXPUNGE 6")
        await store.flush()
        before, counters = await _answers(client), await _counters(client)
        assert [len(lines) for lines in before] == [5, 1, 1, 1, 1, 1]
        await idle.ok(b"NOOP")

        DAMAGES[damage](files, tmp_path / "kept")
        assert await _answers(client) == before
        assert not [line for line in await idle.ok(b"NOOP") if b"FLAGS" not in line and line != b"a OK NOOP completed"]
        assert await _answers(idle) == before
        await deliver(store, world.services)
        assert b"* 6 EXISTS" in await client.ok(b"NOOP")
        after = await _counters(client)
        assert after[0] == counters[0] + 1
        assert (after[1] > counters[1], after[2] == counters[2], after[3] > counters[3]) == (True, True, True)
        returning = await world.login()
        await returning.ok(b"ENABLE QRESYNC")
        lines = await returning.ok(b"SELECT INBOX (QRESYNC (%d %d 1:6))" % (counters[2], counters[3] - 3))
        vanished = [line for line in lines if b"VANISHED" in line]
        assert vanished == [b"* VANISHED (EARLIER) 6"]
        assert await store.verify(None) == []
