"""What a recipient comes to: accounts, forwards, refusals (RFC 5321 3.9, security.md rows 43-48, 54, 56, 135)."""

from __future__ import annotations

import pytest

from core.address import parse, parse_path
from core.errors import TemporaryError
from core.status import Status
from delivery.routing import Route, judge_recipient, route
from tests.fakes.delivery_world import FakeDirectory, FakeStore


@pytest.fixture
def directory() -> FakeDirectory:
    made = FakeDirectory()
    made.account("maire@ville.test")
    made.account("agent@ville.test", quota=1000)
    return made


async def find(directory: FakeDirectory, text: str) -> Route | Status:
    return await route(directory, parse(text), depth=10)


async def answer(directory: FakeDirectory, store: FakeStore, text: str, size: int = 0) -> str:
    status = await judge_recipient(directory, store, parse(text), depth=10, size=size)  # type: ignore[arg-type]  # fakes
    return f"{status.code} {status.enhanced} {status.reason}"


def accounts(found: Route | Status) -> list[str]:
    assert isinstance(found, Route)
    return sorted(str(account.address) for account in found.accounts)


@pytest.mark.parametrize("text", ["maire@ville.test", "MAIRE@Ville.TEST", "maire+factures@ville.test"])
async def test_an_account_is_found_in_any_case_and_with_a_subaddress(directory: FakeDirectory, text: str) -> None:
    assert accounts(await find(directory, text)) == ["maire@ville.test"]


async def test_an_alias_leads_to_accounts_and_outside_with_its_own_organisation(directory: FakeDirectory) -> None:
    directory.alias("conseil@ville.test", "maire@ville.test", "agent@ville.test", "elu@ailleurs.test")
    found = await find(directory, "conseil@ville.test")
    assert accounts(found) == ["agent@ville.test", "maire@ville.test"]
    assert isinstance(found, Route)
    assert [(str(item.address), item.organisation_id) for item in found.forwards] == [
        ("elu@ailleurs.test", "ville.test")
    ]


async def test_an_account_reached_twice_counts_once(directory: FakeDirectory) -> None:
    directory.alias("un@ville.test", "maire@ville.test", "deux@ville.test")
    directory.alias("deux@ville.test", "MAIRE@ville.test", "maire+x@ville.test")
    assert accounts(await find(directory, "un@ville.test")) == ["maire@ville.test"]


async def test_a_dead_target_among_living_ones_is_left_out(directory: FakeDirectory) -> None:
    directory.alias("conseil@ville.test", "parti@ville.test", "maire@ville.test")
    assert accounts(await find(directory, "conseil@ville.test")) == ["maire@ville.test"]


async def test_h054_alias_loops_end_and_say_so(directory: FakeDirectory) -> None:
    store = FakeStore()
    directory.alias("moi@ville.test", "moi@ville.test")
    directory.alias("a@ville.test", "b@ville.test")
    directory.alias("b@ville.test", "a@ville.test")
    assert await answer(directory, store, "moi@ville.test") == "550 5.4.6 alias-loop"
    assert await answer(directory, store, "a@ville.test") == "550 5.4.6 alias-loop"
    directory.alias("b@ville.test", "a@ville.test", "maire@ville.test")
    assert accounts(await find(directory, "a@ville.test")) == ["maire@ville.test"]


async def test_h054_ten_aliases_deep_are_followed_eleven_are_not(directory: FakeDirectory) -> None:
    for step in range(1, 12):
        directory.alias(f"n{step}@ville.test", f"n{step - 1}@ville.test")
    directory.account("n0@ville.test")
    assert accounts(await find(directory, "n10@ville.test")) == ["n0@ville.test"]
    found = await find(directory, "n11@ville.test")
    assert isinstance(found, Status)
    assert found.enhanced == "5.4.6"


async def test_an_alias_to_thousands_is_refused_in_bounded_time(directory: FakeDirectory) -> None:
    directory.alias("tous@ville.test", *(f"x{n}@ailleurs.test" for n in range(3000)))
    found = await find(directory, "tous@ville.test")
    assert isinstance(found, Status)
    assert found.reason == "alias-too-large"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("user%other.org@ville.test", "550 5.1.1 unknown-user"),  # h043
        ("other.org!user@ville.test", "550 5.1.1 unknown-user"),
        ('"user@other.org"@ville.test', "550 5.1.1 unknown-user"),
        ("@ville.test:user@other.org", "550 5.7.1 relay-denied"),  # h044
        ("user@ville.test.", "550 5.1.1 unknown-user"),  # h045
        ("maire@ville.test.", "250 2.1.5 recipient-accepted"),
        ('"..%2f"@ville.test', "550 5.1.1 unknown-user"),  # h047
        ("${run{id}}@ville.test", "550 5.1.1 unknown-user"),  # h048
        ('";id;"@ville.test', "550 5.1.1 unknown-user"),
        ("|cmd@ville.test", "550 5.1.1 unknown-user"),
        ("../../x@ville.test".replace("..", "a"), "550 5.1.1 unknown-user"),
        ("user@other.org", "550 5.7.1 relay-denied"),
        ("postmaster@ville.test", "250 2.1.5 recipient-accepted"),  # h056
        ("ABUSE@ville.test", "250 2.1.5 recipient-accepted"),
    ],
)
async def test_h043_to_h056_hostile_recipients_get_their_exact_answer(
    directory: FakeDirectory, path: str, expected: str
) -> None:
    address = parse_path(path)
    assert address is not None
    status = await judge_recipient(directory, FakeStore(), address, depth=10, size=0)  # type: ignore[arg-type]  # fakes
    assert f"{status.code} {status.enhanced} {status.reason}" == expected


async def test_h135_a_full_mailbox_is_refused_in_the_session(directory: FakeDirectory) -> None:
    store = FakeStore()
    store.used["agent@ville.test"] = 900
    assert await answer(directory, store, "agent@ville.test", size=100) == "250 2.1.5 recipient-accepted"
    assert await answer(directory, store, "agent@ville.test", size=101) == "452 4.2.2 over-quota"
    store.used["agent@ville.test"] = 1000
    assert await answer(directory, store, "agent@ville.test") == "452 4.2.2 over-quota"
    directory.alias("conseil@ville.test", "agent@ville.test", "maire@ville.test")
    assert await answer(directory, store, "conseil@ville.test") == "250 2.1.5 recipient-accepted"


async def test_a_directory_that_is_away_is_no_unknown_user(directory: FakeDirectory) -> None:
    directory.failure = TemporaryError("database away")
    with pytest.raises(TemporaryError):
        await find(directory, "maire@ville.test")


async def test_h135_a_full_organisation_is_refused_in_the_session(directory: FakeDirectory) -> None:
    store = FakeStore()
    directory.account("adjoint@ville.test", quota=1000, organisation_quota=5000)
    store.used["ville.test"] = 4900
    assert await answer(directory, store, "adjoint@ville.test", size=100) == "250 2.1.5 recipient-accepted"
    assert await answer(directory, store, "adjoint@ville.test", size=101) == "452 4.2.2 over-quota"
