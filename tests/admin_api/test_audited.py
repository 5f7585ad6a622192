"""The audit has no transaction in common with the queue and the store: it is told first, so nothing is done that nobody
wrote down. Every route that changes something, with an audit that cannot be written and then with one that can."""

from __future__ import annotations

import pytest
from fastapi.routing import APIRoute

from core.errors import TemporaryError
from directory.repositories.audit import Audit
from directory.types import Actor
from store.types import AccountRef, Recycled
from tests.admin_api.conftest import Api
from tests.admin_api.test_matrix import BODIES, ROUTES, concrete
from tests.admin_api.test_routes import commune

CHANGING = [(method, route) for method, route in ROUTES if method != "GET"]
# What `peopled` has not, or cannot lose.
REFUSED_ANYWAY = {
    ("DELETE", "/domains/{name}"),
    ("DELETE", "/mailboxes/{address}/app-passwords/{app_password}"),
    ("DELETE", "/mailboxes/{address}/shares/{grantee}"),
    ("DELETE", "/aliases/{address}"),
    ("DELETE", "/grants/{owner}/{grantee}"),
}


async def peopled(api: Api) -> None:
    """A commune with two mailboxes, and something of one of them in the recycle bin."""
    domain = await commune(api)
    for local in ("maire", "x"):
        await api.call("POST", "/mailboxes", api.a, json={"address": f"{local}@{domain}"})
    binned = Recycled("bin/1", "gone", api.organisations["a"], f"maire@{domain}", "A", 1_790_000_000, 3, 300)
    api.store.administration.items = [binned]


def body_of(api: Api, path: str) -> object:
    """One that succeeds."""
    of_these: dict[str, object] = {
        "/domains": {"name": "x.test", "organisation": api.organisations["a"]},
        "/mailboxes": {"address": "new@commune-a.test"},
        "/queue-actions": {"action": "hold", "all": True},
    }
    return of_these.get(path, BODIES.get(path))


def done_elsewhere(api: Api) -> list[object]:
    """Outside the directory, which has one transaction with the audit."""
    bin_ = api.store.administration.brought_back
    return [list(api.queue.done), dict(api.queue.vacations), list(api.store.recycled), list(bin_)]


@pytest.mark.parametrize(("method", "route"), CHANGING, ids=[f"{method} {route.path}" for method, route in CHANGING])
async def test_nothing_is_done_that_the_audit_cannot_be_told(
    api: Api, monkeypatch: pytest.MonkeyPatch, method: str, route: APIRoute
) -> None:
    """The queue's single actions, absences and unlocking came first and their line behind them; restoring had none."""
    await peopled(api)
    path, body = concrete(route.path, api.organisations["a"], api.administrators["a"]), body_of(api, route.path)
    possible, before = (method, route.path) not in REFUSED_ANYWAY, done_elsewhere(api)

    async def full(*_: object, **__: object) -> None:
        raise TemporaryError("the audit cannot be written")

    with monkeypatch.context() as broken:
        broken.setattr(Audit, "add", full)
        answer = await api.call(method, path, api.operator, json=body)
    assert answer.status_code == 503 if possible else answer.status_code in (404, 409), answer.text
    assert done_elsewhere(api) == before
    told = len(await api.directory.audit(Actor.console()))
    again = await api.call(method, path, api.operator, json=body)
    assert (again.status_code < 300) is possible, again.text
    assert (len(await api.directory.audit(Actor.console())) > told) is possible


@pytest.mark.parametrize("path", ["/queue/gone/retry", "/queue/gone/hold", "/queue/gone/release", "/queue/gone"])
async def test_what_is_not_in_the_queue_leaves_no_line(api: Api, path: str) -> None:
    told = len(await api.directory.audit(Actor.console()))
    answer = await api.call("POST" if path.count("/") > 2 else "DELETE", path, api.a)
    assert (answer.status_code, answer.json()["code"]) == (404, "queue-not-found")
    assert len(await api.directory.audit(Actor.console())) == told


@pytest.mark.parametrize("wanted", [{"items": ["bin/gone"]}, {"items": ["bin/1", "bin/gone"]}, {"in_place": True}])
async def test_what_is_not_in_the_recycle_bin_leaves_no_line(api: Api, wanted: object) -> None:
    """Who read the audit took it for mail that was brought back. The bin has a folder of this mailbox, no mailbox."""
    await peopled(api)
    told = len(await api.directory.audit(Actor.console()))
    answer = await api.call("POST", "/mailboxes/maire@commune-a.test/restore", api.a, json=wanted)
    assert (answer.status_code, answer.json()["code"][:2]) == (404, "no")
    assert len(await api.directory.audit(Actor.console())) == told
    assert done_elsewhere(api)[-1] == []


async def test_whoever_rotates_keys_is_named(api: Api) -> None:
    """The lines of the keys themselves are the system's: nobody knew who had asked."""
    domain = await commune(api)
    assert (await api.call("POST", f"/domains/{domain}/dkim/rotate", api.a)).status_code == 200
    [line] = [entry for entry in await api.directory.audit(Actor.console()) if entry.action == "dkim.rotate"]
    assert (line.organisation_id, line.target) == (api.organisations["a"], domain)


async def test_mail_whose_mailbox_is_gone_already_is_not_taken_away_unseen(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = await commune(api)
    left = AccountRef("gone", api.organisations["a"], domain, "vieux")

    async def lies_there(_domain: str, _local: str) -> AccountRef:
        return left

    monkeypatch.setattr(api.store.administration, "leftover", lies_there)
    assert (await api.call("DELETE", f"/mailboxes/vieux@{domain}", api.a)).status_code == 204
    assert [entry.target for entry in await api.directory.audit(Actor.console()) if entry.action == "mailbox.recycle"]
    assert api.store.recycled
