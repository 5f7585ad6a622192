"""EXPUNGE, COPY, MOVE: what goes, what stays, what other sessions learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.clock import ManualClock
from core.errors import NotFoundError, QuotaError
from store.service import MaildirStore
from store.types import AccountRef, Flag, Placement, Uid
from tests.fakes.mail import content, mail
from tests.store.helpers import MAIRIE, all_rows, cur, deliver, inbox_of, read


async def _fill(store: MaildirStore, count: int, **options: Any) -> None:
    account = await store.account(MAIRIE)
    await account.append([(content(number), Placement(**options)) for number in range(1, count + 1)])


async def test_expunge_takes_deleted_messages_within_the_uids(store: MaildirStore, data: Path) -> None:
    await _fill(store, 4)
    inbox = await inbox_of(store)
    await inbox.store_flags([(1, 3)], add=Flag.DELETED)
    answer = await inbox.expunge([(2, 4)])
    assert answer.vanished == (2, 3)
    assert [row.uid for row in await all_rows(inbox)] == [1, 4]
    assert (await inbox.expunge(None)).vanished == (1,)
    assert (await inbox.expunge(None)).vanished == ()
    assert (await (await store.account(MAIRIE)).usage()) == (len(mail(4)), 1)
    await store.flush()
    assert len(cur(data, MAIRIE)) == 1


async def test_expunge_of_any_message(store: MaildirStore) -> None:
    await _fill(store, 3)
    inbox = await inbox_of(store)
    assert (await inbox.expunge([(2, 2)], only_deleted=False)).vanished == (2,)
    folder = (await inbox.snapshot()).folder
    assert (folder.messages, folder.unseen, folder.deleted, folder.uidnext) == (2, 2, 0, 4)


async def test_another_session_learns_what_vanished_and_what_came(store: MaildirStore) -> None:
    await _fill(store, 3)
    inbox = await inbox_of(store)
    snapshot = await inbox.snapshot()
    await inbox.expunge([(2, 2)], only_deleted=False)
    await deliver(store, MAIRIE, 4)
    await inbox.store_flags([(3, 3)], add=Flag.SEEN)
    changes = await inbox.changes(snapshot.modseq, snapshot.uidnext)
    assert changes.vanished == (2,)
    assert [(row.uid, row.flags) for row in changes.messages] == [(3, Flag.SEEN), (4, Flag(0))]
    assert (changes.uidnext, changes.gone) == (5, False)
    assert (await inbox.changes(changes.modseq, changes.uidnext)).messages == ()


async def test_a_message_unknown_to_the_caller_does_not_vanish_for_it(store: MaildirStore) -> None:
    await _fill(store, 1)
    inbox = await inbox_of(store)
    snapshot = await inbox.snapshot()
    await deliver(store, MAIRIE, 2)
    await inbox.expunge([(2, 2)], only_deleted=False)
    assert (await inbox.changes(snapshot.modseq, snapshot.uidnext)).vanished == ()


async def test_the_map_of_a_snapshot_holds_what_was_expunged_since(store: MaildirStore) -> None:
    await _fill(store, 4)
    inbox = await inbox_of(store)
    await inbox.expunge([(1, 1)], only_deleted=False)
    snapshot = await inbox.snapshot()
    await inbox.expunge([(3, 3)], only_deleted=False)
    await deliver(store, MAIRIE, 5)
    assert list(await inbox.uids(snapshot)) == [2, 3, 4]
    assert snapshot.messages == 3


async def test_an_expunged_message_is_readable_until_its_file_goes(store: MaildirStore) -> None:
    await _fill(store, 1)
    inbox = await inbox_of(store)
    await inbox.expunge([(1, 1)], only_deleted=False)
    assert await read(inbox, 1) == mail(1)
    await store.flush()
    with pytest.raises(NotFoundError):
        await inbox.open(Uid(1))


async def test_copy_keeps_flags_keywords_dates_and_thread(store: MaildirStore, clock: ManualClock) -> None:
    await _fill(store, 3, flags=Flag.SEEN, keywords=("$B",), internal_date=1e9)
    inbox = await inbox_of(store)
    archive = await inbox_of(store, name="Archive")
    await (await store.account(MAIRIE)).append([(content(9), Placement("Archive", keywords=("$A",)))])
    clock.advance(100)
    copied = await inbox.copy([(1, 1), (3, 3), (7, 90)], "Archive")
    assert copied.pairs == ((1, 2), (3, 3))
    source, target = await all_rows(inbox), await all_rows(archive)
    assert len(source) == 3
    for old, new in ((source[0], target[1]), (source[2], target[2])):
        assert (new.flags, new.keywords, new.internal_date) == (Flag.SEEN, ("$B",), 1_000_000_000)
        assert (new.email_id, new.thread_id, new.envelope) == (old.email_id, old.thread_id, old.envelope)
        assert new.save_date == int(clock.now()) > old.save_date
    assert await read(archive, 3) == mail(3)
    assert (await archive.snapshot()).folder.size == len(mail(9)) + len(mail(1)) + len(mail(3))


async def test_copy_into_the_same_folder(store: MaildirStore) -> None:
    await _fill(store, 2)
    inbox = await inbox_of(store)
    assert (await inbox.copy([(1, 2)], "INBOX")).pairs == ((1, 3), (2, 4))
    assert await read(inbox, 4) == mail(2)


async def test_copy_to_nowhere_and_over_quota_changes_nothing(store: MaildirStore, data: Path) -> None:
    await _fill(store, 2)
    inbox = await inbox_of(store)
    with pytest.raises(NotFoundError):
        await inbox.copy([(1, 2)], "Inconnu")
    small = AccountRef("acc1", "org1", "mairie.test", "maire", quota=3 * len(mail(1)))
    with pytest.raises(QuotaError):
        await (await inbox_of(store, small)).copy([(1, 2)], "Archive")
    assert cur(data, MAIRIE, ".Archive") == []
    assert (await (await inbox_of(store, small)).move([(1, 2)], "Archive")).pairs == ((1, 1), (2, 2))


async def test_move_is_there_and_no_longer_here(store: MaildirStore, data: Path) -> None:
    await _fill(store, 3, flags=Flag.FLAGGED)
    inbox = await inbox_of(store)
    before = await inbox.snapshot()
    moved = await inbox.move([(2, 3)], "Trash")
    assert moved.pairs == ((2, 1), (3, 2))
    assert [row.uid for row in await all_rows(inbox)] == [1]
    assert (await inbox.changes(before.modseq, before.uidnext)).vanished == (2, 3)
    trash = await inbox_of(store, name="Trash")
    assert [row.flags for row in await all_rows(trash)] == [Flag.FLAGGED, Flag.FLAGGED]
    assert await read(trash, 2) == mail(3)
    assert (await (await store.account(MAIRIE)).usage())[1] == 3
    await store.flush()
    assert len(cur(data, MAIRIE)) == 1
    assert len(cur(data, MAIRIE, ".Trash")) == 2


async def test_f145_a_moved_delivery_is_still_recognised_without_an_index(data: Path, clock: ManualClock) -> None:
    store = MaildirStore(data, clock=clock)
    await store.open()
    placement = Placement(delivery_id="q1 maire")
    await deliver(store, MAIRIE, 1, placement)
    await (await inbox_of(store)).move([(1, 1)], "Trash")
    await store.close()
    for path in (data / "domains").rglob("*index*"):
        path.unlink()
    store = MaildirStore(data, clock=clock)
    await store.open()
    again = await deliver(store, MAIRIE, 1, placement)
    trash = await (await store.account(MAIRIE)).folder("Trash")
    assert trash is not None
    assert again.folder_id == trash.id
    await store.close()


async def test_a_message_whose_file_was_removed_by_hand_vanishes(store: MaildirStore, data: Path) -> None:
    await _fill(store, 3)
    inbox = await inbox_of(store)
    before = await inbox.snapshot()
    next(path for path in cur(data, MAIRIE) if "U=2," in path.name).unlink()
    with pytest.raises(NotFoundError):
        await inbox.open(Uid(2))
    changes = await inbox.changes(before.modseq, before.uidnext)
    assert changes.vanished == (2,)
    assert (await inbox.snapshot()).messages == 2


async def test_search_finds_text_in_header_and_body(store: MaildirStore) -> None:
    account = await store.account(MAIRIE)
    await account.append(
        [(content(1, body="La séance du conseil"), Placement()), (content(2, body="Rien"), Placement())]
    )
    inbox = await inbox_of(store)
    assert await inbox.search_text([(1, 9)], "CONSEIL", body_only=True) == [1]
    assert await inbox.search_text([(1, 9)], "demande", body_only=True) == []
    assert await inbox.search_text([(1, 9)], "demande", body_only=False) == [1, 2]
    assert await inbox.search_text([(2, 9)], "conseil", body_only=False) == []
