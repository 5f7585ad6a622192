"""What an address means, who may send as whom, and how fresh the answers are."""

from __future__ import annotations

import pytest

from core.address import Address
from core.clock import ManualClock
from core.config import Limits
from core.ids import RandomIds
from core.log import Secret
from directory.service import SqlDirectory
from directory.types import (
    KEEPER,
    AliasOf,
    ForeignDomain,
    LocalAccount,
    LoggedIn,
    LoginRefused,
    Role,
    State,
    UnknownUser,
    keeper,
)
from tests.directory.helpers import OPERATOR, at, commune, mailbox

GOOD = Secret("les cloches du beffroi")


async def test_exact_then_without_subaddress_then_unknown_or_foreign(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    anne = await mailbox(both, "anne@brou.test")
    await both.add_alias(OPERATOR, at("info@brou.test"), [at("anne@brou.test"), at("x@y.test")])
    await both.add_alias(OPERATOR, at("anne+urgent@brou.test"), [at("sms@y.test")])
    assert await both.resolve(at("ANNE@Brou.TEST")) == LocalAccount(anne)
    assert await both.resolve(at("anne+notes@brou.test")) == LocalAccount(anne)
    assert await both.resolve(at("anne+urgent@brou.test")) == AliasOf((at("sms@y.test"),))
    assert await both.resolve(at("info+x@brou.test")) == AliasOf((at("anne@brou.test"), at("x@y.test")))
    for unknown in ("paul@brou.test", "+x@brou.test", "an.ne@brou.test", "anne%y.test@brou.test", "%@brou.test"):
        assert await both.resolve(at(unknown)) == UnknownUser()
    for foreign in ("anne@y.test", "anne@sub.brou.test", "postmaster@y.test"):
        assert await both.resolve(at(foreign)) == ForeignDomain()


async def test_h056_the_hosts_own_postmaster_is_the_operators(sqlite_url: str, clock: ManualClock) -> None:
    opened = await SqlDirectory.open(sqlite_url, clock=clock, ids=RandomIds(), limits=Limits(), hostname="mx.dept.test")
    try:
        kept = LocalAccount(keeper("mx.dept.test", Limits().postmaster_mailbox))
        assert await opened.resolve(at("postmaster@mx.dept.test")) == kept
        await commune(opened, "Vide", "vide.test")
        assert await opened.resolve(at("abuse@vide.test")) == kept
        assert await opened.account_by_id(KEEPER) is None  # nobody logs into it
        await opened.set_operator_postmaster(OPERATOR, at("dsi@dept.test"))
        assert await opened.resolve(at("Postmaster@mx.dept.test")) == AliasOf((at("dsi@dept.test"),))
        assert await opened.resolve(at("anne@mx.dept.test")) == ForeignDomain()
    finally:
        await opened.close()


@pytest.mark.parametrize(
    "local", ["..%2f", 'a"b', "${run{id}}", "';DROP TABLE account--", "../../x", "x" * 64, "é" * 30]
)
async def test_h047_h048_hostile_local_parts_are_plain_unknown_users(directory: SqlDirectory, local: str) -> None:
    await commune(directory, "Brou", "brou.test")
    assert await directory.resolve(Address(local, "brou.test")) == UnknownUser()


async def test_h056_postmaster_and_abuse_always_exist(both: SqlDirectory, clock: ManualClock) -> None:
    await commune(both, "Brou", "brou.test")
    for name in ("postmaster", "Abuse", "postmaster+x"):
        assert await both.resolve(at(f"{name}@brou.test")) == UnknownUser()
    await both.set_operator_postmaster(OPERATOR, at("dsi@dept.test"))
    for name in ("postmaster", "Abuse", "postmaster+x"):
        assert await both.resolve(at(f"{name}@brou.test")) == AliasOf((at("dsi@dept.test"),))
    first = await mailbox(both, "zoe@brou.test")
    clock.advance(1)
    await mailbox(both, "anne@brou.test")
    assert await both.resolve(at("postmaster@brou.test")) == LocalAccount(first)
    await both.suspend(OPERATOR, at("zoe@brou.test"))
    assert await both.resolve(at("abuse@brou.test")) == LocalAccount(await both.account(OPERATOR, at("anne@brou.test")))
    await both.add_alias(OPERATOR, at("abuse@brou.test"), [at("x@y.test")])
    assert await both.resolve(at("abuse@brou.test")) == AliasOf((at("x@y.test"),))


async def test_hosted_domains_and_accounts_by_id(both: SqlDirectory) -> None:
    await commune(both, "Félix", "félix.test")
    anne = await mailbox(both, "anne@félix.test")
    for spelling in ("félix.test", "FÉLIX.test.", anne.address.domain):
        found = await both.hosted_domain(spelling)
        assert found
        assert found.name == anne.address.domain
    for other in ("test", "x.félix.test", "", "a b", "x" * 300):
        assert await both.hosted_domain(other) is None
    assert await both.account_by_id(anne.id) == anne
    assert await both.account_by_id("nobody") is None


async def test_who_may_send_as_whom(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    await commune(both, "Vert", "vert.test")
    anne, paul = await mailbox(both, "anne@brou.test"), await mailbox(both, "paul@brou.test")
    vert = await mailbox(both, "maire@vert.test")
    await both.add_alias(OPERATOR, at("urbanisme@brou.test"), [at("ANNE@brou.test")])
    await both.add_alias(OPERATOR, at("services@brou.test"), [at("x@y.test"), at("urbanisme@brou.test")])
    await both.add_alias(OPERATOR, at("partage@brou.test"), [at("maire@vert.test")])
    await both.add_grant(OPERATOR, at("paul@brou.test"), at("anne@brou.test"))
    for mine in ("Anne@brou.test", "anne+x@brou.test", "urbanisme@brou.test", "services+y@brou.test"):
        assert await both.may_send_as(anne, at(mine)), mine
    assert await both.may_send_as(anne, at("paul@brou.test"))
    assert not await both.may_send_as(paul, at("anne@brou.test"))
    assert not await both.may_send_as(paul, at("urbanisme@brou.test"))
    # Another commune's alias that leads here gives no right to its name, and nobody owns what is outside.
    assert not await both.may_send_as(vert, at("partage@brou.test"))
    for foreign in ("x@y.test", "anne@y.test", "nobody@brou.test", "maire@vert.test"):
        assert not await both.may_send_as(anne, at(foreign)), foreign


async def test_aliases_in_a_circle_end(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    anne = await mailbox(both, "anne@brou.test")
    await both.add_alias(OPERATOR, at("un@brou.test"), [at("deux@brou.test")])
    await both.add_alias(OPERATOR, at("deux@brou.test"), [at("un@brou.test"), at("anne@brou.test")])
    assert await both.may_send_as(anne, at("un@brou.test"))
    assert not await both.may_send_as(anne, at("trois@brou.test"))


async def test_a_new_address_counts_at_once_everywhere(directory: SqlDirectory, elsewhere: SqlDirectory) -> None:
    assert await elsewhere.resolve(at("anne@brou.test")) == ForeignDomain()
    await commune(directory, "Brou", "brou.test")
    assert await elsewhere.resolve(at("anne@brou.test")) == UnknownUser()
    anne = await mailbox(directory, "anne@brou.test")
    assert await elsewhere.resolve(at("anne@brou.test")) == LocalAccount(anne)


async def test_h117_a_suspension_counts_within_two_seconds_elsewhere_and_at_once_here(
    directory: SqlDirectory, elsewhere: SqlDirectory, clock: ManualClock
) -> None:
    await commune(directory, "Brou", "brou.test")
    anne = await mailbox(directory, "anne@brou.test")
    for one in (directory, elsewhere):
        assert await one.account_by_id(anne.id) == anne
        assert await one.may_send_as(anne, anne.address)
    await directory.suspend(OPERATOR, anne.address)
    clock.advance(2.0)
    for one in (directory, elsewhere):
        found = await one.account_by_id(anne.id)
        assert found
        assert found.state is State.SUSPENDED
        assert not await one.may_send_as(anne, anne.address)
        assert isinstance(await one.resolve(anne.address), LocalAccount)  # it still receives
    await directory.resume(OPERATOR, anne.address)
    assert await directory.may_send_as(anne, anne.address)


async def test_h117_every_change_of_another_process_counts_at_once_where_it_is_told(
    directory: SqlDirectory, elsewhere: SqlDirectory
) -> None:
    """SQLite tells of each commit; the clock stands still here."""
    await commune(directory, "Brou", "brou.test")
    anne = await mailbox(directory, "anne@brou.test", GOOD)
    login = await elsewhere.login("anne@brou.test", GOOD, protocol="smtp", remote="192.0.2.1")
    assert isinstance(login, LoggedIn)
    for _ in range(2):
        assert await elsewhere.still_open(login)
        assert await elsewhere.resolve(at("paul@dreux.test")) == ForeignDomain()
        assert await elsewhere.hosted_domain("dreux.test") is None
    await directory.suspend(OPERATOR, at("anne@brou.test"))
    assert not await elsewhere.still_open(login)
    found = await elsewhere.account_by_id(anne.id)
    assert found is not None
    assert found.state is State.SUSPENDED
    refused = await elsewhere.login("anne@brou.test", GOOD, protocol="smtp", remote="192.0.2.1")
    assert refused == LoginRefused("suspended")
    await commune(directory, "Dreux", "dreux.test")
    assert await elsewhere.resolve(at("paul@dreux.test")) == UnknownUser()
    assert await elsewhere.hosted_domain("dreux.test") is not None


async def test_while_nothing_changes_the_questions_of_a_submission_are_asked_once(
    directory: SqlDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await commune(directory, "Brou", "brou.test")
    anne = await mailbox(directory, "anne@brou.test", GOOD)

    async def ask(name: str) -> None:
        login = await directory.login(name, GOOD, protocol="smtp", remote="192.0.2.1")
        assert isinstance(login, LoggedIn) == (name == "anne@brou.test")
        if isinstance(login, LoggedIn):
            assert await directory.still_open(login)
        assert await directory.may_send_as(anne, at("anne@brou.test"))
        assert await directory.resolve(at("anne@brou.test")) == LocalAccount(anne)
        assert await directory.resolve(at("other@far.test")) == ForeignDomain()
        assert await directory.account_by_id(anne.id) == anne

    names = ("anne@brou.test", "nobody@brou.test")  # row 55: who does not exist costs the same
    for name in names:
        await ask(name)
    monkeypatch.setattr(directory._database, "read", lambda: pytest.fail("it was known"))
    for name in names:
        await ask(name)


async def test_h117_the_version_is_asked_for_after_a_change_only_and_then_at_once(
    directory: SqlDirectory, elsewhere: SqlDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each front looks at it by the clock, and nearly always nothing has changed."""
    await commune(directory, "Brou", "brou.test")
    anne = await mailbox(directory, "anne@brou.test", GOOD)
    version = await elsewhere.version()
    assert version == await directory.version()
    with monkeypatch.context() as known:
        known.setattr(elsewhere._database, "read", lambda: pytest.fail("it was known"))
        assert await elsewhere.version() == version
    await directory.suspend(OPERATOR, anne.address)
    assert await elsewhere.version() == await directory.version() > version


async def test_h117_a_suspended_commune_suspends_all_in_it(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    anne = await mailbox(both, "anne@brou.test")
    _, token = await both.add_administrator(OPERATOR, "clerk", Role.ORGANISATION, "Brou")
    assert await both.administrator(token)
    await both.suspend_organisation(OPERATOR, "Brou")
    found = await both.account_by_id(anne.id)
    assert found
    assert found.state is State.SUSPENDED
    assert (await both.account(OPERATOR, anne.address)).state is State.ACTIVE
    assert await both.administrator(token) is None
    assert not await both.may_send_as(anne, anne.address)
    await both.resume_organisation(OPERATOR, "Brou")
    assert await both.administrator(token)
    assert await both.may_send_as(anne, anne.address)


async def test_a_removed_mailbox_is_gone_from_every_answer(directory: SqlDirectory) -> None:
    await commune(directory, "Brou", "brou.test")
    anne = await mailbox(directory, "anne@brou.test")
    assert await directory.may_send_as(anne, anne.address)
    await directory.remove_account(OPERATOR, anne.address)
    assert await directory.account_by_id(anne.id) is None
    assert await directory.resolve(anne.address) == UnknownUser()
    assert not await directory.may_send_as(anne, anne.address)


async def test_h054_a_catch_all_gets_what_nobody_else_of_its_domain_gets(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    await commune(both, "Aux", "aux.test")
    anne = await mailbox(both, "anne@brou.test")
    await both.add_alias(OPERATOR, at("*@brou.test"), [at("anne@brou.test")])
    assert await both.resolve(at("personne@brou.test")) == AliasOf((at("anne@brou.test"),))
    assert await both.resolve(at("anne+x@brou.test")) == LocalAccount(anne)
    assert await both.resolve(at("postmaster@brou.test")) == LocalAccount(anne)
    assert await both.resolve(at("personne@aux.test")) == UnknownUser()
    assert await both.resolve(at("personne@sub.brou.test")) == ForeignDomain()
    assert not await both.may_send_as(anne, at("personne@brou.test"))  # receiving for all gives nobody's name
    await both.remove_alias(OPERATOR, at("*@brou.test"))
    assert await both.resolve(at("personne@brou.test")) == UnknownUser()
