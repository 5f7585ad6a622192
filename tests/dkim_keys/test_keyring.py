"""The life of keys: published > active > retired, and what a fault leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from antispam.types import Result
from core.clock import ManualClock
from core.errors import ConflictError, TemporaryError
from core.ids import RandomIds
from directory.directory import Directory
from directory.types import Actor, DkimKey, KeyState
from dkim_keys import keyring as module
from dkim_keys.domain_setup import add_hosted_domain, ensure_keys
from dkim_keys.keyring import Keyring, choose_selector
from dkim_keys.records import dkim_records
from dkim_keys.sealing import MasterKey
from tests.antispam.dkim_tools import MESSAGE, verify
from tests.dkim_keys.keys import pair, sign_whole
from tests.fakes.key_directory import KeyDirectory
from tests.fakes.resolver import FakeResolver


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "generate", pair)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def directory() -> KeyDirectory:
    return KeyDirectory("x.test")


@pytest.fixture
def keyring(directory: KeyDirectory, clock: ManualClock) -> Keyring:
    return Keyring(cast(Directory, directory), MasterKey(bytes(32)), clock, RandomIds(clock))


def published(keys: Sequence[DkimKey]) -> FakeResolver:
    return FakeResolver({record.name: {"TXT": [record.value]} for record in dkim_records(keys)})


async def test_a_new_domains_keys_sign_at_once_and_verify(keyring: Keyring, clock: ManualClock) -> None:
    keys = await keyring.create("x.test")
    assert [(key.algorithm, key.state) for key in keys] == [("rsa", KeyState.ACTIVE), ("ed25519", KeyState.ACTIVE)]
    signers = await keyring.signers("x.test")
    assert [signer.algorithm for signer in signers] == ["rsa-sha256", "ed25519-sha256"]
    results = await verify(sign_whole(MESSAGE, list(signers), clock.now()), published(keys), now=clock.now())
    assert [item.result for item in results] == [Result.PASS, Result.PASS]


async def test_private_keys_are_sealed_in_the_directory(keyring: Keyring, directory: KeyDirectory) -> None:
    for key in await keyring.create("x.test"):
        assert pair(key.algorithm).private_key not in key.sealed_private_key
        assert key.sealed_private_key not in (b"", pair(key.algorithm).private_key)


async def test_create_is_idempotent(keyring: Keyring, directory: KeyDirectory) -> None:
    assert await keyring.create("x.test") == await keyring.create("x.test")
    assert len(directory.keys) == 2


async def test_signers_are_kept_thirty_seconds(keyring: Keyring, directory: KeyDirectory, clock: ManualClock) -> None:
    assert await keyring.signers("x.test") == ()
    clock.advance(31)
    await keyring.create("x.test")
    await keyring.signers("x.test")
    reads = directory.reads
    clock.advance(29)
    await keyring.signers("x.test")
    assert directory.reads == reads
    clock.advance(2)
    await keyring.signers("x.test")
    assert directory.reads == reads + 1


async def test_the_cache_is_bounded(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_DOMAINS", 3)
    for number in range(10):
        await keyring.signers(f"d{number}.test")
    assert len(keyring._kept) == 3


async def test_rotation_waits_until_the_dns_shows_the_new_keys(
    keyring: Keyring, directory: KeyDirectory, clock: ManualClock
) -> None:
    old = await keyring.create("x.test")
    new = await keyring.rotate("x.test")
    assert {key.state for key in new} == {KeyState.PUBLISHED}
    assert not {key.selector for key in new} & {key.selector for key in old}
    assert await keyring.rotate("x.test") == new, "asked again, the same keys wait"
    assert {signer.selector for signer in await keyring.signers("x.test")} == {key.selector for key in old}

    assert await keyring.activate_due(published(new)) == [], "too early: resolvers may remember the absence"
    clock.advance(module.PUBLISHED_SECONDS + 1)
    assert await keyring.activate_due(FakeResolver()) == [], "not published"
    assert await keyring.activate_due(published(new[:1])) == [], "half published"
    assert directory.commits == []

    await keyring.activate_due(published(new))
    states = {key.id: key.state for key in directory.keys}
    assert {states[key.id] for key in new} == {KeyState.ACTIVE}
    assert {states[key.id] for key in old} == {KeyState.RETIRED}
    assert len(directory.commits) == 1, "f147: one commit, so a kill leaves the old set or the new one"
    assert {signer.selector for signer in await keyring.signers("x.test")} == {key.selector for key in new}
    assert await keyring.activate_due(published(new)) == []


async def test_rotating_a_domain_without_keys_makes_signing_ones(keyring: Keyring) -> None:
    assert {key.state for key in await keyring.rotate("x.test")} == {KeyState.ACTIVE}


async def test_f147_keys_under_another_master_defer_mail_and_say_no_secret(
    directory: KeyDirectory, clock: ManualClock, keyring: Keyring
) -> None:
    await keyring.create("x.test")
    other = Keyring(cast(Directory, directory), MasterKey(b"\x01" * 32), clock, RandomIds(clock))
    with pytest.raises(TemporaryError) as caught:
        await other.signers("x.test")
    assert caught.value.code == "dkim-key"


async def test_the_directory_away_is_temporary(keyring: Keyring, directory: KeyDirectory) -> None:
    directory.away = True
    with pytest.raises(TemporaryError):
        await keyring.signers("x.test")


def test_selectors_are_short_and_never_repeated() -> None:
    now = 1_795_000_000.0
    first = choose_selector("rsa", now, [])
    assert first == "bf202611rsa"
    assert choose_selector("rsa", now, [first]) == "bf202611rsa-2"
    assert choose_selector("rsa", now, [first, "bf202611rsa-2"]) == "bf202611rsa-3"


async def test_a_hosted_domain_comes_with_keys(keyring: Keyring, directory: KeyDirectory) -> None:
    face = cast(Directory, directory)
    domain = await add_hosted_domain(face, keyring, Actor.console(), "y.test", "o1")
    assert len(await keyring.signers(domain.name)) == 2
    with pytest.raises(ConflictError):
        await add_hosted_domain(face, keyring, Actor.console(), "y.test", "o1")
    assert "y.test" in directory.hosted


async def test_without_keys_there_is_no_domain(keyring: Keyring, directory: KeyDirectory) -> None:
    directory.refuse_keys = True
    with pytest.raises(TemporaryError):
        await add_hosted_domain(cast(Directory, directory), keyring, Actor.console(), "y.test", "o1")
    assert "y.test" not in directory.hosted


async def test_f147_a_kill_between_domain_and_keys_is_healed_at_start(
    keyring: Keyring, directory: KeyDirectory
) -> None:
    assert await ensure_keys(cast(Directory, directory), keyring) == ["x.test"]
    assert await ensure_keys(cast(Directory, directory), keyring) == []
    assert len(directory.keys) == 2
