"""Teaching rspamd: in order, bounded, and nothing that goes wrong with one message ends it."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from antispam import learn
from antispam.learn import Learner
from message.content import Content
from store.store import Mailbox
from store.types import Flag, Uid
from tests.fakes.memory_mailbox import MemoryMailbox


class Scanner:
    def __init__(self) -> None:
        self.learnt: list[tuple[str, bytes]] = []
        self.broken = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def learn_spam(self, content: Content) -> bool:
        return await self._learn("spam", content)

    async def learn_ham(self, content: Content) -> bool:
        return await self._learn("ham", content)

    async def _learn(self, kind: str, content: Content) -> bool:
        await self.gate.wait()
        if self.broken:
            raise RuntimeError("a bug")
        self.learnt.append((kind, content.read(0, content.size)))
        return True


def mailbox(*messages: bytes) -> Mailbox:
    made = MemoryMailbox()
    for raw in messages:
        made.put(raw, Flag(0), internal_date=0)
    return cast(Mailbox, made)


async def test_both_kinds_in_order_without_what_is_gone_or_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn, "LARGEST", 10)
    scanner = Scanner()
    learner = Learner(scanner)
    box = mailbox(b"one\r\n", b"x" * 11, b"two\r\n")
    learner.teach(box, [Uid(1), Uid(2), Uid(99)], spam=True)
    learner.teach(box, [Uid(3)], spam=False)
    async with asyncio.timeout(20):
        await learner.settled()
    assert scanner.learnt == [("spam", b"one\r\n"), ("ham", b"two\r\n")]
    await learner.close()


async def test_a_full_queue_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn, "WAITING", 2)
    scanner = Scanner()
    scanner.gate.clear()
    learner = Learner(scanner)
    box = mailbox(b"a\r\n", b"b\r\n", b"c\r\n")
    learner.teach(box, [Uid(1), Uid(2), Uid(3)], spam=True)
    scanner.gate.set()
    async with asyncio.timeout(20):
        await learner.settled()
    assert len(scanner.learnt) == 2
    await learner.close()


async def test_a_bug_costs_one_message_and_a_reload_changes_the_scanner() -> None:
    broken, sound = Scanner(), Scanner()
    broken.broken = True
    learner = Learner(broken)
    box = mailbox(b"a\r\n")
    learner.teach(box, [Uid(1)], spam=True)
    async with asyncio.timeout(20):
        await learner.settled()
    learner.use(sound)
    learner.teach(box, [Uid(1)], spam=True)
    async with asyncio.timeout(20):
        await learner.settled()
    assert sound.learnt == [("spam", b"a\r\n")]
    await learner.close()
