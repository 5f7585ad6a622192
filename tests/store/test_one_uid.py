"""Two files under one UID, of which one got other letters: the row stays with the message it tells of (promise P4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.clock import ManualClock
from message.content import BytesContent
from store.fsops import FileSystem
from store.names import parse
from store.types import Placement
from tests.fakes.mail import mail
from tests.store.helpers import MAIRIE, all_rows, by_hand, cur, deliver, inbox_of, read
from tests.store.picture import delete, opened


@pytest.mark.parametrize("index", ["there", "of an earlier day", "lost"])
async def test_p4_another_folders_file_with_the_same_uid_takes_no_row(
    data: Path, clock: ManualClock, index: str
) -> None:
    store = await opened(data, clock)
    await deliver(store, MAIRIE, 1)
    clock.advance(10)
    other = mail(2, extra="X-Long: " + "x" * 50 + "\r\n")
    await (await store.account(MAIRIE)).append([(BytesContent(other), Placement("Archive"))])
    await store.close()
    earlier = (data / "domains/mairie.test/maire/index.db").read_bytes()
    [file] = cur(data, MAIRIE)
    file = file.rename(file.with_name(f"{file.name}S"))
    [moved] = cur(data, MAIRIE, ".Archive")
    assert [made.uid for each in (file, moved) if (made := parse(each.name))] == [1, 1]
    moved.rename(file.with_name(moved.name))
    by_hand(file.parent)
    by_hand(moved.parent)
    if index == "of an earlier day":
        store = await opened(data, clock)
        await inbox_of(store)
        await store.close()
    if index != "there":
        delete(data)
    if index == "of an earlier day":
        (data / "domains/mairie.test/maire/index.db").write_bytes(earlier)
    store = await opened(data, clock)
    inbox = await inbox_of(store)
    await inbox.snapshot()
    rows = await all_rows(inbox)
    assert await read(inbox, 1) == mail(1)
    assert (rows[0].uid, rows[0].size) == (1, len(mail(1)))
    assert len(rows) == 2
    await store.close()


class _Ordered(FileSystem):
    """Names come as they are sorted, or the other way round."""

    def __init__(self, *, backwards: bool) -> None:
        super().__init__()
        self._backwards = backwards

    def names(self, directory: int) -> list[str]:
        return sorted(super().names(directory), reverse=self._backwards)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("older", [False, True])
async def test_p4_a_rebuild_takes_no_uid_from_who_has_it(
    data: Path, clock: ManualClock, *, older: bool, backwards: bool
) -> None:
    """Cause: of two files under one UID the new index had the one that the directory told last."""
    store = await opened(data, clock, fs=_Ordered(backwards=backwards))
    for folder in ("Archive", "INBOX") if older else ("INBOX", "Archive"):
        number = 1 if folder == "INBOX" else 2
        await (await store.account(MAIRIE)).append([(BytesContent(mail(number)), Placement(folder))])
        clock.advance(10)
    await store.flush()
    [file] = cur(data, MAIRIE)
    [moved] = cur(data, MAIRIE, ".Archive")
    moved.rename(file.with_name(moved.name))
    by_hand(file.parent)
    await store.rebuild(None)
    inbox = await inbox_of(store)
    assert [await read(inbox, row.uid) for row in await all_rows(inbox)] == [mail(1), mail(2)]
    await store.close()
