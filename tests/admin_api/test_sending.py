"""Absence notices and unlocking over REST."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.envelope import Schedule
from delivery.types import Vacation
from directory.types import Actor
from tests.admin_api.conftest import Api
from tests.admin_api.test_access_routes import mailbox
from tests.admin_api.test_routes import commune

WANTED = {
    "text": "Je suis absente.\nÀ lundi.",
    "starts": "2026-12-24T00:00:00+01:00",
    "ends": "2027-01-04T00:00:00+01:00",
}


async def test_an_absence_is_set_shown_and_taken_back_and_audited(api: Api) -> None:
    await commune(api)
    path = f"/mailboxes/{await mailbox(api, 'maire')}/vacation"
    assert (await api.call("GET", path, api.a)).status_code == 404
    assert (await api.call("PUT", path, api.a, json=WANTED)).status_code == 204
    [kept] = api.queue.vacations.values()
    assert kept == Vacation(WANTED["text"], "", 1798066800.0, 1799017200.0)
    assert (await api.call("GET", path, api.a)).json() == {
        "text": WANTED["text"], "subject": "", "starts": "2026-12-23T23:00:00Z", "ends": "2027-01-03T23:00:00Z",
    }  # fmt: skip
    assert (await api.call("DELETE", path, api.a)).status_code == 204
    assert (await api.call("GET", path, api.a)).status_code == 404
    assert (await api.call("PUT", path, api.b, json=WANTED)).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"text": ""},
        {"text": "x" * 10_001},
        {"text": "a\x00b"},
        {"subject": "a\r\nBcc: x@y.fr"},
        {"ends": "2026-12-23T00:00:00+01:00"},
        {"starts": "2026-12-24T00:00:00"},
        {"more": 1},
    ],
)
async def test_h066_what_cannot_be_a_notice_is_422(api: Api, change: dict[str, object]) -> None:
    await commune(api)
    path = f"/mailboxes/{await mailbox(api, 'maire')}/vacation"
    assert (await api.call("PUT", path, api.a, json={**WANTED, **change})).status_code == 422
    assert not api.queue.vacations


async def test_an_account_is_unlocked_by_its_own_commune_only(api: Api) -> None:
    await commune(api)
    path = f"/mailboxes/{await mailbox(api, 'maire')}/unlock"
    assert (await api.call("POST", path, api.b)).status_code == 404
    assert (await api.call("POST", path, api.a)).status_code == 204
    assert [action for action, _ in api.queue.done] == ["unlock"]


async def test_whether_an_account_s_sending_is_locked_is_shown_and_not_only_written_to_the_postmaster(api: Api) -> None:
    await commune(api)
    path = f"/mailboxes/{await mailbox(api, 'maire')}"
    before = (await api.call("GET", path, api.a)).json()
    api.queue.locks.add(before["id"])
    assert (before["sending_locked"], (await api.call("GET", path, api.a)).json()["sending_locked"]) == (False, True)
    await api.call("POST", f"{path}/unlock", api.a)
    assert (await api.call("GET", path, api.a)).json() == before


async def test_a_suspended_account_s_queued_mail_is_held_until_it_is_resumed(api: Api) -> None:
    await commune(api)
    path = f"/mailboxes/{await mailbox(api, 'maire')}"
    id_ = (await api.call("GET", path, api.a)).json()["id"]
    assert (await api.call("PATCH", path, api.b, json={"state": "suspended"})).status_code == 404
    for state in ("suspended", "active"):
        assert (await api.call("PATCH", path, api.a, json={"state": state})).status_code == 200
    assert (await api.call("PATCH", path, api.a, json={"quota": 5})).status_code == 200
    assert api.queue.done == [("suspend", id_), ("resume", id_)]


async def test_the_queue_tells_why_something_is_held(api: Api) -> None:
    api.queue.messages["queued-a"] = replace(
        api.queue.messages["queued-a"], held=True, held_by=("administrator", "suspension")
    )
    shown = (await api.call("GET", "/queue/queued-a", api.a)).json()
    assert (shown["held"], shown["held_by"]) == (True, ["administrator", "suspension"])


async def test_the_queue_tells_what_its_senders_asked_for(api: Api) -> None:
    """RFC 4865, RFC 2852, RFC 6710: a message that is kept back is not one that is stuck."""
    schedule = Schedule(release_at=2e9, hold="for;60", deliver_by=2.1e9, by_mode="R", priority=3)
    api.queue.put("timed", api.organisations["a"])
    api.queue.messages["timed"] = replace(api.queue.messages["timed"], schedule=schedule)
    shown = (await api.call("GET", "/queue/timed", api.a)).json()
    assert {key: shown[key] for key in ("release_at", "deliver_by", "by_mode", "priority")} == {
        "release_at": 2e9,
        "deliver_by": 2.1e9,
        "by_mode": "R",
        "priority": 3,
    }
    ordinary = (await api.call("GET", "/queue/queued-a", api.a)).json()
    assert (ordinary["release_at"], ordinary["by_mode"], ordinary["priority"]) == (0, "", 0)


async def test_a_commune_is_suspended_by_the_operator_alone_and_its_administrator_s_token_stops(api: Api) -> None:
    await commune(api)
    id_ = (await api.call("GET", f"/mailboxes/{await mailbox(api, 'maire')}", api.a)).json()["id"]
    path = f"/organisations/{api.organisations['a']}"
    for token in (api.a, api.b):
        refused = await api.call("PATCH", path, token, json={"state": "suspended"})
        assert (refused.status_code, refused.json()["code"]) == (403, "operator-only")
        assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]  # RFC 6750 3.1
        assert refused.json()["detail"] == "Seul le département peut faire cela."
    for _ in range(2):
        changed = await api.call("PATCH", path, api.operator, json={"state": "suspended", "quota": 5})
        assert (changed.json()["state"], changed.json()["quota"]) == ("suspended", 5)
    assert (await api.call("GET", "/me", api.a)).status_code == 401
    assert (await api.call("GET", "/me", api.b)).status_code == 200
    assert (await api.call("PATCH", path, api.operator, json={"state": "active"})).json()["state"] == "active"
    assert (await api.call("GET", "/me", api.a)).status_code == 200
    assert (await api.call("PATCH", path, api.operator, json={"state": "closed"})).status_code == 422
    absent = await api.call("PATCH", "/organisations/nulle", api.operator, json={"state": "suspended"})
    assert (absent.status_code, absent.json()["code"]) == (404, "unknown-organisation")
    assert api.queue.done == [("suspend", id_), ("suspend", id_), ("resume", id_)]
    audited = [entry.action for entry in await api.directory.audit(Actor.console())]
    assert [action for action in audited if action.startswith("organisation-")][:3] == [
        "organisation-active", "organisation-suspended", "organisation-quota-set",
    ]  # fmt: skip
