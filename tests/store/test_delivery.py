"""Staged once, delivered to several: what is answered, what is visible, what is left behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import NotFoundError, QuotaError
from message.content import BytesContent
from message.header import Field, Head, split
from store.fsops import FileSystem
from store.service import MaildirStore
from store.types import AccountRef, Appended, Column, Flag, Message, Placement, Uid
from tests.fakes.mail import content, mail
from tests.store.helpers import AUTRE, MAIRIE, VOISIN, all_rows, cur, deliver, inbox_of, read, refs_in_tmp


async def test_a_delivered_message_is_there_with_all_its_facts(store: MaildirStore, clock: ManualClock) -> None:
    prefix = b"Return-Path: <citoyen@exemple.test>\r\n"
    async with await store.stage(prefix, content(1), first=MAIRIE) as staged:
        appended = await staged.deliver(MAIRIE, Placement(flags=Flag.FLAGGED, keywords=("$Forwarded",)))
    account = await store.account(MAIRIE)
    inbox = await account.mailbox("INBOX")
    (message,) = await all_rows(inbox)
    assert (message.uid, appended.uid) == (1, 1)
    assert message.flags == Flag.FLAGGED
    assert message.keywords == ("$Forwarded",)
    assert message.internal_date == message.save_date == int(clock.now())
    assert message.size == len(prefix) + len(mail(1))
    assert message.modseq == appended.modseq
    assert message.email_id.startswith("M")
    assert message.thread_id.startswith("T")
    assert b"citoyen1" in message.envelope
    assert message.bodystructure.startswith(b'("text" "plain"')
    assert message.preview == "Bonjour 1"
    assert await read(inbox, 1) == prefix + mail(1)
    assert await account.usage() == (message.size, 1)


async def test_rewritten_headers_replace_the_skipped_ones(store: MaildirStore) -> None:
    original = content(1)
    async with await store.stage(b"Subject: neuf\r\n\r\n", original, first=MAIRIE, skip=len(original.head)) as staged:
        await staged.deliver(MAIRIE, Placement())
    inbox = await (await store.account(MAIRIE)).mailbox("INBOX")
    assert await read(inbox, 1) == b"Subject: neuf\r\n\r\nBonjour 1\r\n"


@pytest.mark.parametrize(
    "first", [b"Subject: neuf\r\n", b" suite\r\n", b"Subject: neuf\r\nX: " + b"x" * 300_000 + b"\r\n"]
)
async def test_a_header_given_as_its_fields_is_kept_as_its_octets_are(store: MaildirStore, first: bytes) -> None:
    """The second is a line that goes on: what was split alone is part of another field there."""
    original, top = content(1), Field(b"from", b"From: a@x.test\r\n", 5)
    found = split(first + b"\r\n")
    head = Head((top, *found.fields), found.rest, found.defects)
    for prefix in (head, bytes(head)):
        async with await store.stage(prefix, original, first=MAIRIE, skip=len(original.head)) as staged:
            await staged.deliver(MAIRIE, Placement())
    inbox = await (await store.account(MAIRIE)).mailbox("INBOX")
    assert await read(inbox, 1) == await read(inbox, 2) == bytes(head) + b"Bonjour 1\r\n"
    one, other = await all_rows(inbox)
    for column in ("envelope", "bodystructure", "preview", "size", "email_id"):
        assert getattr(one, column) == getattr(other, column)


async def test_f145_a_redelivery_answers_what_the_first_became(store: MaildirStore) -> None:
    placement = Placement(delivery_id="q1 maire@mairie.test")
    async with await store.stage(b"", content(1), first=MAIRIE) as staged:
        first = await staged.deliver(MAIRIE, placement)
        assert await staged.deliver(MAIRIE, placement) == first
    async with await store.stage(b"", content(1), first=MAIRIE) as staged:
        assert await staged.deliver(MAIRIE, placement) == first
    assert (await (await store.account(MAIRIE)).usage())[1] == 1


async def test_f145_a_redelivery_is_recognised_after_the_index_was_lost(data: Path, clock: ManualClock) -> None:
    placement = Placement(delivery_id="q1 maire@mairie.test")
    store = MaildirStore(data, clock=clock)
    await store.open()
    first = await deliver(store, MAIRIE, 1, placement)
    await store.close()
    for path in (data / "domains").rglob("*index*"):
        path.unlink()
    store = MaildirStore(data, clock=clock)
    await store.open()
    again = await deliver(store, MAIRIE, 1, placement)
    assert (again.uid, again.uidvalidity, again.folder_id) == (first.uid, first.uidvalidity, first.folder_id)
    assert (await (await store.account(MAIRIE)).usage())[1] == 1
    await store.close()


async def test_an_inode_is_shared_inside_an_organisation_and_never_between_two(store: MaildirStore, data: Path) -> None:
    async with await store.stage(b"", content(1), first=MAIRIE) as staged:
        for ref in (MAIRIE, VOISIN, AUTRE):
            await staged.deliver(ref, Placement())
    inodes = [cur(data, ref)[0].stat().st_ino for ref in (MAIRIE, VOISIN, AUTRE)]
    assert inodes[0] == inodes[1] != inodes[2]
    assert cur(data, MAIRIE)[0].stat().st_nlink == 2
    assert cur(data, AUTRE)[0].read_bytes() == mail(1)


class OldFileSystem(FileSystem):
    """NFS and CephFS make no nameless files."""

    def nameless(self, directory: int) -> int | None:
        return None


@pytest.mark.parametrize("fs", [FileSystem, OldFileSystem])
async def test_no_temporary_name_is_left_behind(data: Path, fs: type[FileSystem]) -> None:
    store = MaildirStore(data, fs=fs())
    await store.open()
    async with await store.stage(b"", content(1), first=MAIRIE) as staged:
        await staged.deliver(MAIRIE, Placement())
        await staged.deliver(AUTRE, Placement())
        assert refs_in_tmp(data) == (2 if fs is OldFileSystem else 0)
    assert refs_in_tmp(data) == 0
    assert await read(await inbox_of(store, AUTRE), 1) == mail(1)
    spool = store.spool(limit=10**6)
    await spool.write(b"x" * 300_000)
    assert list((data / "spool").iterdir()) == []
    await spool.close()
    assert await store.verify(None) == []
    await store.close()


async def test_a_date_of_its_own_is_the_file_s_time(store: MaildirStore, data: Path, clock: ManualClock) -> None:
    await deliver(store, MAIRIE, 1, Placement(internal_date=1_000_000_000.0))
    (path,) = cur(data, MAIRIE)
    assert path.stat().st_mtime == 1_000_000_000
    (message,) = await all_rows(await (await store.account(MAIRIE)).mailbox("INBOX"))
    assert (message.internal_date, message.save_date) == (1_000_000_000, int(clock.now()))


async def test_over_quota_is_refused_and_keeps_nothing(store: MaildirStore, data: Path) -> None:
    small = AccountRef("acc1", "org1", "mairie.test", "maire", quota=len(mail(1)) + 10)
    await deliver(store, small, 1)
    with pytest.raises(QuotaError):
        await deliver(store, small, 2)
    assert await (await store.account(small)).usage() == (len(mail(1)), 1)
    assert len(cur(data, small)) == 1


async def test_a_standard_folder_that_is_missing_is_made_and_others_are_not(store: MaildirStore) -> None:
    account = await store.account(MAIRIE)
    await account.delete("Junk")
    appended = await deliver(store, MAIRIE, 1, Placement(folder="Junk"))
    junk = await account.folder("Junk")
    assert junk is not None
    assert (junk.id, junk.special_use, junk.messages) == (appended.folder_id, "\\Junk", 1)
    with pytest.raises(NotFoundError):
        await deliver(store, MAIRIE, 2, Placement(folder="Inconnu"))


async def test_many_at_once_get_rising_uids_in_one_account(store: MaildirStore, data: Path) -> None:
    results = await asyncio.gather(*(deliver(store, MAIRIE, number) for number in range(1, 61)))
    assert sorted(item.uid for item in results) == list(range(1, 61))
    inbox = await (await store.account(MAIRIE)).mailbox("INBOX")
    by_uid = {item.uid: number for number, item in enumerate(results, 1)}
    for uid in (1, 17, 60):
        assert await read(inbox, uid) == mail(by_uid[Uid(uid)])
    assert len(cur(data, MAIRIE)) == 60


async def test_a_cancelled_caller_s_message_is_there_or_not_but_never_half(store: MaildirStore, data: Path) -> None:
    tasks = [asyncio.create_task(deliver(store, MAIRIE, number)) for number in range(1, 21)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results: Sequence[Appended | BaseException] = await asyncio.gather(*tasks, return_exceptions=True)
    done = [item for item in results if isinstance(item, Appended)]
    rows: list[Message] = await all_rows(await (await store.account(MAIRIE)).mailbox("INBOX"))
    assert {item.uid for item in done} <= {row.uid for row in rows}
    assert len(cur(data, MAIRIE)) == len(rows)
    assert refs_in_tmp(data) == 0


async def test_a_long_message_goes_through_the_spool_and_arrives_equal(store: MaildirStore) -> None:
    data = mail(1, size=3_000_000)
    spool = store.spool(limit=4_000_000, declared=len(data))
    for start in range(0, len(data), 100_000):
        await spool.write(data[start : start + 100_000])
    assert spool.size == len(data)
    async with await store.stage(b"Received: from x\r\n", spool.content(), first=MAIRIE) as staged:
        await staged.deliver(MAIRIE, Placement())
    await spool.close()
    await spool.close()
    inbox = await (await store.account(MAIRIE)).mailbox("INBOX")
    assert await read(inbox, 1) == b"Received: from x\r\n" + data
    (message,) = await all_rows(inbox, Column.STRUCTURE)
    assert message.bodystructure.startswith(b'("text" "plain"')


async def test_append_of_several_is_all_or_nothing(store: MaildirStore, data: Path) -> None:
    account = await store.account(MAIRIE)
    pairs = [(content(number), Placement(folder="Sent", internal_date=1e9 + number)) for number in (1, 2, 3)]
    assert [item.uid for item in await account.append(pairs)] == [1, 2, 3]
    with pytest.raises(NotFoundError):
        await account.append([(content(4), Placement(folder="Sent")), (content(5), Placement(folder="Nulle part"))])
    sent = await account.folder("Sent")
    assert sent is not None
    assert (sent.messages, sent.uidnext) == (3, 4)
    assert len(list((data / "domains/mairie.test/maire/.Sent/cur").iterdir())) == 3
    assert refs_in_tmp(data) == 0


async def test_h103_an_empty_message_is_a_message(store: MaildirStore) -> None:
    account = await store.account(MAIRIE)
    (appended,) = await account.append([(BytesContent(b""), Placement(internal_date=0.0))])
    inbox = await account.mailbox("INBOX")
    assert await read(inbox, appended.uid) == b""


async def test_threads_join_replies_with_what_they_answer(store: MaildirStore) -> None:
    await deliver(store, MAIRIE, 1)
    reply = mail(2, extra="In-Reply-To: <m1@exemple.test>\r\nReferences: <m1@exemple.test>\r\n")
    late = mail(3, extra="In-Reply-To: <m2@exemple.test>\r\n")
    account = await store.account(MAIRIE)
    await account.append([(BytesContent(reply), Placement()), (BytesContent(late), Placement())])
    await deliver(store, MAIRIE, 9)
    first, second, third, other = await all_rows(await account.mailbox("INBOX"))
    assert first.thread_id == second.thread_id == third.thread_id != other.thread_id


async def test_f163_a_clock_that_jumps_back_keeps_names_and_uids_apart(store: MaildirStore, clock: ManualClock) -> None:
    await deliver(store, MAIRIE, 1)
    clock.at -= 3 * 86400
    assert (await deliver(store, MAIRIE, 2)).uid == 2
    account = await store.account(MAIRIE)
    before = await account.create("Dossier")
    await account.delete("Dossier")
    clock.at -= 86400
    assert (await account.create("Dossier")).uidvalidity > before.uidvalidity


async def test_files_are_private(store: MaildirStore, data: Path) -> None:
    await deliver(store, MAIRIE, 1)
    for path in (data / "domains/mairie.test").rglob("*"):
        mode = path.stat().st_mode & 0o777
        assert mode & 0o077 == 0 or path.name.startswith("index"), path
    assert os.stat(data / "domains/mairie.test/maire").st_mode & 0o077 == 0


async def test_a_batch_given_over_to_a_thread_after_its_first_link_delivers_all(store: MaildirStore) -> None:
    """A nameless file that got a name and lost it again can get no other: its octets are written once more."""
    await deliver(store, MAIRIE, 1)
    await deliver(store, MAIRIE, 2)
    lost_thread = "In-Reply-To: <m1@exemple.test>\r\nReferences: <absent@exemple.test>\r\n"  # needs the journal
    staged = [
        await store.stage(b"", content(3), first=MAIRIE),
        await store.stage(b"", content(4, extra=lost_thread), first=MAIRIE),
    ]
    appended = await asyncio.gather(*(item.deliver(MAIRIE, Placement()) for item in staged))
    assert [int(item.uid) for item in appended] == [3, 4]
    inbox = await inbox_of(store)
    assert [await read(inbox, uid) for uid in (3, 4)] == [mail(3), mail(4, extra=lost_thread)]
    for item in staged:
        async with item:
            pass
    assert await store.verify(None) == []
