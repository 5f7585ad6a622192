"""Every verb x endpoint x actor, generated from the route table: default deny, and nothing of a neighbour (P8)."""

from __future__ import annotations

import pytest
from fastapi.routing import APIRoute

from admin_api import access
from admin_api.app import ROUTERS
from tests.admin_api.conftest import Api
from tests.admin_api.test_routes import commune

ROUTES = [
    (method, route)
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute)
    for method in sorted(route.methods or ())
]
IDS = [f"{method} {route.path}" for method, route in ROUTES]
BODIES = {
    "/organisations": {"name": "x"},
    "/domains": {"name": "x.test", "organisation": "x"},
    "/mailboxes": {"address": "x@commune-a.test"},
    "/aliases": {"address": "y@commune-a.test", "targets": ["x@commune-a.test"]},
    "/grants": {"owner": "maire@commune-a.test", "grantee": "x@commune-a.test"},
    "/postmaster": {"address": None},
    "/administrators": {"name": "x", "role": "operator"},
    "/mailboxes/{address}/password": {"password": "laurier-muguet-noyer-11"},
    "/mailboxes/{address}": {"quota": 7},
    "/mailboxes/{address}/app-passwords": {"label": "x"},
    "/mailboxes/{address}/shares/{grantee}": {"rights": "read"},
    "/mailboxes/{address}/restore": {},
    "/mailboxes/{address}/vacation": {
        "text": "Absent",
        "starts": "2026-12-24T00:00:00+01:00",
        "ends": "2027-01-04T00:00:00+01:00",
    },
    "/organisations/{organisation}": {"quota": 7},
    "/queue-actions": {"action": "hold", "sender": "x@commune-a.test"},
}


ABSENT = {
    "name": "absent.test", "address": "absent@absent.test", "queue_id": "no", "organisation": "no",
    "owner": "absent@absent.test", "grantee": "absent@absent.test", "app_password": "no",
    "administrator": "no",
}  # fmt: skip


def concrete(path: str, organisation: str, administrator: str = "x") -> str:
    values = {"name": "commune-a.test", "address": "maire@commune-a.test", "queue_id": "queued-a"} | {
        "owner": "maire@commune-a.test",
        "grantee": "x@commune-a.test",
        "app_password": "x",
    }
    return path.format(organisation=organisation, administrator=administrator, **values)


def dependencies(route: APIRoute) -> set[object]:
    found: set[object] = set()
    waiting = [route.dependant]
    while waiting:
        current = waiting.pop()
        found.add(current.call)
        waiting.extend(current.dependencies)
    return found


@pytest.mark.parametrize(("method", "route"), ROUTES, ids=IDS)
def test_a_route_without_a_rule_fails_the_build(method: str, route: APIRoute) -> None:
    assert access.administrator in dependencies(route)


@pytest.mark.parametrize(("method", "route"), ROUTES, ids=IDS)
async def test_h122_without_a_valid_token_nothing_answers(api: Api, method: str, route: APIRoute) -> None:
    path = concrete(route.path, "x")
    for token in ("", "wrong", "x" * 5000):
        answer = await api.call(method, path, token, json=BODIES.get(route.path))
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert ('error="invalid_token"' in answer.headers["www-authenticate"]) is bool(token)


@pytest.mark.parametrize(("method", "route"), ROUTES, ids=IDS)
async def test_h121_a_neighbours_objects_are_as_if_absent(api: Api, method: str, route: APIRoute) -> None:
    domain = await commune(api)
    await api.call("POST", "/mailboxes", api.a, json={"address": f"maire@{domain}"})
    template = route.path
    path = concrete(template, api.organisations["a"], api.administrators["a"])
    answer = await api.call(method, path, api.b, json=BODIES.get(template))
    if access.operator in dependencies(route):
        assert answer.status_code == 403
    elif "{" in template:
        absent = await api.call(
            method,
            template.format_map(ABSENT),
            api.b,
            json=BODIES.get(template),
        )
        assert answer.status_code == absent.status_code == 404
        assert answer.json()["code"] == absent.json()["code"]
    elif method == "GET":
        assert answer.status_code == 200
        assert "commune-a" not in answer.text
        assert "queued-a" not in answer.text
        assert api.organisations["a"] not in answer.text
        assert api.administrators["a"] not in answer.text
    else:
        assert answer.status_code == 404
    assert not api.queue.done
    unharmed = await api.call("GET", f"/mailboxes/maire@{domain}", api.a)
    assert unharmed.json()["quota"] == 0
