"""Tokens, passwords and content: what the API has no door for (security.md rows 119, 120, 125, 133)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from tests.admin_api.conftest import Api
from tests.admin_api.test_matrix import ABSENT, BODIES, ROUTES
from tests.admin_api.test_routes import commune


def part(value: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(header: dict[str, object], claims: dict[str, object], key: bytes = b"") -> str:
    signed = f"{part(header)}.{part(claims)}"
    mark = hmac.new(key, signed.encode(), hashlib.sha256).digest() if key else b""
    return f"{signed}.{base64.urlsafe_b64encode(mark).rstrip(b'=').decode()}"


CLAIMS: dict[str, object] = {"sub": "operator", "role": "operator", "name": "operator", "exp": 4_000_000_000}


async def schema(api: Api) -> dict[str, Any]:
    answer = await api.client.get("/v1/openapi.json")
    assert answer.status_code == 200
    return dict(answer.json())


@pytest.mark.parametrize(
    "token",
    [
        forged({"alg": "none", "typ": "JWT"}, CLAIMS),
        forged({"alg": "NoNe"}, CLAIMS),
        forged({"alg": "HS256"}, CLAIMS, key=b"-----BEGIN PUBLIC KEY-----"),
        forged({"alg": "HS256", "kid": "../../../../dev/null"}, CLAIMS, key=b"\0"),
        forged({"alg": "HS256", "kid": "x' UNION SELECT 'a' --"}, CLAIMS, key=b"a"),
        forged({"alg": "RS256", "jku": "https://evil.test/jwks"}, {**CLAIMS, "aud": "other"}, key=b"x"),
    ],
    ids=["none", "none in another case", "public key as secret", "kid as path", "kid as SQL", "jku"],
)
async def test_h119_a_token_that_says_who_it_is_is_a_wrong_token(api: Api, token: str) -> None:
    """Tokens are opaque and looked up by their hash: there is no algorithm to be confused, no claim to be believed."""
    assert (await api.call("GET", "/me", token)).status_code == 401


async def test_h119_a_token_is_worth_nothing_altered_taken_back_or_used_in_another_place(api: Api) -> None:
    assert (await api.call("GET", "/me", api.a)).status_code == 200
    for wrong in (api.a[:-1], api.a + "x", api.a.swapcase(), hashlib.sha256(api.a.encode()).hexdigest()):
        assert (await api.call("GET", "/me", wrong)).status_code == 401
    for headers in ({"Authorization": f"Basic {api.a}"}, {"X-Token": api.a}, {"Cookie": f"token={api.a}"}):
        assert (await api.client.get("/v1/me", headers=headers)).status_code == 401
    assert (await api.client.get(f"/v1/me?token={api.a}&access_token={api.a}")).status_code == 401


async def test_h120_nobody_resets_a_password_without_a_token(api: Api) -> None:
    """There is no reset by mail: the one door is an administrator's, bounded by his commune."""
    doors = [path for path in (await schema(api))["paths"] if "password" in path or "reset" in path]
    assert sorted(doors) == [
        "/v1/mailboxes/{address}/app-passwords",
        "/v1/mailboxes/{address}/app-passwords/{app_password}",
        "/v1/mailboxes/{address}/password",
    ]
    domain = await commune(api)
    await api.call("POST", "/mailboxes", api.a, json={"address": f"maire@{domain}"})
    wanted = {"password": "laurier-muguet-noyer-11"}
    answers = [
        await api.call("PUT", f"/mailboxes/{name}@{domain}/password", token, json=wanted)
        for name in ("maire", "personne")
        for token in ("", api.b)
    ]
    assert [answer.status_code for answer in answers] == [401, 404, 401, 404]
    assert answers[1].json()["code"] == answers[3].json()["code"]  # absent and forbidden look the same


@pytest.mark.parametrize("name", ["Host", "X-Forwarded-Host", "Forwarded", "X-Original-URL"])
async def test_h120_no_answer_is_built_from_the_name_the_client_gave(api: Api, name: str) -> None:
    domain = await commune(api)
    for path in ("/v1/me", "/v1/openapi.json", "/v1/nowhere", f"/v1/domains/{domain}/dns", "/v1/mailboxes/"):
        headers = {"Authorization": f"Bearer {api.a}", name: "evil.test"}
        answer = await api.client.get(path, headers=headers, follow_redirects=False)
        assert "evil.test" not in answer.text
        assert "evil.test" not in str(answer.headers)


CONTENT = {"subject", "body", "content", "preview", "headers", "html", "text", "raw", "attachments", "eml"}


async def test_h125_no_route_shows_what_is_in_a_mailbox(api: Api) -> None:
    """No word of an answer could hold a message; what a person says of an absence is told to everybody anyway."""
    about = await schema(api)
    shown = {
        (name, word)
        for name, model in about["components"]["schemas"].items()
        for word in model.get("properties", {})
        if word in CONTENT
    }
    assert {name for name, _ in shown} == {"VacationModel"}
    for path, operations in about["paths"].items():
        for operation in operations.values():
            for answer in operation["responses"].values():
                assert set(answer.get("content", {})) <= {"application/json", "application/problem+json"}, path


async def test_h125_whatever_is_asked_the_store_is_asked_for_sizes_only(api: Api) -> None:
    """The store behind this API has no way to read a message: a route that tried one would be a bug, told as 500."""
    domain = await commune(api)
    await api.call("POST", "/mailboxes", api.a, json={"address": f"maire@{domain}"})
    for method, route in ROUTES:
        values = {**ABSENT, "address": f"maire@{domain}", "name": domain, "organisation": api.organisations["a"]}
        path = route.path.format(**values)
        if method == "DELETE":
            continue
        answer = await api.call(method, path, api.operator, json=BODIES.get(route.path))
        assert answer.status_code != 500, path


async def test_h125_a_forward_to_the_outside_is_the_communes_own_and_can_be_seen(api: Api) -> None:
    domain = await commune(api)
    await api.call("POST", "/mailboxes", api.a, json={"address": f"maire@{domain}"})
    wanted = {"address": f"accueil@{domain}", "targets": ["x@ailleurs.test"]}
    assert (await api.call("POST", "/aliases", api.b, json=wanted)).status_code == 404
    assert (await api.call("POST", "/aliases", api.a, json=wanted)).status_code == 201
    seen = (await api.call("GET", "/aliases", api.a)).json()
    assert [item["targets"] for item in seen if item["address"] == wanted["address"]] == [["x@ailleurs.test"]]


async def test_h133_nothing_is_exported_over_the_api(api: Api) -> None:
    """Backups are the operator's at the machine (`beffroi backup`); there is no download to guess or to hold open."""
    words = ("export", "backup", "archive", "download", "dump")
    assert not [path for path in (await schema(api))["paths"] if any(word in path for word in words)]
    assert (await api.call("GET", "/mailboxes?limit=1000000", api.operator)).status_code == 422
