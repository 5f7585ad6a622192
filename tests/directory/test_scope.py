"""Promise P8: an organisation's administrator meets another organisation's objects exactly as if they were absent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from core.errors import ForbiddenError, NotFoundError
from directory.service import SqlDirectory
from directory.types import Actor, Role
from tests.directory.helpers import GOOD, OPERATOR, admin_of, at, commune, mailbox

Call = Callable[[SqlDirectory, Actor, str, str], Awaitable[object]]

# Each call names an object by organisation and domain: those of another commune, or ones that do not exist.
CALLS: dict[str, Call] = {
    "organisation": lambda d, a, org, dom: d.organisation(a, org),
    "accounts_of": lambda d, a, org, dom: d.accounts_of(a, org),
    "domain": lambda d, a, org, dom: d.domain(a, dom),
    "accounts": lambda d, a, org, dom: d.accounts(a, dom),
    "account": lambda d, a, org, dom: d.account(a, at(f"paul@{dom}")),
    "add_account": lambda d, a, org, dom: d.add_account(a, at(f"new@{dom}"), password=GOOD),
    "add_account_taken": lambda d, a, org, dom: d.add_account(a, at(f"paul@{dom}"), password=None),
    "set_password": lambda d, a, org, dom: d.set_password(a, at(f"paul@{dom}"), GOOD),
    "set_quota": lambda d, a, org, dom: d.set_quota(a, at(f"paul@{dom}"), 1),
    "set_display_name": lambda d, a, org, dom: d.set_display_name(a, at(f"paul@{dom}"), "x"),
    "suspend": lambda d, a, org, dom: d.suspend(a, at(f"paul@{dom}")),
    "resume": lambda d, a, org, dom: d.resume(a, at(f"paul@{dom}")),
    "remove_account": lambda d, a, org, dom: d.remove_account(a, at(f"paul@{dom}")),
    "add_alias": lambda d, a, org, dom: d.add_alias(a, at(f"new@{dom}"), [at("anne@brou.test")]),
    "add_alias_taken": lambda d, a, org, dom: d.add_alias(a, at(f"info@{dom}"), [at("anne@brou.test")]),
    "aliases": lambda d, a, org, dom: d.aliases(a, dom),
    "remove_alias": lambda d, a, org, dom: d.remove_alias(a, at(f"info@{dom}")),
    "grant_to": lambda d, a, org, dom: d.add_grant(a, at("anne@brou.test"), at(f"paul@{dom}")),
    "grant_from": lambda d, a, org, dom: d.add_grant(a, at(f"paul@{dom}"), at("anne@brou.test")),
    "remove_grant": lambda d, a, org, dom: d.remove_grant(a, at(f"paul@{dom}"), at("anne@brou.test")),
    "add_administrator": lambda d, a, org, dom: d.add_administrator(a, "x", Role.ORGANISATION, org),
    "remove_administrator": lambda d, a, org, dom: d.remove_administrator(a, "clerk", org),
}  # fmt: skip

# Not for an organisation's administrator, whatever the object.
OPERATOR_ONLY: dict[str, Call] = {
    "add_organisation": lambda d, a, org, dom: d.add_organisation(a, "Neuve"),
    "suspend_organisation": lambda d, a, org, dom: d.suspend_organisation(a, org),
    "set_organisation_quota": lambda d, a, org, dom: d.set_organisation_quota(a, org, 5),
    "resume_organisation": lambda d, a, org, dom: d.resume_organisation(a, org),
    "add_domain": lambda d, a, org, dom: d.add_domain(a, "neuve.test", org),
    "remove_domain": lambda d, a, org, dom: d.remove_domain(a, dom),
    "add_operator": lambda d, a, org, dom: d.add_administrator(a, "x", Role.OPERATOR, None),
    "remove_operator": lambda d, a, org, dom: d.remove_administrator(a, "chef", None),
    "set_operator_postmaster": lambda d, a, org, dom: d.set_operator_postmaster(a, at("x@y.test")),
}


async def two_communes(directory: SqlDirectory) -> Actor:
    brou = await commune(directory, "Brou", "brou.test")
    await commune(directory, "Vert", "vert.test")
    await mailbox(directory, "anne@brou.test")
    await mailbox(directory, "paul@vert.test")
    await directory.add_alias(OPERATOR, at("info@vert.test"), [at("paul@vert.test")])
    await directory.add_administrator(OPERATOR, "clerk", Role.ORGANISATION, "Vert")
    await directory.add_administrator(OPERATOR, "chef", Role.OPERATOR, None)
    return admin_of(brou)


@pytest.mark.parametrize("name", CALLS)
async def test_h121_anothers_object_is_as_absent(directory: SqlDirectory, name: str) -> None:
    actor = await two_communes(directory)
    before = await state(directory)
    answers = []
    for organisation, domain in (("Vert", "vert.test"), ("Nulle", "nulle.test")):
        with pytest.raises(NotFoundError) as caught:
            await CALLS[name](directory, actor, organisation, domain)
        answers.append((caught.value.code, caught.value.public, caught.value.fields))
    assert answers[0] == answers[1]
    assert await state(directory) == before


@pytest.mark.parametrize("name", OPERATOR_ONLY)
async def test_h124_what_is_the_operators_alone(directory: SqlDirectory, name: str) -> None:
    actor = await two_communes(directory)
    before = await state(directory)
    for organisation, domain in (("Brou", "brou.test"), ("Vert", "vert.test"), ("Nulle", "nulle.test")):
        with pytest.raises(ForbiddenError) as caught:
            await OPERATOR_ONLY[name](directory, actor, organisation, domain)
        assert caught.value.code == "operator-only"
    assert await state(directory) == before


async def test_listings_show_ones_own_only(both: SqlDirectory) -> None:
    actor = await two_communes(both)
    await both.add_alias(actor, at("moi@brou.test"), [at("anne@brou.test")])
    assert [item.name for item in await both.organisations(actor)] == ["Brou"]
    assert [item.name for item in await both.domains(actor)] == ["brou.test"]
    assert [str(item.address) for item in await both.accounts(actor)] == ["anne@brou.test"]
    assert [str(item.address) for item in await both.aliases(actor)] == ["moi@brou.test"]
    assert not [*await both.grants(actor), *await both.administrators(actor)]
    assert {item.organisation_id for item in await both.audit(actor)} == {actor.organisation_id}


async def test_an_administrator_of_no_organisation_sees_nothing(directory: SqlDirectory) -> None:
    await two_communes(directory)
    nobody = Actor("nobody", Role.ORGANISATION, None)
    assert not [*await directory.organisations(nobody), *await directory.accounts(nobody)]
    with pytest.raises(NotFoundError):
        await directory.account(nobody, at("anne@brou.test"))


async def test_an_organisations_administrator_runs_his_own(both: SqlDirectory) -> None:
    actor = await two_communes(both)
    await both.add_account(actor, at("lea@brou.test"), password=GOOD)
    await both.suspend(actor, at("lea@brou.test"))
    await both.add_alias(actor, at("tous@brou.test"), [at("lea@brou.test"), at("paul@vert.test")])
    await both.add_grant(actor, at("anne@brou.test"), at("lea@brou.test"))
    helper, _ = await both.add_administrator(actor, "aide", Role.ORGANISATION, "Brou")
    assert helper.organisation_id == actor.organisation_id
    await both.remove_administrator(actor, "aide", "Brou")


async def test_h121_the_attempt_is_audited_for_the_one_who_tried(directory: SqlDirectory) -> None:
    actor = await two_communes(directory)
    with pytest.raises(NotFoundError):
        await directory.account(actor, at("paul@vert.test"))
    entry = (await directory.audit(OPERATOR))[0]
    assert (entry.outcome, entry.actor, entry.target) == ("denied", "secretaire", "paul@vert.test")
    assert entry.organisation_id == actor.organisation_id


async def test_h121_the_audit_does_not_tell_the_one_who_tried_that_it_exists(directory: SqlDirectory) -> None:
    actor = await two_communes(directory)
    before = await directory.audit(actor)
    for address in ("paul@vert.test", "paul@nulle.test"):
        with pytest.raises(NotFoundError):
            await directory.account(actor, at(address))
    assert await directory.audit(actor) == before


async def test_h124_a_neighbours_alias_keeps_nobody_from_removing_a_mailbox(both: SqlDirectory) -> None:
    """It once answered alias-leads-here: a refusal from outside, that told of the neighbour's alias as well."""
    actor = await two_communes(both)
    neighbours = await both.add_alias(OPERATOR, at("piege@vert.test"), [at("anne@brou.test")])
    await both.remove_account(actor, at("anne@brou.test"))
    assert [alias for alias in await both.aliases(OPERATOR) if alias.id == neighbours.id] == [neighbours]


async def state(directory: SqlDirectory) -> object:
    return (
        list(await directory.organisations(OPERATOR)),
        list(await directory.domains(OPERATOR)),
        list(await directory.accounts(OPERATOR)),
        list(await directory.aliases(OPERATOR)),
        list(await directory.grants(OPERATOR)),
        list(await directory.administrators(OPERATOR)),
    )
