"""Logins: right, wrong, suspended, malformed, many at once, too many; and what is remembered of them."""

from __future__ import annotations

import asyncio
import statistics
import time

import pytest
from argon2 import PasswordHasher

from core.clock import ManualClock
from core.config import Limits
from core.errors import TemporaryError
from core.log import Secret
from directory import attempts as attempts_module
from directory.passwords import DUMMY, hasher, valid_hash
from directory.service import SqlDirectory
from directory.throttle import Tier
from directory.types import ImportRow, LoggedIn, LoginRefused, LoginUnavailable
from directory.verified import Proofs
from tests.directory.desk import ANNE, BAD, Desk
from tests.directory.helpers import CONSOLE, GOOD, LOCAL, OPERATOR, at, commune, mailbox


async def test_the_right_password_opens_and_the_second_time_costs_no_hash(desk: Desk) -> None:
    for identity in (ANNE, "ANNE@Brou.TEST", ANNE):
        assert isinstance(await desk.try_(identity, GOOD.reveal()), LoggedIn)
    assert len(desk.hashed) == 1


async def test_on_postgresql_too(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    anne = await mailbox(both, ANNE, GOOD)
    answer = await both.login(ANNE, GOOD, protocol="imap", remote=LOCAL)
    assert isinstance(answer, LoggedIn)
    assert answer.account == anne
    assert await both.login(ANNE, Secret("x"), protocol="imap", remote=LOCAL) == BAD


@pytest.mark.parametrize(
    "identity",
    ["paul@brou.test", "anne@other.test", "anne", "", "anne@brou.test\0", "anne+x@brou.test", "' OR 1=1 --", "*",
     "%@brou.test", "anne*master@brou.test", "an\ud800ne@brou.test", "x" * 100_000, '"anne"@brou.test\r\n'],
)  # fmt: skip
async def test_h108_odd_and_unknown_names_look_like_a_wrong_password(desk: Desk, identity: str) -> None:
    assert await desk.try_(identity, GOOD.reveal()) == BAD


async def test_unknown_users_take_a_hash_like_known_ones(desk: Desk) -> None:
    await desk.try_("paul@brou.test", "wrong")
    assert desk.hashed == [DUMMY]


async def test_h055_time_tells_nothing_of_who_exists(desk: Desk) -> None:
    """The same statement, the same hash parameters; medians of interleaved tries on a machine that has other work."""
    known: list[float] = []
    unknown: list[float] = []
    for number in range(15):
        for identity, times in ((ANNE, known), ("paul@brou.test", unknown)):
            begin = time.perf_counter()
            await desk.try_(identity, f"wrong {number}")
            times.append(time.perf_counter() - begin)
    assert not hasher().check_needs_rehash(DUMMY)
    assert 0.6 < statistics.median(known) / statistics.median(unknown) < 1.67


async def test_h117_a_changed_password_counts_at_once(desk: Desk, directory: SqlDirectory) -> None:
    assert isinstance(await desk.try_(ANNE, GOOD.reveal()), LoggedIn)
    await directory.set_password(OPERATOR, at(ANNE), Secret("un autre mot long"))
    assert await desk.try_(ANNE, GOOD.reveal()) == BAD
    assert isinstance(await desk.try_(ANNE, "un autre mot long"), LoggedIn)


async def test_h117_a_login_is_over_with_its_password_its_account_and_its_commune(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    await mailbox(both, ANNE, GOOD)
    changes = (
        lambda: both.set_password(OPERATOR, at(ANNE), GOOD),
        lambda: both.suspend(OPERATOR, at(ANNE)),
        lambda: both.suspend_organisation(OPERATOR, "Brou"),
        lambda: both.remove_account(OPERATOR, at(ANNE)),
    )
    for change in changes:
        login = await both.login(ANNE, GOOD, protocol="imap", remote=LOCAL)
        assert isinstance(login, LoggedIn)
        version = await both.version()
        assert await both.still_open(login)
        assert await both.version() == version
        await change()
        assert not await both.still_open(login)
        assert await both.version() > version
        await both.resume_organisation(OPERATOR, "Brou")
        if change is not changes[-1]:
            await both.resume(OPERATOR, at(ANNE))


async def test_h117_a_hash_made_again_for_the_same_password_ends_no_login(desk: Desk, directory: SqlDirectory) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash("vieux secret")
    rows = [ImportRow(1, "paul@brou.test", Secret(old))]
    assert [result.error async for result in directory.import_accounts(CONSOLE, rows, dry_run=False)] == [""]
    login = await desk.try_("paul@brou.test", "vieux secret")
    assert isinstance(login, LoggedIn)
    assert await directory.still_open(login)


async def test_h117_a_suspension_counts_at_once_and_is_told_only_to_who_knows_the_password(
    desk: Desk, directory: SqlDirectory
) -> None:
    assert isinstance(await desk.try_(ANNE, GOOD.reveal()), LoggedIn)
    await directory.suspend(OPERATOR, at(ANNE))
    assert await desk.try_(ANNE, GOOD.reveal()) == LoginRefused("suspended")
    assert await desk.try_(ANNE, "wrong") == BAD
    await directory.resume(OPERATOR, at(ANNE))
    await directory.suspend_organisation(OPERATOR, "Brou")
    assert await desk.try_(ANNE, GOOD.reveal()) == LoginRefused("suspended")


async def test_h117_a_password_changed_while_it_is_checked_does_not_open(desk: Desk, directory: SqlDirectory) -> None:
    verify = desk.passwords.verify

    async def slow(stored: str, text: str) -> bool:
        right = await verify(stored, text)
        await directory.set_password(OPERATOR, at(ANNE), Secret("un autre mot long"))
        return right

    desk.passwords.verify = slow  # type: ignore[method-assign]  # changes the password meanwhile
    assert await desk.try_(ANNE, GOOD.reveal()) == BAD


async def test_a_mailbox_without_password_cannot_be_opened(desk: Desk, directory: SqlDirectory) -> None:
    await mailbox(directory, "vide@brou.test")
    assert await desk.try_("vide@brou.test", "x") == BAD
    assert desk.hashed == [DUMMY]


async def test_h114_the_same_wrong_password_counts_once(desk: Desk) -> None:
    for _ in range(50):
        assert await desk.try_(ANNE, "old password") == BAD
    assert len(desk.hashed) == 1
    assert await desk.try_(ANNE, GOOD.reveal(), remote="192.0.2.1") != BAD
    assert desk.waits == [0.0, 0.0]


async def test_h113_each_new_wrong_password_makes_the_next_wait_longer_and_none_locks(desk: Desk) -> None:
    for number in range(7):
        assert await desk.try_(ANNE, f"guess {number}") == BAD
    assert desk.waits == [0.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
    assert isinstance(await desk.try_(ANNE, GOOD.reveal()), LoggedIn)
    assert await desk.try_(ANNE, "guess again") == BAD
    assert desk.waits[-2:] == [15.0, 0.0]  # the success forgave


async def test_h113_a_known_device_is_not_slowed_by_strangers(desk: Desk) -> None:
    assert isinstance(await desk.try_(ANNE, GOOD.reveal(), remote="192.0.2.7"), LoggedIn)
    desk.login._attempts.throttle._accounts.tier = Tier("account", free=5, memory=3600.0)
    for number in range(10):
        await desk.try_(ANNE, f"guess {number}", remote=f"198.51.100.{number}")
    assert desk.waits[-1] == 15.0
    desk.waits.clear()
    assert isinstance(await desk.try_(ANNE, GOOD.reveal(), protocol="smtp", remote="192.0.2.7"), LoggedIn)
    assert desk.waits == [0.0]


async def test_exempt_networks_are_never_delayed(desk: Desk) -> None:
    for number in range(5):
        await desk.try_(ANNE, f"guess {number}", remote="10.9.1.1")
    assert set(desk.waits) == {0.0}


async def test_h116_equal_logins_at_once_share_one_hash(desk: Desk) -> None:
    results = await asyncio.gather(*(desk.try_(ANNE, GOOD.reveal()) for _ in range(200)))
    assert all(isinstance(result, LoggedIn) for result in results)
    assert len(desk.hashed) == 1


async def test_h116_a_flood_of_logins_is_answered_and_the_loop_lives(
    directory: SqlDirectory, sqlite_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("directory.passwords.PATIENCE", 60.0)  # a loaded machine needs long for 64 hashes
    desk = Desk(sqlite_url, clock, Limits(concurrent_hashes=1))
    await commune(directory, "Brou", "brou.test")
    await mailbox(directory, ANNE, GOOD)
    pauses: list[float] = []

    async def watch() -> None:
        while True:
            begin = time.monotonic()
            await asyncio.sleep(0.01)
            pauses.append(time.monotonic() - begin)

    watcher = asyncio.create_task(watch())
    results = await asyncio.gather(*(desk.try_(f"u{n}@brou.test", "x", remote=f"192.0.2.{n}") for n in range(150)))
    watcher.cancel()
    assert results.count(LoginUnavailable()) > 0  # past 64 in line for one thread
    assert results.count(BAD) > 60
    assert set(results) == {LoginUnavailable(), BAD}
    assert max(pauses) < 2.0
    assert isinstance(await desk.try_(ANNE, GOOD.reveal()), LoggedIn)
    await desk.close()


async def test_one_remote_guesses_only_a_few_at_once(desk: Desk) -> None:
    gate = asyncio.Event()
    verify = desk.passwords.verify

    async def held(stored: str, text: str) -> bool:
        await gate.wait()
        return await verify(stored, text)

    desk.passwords.verify = held  # type: ignore[method-assign]  # until all have asked
    tries = [asyncio.create_task(desk.try_(ANNE, f"guess {number}")) for number in range(20)]
    async with asyncio.timeout(20):
        while sum(task.done() for task in tries) < 20 - attempts_module.ATTEMPTS_AT_ONCE:
            await asyncio.sleep(0.01)
    gate.set()
    results = await asyncio.gather(*tries)
    assert results.count(LoginRefused("throttled")) == 20 - attempts_module.ATTEMPTS_AT_ONCE
    assert results.count(BAD) == len(desk.hashed) == attempts_module.ATTEMPTS_AT_ONCE


async def test_a_client_that_leaves_takes_no_other_with_it(desk: Desk) -> None:
    leaving = asyncio.create_task(desk.try_(ANNE, GOOD.reveal()))
    staying = asyncio.create_task(desk.try_(ANNE, GOOD.reveal()))
    while not desk.hashed:
        await asyncio.sleep(0)
    leaving.cancel()
    assert isinstance(await staying, LoggedIn)
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_closing_answers_who_waits(desk: Desk) -> None:
    waiting = asyncio.create_task(desk.try_(ANNE, GOOD.reveal()))
    while not desk.hashed:
        await asyncio.sleep(0)
    await desk.login.close()
    assert await waiting == LoginUnavailable()


async def test_without_a_database_nobody_is_refused_as_wrong(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(key: str) -> None:
        raise TemporaryError("away")

    monkeypatch.setattr(desk.login._lookups, "opening", away)
    assert await desk.try_(ANNE, GOOD.reveal()) == LoginUnavailable()


async def test_an_old_hash_is_made_again_at_login(desk: Desk, directory: SqlDirectory) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash("vieux secret")
    rows = [ImportRow(1, "paul@brou.test", Secret(old))]
    assert [result.error async for result in directory.import_accounts(CONSOLE, rows, dry_run=False)] == [""]
    for _ in range(2):
        assert isinstance(await desk.try_("paul@brou.test", "vieux secret"), LoggedIn)
    assert await desk.try_("paul@brou.test", "wrong") == BAD
    assert [stored == old for stored in desk.hashed] == [True, False]
    assert "m=19456,t=2,p=1" in desk.hashed[1]


def test_h118_a_proof_belongs_to_one_account_protocol_and_hash() -> None:
    proofs = Proofs(b"k" * 32, ManualClock())
    ways = {
        proofs.of(*parts)
        for parts in (
            ("a@b.test", "imap", "h", "pw"),
            ("a@c.test", "imap", "h", "pw"),
            ("a@b.test", "smtp", "h", "pw"),
            ("a@b.test", "imap", "i", "pw"),
            ("a@b.test", "imap", "h", "pv"),
            ("a@b.test", "imaph", "", "pw"),
            ("a@b.testimap", "", "h", "pw"),
        )
    }
    assert len(ways) == 7
    assert proofs.of("a", "b", "c", "d") != Proofs(b"l" * 32, ManualClock()).of("a", "b", "c", "d")


def test_proofs_end_after_ten_minutes_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("directory.verified.MAX_RIGHT", 3)
    clock = ManualClock()
    proofs = Proofs(b"k" * 32, clock)
    for number in range(5):
        proofs.keep_right(b"%d" % number)
    assert [proofs.is_right(b"%d" % number) for number in range(5)] == [False, False, True, True, True]
    clock.advance(600)
    assert not proofs.is_right(b"4")


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash("x", salt=b"a fixed salt 123"), True),
        ("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$" + "A" * 43, True),
        ("$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$" + "A" * 43, False),
        ("$argon2id$v=19$m=19456,t=99,p=1$c29tZXNhbHRzb21lc2FsdA$" + "A" * 43, False),
        ("$argon2id$v=19$m=19456,t=0,p=1$c29tZXNhbHRzb21lc2FsdA$" + "A" * 43, False),
        ("$argon2i$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$" + "A" * 43, False),
        ("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA", False),
        ("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$" + "A" * 43 + "\n", False),
        ("", False),
    ],
)  # fmt: skip
def test_hashes_from_elsewhere_are_checked(text: str, good: bool) -> None:
    assert valid_hash(text) is good


async def test_nothing_of_a_password_is_ever_logged(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    await desk.try_(ANNE, "tres-secret-1")
    await desk.try_("tres-secret-2", GOOD.reveal())
    out = "".join(capsys.readouterr())
    assert "login-refused" in out
    assert "tres-secret" not in out
    assert GOOD.reveal() not in out
