"""STORE: what changes, what keeps its mod-sequence, what reaches the file names."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import InvalidError
from store import journal
from store.fsops import FileSystem
from store.service import MaildirStore
from store.types import NO_FLAGS, Flag, Placement
from tests.fakes.mail import content
from tests.store.helpers import EVERY, MAIRIE, WHOLE, all_rows, by_hand, cur, deliver, inbox_of


async def _three(store: MaildirStore) -> None:
    for number in (1, 2, 3):
        await deliver(store, MAIRIE, number)


async def test_flags_are_added_removed_and_replaced(store: MaildirStore) -> None:
    await _three(store)
    inbox = await inbox_of(store)
    added = await inbox.store_flags([(1, 2)], add=Flag.SEEN | Flag.DELETED)
    assert [(row.uid, row.flags) for row in added.messages] == [(1, Flag.SEEN | Flag.DELETED)] * 1 + [
        (2, Flag.SEEN | Flag.DELETED)
    ]
    await inbox.store_flags([(1, 1)], remove=Flag.DELETED)
    await inbox.store_flags([(3, 3)], add=Flag.FLAGGED, replace=True, add_keywords=["$Label1"])
    rows = await all_rows(inbox)
    assert [row.flags for row in rows] == [Flag.SEEN, Flag.SEEN | Flag.DELETED, Flag.FLAGGED]
    await inbox.store_flags([(3, 3)], replace=True)
    assert ((await all_rows(inbox))[2].flags, (await all_rows(inbox))[2].keywords) == (NO_FLAGS, ())


async def test_counters_follow_the_flags(store: MaildirStore) -> None:
    await _three(store)
    inbox = await inbox_of(store)
    await inbox.store_flags([(1, 2)], add=Flag.SEEN)
    await inbox.store_flags([(2, 3)], add=Flag.DELETED)
    folder = (await inbox.snapshot()).folder
    assert (folder.messages, folder.unseen, folder.deleted) == (3, 1, 2)
    assert (await inbox.snapshot()).first_unseen == 3
    await inbox.store_flags([(1, 3)], replace=True)
    folder = (await inbox.snapshot()).folder
    assert (folder.unseen, folder.deleted) == (3, 0)
    assert (await inbox.snapshot()).first_unseen == 1


async def test_rows_that_do_not_change_keep_their_modseq(store: MaildirStore) -> None:
    await _three(store)
    inbox = await inbox_of(store)
    await inbox.store_flags([(1, 1)], add=Flag.SEEN)
    before = {int(row.uid): row.modseq for row in await all_rows(inbox)}
    answer = await inbox.store_flags([(1, 3)], add=Flag.SEEN)
    assert [row.uid for row in answer.messages] == [1, 2, 3]
    after = {int(row.uid): row.modseq for row in await all_rows(inbox)}
    assert after[1] == before[1]
    assert after[2] == after[3] > max(before.values())


async def test_unchanged_since_leaves_newer_rows_and_names_them(store: MaildirStore) -> None:
    await _three(store)
    inbox = await inbox_of(store)
    seen = (await inbox.snapshot()).modseq
    await inbox.store_flags([(2, 2)], add=Flag.SEEN)
    answer = await inbox.store_flags([(1, 3)], add=Flag.FLAGGED, unchanged_since=seen)
    assert answer.modified == (2,)
    assert [row.uid for row in answer.messages] == [1, 3]
    assert [row.flags for row in await all_rows(inbox)] == [Flag.FLAGGED, Flag.SEEN, Flag.FLAGGED]


async def test_what_others_changed_after_the_caller_looked_is_named(store: MaildirStore) -> None:
    await _three(store)
    inbox = await inbox_of(store)
    seen = (await inbox.snapshot()).modseq
    await inbox.store_flags([(2, 2)], add=Flag.SEEN)
    answer = await inbox.store_flags([(1, 3)], add=Flag.FLAGGED, seen=seen)
    assert answer.unseen == (2,)
    assert (await inbox.store_flags([(1, 3)], add=Flag.FLAGGED)).unseen == ()


async def test_touch_raises_the_mod_sequence_and_changes_nothing_else(store: MaildirStore) -> None:
    await _three(store)
    inbox = await inbox_of(store)
    before = await inbox.snapshot()
    await inbox.touch()
    changes = await inbox.changes(before.modseq, before.uidnext)
    assert (changes.modseq, changes.messages, changes.vanished) == (before.modseq + 1, (), ())


async def test_keywords_compare_without_case_and_keep_their_first_spelling(store: MaildirStore) -> None:
    await _three(store)
    inbox = await inbox_of(store)
    await inbox.store_flags([(1, 1)], add_keywords=["$Forwarded"])
    await inbox.store_flags([(2, 2)], add_keywords=["$FORWARDED"])
    rows = await all_rows(inbox)
    assert rows[0].keywords == rows[1].keywords == ("$Forwarded",)
    assert (await inbox.snapshot()).keywords == ("$Forwarded",)
    await inbox.store_flags([(1, 1)], remove_keywords=["$forwarded", "jamais-vu"])
    assert (await all_rows(inbox))[0].keywords == ()


@pytest.mark.parametrize("word", ["", "a b", "a(", "\\Seen", "a\r\nb", "é", "x" * 129, 'a"', "a]", "a%"])
async def test_h098_what_is_no_keyword_is_refused(store: MaildirStore, word: str) -> None:
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    with pytest.raises(InvalidError):
        await inbox.store_flags([(1, 1)], add=Flag.SEEN, add_keywords=[word])
    (row,) = await all_rows(inbox)
    assert (row.flags, row.keywords) == (NO_FLAGS, ())


async def test_h098_the_65th_keyword_is_refused(store: MaildirStore) -> None:
    await deliver(store, MAIRIE, 1)
    inbox = await inbox_of(store)
    await inbox.store_flags([(1, 1)], add_keywords=[f"mot{number}" for number in range(64)])
    assert len((await all_rows(inbox))[0].keywords) == 64
    with pytest.raises(InvalidError):
        await inbox.store_flags([(1, 1)], add_keywords=["mot64"])
    await inbox.store_flags([(1, 1)], remove_keywords=["mot63"])
    assert len((await all_rows(inbox))[0].keywords) == 63


async def test_flags_reach_the_file_names_behind_the_answer(store: MaildirStore, data: Path) -> None:
    await deliver(store, MAIRIE, 1, Placement(keywords=("$A", "$B")))
    inbox = await inbox_of(store)
    await inbox.store_flags([(1, 1)], add=Flag.SEEN | Flag.ANSWERED, remove_keywords=["$A"])
    assert cur(data, MAIRIE)[0].name.endswith(":2,ab")
    await store.flush()
    assert cur(data, MAIRIE)[0].name.endswith(":2,RSb")
    file = await inbox.open((await all_rows(inbox))[0].uid)
    file.close()


async def test_letters_changed_by_hand_are_adopted(store: MaildirStore, data: Path) -> None:
    await deliver(store, MAIRIE, 1, Placement(flags=Flag.SEEN))
    inbox = await inbox_of(store)
    before = (await inbox.snapshot()).modseq
    (path,) = cur(data, MAIRIE)
    path.rename(path.with_name(path.name[:-1] + "FS"))
    by_hand(path.parent)
    assert (await inbox.snapshot()).modseq > before
    (row,) = await all_rows(inbox)
    assert row.flags == Flag.SEEN | Flag.FLAGGED


async def test_f159_flags_and_keywords_survive_the_loss_of_the_index(data: Path, clock: ManualClock) -> None:
    store = MaildirStore(data, clock=clock)
    await store.open()
    await _three(store)
    inbox = await inbox_of(store)
    words = [f"mot{number}" for number in range(40)]
    await inbox.store_flags([(1, 1)], add=Flag.SEEN, add_keywords=words)
    await inbox.store_flags([(2, 2)], add_keywords=["mot39"])
    await inbox.store_flags([(1, 1)], remove_keywords=["mot38"])
    await store.flush()
    before = [(row.uid, row.flags, row.keywords) for row in await all_rows(inbox)]
    # No clean stop: the process "dies" here, and the index goes with it.
    for path in (data / "domains").rglob("*index*"):
        path.unlink()
    again = MaildirStore(data, clock=clock)
    await again.open()
    rows = await all_rows(await inbox_of(again), EVERY)
    assert [(row.uid, row.flags, row.keywords) for row in rows] == before
    assert len(rows[0].keywords) == 39
    await again.close()
    await store.close()


async def test_ranges_may_end_past_the_highest_uid(store: MaildirStore) -> None:
    await _three(store)
    inbox = await inbox_of(store)
    for last in (3, 0xFFFFFFFF, 1 << 32, 1 << 70):
        assert [row.uid async for batch in inbox.rows([(2, last)], EVERY) for row in batch] == [2, 3]
        assert len((await inbox.store_flags([(2, last)], add=Flag.SEEN)).messages) == 2


async def test_a_change_over_many_rows_is_one_modseq(store: MaildirStore) -> None:
    account = await store.account(MAIRIE)
    await account.append([(content(number), Placement()) for number in range(1, 41)])
    inbox = await inbox_of(store)
    answer = await inbox.store_flags(WHOLE, add=Flag.SEEN)
    assert len(answer.messages) == 40
    assert len({row.modseq for row in answer.messages}) == 1


async def test_a_journal_of_keywords_alone_is_written_again_when_it_has_grown(
    store: MaildirStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "COMPACT_AT", 2000)
    words = tuple(f"mot{number}" for number in range(40))
    account = await store.account(MAIRIE)
    await account.append([(content(number), Placement("INBOX", keywords=words)) for number in range(1, 11)])
    inbox = await inbox_of(store)
    file = data / "domains/mairie.test/maire/beffroi-journal"
    sizes = []
    for turn in range(40):
        await inbox.store_flags([(1, 10)], remove_keywords=[words[30]] if turn % 2 else [], add_keywords=[words[31]])
        await inbox.store_flags([(1, 10)], add_keywords=[words[30]])
        await inbox.store_flags([(1, 10)], remove_keywords=[words[31 + turn % 5]])
        await store.flush()
        sizes.append(file.stat().st_size)
    assert max(sizes) < 2 * 2000
    shown = [row.keywords for row in await all_rows(inbox)]
    await store.rebuild(None)
    assert [row.keywords for row in await all_rows(inbox)] == shown


async def test_a_folder_that_is_gone_before_its_journal_was_looked_at(store: MaildirStore) -> None:
    words = tuple(f"mot{number}" for number in range(40))
    account = await store.account(MAIRIE)
    await account.create("A")
    await account.append([(content(1), Placement("A", keywords=words))])
    await account.delete("A")
    await store.flush()
    assert await store.verify(None) == []


async def test_scattered_rows_with_many_keywords_change_as_one_by_one(store: MaildirStore) -> None:
    """The statement that writes finds exactly the rows that the answer tells, the 64th keyword's sign bit included."""
    words = tuple(f"mot{number}" for number in range(64))
    account = await store.account(MAIRIE)
    placements = [Placement(keywords=words[number::3], flags=Flag(number % 4)) for number in range(12)]
    await account.append([(content(number), placement) for number, placement in enumerate(placements)])
    inbox = await inbox_of(store)
    before = {row.uid: row for row in await all_rows(inbox)}
    answer = await inbox.store_flags(
        [(1, 2), (5, 5), (7, 11)], add=Flag.SEEN, add_keywords=[words[63]], remove_keywords=[words[0], words[62]]
    )
    told = {row.uid: (row.flags, row.keywords, row.modseq) for row in answer.messages}
    for row in await all_rows(inbox):
        if row.uid in (1, 2, 5, 7, 8, 9, 10, 11):
            expected = (set(before[row.uid].keywords) | {words[63]}) - {words[0], words[62]}
            assert (row.flags, set(row.keywords)) == (before[row.uid].flags | Flag.SEEN, expected)
            assert told[row.uid] == (row.flags, row.keywords, row.modseq)
        else:
            assert row == before[row.uid]
    assert await store.verify(None) == []


class _SlowSync(FileSystem):
    """Syncs wait for `gate` while it is there."""

    gate: threading.Event | None = None

    def sync(self, fd: int) -> None:
        if self.gate is not None:
            assert self.gate.wait(30)
        super().sync(fd)


async def test_a_search_misses_nothing_while_letters_are_written(data: Path, clock: ManualClock) -> None:
    """Between the renaming of a batch and its commit the index tells names that are gone."""
    fs = _SlowSync()
    store = MaildirStore(data, clock=clock, fs=fs)
    await store.open()
    await _three(store)
    inbox = await inbox_of(store)
    await inbox.store_flags([(1, 3)], add=Flag.SEEN)
    gate = fs.gate = threading.Event()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(store.flush())
        while not all(path.name.endswith("S") for path in cur(data, MAIRIE)):
            await asyncio.sleep(0.01)
        search = group.create_task(inbox.search_text([(1, 3)], "bonjour", body_only=True))
        await asyncio.wait((search,), timeout=0.3)  # long enough for three looks in vain
        gate.set()
    assert await search == [1, 2, 3]
    await store.close()
