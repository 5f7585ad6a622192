"""The bounds of a request, applied before the framework sees it (h129): body size, time, encoding, JSON depth, keys."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_api import problems

MAX_DEPTH = 32
PATIENCE = 30.0  # seconds for a whole body, as strangers send it too (h036)


class _Refused(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.response = problems.response(status, code)


class Intake:
    """Reads the whole body, `limit` octets within `patience` seconds at most, checks it, hands it on in one piece."""

    def __init__(self, app: ASGIApp, limit: int, patience: float = PATIENCE) -> None:
        self._app = app
        self._limit = limit
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._patience):
                body = await self._read(scope, receive)
            _check_json(body)
        except TimeoutError:
            await problems.response(408, "too-slow")(scope, receive, send)
            return
        except _Refused as refused:
            await refused.response(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        headers = {name.lower(): value for name, value in scope["headers"]}
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise _Refused(422, "invalid-json")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 12 or int(length) > self._limit:
            raise _Refused(413, "too-large")
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
            if size > self._limit:
                raise _Refused(413, "too-large")
        return b"".join(parts)


def _check_json(body: bytes) -> None:
    """Refuse what two readers could understand differently: duplicate keys, NaN, nesting without end."""
    if not body:
        return
    if _depth(body) > MAX_DEPTH:
        raise _Refused(422, "invalid-json")
    try:
        json.loads(body, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _Refused(422, "invalid-json") from error


# A string that never ends is one token to the end of the body, and nothing is tried twice: the scan is linear.
_TOKENS = re.compile(rb'"(?:[^"\\]++|\\.)*"?|[\[{]|[\]}]', re.DOTALL)


def _depth(body: bytes) -> int:
    """How deep the brackets nest, those inside strings not counted; stops counting once it is too deep."""
    deepest = depth = 0
    for match in _TOKENS.finditer(body):
        token = match[0]
        if token in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
            if deepest > MAX_DEPTH:
                break
        elif token in (b"]", b"}"):
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")
    return value


def _no_constant(_name: str) -> None:
    raise ValueError("NaN and Infinity are not JSON (RFC 8259 6)")


def _replay(body: bytes, receive: Receive) -> Receive:
    done = False

    async def once() -> Message:
        nonlocal done
        if done:
            return await receive()
        done = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once
