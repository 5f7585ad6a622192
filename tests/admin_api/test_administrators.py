"""Administrators over REST: who sees whom, and that a token which was taken back is worth nothing at once."""

from __future__ import annotations

import pytest

from directory.types import Actor
from tests.admin_api.conftest import Api


async def names(api: Api, token: str) -> set[str]:
    return {item["name"] for item in (await api.call("GET", "/administrators", token)).json()}


async def colleague(api: Api) -> tuple[str, str]:
    """The id and the token of a second administrator of commune A."""
    wanted = {"name": "Mme Martin", "role": "organisation", "organisation": "Commune a"}
    made = (await api.call("POST", "/administrators", api.operator, json=wanted)).json()
    return made["id"], made["token"]


async def test_an_operator_sees_all_a_communes_administrator_his_own(api: Api) -> None:
    _, token = await colleague(api)
    assert await names(api, api.operator) == {"operator", "admin a", "admin b", "Mme Martin"}
    assert await names(api, api.a) == await names(api, token) == {"admin a", "Mme Martin"}
    assert await names(api, api.b) == {"admin b"}
    listed = await api.call("GET", "/administrators", api.b)
    assert listed.json() == [
        {
            "id": api.administrators["b"],
            "name": "admin b",
            "role": "organisation",
            "organisation": api.organisations["b"],
        }
    ]


async def test_pages_of_administrators_follow_each_other(api: Api) -> None:
    everybody = [item["id"] for item in (await api.call("GET", "/administrators", api.operator)).json()]
    assert everybody == sorted(api.administrators.values())
    rest = await api.call("GET", f"/administrators?limit=1&after={everybody[0]}", api.operator)
    assert [item["id"] for item in rest.json()] == everybody[1:2]


@pytest.mark.parametrize("who", ["operator", "a"])
async def test_h119_a_removed_administrators_token_is_401_at_once(api: Api, who: str) -> None:
    """On the connection that it was used on a moment ago, too: no session outlives it."""
    identity, token = await colleague(api)
    assert (await api.call("GET", "/me", token)).status_code == 200
    by = {"operator": api.operator, "a": api.a}[who]
    assert (await api.call("DELETE", f"/administrators/{identity}", by)).status_code == 204
    for path in ("/me", "/administrators", "/mailboxes"):
        refused = await api.call("GET", path, token)
        assert refused.status_code == 401
        assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    again = await api.call("DELETE", f"/administrators/{identity}", by)
    assert (again.status_code, again.json()["code"]) == (404, "unknown-administrator")
    assert again.json()["detail"] == "Cet administrateur n'existe pas."
    audited = (await api.directory.audit(Actor.console()))[0]
    assert (audited.action, audited.target) == ("administrator-removed", "Mme Martin (organisation)")
    assert (audited.actor, audited.organisation_id) == (f"admin {who}" if who == "a" else who, api.organisations["a"])
    assert (await api.call("GET", "/me", api.a)).status_code == 200


async def test_the_last_operator_stays(api: Api) -> None:
    mine = f"/administrators/{api.administrators['operator']}"
    refused = await api.call("DELETE", mine, api.operator)
    assert refused.status_code == 409
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "last-operator"
    assert refused.json()["detail"].startswith("Le dernier opérateur ne peut pas être supprimé")
    wanted = {"name": "suppléant", "role": "operator"}
    other = (await api.call("POST", "/administrators", api.operator, json=wanted)).json()
    assert (await api.call("DELETE", mine, api.operator)).status_code == 204
    assert (await api.call("GET", "/me", api.operator)).status_code == 401
    assert (await api.call("DELETE", f"/administrators/{other['id']}", other["token"])).json()[
        "code"
    ] == "last-operator"


async def test_h121_whoever_is_not_ones_own_is_as_if_absent_and_the_attempt_is_audited(api: Api) -> None:
    absent = await api.call("DELETE", "/administrators/no", api.b)
    for who in ("a", "operator"):
        refused = await api.call("DELETE", f"/administrators/{api.administrators[who]}", api.b)
        assert (refused.status_code, refused.content) == (404, absent.content)
        tried = (await api.directory.audit(Actor.console()))[0]
        assert (tried.outcome, tried.actor, tried.target) == ("denied", "admin b", api.administrators[who])
    assert await names(api, api.operator) == {"operator", "admin a", "admin b"}


@pytest.mark.parametrize("wrong", ["%00", "%F0%9F%94%91", "%E2%80%AE", "x" * 65, "admin%20a"])
async def test_h128_an_id_that_is_none_removes_nobody(api: Api, wrong: str) -> None:
    answer = await api.call("DELETE", f"/administrators/{wrong}", api.operator)
    assert answer.status_code == (422 if len(wrong) > 64 else 404)
    assert len(await names(api, api.operator)) == 3
