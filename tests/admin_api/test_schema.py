"""The OpenAPI description against the application: whatever is asked, nothing fails inside, answers have the shape that
is described, and refusals are problems (RFC 9457). Requests are schemathesis' own, as described and otherwise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core import NotSet
from schemathesis.core.result import Ok

from admin_api.app import create_app
from admin_api.faults import FALLBACK
from admin_api.problems import MEDIA_TYPE, SENTENCES
from admin_api.services import Services
from core.address import parse
from core.config import Limits
from directory import codes
from directory.types import Actor
from tests.admin_api.conftest import PASSWORD, Api

_NONE = cast(Any, None)  # nobody is asked for the description
_ROOMS = Services("mx.dept.test", Limits(), _NONE, _NONE, _NONE, _NONE, _NONE, _NONE)
DESCRIBED: dict[str, Any] = create_app(_ROOMS, "0").openapi()
FOUND = schemathesis.openapi.from_dict(DESCRIBED).get_all_operations()
OPERATIONS = [found.ok() for found in FOUND if isinstance(found, Ok)]
EXAMPLES = 10
# What schemathesis cannot guess: names that exist, words that pass for good ones.
KNOWN: dict[str, list[Any]] = {
    "address": ["maire@commune-a.test", "x@commune-a.test", "y@commune-a.test", "é@commune-a.test"],
    "grantee": ["x@commune-a.test"],
    "name": ["commune-a.test", "x.test", "Mme Martin"],
    "organisation": ["Commune a", "Commune b"],
    "owner": ["maire@commune-a.test"],
    "password": [PASSWORD],
    "queue_id": ["queued-a", "queued-b"],
    "targets": [["maire@commune-a.test"]],
}


# Refusals of the directory that no route can meet: keys are rotated whole, annotations are IMAP's.
ELSEWHERE = {
    "unknown-key", "selector-taken", "invalid-value", "invalid-hash", "missing-password",
    "annotation-too-big", "annotations-too-many", "annotations-over-quota",
}  # fmt: skip


def test_each_refusal_has_a_sentence_of_its_own() -> None:
    assert set(codes.CODES) - set(SENTENCES) == ELSEWHERE


def as_known(draw: st.DataObject, generated: Mapping[str, Any]) -> dict[str, Any]:
    """Some of the values are taken for such as exist."""
    return {
        name: draw.draw(st.sampled_from([value, *KNOWN.get(name, [])]), label=name) for name, value in generated.items()
    }


def request(case: Any, data: st.DataObject, token: str) -> dict[str, Any]:
    """Of httpx. The headers are ours: one that schemathesis made up must not stand for the token."""
    named = {name: quote(str(value), safe="%") for name, value in as_known(data, case.path_parameters or {}).items()}
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    sent = {
        "method": case.operation.method.upper(),
        "url": case.operation.path.format(**named),
        "params": case.query or {},
        "headers": headers,
    }
    if isinstance(case.body, NotSet):
        return sent
    body = as_known(data, case.body) if isinstance(case.body, dict) else case.body
    return {**sent, "content": body if isinstance(body, bytes) else json.dumps(body).encode()}


def judge(operation: Any, answer: httpx2.Response) -> None:
    assert answer.status_code < 500, answer.text
    described = operation.definition.raw["responses"]
    if answer.status_code >= 400:
        problem = answer.json()
        assert answer.headers["content-type"] == MEDIA_TYPE
        assert (problem["status"], problem["code"] in SENTENCES) == (answer.status_code, True)
        assert all(fault["what"] != FALLBACK for fault in problem.get("errors", ())), problem
    about = described["default" if answer.status_code >= 400 else str(answer.status_code)]
    assert list(about.get("content", [])) == ([answer.headers["content-type"]] if answer.content else [])
    operation.validate_response(answer)


@pytest.fixture
async def peopled(api: Api) -> Api:
    console = Actor.console()
    await api.directory.add_domain(console, "commune-a.test", api.organisations["a"])
    for local in ("maire", "x"):
        await api.directory.add_account(console, parse(f"{local}@commune-a.test"), password=None)
    return api


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
@settings(
    max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(data=st.data())
async def test_nothing_fails_inside_and_every_answer_is_as_described(
    peopled: Api, operation: Any, data: st.DataObject
) -> None:
    mode = data.draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
    case = data.draw(operation.as_strategy(generation_mode=mode))
    token = peopled.operator if data.draw(st.booleans(), label="operator") else peopled.a
    judge(operation, await peopled.client.request(**request(case, data, token)))


def test_the_description_is_valid_and_asks_for_a_token() -> None:
    schemathesis.openapi.from_dict(DESCRIBED).validate()
    assert len(OPERATIONS) == sum(len(methods) for methods in DESCRIBED["paths"].values())
    assert DESCRIBED["security"] == [{"bearer": []}]
    assert not [name for name in DESCRIBED["components"]["schemas"] if "ValidationError" in name]
