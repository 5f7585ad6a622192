"""JSON has types, and a body is taken as it says: what a query must read out of a text, a body has no need to guess."""

from __future__ import annotations

import pytest

from tests.admin_api.conftest import PASSWORD, Api
from tests.admin_api.test_access_routes import mailbox
from tests.admin_api.test_routes import commune

MAIRE = "/mailboxes/maire@commune-a.test"
TRUE_AND_FALSE = ["yes", "on", "true", "t", "1", 1, 1.0, "no", "off", 0]
NUMBERS = ["5", 5.0, "5.0", True, " 5", 1e300]
MOMENTS = [2026, "2026", "1798066800", 1798066800, 1798066800.5, True, "+1798066800"]
VACATION = {"text": "Absent", "starts": "2026-12-24T00:00:00+01:00", "ends": "2027-01-04T00:00:00+01:00"}


@pytest.mark.parametrize(
    ("method", "path", "member", "rest"),
    [
        ("POST", "/queue-actions", "all", {"action": "drop"}),
        ("POST", "/queue-actions", "held", {"action": "drop"}),
        ("POST", "/mailboxes", "shared", {"address": "new@commune-a.test"}),
        ("PATCH", MAIRE, "shared", {}),
        ("POST", f"{MAIRE}/restore", "in_place", {}),
        ("POST", f"{MAIRE}/app-passwords", "bare_lines", {"label": "copieur", "scope": "send-only"}),
        ("PUT", f"{MAIRE}/shares/x@commune-a.test", "send_as", {"rights": "read"}),
        ("PUT", f"{MAIRE}/shares/x@commune-a.test", "set_quota", {"rights": "manage"}),
    ],
)
async def test_only_true_and_false_are_either(
    api: Api, method: str, path: str, member: str, rest: dict[str, object]
) -> None:
    """A drop of everything was asked for with "all": "on"."""
    for value in TRUE_AND_FALSE:
        answer = await api.call(method, path, api.a, json={**rest, member: value})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request"), value
        assert [fault["where"] for fault in answer.json()["errors"]] == [f"body.{member}"]
    assert api.queue.done == []


async def test_only_a_number_is_a_number(api: Api) -> None:
    for value in NUMBERS:
        answer = await api.call("PATCH", MAIRE, api.a, json={"quota": value})
        assert (answer.status_code, answer.json()["errors"][0]["where"]) == (422, "body.quota"), answer.text


async def test_a_moment_is_written_as_one(api: Api) -> None:
    """A year alone was taken for seconds: an absence that ended in 1970, or began there."""
    await commune(api)
    path = f"/mailboxes/{await mailbox(api, 'maire')}/vacation"
    for value in MOMENTS:
        answer = await api.call("PUT", path, api.a, json={**VACATION, "starts": value})
        assert (answer.status_code, answer.json()["errors"][0]["where"]) == (422, "body.starts"), answer.text
    assert not api.queue.vacations


async def test_an_end_that_never_comes_is_null_and_not_a_number_without_end(api: Api) -> None:
    headers = {"Authorization": f"Bearer {api.a}", "Content-Type": "application/json"}
    body = b'{"label": "copieur", "expires_at": 1e999}'
    answer = await api.client.post(f"/v1{MAIRE}/app-passwords", content=body, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["where"]) == (422, "body.expires_at"), answer.text
    text = await api.call("POST", f"{MAIRE}/app-passwords", api.a, json={"label": "copieur", "expires_at": "2e9"})
    assert text.status_code == 422


async def test_what_is_of_its_type_is_taken_and_a_query_is_read(api: Api) -> None:
    await commune(api)
    address = await mailbox(api, "maire")
    path = f"/mailboxes/{address}"
    assert (await api.call("PUT", f"{path}/password", api.a, json={"password": PASSWORD})).status_code == 204
    assert (await api.call("PATCH", path, api.a, json={"quota": 5, "shared": True})).json()["shared"] is True
    app_password = {"label": "copieur", "expires_at": 4_000_000_000}
    assert (await api.call("POST", f"{path}/app-passwords", api.a, json=app_password)).json()["expires_at"] == 4e9
    assert (await api.call("PUT", f"{path}/vacation", api.a, json=VACATION)).status_code == 204
    assert (await api.call("GET", f"{path}/vacation", api.a)).json()["starts"] == "2026-12-23T23:00:00Z"
    assert (await api.call("POST", "/queue-actions", api.a, json={"action": "hold", "all": True})).status_code == 200
    for held in ("true", "1", "false"):
        assert (await api.call("GET", "/queue", api.a, params={"held": held, "limit": "5"})).status_code == 200
