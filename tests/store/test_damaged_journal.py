"""A journal whose octets the disk has changed: no line of it is believed that is not whole, `store verify` tells what
is missing, and `store rebuild` writes it again from the index before it makes another one."""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from core.clock import ManualClock
from store.service import MaildirStore
from store.store import Mailbox
from store.types import Flag, Placement
from tests.fakes.mail import content
from tests.store.helpers import MAIRIE, all_rows, inbox_of
from tests.store.picture import delete, opened, picture

WORDS = tuple(f"$mot{number}" for number in range(40))
PATIENCE = 20.0


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.rindex(b" K ") + 3] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "torn": lambda path: path.write_bytes(path.read_bytes()[: path.read_bytes().rindex(b" K ") + 4]),
    "flipped": flip,
    "empty": lambda path: path.write_bytes(b""),
    "NULs": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "gone": Path.unlink,
    "noise": lambda path: path.write_bytes(os.urandom(2000)),
}


async def filled(store: MaildirStore) -> Mailbox:
    """Six messages with 40 keywords among them, all flushed."""
    account = await store.account(MAIRIE)
    await account.append([(content(number), Placement("Archive")) for number in range(1, 7)])
    archive = await inbox_of(store, name="Archive")
    for uid in range(1, 6):
        await archive.store_flags([(uid, uid)], add=Flag.SEEN, add_keywords=WORDS[8 * uid - 8 : 8 * uid])
    await store.flush()
    return archive


@pytest.mark.faults
@pytest.mark.parametrize("damage", DAMAGES)
async def test_p5_what_a_damaged_journal_lacks_is_told_and_written_again(
    data: Path, clock: ManualClock, damage: str
) -> None:
    """Cause: verify found no fault, and the rebuild that was to mend it took the keywords for good."""
    store = await opened(data, clock)
    await filled(store)
    before = await picture(store)
    await store.close()
    DAMAGES[damage](data / "domains/mairie.test/maire/.Archive/beffroi-journal")
    store = await opened(data, clock)
    (fault,) = await store.verify(None)
    assert fault.startswith("maire@mairie.test Archive: beffroi-journal lacks ")
    assert fault.endswith(": beffroi store rebuild writes them again")
    assert await picture(store) == before
    assert await store.rebuild(None) == 6
    assert await store.verify(None) == []
    assert await picture(store) == before
    await store.close()
    delete(data)
    store = await opened(data, clock)
    assert await picture(store) == before
    await store.close()


@pytest.mark.faults
async def test_p1_a_removal_whose_line_is_damaged_stays_one_through_a_rebuild(data: Path, clock: ManualClock) -> None:
    store = await opened(data, clock)
    archive = await filled(store)
    await archive.expunge([(2, 3)], only_deleted=False)  # unlinked behind, at the next flush
    (data / "domains/mairie.test/maire/.Archive/beffroi-journal").write_bytes(b"")
    assert any("beffroi-journal lacks" in line for line in await store.verify(None))
    await store.rebuild(None)
    assert [row.uid for row in await all_rows(await inbox_of(store, name="Archive"))] == [1, 4, 5, 6]
    await store.flush()
    assert await store.verify(None) == []
    await store.close()


@pytest.mark.faults
async def test_p5_a_removal_that_an_older_index_remembers_is_no_lack(data: Path, clock: ManualClock) -> None:
    """Cause: verify found a fault where a power loss had taken the last commit of a flush, which writes the journal
    without what it unlinked."""
    store = await opened(data, clock)
    archive = await filled(store)
    account = data / "domains/mairie.test/maire"
    journal = account / ".Archive/beffroi-journal"
    compact = journal.read_bytes()
    await archive.expunge([(6, 6)], only_deleted=False)
    before = {path: path.read_bytes() for path in account.glob("index.db*")}
    await store.flush()
    assert not list(account.glob(".Archive/cur/*U=6,*"))
    await store.close()
    journal.write_bytes(compact)  # as a flush writes it that finds it long
    for path in account.glob("index.db*"):
        path.unlink()
    for path, octets in before.items():
        path.write_bytes(octets)
    store = await opened(data, clock)
    assert [row.uid for row in await all_rows(await inbox_of(store, name="Archive"))] == [1, 2, 3, 4, 5]
    assert await store.verify(None) == []
    await store.close()


@pytest.mark.faults
@pytest.mark.parametrize("line", [b"E x:y", b"E 5", b"E 9:", b"K 3", b"K 3 zz", b"T z abc", b"N -", b"N", b"Q 1"])
async def test_h109_a_line_that_tells_nonsense_under_a_right_checksum_is_none(
    data: Path, clock: ManualClock, line: bytes
) -> None:
    """Cause: nobody could open the account any more, and no rebuild mended it."""
    store = await opened(data, clock)
    await filled(store)
    before = await picture(store)
    await store.close()
    path = data / "domains/mairie.test/maire/.Archive/beffroi-journal"
    path.write_bytes(path.read_bytes() + b"%08x %s\n" % (zlib.crc32(line), line))
    delete(data)
    async with asyncio.timeout(PATIENCE):
        store = await opened(data, clock)
        assert await picture(store) == before
        assert await store.rebuild(None) == 6
        assert await store.verify(None) == []
        await store.close()
