"""SORT, THREAD and field search on the real store, against the same answered by Python over the same messages."""

from __future__ import annotations

import random
from itertools import permutations

import pytest

from message.content import BytesContent
from store import sort
from store.recent import Recent
from store.service import MaildirStore
from store.store import Mailbox
from store.types import Flag, Placement, SortCriterion, SortKey, ThreadAlgorithm, ThreadNode
from tests.fakes.memory_mailbox import MemoryMailbox
from tests.store.helpers import MAIRIE, WHOLE, inbox_of

NAMES = ["Élodie <e@x.test>", "zoe@x.test", '"Al" <b@x.test>', "Amis: a@x.test;", ""]
SUBJECTS = ["Délib", "Re: Délib", "délib (fwd)", "Zone", "", "[x] Avis"]


def made(source: random.Random, number: int) -> bytes:
    lines = [f"Message-ID: <{number}@x>", f"Subject: {source.choice(SUBJECTS)}"]
    lines += [f"{field}: {source.choice(NAMES)}" for field in ("From", "To", "Cc")]
    if source.random() < 0.8:
        lines.append(f"Date: {source.randrange(1, 5)} Nov 2026 10:00:00 +0100")
    if number and source.random() < 0.6:
        lines.append("References: " + " ".join(f"<{source.randrange(number + 3)}@x>" for _ in range(2)))
    return ("\r\n".join(lines) + "\r\n\r\n" + "x" * source.randrange(9) + "\r\n").encode()


async def filled(store: MaildirStore, count: int) -> tuple[Mailbox, MemoryMailbox]:
    source, judge = random.Random(4), MemoryMailbox()
    account = await store.account(MAIRIE)
    items = []
    for number in range(count):
        octets, arrival = made(source, number), 1_700_000_000 + source.randrange(5)
        items.append((BytesContent(octets), Placement(internal_date=arrival)))
        judge.put(octets, internal_date=arrival)
    await account.append(items)
    return await inbox_of(store), judge


async def test_every_key_and_every_pair_of_keys(store: MaildirStore) -> None:
    inbox, judge = await filled(store, 24)
    uids = list(judge.messages)
    for keys in [*([key] for key in SortKey), *list(permutations(SortKey, 2))[::7]]:
        for reverse in (False, True):
            criteria = [SortCriterion(keys[0], reverse), *map(SortCriterion, keys[1:])]
            assert await inbox.sort(uids, criteria) == await judge.sort(uids, criteria), criteria


async def test_some_of_many_and_those_that_are_gone(store: MaildirStore) -> None:
    inbox, judge = await filled(store, 24)
    await inbox.expunge([(3, 3)], only_deleted=False)
    criteria = [SortCriterion(SortKey.SUBJECT)]
    for uids in ([1, 3, 5], [*range(1, 25), 99]):
        present = [uid for uid in uids if uid in judge.messages and uid != 3]
        assert await inbox.sort(uids, criteria) == await judge.sort(present, criteria)
        wanted = await judge.threads(present, ThreadAlgorithm.REFERENCES)
        assert await inbox.threads(uids, ThreadAlgorithm.REFERENCES) == wanted
    assert await inbox.sort([], criteria) == []
    assert await inbox.threads([], ThreadAlgorithm.REFERENCES) == []


@pytest.mark.parametrize("algorithm", ThreadAlgorithm)
async def test_threads_before_and_after_a_rebuild(store: MaildirStore, algorithm: ThreadAlgorithm) -> None:
    inbox, judge = await filled(store, 24)
    wanted = await judge.threads(list(judge.messages), algorithm)
    assert await inbox.threads(list(judge.messages), algorithm) == wanted
    await store.rebuild(None)
    assert await inbox.threads(list(judge.messages), algorithm) == wanted


async def test_copies_sort_as_their_originals(store: MaildirStore) -> None:
    inbox, judge = await filled(store, 12)
    await inbox.copy(WHOLE, "Archive")
    archive, criteria = await inbox_of(store, name="Archive"), [SortCriterion(SortKey.FROM)]
    assert await archive.sort(list(judge.messages), criteria) == await inbox.sort(list(judge.messages), criteria)


async def test_a_deep_thread_nests_without_recursion(store: MaildirStore) -> None:
    account = await store.account(MAIRIE)
    count = 1500
    items = [
        (BytesContent(f"Message-ID: <{n}@x>\r\nReferences: <{n - 1}@x>\r\n\r\n".encode()), Placement())
        for n in range(1, count + 1)
    ]
    await account.append(items)
    nodes = await (await inbox_of(store)).threads(range(1, count + 1), ThreadAlgorithm.REFERENCES)
    depth, node = 0, nodes[0]
    while node.children:
        (node,) = node.children
        depth += 1
    assert (len(nodes), depth) == (1, count - 1)
    assert isinstance(node, ThreadNode)


async def test_fields_are_searched_by_what_people_type(store: MaildirStore) -> None:
    inbox, judge = await filled(store, 24)
    for field, pattern in (
        ("FROM", "elodie"),
        ("Cc", "X.TEST"),
        ("subject", "délib"),
        ("TO", ""),
        ("BCC", ""),
        ("TO", "zz"),
    ):
        wanted = await judge.search_field(WHOLE, field, pattern)
        assert await inbox.search_field(WHOLE, field, pattern) == wanted
    assert await inbox.search_field([(2, 3), (7, 99)], "to", "") == [
        uid for uid in judge.messages if uid in (2, 3) or uid >= 7
    ]
    with pytest.raises(ValueError, match="X-Spam"):
        await inbox.search_field(WHOLE, "X-Spam", "yes")


async def test_what_was_asked_before_is_known_until_messages_come_or_go(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox, judge = await filled(store, 12)
    asked: list[int] = []
    real = sort.ordered

    def counting(db: object, row: object, uids: list[int], criteria: list[SortCriterion]) -> list[int]:
        asked.append(len(uids))
        return real(db, row, uids, criteria)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(sort, "ordered", counting)
    for criteria in ([SortCriterion(SortKey.DATE)], [SortCriterion(SortKey.DATE, reverse=True)]):
        uids, before = list(judge.messages), len(asked)
        for _ in range(2):
            assert await inbox.sort(uids, criteria) == await judge.sort(uids, criteria)
        await inbox.store_flags(WHOLE, add=Flag.SEEN)
        assert await inbox.sort(uids, criteria) == await judge.sort(uids, criteria)
        assert len(asked) == before + 1
        await inbox.sort(uids[1:], criteria)
        await inbox.expunge([(uids[0], uids[0])], only_deleted=False)
        judge.lose(uids[0])
        assert await inbox.sort(uids, criteria) == await judge.sort(uids, criteria)
        assert len(asked) == before + 3


def test_no_more_is_kept_than_was_allowed() -> None:
    recent = Recent(most=10)
    for number in range(5):
        recent.keep((number,), [1, 2, 3], (1,), number + 1)
        recent.keep((number,), [1, 2, 3, 4], (1,), number + 1)
    assert [recent.find((number,), [1, 2, 3, 4], (1,)) for number in range(5)] == [None, None, None, 4, 5]
    assert recent.find((4,), [1, 2, 3, 4], (2,)) is None
    assert recent.find((4,), [1, 2, 3], (1,)) is None
