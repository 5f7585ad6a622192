"""Token introspection (RFC 7662): the question, the answers that count, and those that are none."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable

import httpx2
import pytest

from core.clock import ManualClock
from core.errors import TemporaryError
from core.log import Secret
from directory.introspection import REMEMBERED, Introspection, Server
from directory.tokens import TokenFacts
from tests.directory.anne import ANNE


def introspection(
    answer: Callable[[httpx2.Request], httpx2.Response], clock: ManualClock, **server: str
) -> Introspection:
    secret = Secret(server.pop("secret", "s3cret"))
    about = Server("https://auth.test/introspect", "beffroi", secret, **server)
    return Introspection(about, clock, transport=httpx2.MockTransport(answer))


async def test_rfc_7662_the_question_and_the_answer(clock: ManualClock) -> None:
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        ends = int(clock.now()) + 30
        return httpx2.Response(200, json={"active": True, "email": ANNE, "scope": "mail x", "exp": ends})

    check = introspection(answer, clock, scope="mail")
    facts = await check.check(Secret("to+ken/="))
    assert facts == TokenFacts(ANNE, float(int(clock.now()) + 30))
    (request,) = asked
    assert (request.method, str(request.url)) == ("POST", "https://auth.test/introspect")
    assert request.content == b"token=to%2Bken%2F%3D&token_type_hint=access_token"
    assert request.headers["authorization"] == "Basic " + base64.b64encode(b"beffroi:s3cret").decode()
    assert await check.check(Secret("to+ken/=")) == facts
    assert len(asked) == 1
    clock.advance(31)
    await check.check(Secret("to+ken/="))
    assert len(asked) == 2
    await check.close()


async def test_f163_a_clock_that_goes_back_makes_no_revoked_token_live_longer(clock: ManualClock) -> None:
    answers = [{"active": True, "email": ANNE, "scope": "mail"}, {"active": False}]
    check = introspection(lambda _: httpx2.Response(200, json=answers.pop(0)), clock, scope="mail")
    assert await check.check(Secret("token")) is not None
    clock.at -= 3600
    clock.advance(REMEMBERED + 1)
    assert await check.check(Secret("token")) is None
    await check.close()


@pytest.mark.parametrize(
    "answer",
    [
        {"active": False}, {"active": False, "email": ANNE}, {"active": True}, {"active": True, "email": 7},
        {"active": True, "email": ANNE}, {"active": True, "email": ANNE, "scope": "mailx"},
        {"active": True, "email": ANNE, "scope": "mail", "exp": 1},
    ],
    ids=str,
)  # fmt: skip
async def test_h119_a_token_that_is_not_for_us(clock: ManualClock, answer: dict[str, object]) -> None:
    check = introspection(lambda _: httpx2.Response(200, json=answer), clock, scope="mail")
    assert await check.check(Secret("t")) is None
    await check.close()


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(401), httpx2.Response(500, json={"active": True}), httpx2.Response(200, content=b"not json"),
        httpx2.Response(200, json=[True]), httpx2.Response(200, json={"active": "yes"}),
        httpx2.Response(302, headers={"Location": "https://evil.test/"}),
        httpx2.Response(200, content=b'{"active": true, "x": "' + b"x" * 70_000 + b'"}'),
    ],
    ids=["401", "500", "text", "list", "word", "redirect", "huge"],
)  # fmt: skip
async def test_f160_an_answer_that_is_none_is_nobodys_fault(clock: ManualClock, answer: httpx2.Response) -> None:
    asked = 0

    def handler(_: httpx2.Request) -> httpx2.Response:
        nonlocal asked
        asked += 1
        return httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)

    check = introspection(handler, clock)
    for _ in range(8):
        with pytest.raises(TemporaryError) as raised:
            await check.check(Secret("secret-token"))
        assert "secret-token" not in repr(raised.value.__dict__)
        assert raised.value.__cause__ is None
    assert asked == 5  # then it is left alone for a while
    await check.close()


async def test_many_tokens_at_once_wait_for_no_other(clock: ManualClock) -> None:
    check = introspection(lambda _: httpx2.Response(200, json={"active": True, "email": ANNE}), clock)
    found = await asyncio.gather(*(check.check(Secret(f"t{number}")) for number in range(50)))
    assert set(found) == {TokenFacts(ANNE, None)}
    await check.close()
