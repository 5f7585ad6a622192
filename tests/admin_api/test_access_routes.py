"""App passwords, shares and pages over REST: what a commune's secretary does, and nothing of a neighbour's."""

from __future__ import annotations

import pytest

from core.address import parse
from core.log import Secret
from directory.types import LoggedIn
from tests.admin_api.conftest import Api
from tests.admin_api.test_routes import commune


async def mailbox(api: Api, local: str, name: str = "a") -> str:
    address = f"{local}@commune-{name}.test"
    token = {"a": api.a, "b": api.b}[name]
    assert (await api.call("POST", "/mailboxes", token, json={"address": address})).status_code == 201
    return address


async def test_an_app_password_is_shown_once_and_works(api: Api) -> None:
    await commune(api)
    address = await mailbox(api, "copieur")
    wanted = {"label": "Copieur", "scope": "send-only", "networks": ["10.0.0.0/8"], "bare_lines": True}
    made = await api.call("POST", f"/mailboxes/{address}/app-passwords", api.a, json=wanted)
    assert made.status_code == 201
    password = made.json()["password"]
    login = await api.directory.login(address, Secret(password), protocol="smtp", remote="10.1.2.3")
    assert isinstance(login, LoggedIn)
    assert login.bare_lines
    listed = await api.call("GET", f"/mailboxes/{address}/app-passwords", api.a)
    assert password not in listed.text
    assert [(item["label"], item["scope"]) for item in listed.json()] == [("Copieur", "send-only")]
    path = f"/mailboxes/{address}/app-passwords/{listed.json()[0]['id']}"
    assert (await api.call("DELETE", path, api.a)).status_code == 204
    assert (await api.call("DELETE", path, api.a)).json()["code"] == "unknown-app-password"
    assert not await api.directory.still_open(login)


@pytest.mark.parametrize(
    "body",
    [
        {}, {"label": ""}, {"label": "x", "scope": "all"}, {"label": "x", "networks": ["mairie"]},
        {"label": "x", "bare_lines": True}, {"label": "x", "expires_at": 1}, {"label": "x", "password": "mine"},
    ],
    ids=str,
)  # fmt: skip
async def test_an_app_password_that_cannot_be(api: Api, body: dict[str, object]) -> None:
    await commune(api)
    address = await mailbox(api, "lea")
    answer = await api.call("POST", f"/mailboxes/{address}/app-passwords", api.a, json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"]


async def test_one_call_shares_a_mailbox(api: Api) -> None:
    await commune(api)
    await api.call("POST", "/mailboxes", api.a, json={"address": "urbanisme@commune-a.test", "shared": True})
    lea = await mailbox(api, "lea")
    path = "/mailboxes/urbanisme@commune-a.test/shares"
    given = await api.call("PUT", f"{path}/{lea}", api.a, json={"rights": "write", "send_as": True})
    assert given.json() == {
        "owner": "urbanisme@commune-a.test", "grantee": lea, "rights": "lrswipkxte", "send_as": True,
        "set_quota": False,
    }  # fmt: skip
    await api.call("PUT", f"{path}/anyone", api.a, json={"rights": "read"})
    assert [item["grantee"] for item in (await api.call("GET", path, api.a)).json()] == [lea, "anyone"]
    account = await api.directory.account_by_id((await api.call("GET", f"/mailboxes/{lea}", api.a)).json()["id"])
    assert account is not None
    assert await api.directory.may_send_as(account, parse("urbanisme@commune-a.test"))
    (seen,) = await api.directory.sharing.shared_with(account)
    assert seen.account.shared
    for grantee in (lea, "anyone"):
        assert (await api.call("DELETE", f"{path}/{grantee}", api.a)).status_code == 204
        assert (await api.call("DELETE", f"{path}/{grantee}", api.a)).json()["code"] == "unknown-share"
    assert (await api.call("GET", path, api.a)).json() == []
    changed = await api.call("PATCH", "/mailboxes/urbanisme@commune-a.test", api.a, json={"shared": False})
    assert changed.json()["shared"] is False


async def test_who_manages_a_mailbox_may_be_let_set_its_quota(api: Api) -> None:
    await commune(api)
    accueil, lea = await mailbox(api, "accueil"), await mailbox(api, "lea")
    path = f"/mailboxes/{accueil}/shares"
    given = await api.call("PUT", f"{path}/{lea}", api.a, json={"rights": "manage", "set_quota": True})
    assert given.json()["set_quota"] is True
    assert [item["set_quota"] for item in (await api.call("GET", path, api.a)).json()] == [True]
    assert (await api.call("GET", "/grants", api.a)).json() == []  # those are to send
    for grantee, rights, code in (
        (lea, "write", "set-quota-needs-manage"),
        ("anyone", "manage", "set-quota-for-anyone"),
    ):
        refused = await api.call("PUT", f"{path}/{grantee}", api.a, json={"rights": rights, "set_quota": True})
        assert (refused.status_code, refused.json()["code"]) == (422, code)
    again = await api.call("PUT", f"{path}/{lea}", api.a, json={"rights": "manage"})
    assert again.json()["set_quota"] is False


async def test_h121_nothing_is_shared_across_communes(api: Api) -> None:
    for name in ("a", "b"):
        await commune(api, name)
        await mailbox(api, "maire", name)
    path = "/mailboxes/maire@commune-a.test/shares/maire@commune-b.test"
    absent = "/mailboxes/maire@commune-a.test/shares/nobody@commune-a.test"
    for token in (api.a, api.b):
        answers = [await api.call("PUT", where, token, json={"rights": "read"}) for where in (path, absent)]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].json() == answers[1].json()
    operators = await api.call("PUT", path, api.operator, json={"rights": "read"})
    assert (operators.status_code, operators.json()["code"]) == (422, "grant-across-organisations")
    for body in ({"rights": ""}, {"rights": "lrq"}, {"rights": "read", "role": "operator"}, {}):
        assert (await api.call("PUT", absent, api.a, json=body)).status_code == 422


async def pages(api: Api, path: str, key: str, token: str) -> list[str]:
    """All of a list, two at a time."""
    found: list[str] = []
    while True:
        after = found[-1] if found else ""
        answer = await api.call("GET", path, token, params={"after": after, "limit": 2})
        assert answer.status_code == 200, answer.text
        keys = [",".join(str(item[part]) for part in key.split(",")) for item in answer.json()]
        found += keys
        if len(keys) < 2:
            return found


async def test_lists_come_in_pages(api: Api) -> None:
    await commune(api)
    await commune(api, "b")
    addresses = [await mailbox(api, f"m{number}") for number in range(5)]
    for address in addresses[1:]:
        await api.call("POST", "/grants", api.a, json={"owner": addresses[0], "grantee": address})
        alias = {"address": f"alias-{address}", "targets": [address]}
        assert (await api.call("POST", "/aliases", api.a, json=alias)).status_code == 201
    queued = [f"mail-{number}" for number in range(5)]
    for queue_id in queued:
        api.queue.put(queue_id, api.organisations["a"])
    expected = {
        ("/queue", "queue_id"): [*queued, "queued-a"],
        ("/mailboxes", "address"): addresses,
        ("/aliases", "address"): [f"alias-{address}" for address in addresses[1:]],
        ("/grants", "owner,grantee"): [f"{addresses[0]},{address}" for address in addresses[1:]],
        ("/domains", "name"): ["commune-a.test"],
        ("/organisations", "id"): [api.organisations["a"]],
    }
    for (path, key), all_of_it in expected.items():
        assert await pages(api, path, key, api.a) == all_of_it, path
        assert len(await pages(api, path, key, api.operator)) >= len(all_of_it)
        assert await pages(api, path, key, api.b) == [x for x in await pages(api, path, key, api.b) if "-a." not in x]
        for bad in ({"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"after": "x" * 701}):
            assert (await api.call("GET", path, api.a, params=bad)).status_code == 422
