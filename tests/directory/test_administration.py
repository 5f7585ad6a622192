"""Organisations, domains, accounts, aliases, grants, administrators, keys: what is done, what is refused, on both
databases."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import pytest

from core.address import Address
from core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, QuotaError, RefusedError
from core.log import Secret
from directory.codes import CODES
from directory.service import SqlDirectory
from directory.types import Actor, DkimKey, KeyState, LocalAccount, Role, State
from tests.directory.helpers import CONSOLE, GOOD, OPERATOR, admin_of, at, commune, mailbox


async def code_of(operation: Awaitable[object]) -> str:
    with pytest.raises(RefusedError) as caught:
        await operation
    assert isinstance(caught.value, CODES[caught.value.code][0])
    return caught.value.code


async def test_a_commune_is_set_up_and_listed(both: SqlDirectory) -> None:
    felix = await commune(both, "Saint-Félix", "saint-félix.test")
    brou = await commune(both, "Brou", "brou.test")
    account = await both.add_account(
        OPERATOR, at("Mairie@brou.test"), password=GOOD, quota=5 * 2**30, display_name=" Mairie  de Brou "
    )
    assert [item.name for item in await both.organisations(OPERATOR)] == ["Brou", "Saint-Félix"]
    assert [item.name for item in await both.domains(OPERATOR)] == ["brou.test", "xn--saint-flix-h7a.test"]
    assert await both.organisation(OPERATOR, "BROU") == await both.organisation(OPERATOR, brou.id) == brou
    assert (await both.domain(OPERATOR, "Saint-Félix.test")).organisation_id == felix.id
    assert (account.display_name, account.quota, account.state) == ("Mairie de Brou", 5 * 2**30, State.ACTIVE)
    assert await both.account(OPERATOR, at("MAIRIE@brou.test")) == account
    assert list(await both.accounts(OPERATOR, "brou.test")) == [account]
    assert list(await both.accounts(OPERATOR, "saint-félix.test")) == []


async def test_names_are_taken_once(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    await mailbox(both, "mairie@brou.test")
    await both.add_alias(OPERATOR, at("info@brou.test"), [at("mairie@brou.test")])
    assert await code_of(both.add_organisation(OPERATOR, " bROU")) == "organisation-taken"
    assert await code_of(both.add_domain(OPERATOR, "BROU.test", "Brou")) == "domain-taken"
    for taken in ("Mairie@brou.test", "INFO@brou.test"):
        assert await code_of(both.add_account(OPERATOR, at(taken), password=None)) == "address-taken"
        assert await code_of(both.add_alias(OPERATOR, at(taken), [at("x@y.test")])) == "address-taken"


async def test_h130_of_racing_administrators_one_wins(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    tries = [
        both.add_account(OPERATOR, at("mairie@brou.test"), password=None),
        both.add_alias(OPERATOR, at("mairie@brou.test"), [at("x@y.test")]),
        both.add_account(OPERATOR, at("MAIRIE@brou.test"), password=None),
    ]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(not isinstance(item, BaseException) for item in done) == 1
    assert sum(isinstance(item, ConflictError) for item in done) == 2


@pytest.mark.parametrize("local", ["a+b", 'a"b', "a b", "m\u0430irie", "\u202eabc", "x" * 65, "a\nb", ""])
async def test_local_parts_that_deceive_or_do_not_fit(directory: SqlDirectory, local: str) -> None:
    await commune(directory, "Brou", "brou.test")
    address = Address(local, "brou.test")
    assert await code_of(directory.add_account(OPERATOR, address, password=None)) == "invalid-address"


async def test_no_account_begins_with_a_hyphen(directory: SqlDirectory) -> None:
    """In an access list "-anne@…" is what is denied to Anne (RFC 4314 2), and nobody's name."""
    await commune(directory, "Brou", "brou.test")
    assert await code_of(directory.add_account(OPERATOR, at("-anne@brou.test"), password=None)) == "invalid-address"


@pytest.mark.parametrize("local", ["postmaster", "abuse", "o'brien", "hélène", "x" * 64, "a/b"])
async def test_local_parts_that_will_do(directory: SqlDirectory, local: str) -> None:
    await commune(directory, "Brou", "brou.test")
    assert (await mailbox(directory, f"{local}@brou.test")).address.local == local


@pytest.mark.parametrize(
    "name", ["localhost", "a..test", "m\u0430irie.test", "[127.0.0.1]", "-a.test", "x" * 64 + ".test"]
)
async def test_h049_domains_that_deceive_or_do_not_fit(directory: SqlDirectory, name: str) -> None:
    await directory.add_organisation(OPERATOR, "Brou")
    assert await code_of(directory.add_domain(OPERATOR, name, "Brou")) == "invalid-domain"


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\u202eb", "x" * 201, "\ud800"])
async def test_h128_names_that_do_not_fit(directory: SqlDirectory, name: str) -> None:
    assert await code_of(directory.add_organisation(OPERATOR, name)) == "invalid-name"


async def test_odd_names_that_are_asked_for_are_unknown(both: SqlDirectory) -> None:
    for name in ("", "\0", "a\nb", "x" * 100_000, "\ud800", "%", "' OR 1=1 --"):
        assert await code_of(both.organisation(OPERATOR, name)) == "unknown-organisation"
        assert await code_of(both.domain(OPERATOR, name)) == "unknown-domain"


async def test_quota_and_display_name_are_changed_within_bounds(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    await mailbox(both, "mairie@brou.test")
    await both.set_quota(OPERATOR, at("mairie@brou.test"), 7)
    await both.set_display_name(OPERATOR, at("mairie@brou.test"), "Accueil")
    account = await both.account(OPERATOR, at("mairie@brou.test"))
    assert (account.quota, account.display_name) == (7, "Accueil")
    for quota in (-1, 2**62 + 1):
        assert await code_of(both.set_quota(OPERATOR, at("mairie@brou.test"), quota)) == "invalid-quota"
    bad = both.set_display_name(OPERATOR, at("mairie@brou.test"), "a\r\nBcc: x")
    assert await code_of(bad) == "invalid-name"


async def test_a_domain_with_mailboxes_or_aliases_stays(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    await mailbox(both, "mairie@brou.test")
    assert await code_of(both.remove_domain(OPERATOR, "brou.test")) == "domain-not-empty"
    await both.add_alias(OPERATOR, at("info@brou.test"), [at("x@y.test")])
    await both.remove_account(OPERATOR, at("mairie@brou.test"))
    assert await code_of(both.remove_domain(OPERATOR, "brou.test")) == "domain-not-empty"
    await both.remove_alias(OPERATOR, at("info@brou.test"))
    await both.add_dkim_keys([key("k1", "brou.test", "s1")])
    await both.remove_domain(OPERATOR, "brou.test")
    assert await both.hosted_domain("brou.test") is None
    assert list(await both.dkim_keys("brou.test")) == []


async def test_aliases_keep_their_order_and_each_target_once(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    targets = [at("z@out.test"), at("a@brou.test"), at("Z@out.test"), at("m@out.test")]
    alias = await both.add_alias(OPERATOR, at("tous@brou.test"), targets)
    assert alias.targets == (at("z@out.test"), at("a@brou.test"), at("m@out.test"))
    assert list(await both.aliases(OPERATOR, "brou.test")) == [alias]


async def test_aliases_that_cannot_be(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    here = at("tous@brou.test")
    assert await code_of(both.add_alias(OPERATOR, here, [])) == "missing-targets"
    assert await code_of(both.add_alias(OPERATOR, here, [at("x@y.test"), at("TOUS@brou.test")])) == "alias-to-itself"
    many = [at(f"n{number}@out.test") for number in range(501)]
    assert await code_of(both.add_alias(OPERATOR, here, many)) == "too-many-targets"
    assert await code_of(both.add_alias(OPERATOR, here, [Address("a\r\nb", "out.test")])) == "invalid-address"
    assert await code_of(both.add_alias(OPERATOR, at("a@elsewhere.test"), [at("x@y.test")])) == "unknown-domain"
    assert len((await both.add_alias(OPERATOR, here, many[:500])).targets) == 500


async def test_a_removed_mailbox_leaves_no_alias_that_leads_nowhere(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    account = await mailbox(both, "anne@brou.test", GOOD)
    await both.add_alias(OPERATOR, at("seule@brou.test"), [at("anne@brou.test")])
    await both.add_alias(OPERATOR, at("tous@brou.test"), [at("Anne@brou.test"), at("x@y.test")])
    assert await code_of(both.remove_account(OPERATOR, at("anne@brou.test"))) == "alias-leads-here"
    await both.remove_alias(OPERATOR, at("seule@brou.test"))
    assert await both.remove_account(OPERATOR, at("anne@brou.test")) == account
    assert (await both.aliases(OPERATOR))[0].targets == (at("x@y.test"),)
    assert await code_of(both.account(OPERATOR, at("anne@brou.test"))) == "unknown-mailbox"
    again = await mailbox(both, "anne@brou.test")
    assert again.id != account.id


async def test_grants_stay_within_one_organisation(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    await commune(both, "Vert", "vert.test")
    for address in ("maire@brou.test", "anne@brou.test", "paul@vert.test"):
        await mailbox(both, address)
    grant = await both.add_grant(OPERATOR, at("maire@brou.test"), at("anne@brou.test"))
    assert await both.add_grant(OPERATOR, at("MAIRE@brou.test"), at("anne@brou.test")) == grant
    assert list(await both.grants(OPERATOR)) == [grant]
    across = both.add_grant(OPERATOR, at("maire@brou.test"), at("paul@vert.test"))
    assert await code_of(across) == "grant-across-organisations"
    await both.remove_grant(OPERATOR, at("maire@brou.test"), at("anne@brou.test"))
    gone = both.remove_grant(OPERATOR, at("maire@brou.test"), at("anne@brou.test"))
    assert await code_of(gone) == "unknown-grant"


async def test_administrators_have_tokens_of_which_only_a_hash_is_kept(
    directory: SqlDirectory, sqlite_url: str
) -> None:
    brou = await commune(directory, "Brou", "brou.test")
    chief, chief_token = await directory.add_administrator(CONSOLE, "Chef", Role.OPERATOR, None)
    clerk, clerk_token = await directory.add_administrator(CONSOLE, "Secrétaire", Role.ORGANISATION, "brou")
    assert await directory.administrator(chief_token) == chief
    assert await directory.administrator(clerk_token) == clerk
    assert clerk.organisation_id == brou.id
    for wrong in ("", "x", clerk_token.reveal()[:-1], "\0", "\ud800"):
        assert await directory.administrator(Secret(wrong)) is None
    folder = Path(sqlite_url.removeprefix("sqlite:///")).parent
    stored = b"".join(path.read_bytes() for path in folder.iterdir())
    assert chief.name.encode() in stored
    assert chief_token.reveal().encode() not in stored


async def test_administrators_are_refused_and_removed(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    await commune(both, "Vert", "vert.test")
    _, token = await both.add_administrator(OPERATOR, "Anne", Role.OPERATOR, None)
    await both.add_administrator(OPERATOR, "Anne", Role.ORGANISATION, "Brou")
    await both.add_administrator(OPERATOR, "Anne", Role.ORGANISATION, "Vert")
    add = both.add_administrator
    assert await code_of(add(OPERATOR, "ANNE", Role.ORGANISATION, "Brou")) == "administrator-taken"
    assert await code_of(add(OPERATOR, "Console", Role.OPERATOR, None)) == "administrator-taken"
    assert await code_of(add(OPERATOR, "Paul", Role.ORGANISATION, None)) == "organisation-needed"
    assert await code_of(add(OPERATOR, "Paul", Role.OPERATOR, "Brou")) == "organisation-not-allowed"
    assert await code_of(add(OPERATOR, "Paul", Role.ORGANISATION, "Nulle")) == "unknown-organisation"
    assert await code_of(both.remove_administrator(OPERATOR, "Anne", None)) == "last-operator"
    await both.add_administrator(OPERATOR, "Zoé", Role.OPERATOR, None)
    await both.remove_administrator(OPERATOR, "anne", None)
    assert await both.administrator(token) is None
    assert [item.name for item in await both.administrators(OPERATOR)].count("Anne") == 2
    assert await code_of(both.remove_administrator(OPERATOR, "Anne", None)) == "unknown-administrator"


async def test_h121_by_his_id_an_administrator_is_removed_by_those_who_see_him(
    both: SqlDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    brou = await commune(both, "Brou", "brou.test")
    vert = await commune(both, "Vert", "vert.test")
    chief, _ = await both.add_administrator(OPERATOR, "Chef", Role.OPERATOR, None)
    clerk, token = await both.add_administrator(OPERATOR, "Anne", Role.ORGANISATION, "Brou")
    nobody = Actor("nobody", Role.ORGANISATION, None)
    for actor, target in ((admin_of(vert), clerk), (admin_of(brou), chief), (nobody, chief), (nobody, clerk)):
        assert await code_of(both.remove_administrator_by_id(actor, target.id)) == "unknown-administrator"
    for wrong in ("", "absent", "Anne", "a\0", "\ud800"):
        assert await code_of(both.remove_administrator_by_id(OPERATOR, wrong)) == "unknown-administrator"
    assert await code_of(both.remove_administrator_by_id(OPERATOR, chief.id)) == "last-operator"
    assert await both.administrator(token)
    assert "administrator-removed" not in capsys.readouterr().out
    await both.remove_administrator_by_id(admin_of(brou), clerk.id)
    assert capsys.readouterr().out.count("administrator-removed") == 1
    assert await both.administrator(token) is None
    assert list(await both.administrators(OPERATOR)) == [chief]


@pytest.mark.parametrize("same", [False, True])
async def test_h130_of_racing_removals_one_wins_and_an_operator_stays(both: SqlDirectory, same: bool) -> None:
    """Two operators who remove each other at once; or both the third."""
    made = [(await both.add_administrator(OPERATOR, name, Role.OPERATOR, None))[0] for name in ("Anne", "Zoé")]
    targets = [made[0].id, made[0].id if same else made[1].id]
    tries = [both.remove_administrator_by_id(OPERATOR, target) for target in targets]
    done = await asyncio.gather(*tries, return_exceptions=True)
    (lost,) = [item for item in done if item is not None]
    assert isinstance(lost, RefusedError)
    assert lost.code == ("unknown-administrator" if same else "last-operator")
    assert len(await both.administrators(OPERATOR)) == 1


async def test_weak_passwords_are_refused_but_for_the_console(directory: SqlDirectory) -> None:
    await commune(directory, "Brou", "brou.test")
    for weak in ("court", "Motdepasse2026!", "mairie.brou.test"):
        refused = directory.add_account(OPERATOR, at("mairie@brou.test"), password=Secret(weak))
        assert await code_of(refused) == "weak-password"
    await directory.add_account(CONSOLE, at("mairie@brou.test"), password=Secret("court"))
    changed = directory.set_password(OPERATOR, at("mairie@brou.test"), Secret("azertyuiopqs"))
    assert await code_of(changed) == "weak-password"


async def test_dkim_keys_are_kept_as_given(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    one, two = key("k1", "brou.test", "s1"), key("k2", "brou.test", "s2", created_at=5)
    await both.add_dkim_keys([two, one])
    assert list(await both.dkim_keys("BROU.test")) == [one, two]
    assert list(await both.dkim_keys("elsewhere.test")) == []
    assert await code_of(both.add_dkim_keys([key("k3", "brou.test", "s1")])) == "selector-taken"
    assert await code_of(both.add_dkim_keys([key("k3", "elsewhere.test", "s1")])) == "unknown-domain"
    await both.set_dkim_key_states({"k1": KeyState.RETIRED, "k2": KeyState.ACTIVE})
    assert [item.state for item in await both.dkim_keys("brou.test")] == [KeyState.RETIRED, KeyState.ACTIVE]
    assert await code_of(both.set_dkim_key_states({"k1": KeyState.ACTIVE, "k9": KeyState.ACTIVE})) == "unknown-key"
    assert (await both.dkim_keys("brou.test"))[0].state is KeyState.RETIRED


async def test_the_audit_tells_who_did_what_when(both: SqlDirectory) -> None:
    brou = await commune(both, "Brou", "brou.test")
    await mailbox(both, "mairie@brou.test")
    await both.set_password(admin_of(brou), at("mairie@brou.test"), GOOD)
    await code_of(both.add_account(OPERATOR, at("mairie@brou.test"), password=None))
    told = [(entry.actor, entry.action, entry.target) for entry in await both.audit(OPERATOR)]
    assert told == [
        ("secretaire", "mailbox-password-set", "mairie@brou.test"),
        ("chef", "mailbox-added", "mairie@brou.test"),
        ("chef", "domain-added", "brou.test"),
        ("chef", "organisation-added", "Brou"),
    ]
    assert len(await both.audit(OPERATOR, limit=2)) == 2


async def test_a_refused_operation_changes_nothing(both: SqlDirectory) -> None:
    await commune(both, "Brou", "brou.test")
    bad = both.add_account(OPERATOR, at("mairie@brou.test"), password=None, display_name="a\0b")
    assert await code_of(bad) == "invalid-name"
    assert list(await both.accounts(OPERATOR)) == []
    assert isinstance(LocalAccount(await mailbox(both, "mairie@brou.test")).account.id, str)


def key(id_: str, domain: str, selector: str, created_at: int = 1) -> DkimKey:
    return DkimKey(id_, domain, selector, "ed25519", KeyState.PUBLISHED, "cHVi", b"\0sealed", created_at)


def test_every_code_has_its_class_and_sentence() -> None:
    for code, (kind, text) in CODES.items():
        assert kind in (NotFoundError, ConflictError, InvalidError, ForbiddenError, QuotaError)
        assert text.isascii()
        assert code == code.lower()
