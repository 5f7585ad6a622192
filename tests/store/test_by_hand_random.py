"""Hands at work between our own changes, at random: after a look at a folder the index tells what a rebuild tells."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from core.errors import MailError
from store.service import MaildirStore
from store.types import Flag, Placement
from tests.fakes.mail import mail
from tests.store.helpers import MAIRIE, all_rows, by_hand, deliver

NAMES = ("INBOX", "Archive", "Sent")
STEPS = 40
Told = dict[str, Counter[tuple[str, int, tuple[str, ...], int]]]


async def _own(store: MaildirStore, chance: random.Random, number: int) -> None:
    name, target = chance.sample(NAMES, 2)
    account = await store.account(MAIRIE)
    folder = await account.mailbox(name)
    low = chance.randint(1, 12)
    some = [(low, low + chance.randint(0, 4))]
    match chance.randint(0, 6):
        case 0 | 1:
            await deliver(store, MAIRIE, number, Placement(name))
        case 2:
            await folder.store_flags(some, add=chance.choice((Flag.SEEN, Flag.FLAGGED)), add_keywords=["mot"])
        case 3:
            await folder.expunge(some, only_deleted=False)
        case 4:
            await folder.move(some, target)
        case 5:
            await folder.copy(some, target)
        case _:
            await store.flush()


def _hands(root: Path, chance: random.Random, number: int, away: Path) -> None:
    directory = root / chance.choice(("", ".Archive", ".Sent"))
    cur = directory / "cur"
    files = sorted(path for path in cur.iterdir() if path.is_file())
    file = chance.choice(files) if files else None
    match chance.randint(0, 6):
        case 0:
            (cur / f"{number}.hote:2,{chance.choice(('', 'S', 'FS'))}").write_bytes(mail(1000 + number))
        case 1:
            (directory / "new" / f"{number}.hote").write_bytes(mail(1000 + number))
        case 2 if file is not None:
            file.unlink()
        case 3 if file is not None and ":2," in file.name:
            file.rename(file.with_name(file.name.partition(":2,")[0] + chance.choice((":2,", ":2,S", ":2,FRS"))))
        case 4:
            cur.rename(away / f"cur{number}")
            shutil.copytree(away / f"cur{number}", cur)
        case 5 if file is not None:
            shutil.copy2(file, root / "cur" / f"{number}.copie:2,S")
            by_hand(root / "cur")
        case 6:
            root.rename(away / f"root{number}")
            shutil.copytree(away / f"root{number}", root)
    by_hand(root / directory.relative_to(root) / "cur")


async def _told(store: MaildirStore) -> Told:
    account = await store.account(MAIRIE)
    told: Told = {}
    for name in NAMES:
        folder = await account.mailbox(name)
        snapshot = await folder.snapshot()
        rows = await all_rows(folder)
        told[name] = Counter((row.email_id, int(row.flags), tuple(sorted(row.keywords)), row.uid) for row in rows)
        assert snapshot.messages == len(rows)
    return told


@pytest.mark.parametrize("seed", range(4))
async def test_h110_after_a_look_the_index_tells_what_a_rebuild_tells(
    store: MaildirStore, data: Path, tmp_path: Path, seed: int
) -> None:
    chance, refused = random.Random(seed), list[str]()
    root, away = data / "domains/mairie.test/maire", data / "away"
    away.mkdir()
    for name in NAMES:
        await deliver(store, MAIRIE, 1, Placement(name))
    for number in range(2, STEPS):
        if chance.random() < 0.4:
            _hands(root, chance, number, away)
        else:
            try:
                await _own(store, chance, number)
            except MailError as error:  # what was taken away in that moment
                refused.append(error.code)
        if chance.random() < 0.2:
            await _told(store)
    assert set(refused) <= {"storage-moved", "no-message"}
    await _told(store)  # what files had under other names
    await store.flush()
    before = await _told(store)
    assert await store.verify(None) == []
    await store.rebuild(None)
    assert await _told(store) == before
