"""Token introspection over HTTP (RFC 7662): the one `TokenCheck` there is. httpx2 is touched here.

Everything that comes back is bounded and checked; a good answer is remembered for a minute at most and never past the
token's end. The server is the operator's: its name comes from the configuration, redirects are not followed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass

import httpx2

from core.breaker import Breaker
from core.clock import Clock
from core.errors import TemporaryError
from core.log import Secret, get
from directory.tokens import TokenFacts

PATIENCE = 5.0  # seconds for one question
MAX_ANSWER = 64 * 1024
REMEMBERED = 60.0  # seconds
MAX_REMEMBERED = 10_000
CONNECTIONS = 8
_log = get(__name__)


@dataclass(frozen=True, slots=True)
class Server:
    """`claim`: the member of the answer that holds the address; `scope`: one that the token must have, "" any;
    `client`, `secret`: how we authenticate there (RFC 7662 2.1)."""

    url: str
    client: str = ""
    secret: Secret | None = None
    claim: str = "email"
    scope: str = ""


class Introspection:
    """`close` it. One instance per process."""

    def __init__(self, server: Server, clock: Clock, *, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._server = server
        self._clock = clock
        self._breaker = Breaker(clock)
        self._known: OrderedDict[bytes, tuple[float, TokenFacts]] = OrderedDict()
        self._client = httpx2.AsyncClient(
            auth=(server.client, server.secret.reveal()) if server.client and server.secret else None,
            timeout=PATIENCE,
            limits=httpx2.Limits(max_connections=CONNECTIONS),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def check(self, token: Secret) -> TokenFacts | None:
        name = hashlib.sha256(token.reveal().encode("utf-8")).digest()
        kept = self._known.get(name)
        if kept is not None and self._clock.monotonic() < kept[0]:
            return kept[1]
        facts = self._facts(await self._ask(token))
        if facts is not None:
            self._remember(name, facts)
        return facts

    def _remember(self, name: bytes, facts: TokenFacts) -> None:
        # By the clock that never jumps: a token that was revoked would live on for as long as the other one went back.
        left = REMEMBERED if facts.expires_at is None else min(REMEMBERED, facts.expires_at - self._clock.now())
        self._known[name] = (self._clock.monotonic() + left, facts)
        self._known.move_to_end(name)
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)

    async def _ask(self, token: Secret) -> dict[str, object]:
        if not self._breaker.available:
            raise TemporaryError("tokens cannot be checked", code="introspection")
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self._post(token)
        except (httpx2.HTTPError, TimeoutError, ValueError, OSError) as error:
            self._breaker.failed()
            _log.warning("introspection-failed", cause=type(error).__name__)
            raise TemporaryError("tokens cannot be checked", code="introspection") from None  # never the token
        self._breaker.succeeded()
        return answer

    async def _post(self, token: Secret) -> dict[str, object]:
        form = {"token": token.reveal(), "token_type_hint": "access_token"}
        headers = {"Accept": "application/json"}
        body = b""
        async with self._client.stream("POST", self._server.url, data=form, headers=headers) as response:
            if response.status_code != 200:
                raise ValueError(f"status {response.status_code}")
            async for block in response.aiter_bytes():
                body += block
                if len(body) > MAX_ANSWER:
                    raise ValueError("answer too large")
        answer = json.loads(body)
        if not isinstance(answer, dict) or not isinstance(answer.get("active"), bool):
            raise ValueError("no introspection response")
        return answer

    def _facts(self, answer: dict[str, object]) -> TokenFacts | None:
        """RFC 7662 2.2: nothing but "active" is sure to be there."""
        address, scopes, ends = answer.get(self._server.claim), answer.get("scope", ""), answer.get("exp")
        if answer["active"] is not True or not isinstance(address, str) or not isinstance(scopes, str):
            return None
        if self._server.scope and self._server.scope not in scopes.split():
            return None
        expires_at = float(ends) if isinstance(ends, int | float) and not isinstance(ends, bool) else None
        if expires_at is not None and expires_at <= self._clock.now():
            return None
        return TokenFacts(address, expires_at)
