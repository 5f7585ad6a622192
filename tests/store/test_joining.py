"""A reply that comes while its account is read again belongs to the thread of the message that it answers, though that
one is not read yet; and a thread id that was told once is told for ever (RFC 8474 5.2).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from core.clock import ManualClock
from message.content import BytesContent
from store import joining, unscanned
from store.service import MaildirStore
from store.types import Column, Message, Placement
from tests.store.helpers import MAIRIE, all_rows, inbox_of
from tests.store.picture import delete, opened


def letter(name: str, answers: str = "", root: str = "") -> bytes:
    fields = f"In-Reply-To: <{answers}@x>\r\n" if answers else ""
    fields += f"References: <{root}@x>\r\n" if root else ""
    return f"Subject: s\r\nMessage-ID: <{name}@x>\r\n{fields}\r\nBonjour\r\n".encode()


async def put(store: MaildirStore, *letters: bytes, folder: str = "INBOX") -> None:
    account = await store.account(MAIRIE)
    await account.append([(BytesContent(each), Placement(folder=folder)) for each in letters])


async def threads(store: MaildirStore, folder: str = "INBOX") -> list[str]:
    return [row.thread_id for row in await all_rows(await inbox_of(store, name=folder), Column.IDS)]


async def lost(data: Path, clock: ManualClock, store: MaildirStore) -> MaildirStore:
    await store.close()
    delete(data)
    return await opened(data, clock)


async def walk(store: MaildirStore) -> None:
    entry = await store._open_accounts.use(MAIRIE)
    await store._filler._scan(store._open_accounts, entry)


@pytest.fixture
async def store(data: Path, clock: ManualClock) -> MaildirStore:
    """Its index is lost: a first message, one that answers it, one that answers that one and names no other; and one
    of its own."""
    store = await opened(data, clock)
    await put(store, letter("a"), letter("b", "a", "a"), letter("c", "b"), letter("z"))
    return await lost(data, clock, store)


@pytest.mark.parametrize("answered", ["b", "c"])
async def test_it_has_the_thread_of_what_it_answers(
    data: Path, clock: ManualClock, store: MaildirStore, answered: str
) -> None:
    """Cause: it began one of its own. "c" has a thread that its journal alone tells."""
    await put(store, letter("d", answered), letter("e", "d"))
    await walk(store)
    first = await threads(store)
    assert len(set(first)) == 2
    assert first[0] == first[1] == first[2] == first[4] == first[5] != first[3]
    store = await lost(data, clock, store)
    assert await threads(store) == first
    assert await store.rebuild(None) == 6
    assert await threads(store) == first
    assert await store.verify(None) == []
    await store.close()


async def test_who_asks_for_its_thread_has_the_account_read_first(store: MaildirStore) -> None:
    inbox = await inbox_of(store)
    await put(store, letter("d", "b"), folder="Sent")
    entry = await store._open_accounts.use(MAIRIE)
    assert len(await all_rows(await inbox_of(store, name="Sent"), Column.ENVELOPE)) == 1
    assert unscanned.count(entry.handle.reader) == 4
    told = await threads(store, "Sent")
    assert unscanned.count(entry.handle.reader) == 0
    assert told == [(await all_rows(inbox, Column.IDS))[0].thread_id]
    await walk(store)
    assert await threads(store, "Sent") == told
    await store.close()


async def test_many_of_one_command_wait_together(store: MaildirStore) -> None:
    await put(store, letter("d", "b"), *(letter(f"d{number}", "d") for number in range(8)))
    await walk(store)
    told = await threads(store)
    assert {told[0]} == set(told[4:])
    await store.close()


async def test_what_answers_nothing_waits_for_nothing(store: MaildirStore) -> None:
    await put(store, letter("d"))
    entry = await store._open_accounts.use(MAIRIE)
    assert not joining.some(entry.handle.reader)
    await put(store, letter("e", "d"))
    assert not joining.some(entry.handle.reader)  # what it answers is known
    assert unscanned.count(entry.handle.reader) == 4
    await store.close()


async def test_copies_and_moved_ones_have_it_too(data: Path, clock: ManualClock, store: MaildirStore) -> None:
    inbox = await inbox_of(store)
    await put(store, letter("d", "b"), letter("e", "d"))
    await inbox.copy(((5, 6),), "Archive")
    await inbox.move(((6, 6),), "Sent")
    await walk(store)
    told = set(await threads(store, "Archive")) | set(await threads(store, "Sent"))
    assert told == {(await threads(store))[0]}
    store = await lost(data, clock, store)
    assert set(await threads(store, "Archive")) | set(await threads(store, "Sent")) == told
    await store.close()


async def test_an_answer_to_nobody_here_has_the_thread_that_it_would_have_had(store: MaildirStore) -> None:
    await put(store, letter("d", "elsewhere"))
    told = (await threads(store))[4]
    await put(store, letter("f", "elsewhere"))
    assert (await threads(store))[5] == told
    rows: list[Message] = await all_rows(await inbox_of(store), Column.IDS)
    assert len({row.thread_id for row in rows}) == 3
    await store.close()


async def test_f159_what_was_told_stays_when_an_index_comes_back_in_which_it_waits(
    data: Path, clock: ManualClock, store: MaildirStore
) -> None:
    """A power loss may bring that index back, and what was answered may be gone by then."""
    await put(store, letter("d", "b"))
    inbox = await inbox_of(store)
    index = data / "domains/mairie.test/maire/index.db"
    handle = (await store._open_accounts.use(MAIRIE)).handle
    with handle.writer.durable():
        handle.writer.run("UPDATE state SET clean = 0")
    handle.writer.shrink()
    before = index.read_bytes()
    told = (await threads(store))[4]
    await inbox.expunge(((1, 3),), only_deleted=False)
    await store.close()
    index.write_bytes(before)
    store = await opened(data, clock, boot="another")
    assert await threads(store) == [(await threads(store))[0], told]
    await store.close()
