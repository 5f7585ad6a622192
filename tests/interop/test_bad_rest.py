"""Hostile input on the REST door: exact status and stable code, nothing changed, foreign objects look absent."""

from __future__ import annotations

import http.client
import json
import socket

import pytest

from tests.interop.conftest import AUBIN, FLEURI, World
from tests.interop.wire import sound
from tests.peers.suite import ApiError

pytestmark = pytest.mark.interop


def call(
    world: World, method: str, path: str, body: bytes = b"", *, token: str | None = None, **headers: str
) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", world.ports["api"], timeout=30)
    sent = {"Authorization": f"Bearer {world.suite.token if token is None else token}"}
    sent |= {"Content-Type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
    try:
        connection.request(method, f"/v1{path}", body, sent)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            assert answer.headers["Content-Type"].startswith("application/problem+json")
        return answer.status, json.loads(text) if text else {}
    finally:
        connection.close()


INVALID = {
    "not JSON": b"{nom: saint",
    "cut": b'{"name": "Commune',
    "NaN": b'{"name": NaN}',
    "twice": b'{"name": "A", "name": "B"}',
    "deep": b'{"name": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "latin-1": '{"name": "Orléans"}'.encode("latin-1"),
    "digits": b'{"name": ' + b"9" * 200_000 + b"}",
}
WRONG = {
    "not an object": b"[]",
    "unknown member": b'{"name": "Commune", "role": "operator"}',
    "wrong type": b'{"name": 5}',
    "nothing": b"{}",
    "control character": b'{"name": "a\\r\\nBcc: x"}',
    "NUL": b'{"name": "a\\u0000b"}',
}


def test_h129_invalid_json_is_422_and_changes_nothing(world: World) -> None:
    before = world.suite.api("GET", "/organisations")
    for name, text in INVALID.items():
        status, problem = call(world, "POST", "/organisations", text)
        assert (status, problem["code"]) == (422, "invalid-json"), (name, problem)
        assert problem["detail"] == "Le corps de la requête n'est pas un JSON valable."
    for name, text in WRONG.items():
        status, problem = call(world, "POST", "/organisations", text)
        assert status == 422, (name, problem)
        assert problem["code"] in ("invalid-request", "invalid-name"), (name, problem)
    assert call(world, "POST", "/organisations", b" " * (2 << 20))[0] == 413
    assert call(world, "POST", "/organisations", b"x", Content_Encoding="gzip")[0] == 422
    assert world.suite.api("GET", "/organisations") == before
    sound(world)


def test_h142_what_is_no_http_leaves_no_line_that_is_no_event(world: World) -> None:
    for garbage in (b"\x16\x03\x01 hello\r\n\r\n", b"GET /\x1b[31m HTTP/1.1\r\nHost: x\r\n\r\n", b"EHLO x\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", world.ports["api"]), timeout=30) as stream:
            stream.sendall(garbage)
            while stream.recv(4096):  # until it is closed
                pass
    assert {line for line in world.suite.log().splitlines() if not line.startswith("{")} == {"ready"}


def test_h132_without_a_valid_token_there_is_401_everywhere(world: World) -> None:
    for token in ("", "faux", "x" * 300):
        for path in ("/organisations", "/mailboxes", f"/mailboxes/maire@{AUBIN}", "/queue", "/nulle-part"):
            status, problem = call(world, "GET", path, token=token)
            assert status in (401, 404), (path, status)
            assert problem["code"] in ("unauthorized", "not-found")
            assert status == 401 or path == "/nulle-part"


def test_h121_another_organisations_objects_are_404_as_if_absent(world: World) -> None:
    token = world.suite.run(
        "admin", "add", "secretaire-fleuri", "--role", "organisation", "--organisation", "Val-Fleuri"
    ).strip()
    own = world.suite.api("GET", "/mailboxes", token=token)
    assert isinstance(own, list)
    assert {item["address"] for item in own} == {f"mairie@{FLEURI}", f"compta@{FLEURI}"}
    requests = [
        ("GET", "/mailboxes/{}", b""),
        ("PATCH", "/mailboxes/{}", b'{"quota": 1}'),
        ("PUT", "/mailboxes/{}/password", b'{"password": "une phrase assez longue"}'),
        ("DELETE", "/mailboxes/{}", b""),
        ("DELETE", "/aliases/{}", b""),
    ]
    for method, path, text in requests:
        there = call(world, method, path.format(f"maire@{AUBIN}"), text, token=token)
        alias = call(world, method, path.format(f"contact@{AUBIN}"), text, token=token)
        absent = call(world, method, path.format(f"personne@{AUBIN}"), text, token=token)
        nowhere = call(world, method, path.format("personne@nulle-part.test"), text, token=token)
        assert there[0] == 404, (method, path, there)
        assert there == alias == absent == nowhere, (method, path)
    for path in ("/domains/{}", "/domains/{}/dns"):
        foreign = call(world, "GET", path.format(AUBIN), token=token)
        assert foreign == call(world, "GET", path.format("absent.test"), token=token)
        assert foreign[0] == 404
    taken = call(world, "POST", "/mailboxes", json.dumps({"address": f"maire@{AUBIN}"}).encode(), token=token)
    free = call(world, "POST", "/mailboxes", json.dumps({"address": f"neuf@{AUBIN}"}).encode(), token=token)
    assert taken == free
    assert taken[0] == 404
    assert call(world, "GET", f"/mailboxes?domain={AUBIN}", token=token) in (
        (200, []),
        call(world, "GET", "/mailboxes?domain=absent.test", token=token),
    )
    with pytest.raises(ApiError) as refused:
        world.suite.api("POST", "/organisations", {"name": "Royaume"}, token=token)
    assert refused.value.status == 403
    # and what was asked for is still there, with its password
    found = world.suite.api("GET", f"/mailboxes/maire@{AUBIN}")
    assert isinstance(found, dict)
    assert found["quota"] == 1 << 30
    sound(world)
