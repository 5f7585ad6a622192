"""What each route does for whom it is meant for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.address import parse
from core.errors import TemporaryError
from directory.types import Actor, AliasOf
from tests.admin_api.conftest import PASSWORD, Api


async def commune(api: Api, name: str = "a") -> str:
    domain = f"commune-{name}.test"
    wanted = {"name": domain, "organisation": api.organisations[name]}
    assert (await api.call("POST", "/domains", api.operator, json=wanted)).status_code == 201
    return domain


async def test_me_tells_whose_token_it_is(api: Api) -> None:
    assert (await api.call("GET", "/me", api.operator)).json()["role"] == "operator"
    mine = (await api.call("GET", "/me", api.a)).json()
    assert mine == {"name": "admin a", "role": "organisation", "organisation": api.organisations["a"]}


async def test_a_new_domain_answers_with_the_records_to_publish(api: Api) -> None:
    wanted = {"name": "Mairie-Évry.test", "organisation": "Commune a"}
    answer = await api.call("POST", "/domains", api.operator, json=wanted)
    assert answer.status_code == 201
    created = answer.json()
    assert created["name"] == "xn--mairie-vry-h7a.test"
    assert created["display_name"] == "mairie-évry.test"
    kinds = [(record["type"], record["value"].split(";")[0].split(" ")[0]) for record in created["records"]]
    assert ("MX", "10") in kinds
    assert ("TXT", "v=spf1") in kinds
    assert kinds.count(("TXT", "v=DKIM1")) == 2
    assert ("TXT", "v=DMARC1") in kinds
    again = await api.call("GET", f"/domains/{created['name']}/dns", api.a)
    assert again.json() == created["records"]


async def test_a_mailbox_lives_its_life(api: Api) -> None:
    domain = await commune(api)
    address = f"secretariat@{domain}"
    wanted = {"address": address, "password": PASSWORD, "quota": 1000, "display_name": "Secrétariat"}
    created = await api.call("POST", "/mailboxes", api.a, json=wanted)
    assert created.status_code == 201
    assert "password" not in created.text
    assert (await api.call("POST", "/mailboxes", api.a, json=wanted)).json()["code"] == "address-taken"
    shown = (await api.call("GET", f"/mailboxes/{address}", api.a)).json()
    assert (shown["octets"], shown["messages"], shown["quota"]) == (4096, 3, 1000)
    changed = await api.call("PATCH", f"/mailboxes/{address}", api.a, json={"state": "suspended", "quota": 5})
    assert (changed.json()["state"], changed.json()["quota"]) == ("suspended", 5)
    password = {"password": "dahlia-erable-fougere-77"}
    assert (await api.call("PUT", f"/mailboxes/{address}/password", api.a, json=password)).status_code == 204
    assert [m["address"] for m in (await api.call("GET", "/mailboxes", api.a)).json()] == [address]
    assert (await api.call("DELETE", f"/mailboxes/{address}", api.a)).status_code == 204
    assert api.store.recycled == [shown["id"]]
    assert api.queue.done[-2:] == [("orphan", shown["id"]), ("forget", shown["id"])]
    assert (await api.call("GET", f"/mailboxes/{address}", api.a)).status_code == 404


async def test_pages_of_mailboxes_follow_each_other(api: Api) -> None:
    domain = await commune(api)
    for i in range(5):
        await api.call("POST", "/mailboxes", api.a, json={"address": f"agent{i}@{domain}"})
    first = (await api.call("GET", "/mailboxes?limit=2", api.a)).json()
    second = (await api.call("GET", f"/mailboxes?limit=2&after={first[-1]['address']}", api.a)).json()
    assert [m["address"] for m in (*first, *second)] == [f"agent{i}@{domain}" for i in range(4)]
    assert (await api.call("GET", "/mailboxes?limit=1000000000", api.a)).status_code == 422


async def test_an_alias_is_added_listed_and_removed(api: Api) -> None:
    domain = await commune(api)
    await api.call("POST", "/mailboxes", api.a, json={"address": f"maire@{domain}"})
    alias = {"address": f"contact@{domain}", "targets": [f"maire@{domain}", "outside@partner.test"]}
    assert (await api.call("POST", "/aliases", api.a, json=alias)).status_code == 201
    assert (await api.call("GET", "/aliases", api.a)).json()[0]["targets"] == alias["targets"]
    assert (await api.call("DELETE", f"/aliases/contact@{domain}", api.a)).status_code == 204
    assert (await api.call("GET", "/aliases", api.a)).json() == []


async def test_the_queue_obeys(api: Api) -> None:
    for action in ("retry", "hold", "release"):
        assert (await api.call("POST", f"/queue/queued-a/{action}", api.a)).status_code == 204
    assert (await api.call("DELETE", "/queue/queued-a", api.a)).status_code == 204
    assert [action for action, _ in api.queue.done] == ["retry", "hold", "release", "drop"]
    audited = [entry.action for entry in await api.directory.audit(Actor.console())]
    assert audited[:4] == ["queue.drop", "queue.release", "queue.hold", "queue.retry"]


async def test_the_queue_is_told_in_parts_and_by_its_shape(api: Api) -> None:
    api.queue.put("held-a", api.organisations["a"])
    api.queue.messages["held-a"] = replace(api.queue.messages["held-a"], held=True)
    for params, ids in (
        ({"held": "true"}, ["held-a"]),
        ({"sender": "A@b.test"}, []),
        ({"sender": "a@b.test", "held": "false"}, ["queued-a"]),
        ({"sender": ""}, []),
    ):
        answer = await api.call("GET", "/queue", api.a, params=params)
        assert [item["queue_id"] for item in answer.json()] == ids, params
    for params in ({"sender": "no address"}, {"domain": "no domain"}, {"held": "perhaps"}):
        assert (await api.call("GET", "/queue", api.a, params=params)).status_code == 422
    shape = (await api.call("GET", "/queue-shape", api.a, params={"by": "sender"})).json()
    assert shape == [{"name": "a@b.test", "total": 2, "counts": [2, *[0] * 9]}]
    assert (await api.call("GET", "/queue-shape", api.a, params={"by": "age"})).status_code == 422


async def test_many_messages_are_handled_at_once_and_that_is_audited(api: Api) -> None:
    api.queue.put("other-a", api.organisations["a"])
    body = {"action": "drop", "sender": "a@b.test"}
    assert (await api.call("POST", "/queue-actions", api.a, json=body)).json() == {"messages": 2}
    assert (await api.call("POST", "/queue-actions", api.a, json={"action": "hold", "all": True})).status_code == 200
    assert api.queue.done == [(action, id_) for action in ("drop", "hold") for id_ in ("other-a", "queued-a")]
    for refused in (
        {"action": "drop"},
        {"action": "drop", "all": True, "held": True},
        {"action": "burn", "all": True},
        {"action": "drop", "domain": "no domain"},
    ):
        assert (await api.call("POST", "/queue-actions", api.a, json=refused)).status_code == 422
    audited = [(entry.action, entry.target) for entry in await api.directory.audit(Actor.console())]
    assert audited[:2] == [("queue.hold", "all"), ("queue.drop", "sender=a@b.test")]


async def test_what_fails_behind_a_part_of_many_messages_is_audited(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> int:
        raise TemporaryError("away")

    monkeypatch.setattr(api.queue, "act", away)
    body = {"action": "drop", "all": True}
    assert (await api.call("POST", "/queue-actions", api.a, json=body)).status_code == 503
    [newest, *_] = await api.directory.audit(Actor.console())
    assert (newest.action, newest.target) == ("queue.drop", "all")


async def test_where_a_message_is_is_told_and_the_question_audited(api: Api) -> None:
    await commune(api)
    api.queue.put("queued-a", api.organisations["a"])
    answer = await api.call("GET", "/trace", api.a, params={"text": "<m1@ville.test>"})
    assert [(item["queue_id"], item["event"]) for item in answer.json()] == [("queued-a", "delivered")]
    other = (await api.call("GET", "/trace", api.b, params={"text": "<m1@ville.test>"})).json()
    assert "queued-a" not in [item["queue_id"] for item in other]
    assert (await api.call("GET", "/trace", api.a, params={"text": "a\nb"})).status_code == 422
    audited = await api.directory.audit(Actor.console())
    asked = [(entry.action, entry.target) for entry in audited if entry.action == "queue.trace"]
    assert asked == [("queue.trace", "<m1@ville.test>")] * 2


async def test_a_domain_with_mailboxes_is_not_removed(api: Api) -> None:
    domain = await commune(api)
    await api.call("POST", "/mailboxes", api.a, json={"address": f"maire@{domain}"})
    answer = await api.call("DELETE", f"/domains/{domain}", api.operator)
    assert answer.status_code == 409
    assert answer.json()["code"] == "domain-not-empty"


async def test_a_new_administrator_token_works_at_once(api: Api) -> None:
    wanted = {"name": "secrétaire", "role": "organisation", "organisation": api.organisations["a"]}
    created = (await api.call("POST", "/administrators", api.operator, json=wanted)).json()
    assert (await api.call("GET", "/me", created["token"])).json()["organisation"] == api.organisations["a"]


async def test_dkim_keys_rotate_and_the_check_says_unknown_without_dns(api: Api) -> None:
    domain = await commune(api)
    keys = (await api.call("POST", f"/domains/{domain}/dkim/rotate", api.a)).json()
    assert {key["algorithm"] for key in keys} == {"rsa", "ed25519"}
    assert {key["state"] for key in keys} == {"published"}
    checks = (await api.call("GET", f"/domains/{domain}/check", api.a)).json()
    assert len(checks) >= 5
    assert not any(check["good"] for check in checks if check["type"] == "MX")


async def test_a_grant_is_given_listed_and_taken(api: Api) -> None:
    domain = await commune(api)
    for local in ("maire", "secretariat"):
        await api.call("POST", "/mailboxes", api.a, json={"address": f"{local}@{domain}"})
    grant = {"owner": f"maire@{domain}", "grantee": f"secretariat@{domain}"}
    assert (await api.call("POST", "/grants", api.a, json=grant)).json() == grant
    assert (await api.call("GET", "/grants", api.a)).json() == [grant]
    assert (await api.call("GET", "/grants", api.b)).json() == []
    path = f"/grants/{grant['owner']}/{grant['grantee']}"
    assert (await api.call("DELETE", path, api.b)).status_code == 404
    assert (await api.call("DELETE", path, api.a)).status_code == 204
    assert (await api.call("DELETE", path, api.a)).json()["code"] == "unknown-grant"


async def test_the_operators_postmaster_serves_empty_communes(api: Api) -> None:
    domain = await commune(api)
    assert (await api.call("PUT", "/postmaster", api.a, json={"address": "x@y.test"})).status_code == 403
    assert (await api.call("PUT", "/postmaster", api.operator, json={"address": "dsi@dept.test"})).status_code == 204
    found = await api.directory.resolve(parse(f"postmaster@{domain}"))
    assert found == AliasOf((parse("dsi@dept.test"),))
