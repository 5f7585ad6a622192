"""Delivery on the real store: what was answered 250 is in the Maildirs, exactly, and once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from core.config import Limits
from core.errors import TemporaryError
from core.ids import RandomIds
from core.status import refused
from delivery.types import Job, Result, ResultKind
from directory.service import SqlDirectory
from migrations.runner import upgrade
from store import custody
from store.service import MaildirStore, initialise
from store.types import AccountRef, Column
from tests.delivery.conftest import HOST, World
from tests.delivery.queue_alone import watch
from tests.delivery.runner import empty, running, until
from tests.directory.helpers import commune, mailbox
from tests.fakes.delivery_world import delivered

KEPT_AND_READ = ("postmaster+kept", "postmaster")
MAIL = b"From: a@sender.test\r\nTo: maire@ville.test\r\nSubject: Bonjour\r\n\r\nUn texte.\r\n"


@pytest.fixture
async def real(tmp_path: Path, world: World) -> AsyncIterator[World]:
    initialise(tmp_path)
    store = MaildirStore(tmp_path, clock=world.clock)
    await store.open()
    world.store = store
    world.committer._store = store
    yield world
    await store.close()


async def messages(world: World, address: str, folder: str = "INBOX") -> list[bytes]:
    account = await world.store.account(AccountRef.of(world.directory.accounts[address]))
    mailbox = await account.mailbox(folder)
    found = []
    async for batch in mailbox.rows([(1, 2**32 - 1)], Column.NONE):
        for row in batch:
            file = await mailbox.open(row.uid)
            found.append(await file.read(0, file.size))
            file.close()
    return found


async def test_a_text_that_is_not_what_its_charset_says_is_delivered_all_the_same(real: World) -> None:
    mail = MAIL.replace(b"\r\n\r\n", b"\r\nContent-Type: text/plain; charset=utf-16\r\n\r\n")
    assert (await real.send(real.inbound(), mail, "maire@ville.test")).ok
    assert len(await messages(real, "maire@ville.test")) == 1


async def test_one_message_to_three_mailboxes_of_two_communes(real: World) -> None:
    status = await real.send(real.inbound(), MAIL, "maire@ville.test", "agent@ville.test", "voisin@bourg.test")
    assert status.ok
    copies = [await messages(real, name) for name in ("maire@ville.test", "agent@ville.test", "voisin@bourg.test")]
    assert [len(copy) for copy in copies] == [1, 1, 1]
    assert len({copy[0] for copy in copies}) == 1
    assert copies[0][0].startswith(b"Return-Path: <a@sender.test>\r\nReceived: ")
    assert copies[0][0].endswith(MAIL)


async def test_a_large_message_goes_through_the_spool_file_byte_for_byte(real: World) -> None:
    body = bytes(range(32, 127)) * 10 + b"\r\n"
    large = MAIL + body * 2000
    real.directory.alias("conseil@ville.test", "maire@ville.test", "elu@ailleurs.test")
    assert (await real.send(real.inbound(), large, "conseil@ville.test", block=65536)).ok
    [stored] = await messages(real, "maire@ville.test")
    assert stored.endswith(large)
    async with running(real.scheduler()):
        sent: list[bytes] = []

        def answer(job: Job) -> list[Result]:
            sent.append(job.content.head + job.content.read(len(job.content.head), job.content.size))
            return delivered(job)

        real.remote.answer = answer
        await until(lambda: empty(real))
    assert sent[0].endswith(large)


async def test_junk_lands_in_the_junk_folder(real: World) -> None:
    assert (await real.send(real.inbound(), b"Subject: no author\r\n\r\nx\r\n", "maire@ville.test")).ok
    assert len(await messages(real, "maire@ville.test", "Junk")) == 1
    assert await messages(real, "maire@ville.test") == []


async def test_f145_a_redelivery_after_a_lost_result_is_recognised(
    real: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("delivery.commit.AGAIN", 0.1)
    monkeypatch.setattr("delivery.commit.PAUSE", 0.01)
    real.directory.alias("conseil@ville.test", "maire@ville.test", "elu@ailleurs.test")

    async def lost(*_args: object) -> Any:
        raise TemporaryError("busy")

    apply, real.queue.apply = real.queue.apply, lost  # type: ignore[method-assign,assignment]  # a fault
    assert (await real.send(real.inbound(), MAIL, "conseil@ville.test")).ok
    real.queue.apply = apply  # type: ignore[method-assign]  # healed
    runner = real.another_queue()
    await runner.open()
    await watch(runner, real.clock, 615)
    async with running(real.scheduler(runner)):
        await until(lambda: empty(real))
    await runner.close()
    assert len(await messages(real, "maire@ville.test")) == 1
    assert len(real.remote.jobs) == 1


async def test_a_bounce_lands_in_the_mailbox_of_its_sender(real: World) -> None:
    gone = refused("no such user", "remote-refused", "5.1.1")
    real.remote.answer = lambda job: [Result(item.id, ResultKind.FAILED, gone, "mx") for item in job.recipients]
    mail = MAIL.replace(b"a@sender.test", b"maire@ville.test")
    sent = await real.send(real.submission(), mail, "x@far.test", sender="maire@ville.test", account="maire@ville.test")
    assert sent.ok
    async with running(real.scheduler()):
        await until(lambda: empty(real))
    [report] = await messages(real, "maire@ville.test")
    assert b"Action: failed" in report


async def test_h056_postmasters_mail_is_kept_before_anybody_reads_it(real: World, tmp_path: Path) -> None:
    """Nobody has named a reader yet: the mail lies under this host's name, is no orphan, and is bounded."""
    url = f"sqlite:///{tmp_path / 'directory.db'}"
    await asyncio.to_thread(upgrade, url)
    limits = Limits(postmaster_mailbox=1000)
    directory = await SqlDirectory.open(url, clock=real.clock, ids=RandomIds(), limits=limits, hostname=HOST)
    try:
        real.directory = directory
        assert (await real.send(real.inbound(), MAIL, f"postmaster@{HOST}")).ok
        [kept] = [file.read_bytes() for file in (tmp_path / "domains" / HOST / "postmaster+kept" / "cur").iterdir()]
        assert kept.endswith(MAIL)
        assert await custody.compare(directory, real.store, None) == []
        status = await real.send(real.inbound(), MAIL + b"x" * 2000 + b"\r\n", f"abuse@{HOST}")
        assert (status.code, status.enhanced) == (452, "4.2.2")
    finally:
        await directory.close()


async def test_h056_a_mailbox_postmaster_under_this_hosts_name_is_made_after_mail_was_kept_for_it(
    real: World, tmp_path: Path
) -> None:
    """The kept mail lay where the mailbox belongs, which then belonged to somebody else for ever: every message to it
    was put off, and nobody could log into it."""
    url = f"sqlite:///{tmp_path / 'directory.db'}"
    await asyncio.to_thread(upgrade, url)
    directory = await SqlDirectory.open(url, clock=real.clock, ids=RandomIds(), limits=Limits(), hostname=HOST)
    try:
        real.directory = directory
        assert (await real.send(real.inbound(), MAIL, f"postmaster@{HOST}")).ok
        await commune(directory, "Brou", HOST)
        await mailbox(directory, f"postmaster@{HOST}")
        assert (await real.send(real.inbound(), MAIL, f"postmaster@{HOST}")).ok
        files = {name: list((tmp_path / "domains" / HOST / name / "cur").iterdir()) for name in KEPT_AND_READ}
        assert [len(found) for found in files.values()] == [1, 1]
    finally:
        await directory.close()
