"""The recycle bin over REST, and a removal that the disk refused."""

from __future__ import annotations

import pytest

from core.errors import StorageError
from store.types import AccountRef, Recycled
from tests.admin_api.conftest import Api
from tests.admin_api.test_routes import commune


def _item(api: Api, name: str, *, folder: str = "", organisation: str = "a") -> Recycled:
    address = f"maire@commune-{organisation}.test"
    return Recycled(f"bin/{name}", "gone", api.organisations[organisation], address, folder, 1_790_000_000, 3, 300)


async def _mailbox(api: Api) -> str:
    address = f"maire@{await commune(api)}"
    assert (await api.call("POST", "/mailboxes", api.a, json={"address": address})).status_code == 201
    return address


async def test_a_commune_sees_and_restores_its_own_items(api: Api) -> None:
    address = await _mailbox(api)
    bin_ = api.store.administration
    bin_.items = [_item(api, "1", folder="A"), _item(api, "2"), _item(api, "3", organisation="b")]
    listed = (await api.call("GET", "/recycled", api.a)).json()
    assert [(row["item"], row["folder"], row["removed_at"]) for row in listed] == [
        ("bin/2", "", 1_790_000_000),
        ("bin/1", "A", 1_790_000_000),
    ]
    assert len((await api.call("GET", "/recycled", api.operator)).json()) == 3
    done = await api.call("POST", f"/mailboxes/{address}/restore", api.a, json={})
    assert (done.status_code, done.json()["messages"]) == (200, 3)
    one = await api.call("POST", f"/mailboxes/{address}/restore", api.a, json={"items": ["bin/1"]})
    assert one.status_code == 200
    whole = await api.call("POST", f"/mailboxes/{address}/restore", api.a, json={"in_place": True})
    assert whole.json()["folder"] == ""
    assert bin_.brought_back == [
        (address, ("bin/1", "bin/2"), "beside"),
        (address, ("bin/1",), "beside"),
        (address, ("bin/2",), "in place"),
    ]


@pytest.mark.parametrize("items", [["bin/3"], ["bin/1", "bin/3"], ["nowhere"], ["../../etc"]])
async def test_h121_an_item_of_another_commune_is_as_if_absent(api: Api, items: list[str]) -> None:
    address = await _mailbox(api)
    api.store.administration.items = [_item(api, "1", folder="A"), _item(api, "3", organisation="b")]
    answer = await api.call("POST", f"/mailboxes/{address}/restore", api.a, json={"items": items})
    assert (answer.status_code, answer.json()["code"]) == (404, "no-item")
    assert api.store.administration.brought_back == []


async def test_p8_a_removed_mailbox_says_how_it_comes_back_to_its_own_commune_alone(api: Api) -> None:
    address = await _mailbox(api)
    assert (await api.call("DELETE", f"/mailboxes/{address}", api.a)).status_code == 204
    api.store.administration.items = [_item(api, "1", organisation="b"), _item(api, "2")]
    own = await api.call("POST", f"/mailboxes/{address}/restore", api.a, json={})
    assert (own.status_code, own.json()["code"]) == (404, "mailbox-removed")
    assert "Recréez-la" in own.json()["detail"]
    foreign = [f"/mailboxes/{who}/restore" for who in (address, "maire@commune-b.test", "maire@nowhere.test")]
    told = [
        (await api.call("POST", path, token, json={})).json()
        for path, token in zip(foreign, (api.b, api.a, api.a), strict=True)
    ]
    assert {item["code"] for item in told} == {"unknown-mailbox"}


async def test_a_removal_that_the_disk_refused_can_be_asked_for_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = await _mailbox(api)
    account_id = (await api.call("GET", f"/mailboxes/{address}", api.a)).json()["id"]
    works = api.store.remove_account

    async def fails(_ref: object) -> None:
        raise StorageError("insufficient storage", code="storage-full")

    monkeypatch.setattr(api.store, "remove_account", fails)
    assert (await api.call("DELETE", f"/mailboxes/{address}", api.a)).status_code == 503
    monkeypatch.setattr(api.store, "remove_account", works)
    left = api.store.administration.left = AccountRef(account_id, api.organisations["a"], "commune-a.test", "maire")
    absent = await api.call("DELETE", f"/mailboxes/{address}", api.b)
    assert (absent.status_code, api.store.recycled) == (404, [])
    assert (await api.call("DELETE", f"/mailboxes/{address}", api.a)).status_code == 204
    assert api.store.recycled == [left.id]
    api.store.administration.left = None
    assert (await api.call("DELETE", f"/mailboxes/{address}", api.a)).status_code == 404
