"""What a move into or out of Junk teaches the filter, and that it never disturbs the move."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from imap.junk import lesson
from store.store import Mailbox
from store.types import Uid
from tests.fakes.imap_world import World

MAIL = b"Subject: one\r\n\r\nbody\r\n"


class Teacher:
    def __init__(self) -> None:
        self.taught: list[tuple[str, list[int], bool]] = []

    def teach(self, mailbox: Mailbox, uids: Sequence[Uid], *, spam: bool) -> None:
        self.taught.append((mailbox.folder_id, [int(uid) for uid in uids], spam))


@pytest.mark.parametrize(
    ("source", "target", "spam"),
    [
        ("", "\\Junk", True), ("\\Trash", "\\Junk", True), ("\\Junk", "\\Junk", None), ("\\Junk", "\\Trash", None),
        ("\\Junk", "", False), ("\\Junk", "\\Archive", False), ("", "", None), ("\\Sent", "\\Trash", None),
    ],
)  # fmt: skip
def test_which_moves_mean_something(source: str, target: str, spam: bool | None) -> None:
    assert lesson(source, target) is spam


async def test_moves_and_copies_teach_where_the_message_lies_now() -> None:
    teacher = Teacher()
    async with World(teacher=teacher) as world:
        account = await world.account()
        for _ in range(3):
            account.deliver(MAIL)
        client = await world.login()
        await client.ok(b"SELECT INBOX")
        await client.ok(b"MOVE 1:2 Junk")
        await client.ok(b"UID COPY 3 Junk")  # how clients without MOVE do it
        await client.ok(b"COPY 1 Archive")
        await client.ok(b"UID MOVE 77 Junk")
        await client.ok(b"SELECT Junk")
        await client.ok(b"MOVE 1 INBOX")
        await client.ok(b"MOVE 1 Trash")
        junk, inbox = account.boxes["Junk"].id, account.boxes["INBOX"].id
        assert teacher.taught == [(junk, [1, 2], True), (junk, [3], True), (inbox, [4], False)]
