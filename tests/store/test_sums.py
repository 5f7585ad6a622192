"""The ceiling of an organisation: what its accounts hold together, over folders, domains and processes."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import QuotaError
from store.fsops import FileSystem
from store.service import MaildirStore
from store.sums import KEPT, Sums
from store.types import AccountRef, Placement, Uid
from tests.fakes.mail import content, mail
from tests.store.helpers import AUTRE, MAIRIE, VOISIN, deliver, inbox_of

ONE = len(mail(1))


def bounded(ref: AccountRef, messages: float) -> AccountRef:
    return replace(ref, organisation_quota=int(messages * ONE))


def fresh(store: MaildirStore) -> None:
    """The sums are asked for anew, as after `KEPT` seconds."""
    store._open_accounts.sums._until = 0.0


async def test_all_accounts_of_an_organisation_share_its_ceiling(store: MaildirStore) -> None:
    far = AccountRef("acc7", "org1", "annexe.test", "maire")
    for ref, number in ((MAIRIE, 1), (VOISIN, 2), (far, 3), (AUTRE, 4)):
        await deliver(store, ref, number)
    await store.flush()
    assert await store.administration.organisation_octets("org1") == sum(len(mail(n)) for n in (1, 2, 3))
    assert await store.administration.organisation_octets("org9") == 0
    assert (await deliver(store, bounded(VOISIN, 4), 5)).uid == 2
    await store.flush()
    fresh(store)
    full = bounded(MAIRIE, 4.5)
    account, inbox = await store.account(full), await inbox_of(store, full)
    for step in (
        deliver(store, full, 6),
        account.append([(content(6), Placement())]),
        inbox.copy([(1, 1)], "Archive"),
        inbox.replace(Uid(1), content(7, size=2 * ONE), Placement()),
    ):
        with pytest.raises(QuotaError, match="organisation"):
            await step
    assert (await inbox.replace(Uid(1), content(8), Placement())).uid == 2
    assert (await inbox.move([(2, 2)], "Archive")).pairs == ((2, 1),)
    assert await account.organisation_usage() == sum(len(mail(n)) for n in (1, 2, 3, 5))
    assert await (await store.account(MAIRIE)).organisation_usage() == 0
    assert (await deliver(store, bounded(AUTRE, 2.5), 9)).uid == 2


async def test_room_that_became_free_counts_after_the_next_sum(store: MaildirStore) -> None:
    for number in (1, 2):
        await deliver(store, VOISIN, number)
    full = bounded(MAIRIE, 2.5)
    with pytest.raises(QuotaError):
        await deliver(store, full, 3)
    await (await inbox_of(store, VOISIN)).expunge(None, only_deleted=False)
    await store.flush()
    fresh(store)
    assert (await deliver(store, full, 3)).uid == 1


async def test_another_process_s_mail_is_counted(store: MaildirStore, data: Path, clock: ManualClock) -> None:
    other = MaildirStore(data, clock=clock)
    await other.open()
    await deliver(other, VOISIN, 1)
    await other.flush()
    assert await store.administration.organisation_octets("org1") == ONE
    await deliver(other, VOISIN, 2)
    fresh(store)
    assert await store.administration.organisation_octets("org1") == ONE + len(mail(2))  # told with its commit
    await other.close()
    fresh(store)
    assert await store.administration.organisation_octets("org1") == ONE + len(mail(2))


async def test_a_sum_is_at_most_five_seconds_late(store: MaildirStore, data: Path, clock: ManualClock) -> None:
    """As long as a sum is believed; on a machine that has time."""
    assert KEPT < 5
    other = MaildirStore(data, clock=clock)
    await other.open()
    await deliver(other, VOISIN, 1)
    async with asyncio.timeout(20):
        while await store.administration.organisation_octets("org1") != ONE:
            await asyncio.sleep(0.02)
    await deliver(other, VOISIN, 2)
    async with asyncio.timeout(20):
        while await store.administration.organisation_octets("org1") == ONE:
            await asyncio.sleep(0.02)
    await other.close()


async def test_an_account_that_never_published_is_measured_once(store: MaildirStore, data: Path) -> None:
    await deliver(store, MAIRIE, 1)
    await store.flush()
    lock = data / "domains/mairie.test/maire/beffroi.lock"
    with lock.open("r+b") as file:
        file.truncate(256)
    assert await store.administration.organisation_octets("org1") == ONE
    assert lock.stat().st_size > 256


async def test_one_reading_serves_all_who_ask_at_once(tmp_path: Path) -> None:
    asked: list[int] = []

    class Counting(FileSystem):
        def names(self, directory: int) -> list[str]:
            asked.append(directory)
            return super().names(directory)

    fs = Counting()
    root = fs.open_root(str(tmp_path))
    with ThreadPoolExecutor(1) as pool:
        sums = Sums(fs, root, pool, lambda _: 0, kept=3600)
        assert await asyncio.gather(*(sums.used("o") for _ in range(20))) == [0] * 20
        assert await sums.used("o") == 0
    assert len(asked) == 1
    fs.close(root)
