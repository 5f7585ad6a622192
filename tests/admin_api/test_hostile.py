"""Hostile requests: each gets its exact problem, quickly, and nothing inside leaks (h066, h123, h128, h129, h132)."""

from __future__ import annotations

import asyncio
import time

import pytest
from starlette.types import Message, Receive, Scope, Send

from admin_api.intake import Intake, _depth
from core.errors import TemporaryError
from tests.admin_api.conftest import Api
from tests.admin_api.test_routes import commune

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 422, "invalid-json"),
        (b"[" * 10_000 + b"]" * 10_000, 422, "invalid-json"),
        (b'{"name": ' + b'{"a":' * 5000 + b"1" + b"}" * 5001, 422, "invalid-json"),
        (b'{"name": "a", "name": "b"}', 422, "invalid-json"),
        (b'{"name": NaN}', 422, "invalid-json"),
        (b'{"name": ' + b"9" * 1_000_000 + b"}", 422, "invalid-json"),
        (b'{"name": "' + b"a" * MIB + b'"}', 413, "too-large"),
        (b'{"name": "\xff"}', 422, "invalid-json"),
        (b'"just a string"', 422, "invalid-request"),
        (b'{"name": "a", "role": "operator"}', 422, "invalid-request"),
        (b'{"name": "a\\r\\nBcc: x"}', 422, "invalid-request"),
        (b'{"name": ""}', 422, "invalid-request"),
        (b"", 422, "invalid-request"),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_h129_a_bad_body_gets_its_exact_problem(api: Api, body: bytes, status: int, code: str) -> None:
    start = time.process_time()
    headers = {"Authorization": f"Bearer {api.operator}", "Content-Type": "application/json"}
    answer = await api.client.post("/v1/organisations", content=body, headers=headers)
    assert time.process_time() - start < 1.0
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["code"] == code
    assert problem["detail"]
    assert problem["detail_en"]
    assert len((await api.call("GET", "/organisations", api.operator)).json()) == 2


async def test_h129_a_compressed_body_is_refused(api: Api) -> None:
    headers = {"Authorization": f"Bearer {api.operator}", "Content-Encoding": "gzip"}
    assert (await api.client.post("/v1/organisations", content=b"\x1f\x8b", headers=headers)).status_code == 422


async def test_h123_unknown_members_are_refused(api: Api) -> None:
    domain = await commune(api)
    wanted = {"address": f"maire@{domain}", "organisation_id": api.organisations["b"]}
    answer = await api.call("POST", "/mailboxes", api.a, json=wanted)
    assert answer.status_code == 422
    assert "organisation_id" in answer.json()["errors"][0]["where"]


async def test_h124_an_alias_cannot_capture_a_neighbours_address(api: Api) -> None:
    await commune(api, "a")
    neighbour = await commune(api, "b")
    await api.call("POST", "/mailboxes", api.b, json={"address": f"maire@{neighbour}"})
    alias = {"address": f"maire@{neighbour}", "targets": ["thief@partner.test"]}
    assert (await api.call("POST", "/aliases", api.a, json=alias)).status_code == 404
    box = {"address": f"new@{neighbour}"}
    assert (await api.call("POST", "/mailboxes", api.a, json=box)).status_code == 404


async def test_a_weak_password_is_refused_without_being_repeated(api: Api) -> None:
    domain = await commune(api)
    answer = await api.call("POST", "/mailboxes", api.a, json={"address": f"maire@{domain}", "password": "motdepasse"})
    assert answer.status_code == 422
    assert answer.json()["code"] == "weak-password"
    assert "motdepasse" not in answer.text


@pytest.mark.parametrize(
    "path", ["/nothing", "/mailboxes/%00@x.test", "/mailboxes/a@b@c", "/domains/..%2f", "/queue/" + "x" * 200]
)
async def test_what_is_not_there_is_a_problem_too(api: Api, path: str) -> None:
    answer = await api.call("GET", path, api.operator)
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_wrong_verb_is_a_problem_too(api: Api) -> None:
    answer = await api.call("PUT", "/organisations", api.operator, json={})
    assert answer.status_code == 405
    assert answer.json()["code"] == "method-not-allowed"


async def test_a_bug_shows_nothing_of_its_inside(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise ValueError("secret detail of the inside")

    monkeypatch.setattr(type(api.directory), "organisations", broken)
    answer = await api.call("GET", "/organisations", api.operator)
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal"
    assert "secret detail" not in answer.text


async def test_h132_the_schema_needs_loopback_or_a_token(api: Api) -> None:
    assert "/v1/mailboxes" in (await api.client.get("/v1/openapi.json")).json()["paths"]
    assert (await api.client.get("/docs")).status_code == 404
    assert (await api.client.get("/health")).text == "ok\n"


@pytest.mark.parametrize("unit", [b'\\\\"', b'\\"', b'"', b'"\\', b"\\", b'"\\\\'], ids=repr)
async def test_h129_a_string_that_never_ends_costs_no_more_than_its_length(api: Api, unit: bytes) -> None:
    """The scan for brackets once began anew at each quote: minutes for one anonymous request."""
    body = (b'"' + unit * MIB)[:MIB]
    start = time.process_time()
    answer = await api.client.post("/v1/organisations", content=body)
    assert time.process_time() - start < 2.0
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("body", "depth"),
    [
        (b'["\\\\", [[[[]]]], "\\\\"]', 5),
        (b'["\\"[[[[", "]"]', 1),
        (b'{"a\\\\\\"[": [1]}', 2),
        (b'["[[[[', 1),
    ],
)
def test_h129_brackets_are_counted_outside_strings_only(body: bytes, depth: int) -> None:
    assert _depth(body) == depth


async def test_h036_a_body_that_trickles_in_is_given_up() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    async def application(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError("must not be reached")

    async with asyncio.timeout(5):
        await Intake(application, 1000, patience=0.2)({"type": "http", "headers": []}, receive, send)
    assert sent[0]["status"] == 408


async def test_h132_an_unhealthy_directory_is_a_temporary_problem(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise TemporaryError("database unavailable")

    monkeypatch.setattr(type(api.directory), "hosted_domain", away)
    answer = await api.client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["code"] == "temporary"


@pytest.mark.parametrize("limit", ["0", "1001", "1000000000", "-1", "x"])
async def test_h131_a_page_is_bounded(api: Api, limit: str) -> None:
    assert (await api.call("GET", f"/mailboxes?limit={limit}", api.operator)).status_code == 422


async def test_h131_pages_follow_each_other(api: Api) -> None:
    domain = await commune(api)
    for name in ("anne", "bruno", "claire"):
        await api.call("POST", "/mailboxes", api.a, json={"address": f"{name}@{domain}"})
    first = (await api.call("GET", "/mailboxes?limit=2", api.a)).json()
    rest = (await api.call("GET", f"/mailboxes?limit=2&after={first[-1]['address']}", api.a)).json()
    assert [box["address"].partition("@")[0] for box in first + rest] == ["anne", "bruno", "claire"]


async def test_h126_no_other_origin_may_read_and_no_cookie_counts(api: Api) -> None:
    headers = {"Origin": "https://evil.test", "Cookie": f"token={api.operator}"}
    answer = await api.client.get("/v1/me", headers=headers)
    assert answer.status_code == 401
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert "set-cookie" not in answer.headers


async def test_p9_the_name_of_an_unknown_member_comes_back_printable_and_short(api: Api) -> None:
    name = "\x9b31m\u202e\r\n" + "x" * 10_000
    answer = await api.call("POST", "/organisations", api.operator, json={"name": "a", name: 1})
    (fault,) = answer.json()["errors"]
    assert fault["where"].startswith("body.?31m???xxx")
    assert len(answer.text) < 1000
    assert answer.text.isprintable()


HOSTILE = ["a\r\nBcc: x@y.test", "a\0", "a\x1b[31m", "\u202egro.live", "a\x9bb", "\u2028"]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
@pytest.mark.parametrize(
    ("path", "member", "rest"),
    [
        ("/organisations", "name", {}),
        ("/domains", "name", {"organisation": "x"}),
        ("/domains", "organisation", {"name": "x.test"}),
        ("/mailboxes", "display_name", {"address": "x@commune-a.test"}),
        ("/mailboxes", "address", {}),
        ("/mailboxes", "quota", {"address": "x@commune-a.test"}),
        ("/aliases", "address", {"targets": ["x@y.test"]}),
        ("/administrators", "name", {"role": "operator"}),
    ],
)
async def test_h128_h066_no_text_with_control_characters_is_taken(
    api: Api, path: str, member: str, rest: dict[str, object], text: str
) -> None:
    await commune(api)
    answer = await api.call("POST", path, api.operator, json={**rest, member: text})
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid-request"
    assert answer.text.isprintable()


@pytest.mark.parametrize("text", ["=cmd()", "<script>alert(1)</script>", "{{7*7}}", "${x}", "'; DROP TABLE account"])
async def test_h128_what_is_only_code_elsewhere_is_plain_text_here(api: Api, text: str) -> None:
    domain = await commune(api)
    box = {"address": f"maire@{domain}", "display_name": text}
    assert (await api.call("POST", "/mailboxes", api.a, json=box)).json()["display_name"] == text
    assert (await api.call("GET", f"/mailboxes/maire@{domain}", api.a)).json()["display_name"] == text
