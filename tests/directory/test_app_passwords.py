"""App passwords: scoped, bounded, of some networks, gone when taken back, kept nowhere in clear."""

from __future__ import annotations

from typing import Any

import pytest

from core.clock import ManualClock
from core.errors import MailError, NotFoundError
from core.ids import RandomIds
from core.log import Secret
from directory import app_passwords
from directory.service import SqlDirectory
from directory.types import LoggedIn, LoginRefused, Scope
from tests.directory.anne import ANNE, REFUSED, add, anne, login
from tests.directory.helpers import GOOD, LOCAL, OPERATOR, admin_of, at, commune


def test_an_app_password_has_130_bits_and_many_spellings() -> None:
    seen = {app_passwords.generate(RandomIds().token()) for _ in range(100)}
    assert len(seen) == 100
    for clear in seen:
        text = app_passwords.canonical(clear)
        assert text is not None
        assert len(text) == 26
        assert app_passwords.canonical(clear.upper()) == app_passwords.canonical(clear.replace("-", " ")) == text
    for other in (GOOD.reveal(), "", "x" * 26 + "!", "0" * 25, "0" * 27, "-" * 200):
        assert app_passwords.canonical(other) is None


async def test_it_opens_what_it_was_made_for_and_nothing_else(both: SqlDirectory) -> None:
    account = await anne(both)
    opens = {Scope.MAIL: "imap smtp", Scope.IMAP: "imap", Scope.SUBMISSION: "smtp", Scope.SEND_ONLY: "smtp"}
    for scope, protocols in opens.items():
        app, clear = await add(both, scope)
        for protocol in ("imap", "smtp", "other"):
            result = await login(both, clear, protocol)
            expected = LoggedIn(account, app)
            assert result == (expected if protocol in protocols.split() else REFUSED), (scope, protocol)
        assert await login(both, clear.upper().replace("-", " "), protocols.split()[0]) == expected
    assert isinstance(await login(both, GOOD.reveal()), LoggedIn)


async def test_it_ends_and_comes_from_its_networks_only(both: SqlDirectory, clock: ManualClock) -> None:
    await anne(both)
    _, clear = await add(both, networks=["192.0.2.7/24", "2001:db8::/32"], expires_at=clock.now() + 60)
    for remote, good in (("192.0.2.200", True), ("::ffff:192.0.2.1", True), ("2001:db8::1", True), (LOCAL, False)):
        result = await login(both, clear, remote=remote)
        assert isinstance(result, LoggedIn) == good, remote
    opened = await login(both, clear, remote="192.0.2.1")
    assert isinstance(opened, LoggedIn)
    assert await both.still_open(opened)
    clock.advance(61)
    assert await login(both, clear, remote="192.0.2.1") == REFUSED
    assert not await both.still_open(opened)


async def test_h117_it_ends_when_taken_back_and_with_the_holders_password(both: SqlDirectory) -> None:
    await anne(both)
    first, one = await add(both)
    second, two = await add(both)
    opened = [await login(both, clear) for clear in (one, two)]
    await both.remove_app_password(OPERATOR, at(ANNE), first)
    for result, good in zip(opened, (False, True), strict=True):
        assert isinstance(result, LoggedIn)
        assert await both.still_open(result) == good
    assert await login(both, one) == REFUSED
    assert [app.id for app in await both.app_passwords(OPERATOR, at(ANNE))] == [second]
    await both.set_password(OPERATOR, at(ANNE), Secret("quatre chiens blancs"))
    assert await login(both, two) == REFUSED
    assert await both.app_passwords(OPERATOR, at(ANNE)) == []


async def test_it_is_listed_without_itself_and_kept_nowhere(directory: SqlDirectory, sqlite_url: str) -> None:
    await anne(directory)
    _, clear = await add(directory, Scope.SEND_ONLY, bare_lines=True, networks=["10.0.0.0/8"])
    (listed,) = await directory.app_passwords(OPERATOR, at(ANNE))
    assert (listed.label, listed.scope, listed.networks, listed.bare_lines) == (
        "Téléphone", Scope.SEND_ONLY, ("10.0.0.0/8",), True,
    )  # fmt: skip
    with open(sqlite_url.removeprefix("sqlite:///"), "rb") as file:
        stored = file.read()
    for secret in (clear, app_passwords.canonical(clear) or ""):
        assert secret.encode() not in stored
    assert clear not in str([entry.target for entry in await directory.audit(OPERATOR)])


async def test_the_copiers_bare_lines_are_told_to_smtp(both: SqlDirectory) -> None:
    await anne(both)
    _, clear = await add(both, Scope.SEND_ONLY, bare_lines=True)
    result = await login(both, clear, "smtp")
    assert isinstance(result, LoggedIn)
    assert result.bare_lines


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"bare_lines": True}, "bare-lines-need-send-only"),
        ({"networks": ["mairie"]}, "invalid-network"),
        ({"networks": ["10.0.0.1"] * 21}, "invalid-network"),
        ({"expires_at": 1.0}, "invalid-expiry"),
    ],
)
async def test_what_cannot_be(directory: SqlDirectory, options: dict[str, Any], code: str) -> None:
    await anne(directory)
    with pytest.raises(MailError) as refused:
        await add(directory, **options)
    assert refused.value.code == code


async def test_there_is_a_bound(directory: SqlDirectory) -> None:
    await anne(directory)
    for _ in range(50):
        await add(directory)
    with pytest.raises(MailError) as refused:
        await add(directory)
    assert refused.value.code == "app-passwords-full"


async def test_h121_a_neighbours_are_as_if_absent(both: SqlDirectory) -> None:
    await anne(both)
    other = admin_of(await commune(both, "Autre", "autre.test"))
    app, _ = await add(both)
    for attempt in (
        both.app_passwords(other, at(ANNE)),
        both.remove_app_password(other, at(ANNE), app),
        both.add_app_password(other, at(ANNE), "x", Scope.MAIL),
    ):
        with pytest.raises(NotFoundError) as refused:
            await attempt
        assert refused.value.code == "unknown-mailbox"
    with pytest.raises(NotFoundError):
        await both.remove_app_password(OPERATOR, at(ANNE), "absent")


async def test_suspended_is_suspended(both: SqlDirectory) -> None:
    await anne(both)
    _, clear = await add(both)
    await both.suspend(OPERATOR, at(ANNE))
    assert await login(both, clear) == LoginRefused("suspended")
