"""A copy made by hand has the name that a message is to get with its flags: it is never overwritten, and keeps no flag
from the disk (security.md row 110, promise P5)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core.clock import ManualClock
from store import journal
from store.fsops import FileSystem
from store.names import parse, spare_names
from store.types import Flag
from tests.fakes.mail import mail
from tests.store.helpers import MAIRIE, all_rows, cur, deliver, inbox_of, read
from tests.store.picture import delete, opened


def named(data: Path) -> int:
    """Up to which mod-sequence the journal says that flags are in the names."""
    fs = FileSystem()
    root = fs.open_root(str(data / "domains/mairie.test/maire"))
    try:
        return journal.read(fs, root).named
    finally:
        fs.close(root)


def _others(source: Path, target: Path) -> None:
    shutil.copy(source, target)
    os.chown(target, 12345, -1)


@pytest.mark.parametrize("index", ["lost", "of an earlier day"])
@pytest.mark.parametrize("flags", [Flag.FLAGGED, Flag(0)], ids=["set", "taken off"])
@pytest.mark.parametrize(
    ("put", "adopted"),
    [(shutil.copy, 1), (os.link, 1), (_others, 0), (lambda _, target: target.mkdir(), 0)],
    ids=["cp", "ln", "another user's", "a directory"],
)
async def test_h110_what_has_the_name_that_a_flag_is_to_give_keeps_no_flag_from_the_disk(
    data: Path, clock: ManualClock, put: Callable[[Path, Path], object], adopted: int, flags: Flag, index: str
) -> None:
    """Cause: the message kept its old name, nothing waited for a flush any more, and the clean stop lost the flag with
    the index; the journal never told again how far the names go."""
    store = await opened(data, clock)
    await deliver(store, MAIRIE, 1)
    await (await inbox_of(store)).store_flags([(1, 1)], add=Flag.ANSWERED)
    await store.close()
    database = data / "domains/mairie.test/maire/index.db"
    earlier = database.read_bytes()
    store = await opened(data, clock)
    inbox = await inbox_of(store)
    if not flags:
        await inbox.store_flags([(1, 1)], add=Flag.FLAGGED)
    await store.flush()
    [file] = cur(data, MAIRIE)
    await inbox.store_flags([(1, 1)], add=flags, replace=True)
    put(file, file.with_name(f"{file.name.partition(':2,')[0]}:2,{'F' if flags else ''}"))
    await store.flush()
    letters = [made.flags for path in cur(data, MAIRIE) if (made := parse(path.name)) and made.uid == 1 and ours(path)]
    assert letters == [flags]
    snapshot = await inbox.snapshot()
    assert (snapshot.messages, named(data)) == (1 + adopted, snapshot.modseq)
    await store.close()
    delete(data)
    if index != "lost":
        database.write_bytes(earlier)
    store = await opened(data, clock)
    inbox = await inbox_of(store)
    assert [(row.uid, row.flags) for row in await all_rows(inbox)][:1] == [(1, flags)]
    assert [await read(inbox, 1 + number) for number in range(1 + adopted)] == [mail(1)] * (1 + adopted)
    await store.close()


def ours(path: Path) -> bool:
    return path.is_file() and path.stat().st_uid == os.geteuid()


def test_spare_names_tell_the_same_and_are_many() -> None:
    name = "1.Ma1.beffroi,U=7,S=9:2,AFb"
    found = list(spare_names(name))
    assert len(set(found)) == len(found) > 10
    assert name not in found
    made = parse(name)
    for each in map(parse, found):
        assert made is not None
        assert each is not None
        assert (each.base, each.flags, each.keywords) == (made.base, made.flags, made.keywords)
        assert made.others in each.others
