"""An index of an earlier moment beside newer files: what names and journal tell since wins, what came after them does
not go (promise P5)."""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import pytest

from core.clock import ManualClock
from store import journal
from store.types import Flag, Placement
from tests.fakes.mail import content
from tests.store.helpers import MAIRIE, all_rows, by_hand, cur, deliver, inbox_of
from tests.store.picture import delete, opened


def _kept_index(root: Path, target: Path) -> None:
    """As committed at this moment, read as another process reads it."""
    reader = apsw.Connection(str(root / "index.db"), flags=apsw.SQLITE_OPEN_READWRITE)
    reader.execute("VACUUM INTO ?", (str(target),))
    reader.close()


@pytest.mark.parametrize("between", [False, True], ids=["the name stayed", "the name went there and back"])
async def test_f159_a_flag_set_again_since_an_old_index_stays_set(
    data: Path, clock: ManualClock, tmp_path: Path, between: bool
) -> None:
    """The old row tells of the same name as the file has, and of a flag newer than it: newer it was, once."""
    store = await opened(data, clock)
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    await inbox.store_flags([(1, 1)], add=Flag.FLAGGED)
    await store.flush()
    await inbox.store_flags([(1, 1)], remove=Flag.FLAGGED)
    _kept_index(data / "domains/mairie.test/maire", tmp_path / "old.db")
    if between:
        await store.flush()
    await inbox.store_flags([(1, 1)], add=Flag.FLAGGED)
    await store.flush()
    await store.close()
    delete(data)
    shutil.copy(tmp_path / "old.db", data / "domains/mairie.test/maire/index.db")
    store = await opened(data, clock)
    assert [row.flags for row in await all_rows(await inbox_of(store))] == [Flag.FLAGGED]
    assert (await (await inbox_of(store)).snapshot()).folder.unseen == 1
    assert await store.verify(None) == []
    await store.close()


async def test_p5_flags_of_an_index_that_survived_are_newer_than_the_names(
    data: Path, clock: ManualClock, tmp_path: Path
) -> None:
    """A power loss before the flags were in names: the index has them, and is not older than what is told of it."""
    store = await opened(data, clock)
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    await inbox.store_flags([(1, 1)], add=Flag.FLAGGED)
    await store.flush()
    await inbox.store_flags([(1, 1)], remove=Flag.FLAGGED, add=Flag.SEEN)
    _kept_index(data / "domains/mairie.test/maire", tmp_path / "index.db")
    shutil.copytree(data, tmp_path / "copy", ignore=shutil.ignore_patterns("*index*"))
    await store.close()
    shutil.copy(tmp_path / "index.db", tmp_path / "copy/domains/mairie.test/maire/index.db")
    store = await opened(tmp_path / "copy", clock)
    assert [row.flags for row in await all_rows(await inbox_of(store))] == [Flag.SEEN]
    await store.close()


@pytest.mark.parametrize("flushed", [True, False], ids=["in the journal", "in the index alone"])
@pytest.mark.parametrize("letters", [False, True], ids=["the same letters", "others"])
async def test_f159_a_keyword_past_26_taken_off_since_an_old_index_stays_off(
    data: Path, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flushed: bool, letters: bool
) -> None:
    """A journal that is written again does not tell of messages that have none of these keywords any more."""
    monkeypatch.setattr(journal, "COMPACT_AT", 1)
    store = await opened(data, clock)
    for number in (1, 2):
        await deliver(store, MAIRIE, number)
    inbox = await inbox_of(store)
    await inbox.store_flags([(2, 2)], add_keywords=[f"k{number}" for number in range(30)])
    await store.flush()
    await inbox.store_flags([(1, 1)], add_keywords=["k29"])
    if flushed:
        await store.flush()
    _kept_index(data / "domains/mairie.test/maire", tmp_path / "old.db")
    await inbox.store_flags([(1, 1)], remove_keywords=["k29"], add=Flag.SEEN if letters else Flag(0))
    await store.flush()
    for _ in range(3):
        await inbox.store_flags([(2, 2)], add=Flag.SEEN)
        await store.flush()
        await inbox.store_flags([(2, 2)], remove=Flag.SEEN)
        await store.flush()
    assert b" K 1 " not in (data / "domains/mairie.test/maire" / journal.JOURNAL).read_bytes()
    before = [(row.flags, row.keywords) for row in await all_rows(inbox)]
    await store.close()
    delete(data)
    shutil.copy(tmp_path / "old.db", data / "domains/mairie.test/maire/index.db")
    store = await opened(data, clock)
    assert [(row.flags, row.keywords) for row in await all_rows(await inbox_of(store))] == before
    assert await store.verify(None) == []
    await store.close()


async def test_h110_a_keyword_past_26_outlives_letters_that_another_program_changes(
    data: Path, clock: ManualClock
) -> None:
    """Cause: the look for these letters took the keyword, which was not in the journal yet, for written down."""
    store = await opened(data, clock)
    for number in (1, 2):
        await deliver(store, MAIRIE, number)
    inbox = await inbox_of(store)
    await inbox.store_flags([(2, 2)], add_keywords=[f"k{number}" for number in range(30)])
    await store.flush()
    await inbox.store_flags([(1, 1)], add_keywords=["k29"])
    file = next(path for path in cur(data, MAIRIE) if ",U=1," in path.name)
    file.rename(file.with_name(f"{file.name}S"))
    by_hand(file.parent)
    assert (await inbox.snapshot()).folder.unseen == 1
    await store.close()
    delete(data)
    store = await opened(data, clock)
    rows = await all_rows(await inbox_of(store))
    assert (rows[0].flags, rows[0].keywords) == (Flag.SEEN, ("k29",))
    await store.close()


async def test_p5_flags_of_a_folder_copied_by_hand_are_newer_than_its_originals_journal(
    data: Path, clock: ManualClock, tmp_path: Path
) -> None:
    """Cause: the copy's mod-sequences began at 1, below that up to which the original's flags were in its names."""
    store = await opened(data, clock, boot="here")
    account = await store.account(MAIRIE)
    await account.create("A")
    await account.append([(content(1), Placement("A"))])
    mailbox = await account.mailbox("A")
    for _ in range(5):
        await mailbox.store_flags([(1, 1)], add=Flag.FLAGGED)
        await mailbox.store_flags([(1, 1)], remove=Flag.FLAGGED)
    await store.flush()
    await store.close()
    root = data / "domains/mairie.test/maire"
    shutil.copytree(root / ".A", root / ".B")
    store = await opened(data, clock, boot="here")
    await (await (await store.account(MAIRIE)).mailbox("B")).store_flags([(1, 1)], add=Flag.SEEN)
    shutil.copytree(data, tmp_path / "copy", ignore=shutil.ignore_patterns("*index*"))
    _kept_index(root, tmp_path / "copy/domains/mairie.test/maire/index.db")
    await store.close()
    store = await opened(tmp_path / "copy", clock, boot="after a power loss")
    copy = await (await store.account(MAIRIE)).mailbox("B")
    assert [row.flags for row in await all_rows(copy)] == [Flag.SEEN]
    await store.close()
