"""HTTPS to strangers' servers: MTA-STS policies and TLS reports (a seam to httpx2, beside that of rspamd).

Names are resolved by the house's resolver, the connection goes to the very address that was looked at (row 127), the
certificate must be good for the name, nothing is redirected, inflated, cached or sent through a proxy, everything is
bounded. Knows nothing of mail.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2

from core.domain import DomainError, to_ascii
from core.resolver import Outcome, Resolver

TIMEOUT = 30.0  # seconds for everything; RFC 8461 3.3 suggests a minute at most
MAX_ADDRESSES = 4


class HttpsFailed(Exception):
    """No answer. `reason` is "dns", "connect", "certificate", "timeout", "too-long", "bad-url" or "protocol"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class HttpsReply:
    """`media` is the Content-Type without parameters, lower case."""

    status: int
    media: str
    body: bytes


class Https:
    """`context` decides which authorities count, `allowed` which addresses. Raises `HttpsFailed`."""

    def __init__(
        self, resolver: Resolver, context: ssl.SSLContext, allowed: Callable[[str], bool], *, timeout: float = TIMEOUT
    ) -> None:
        self._resolver = resolver
        self._allowed = allowed
        self._timeout = timeout
        self._client = httpx2.AsyncClient(
            verify=context,
            timeout=timeout,
            follow_redirects=False,  # RFC 8461 3.3
            trust_env=False,
            limits=httpx2.Limits(max_connections=8, max_keepalive_connections=0),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def get(self, url: str, *, most: int) -> HttpsReply:
        """`most` octets of body at most."""
        return await self._ask("GET", url, b"", {}, most)

    async def post(self, url: str, body: bytes, media: str) -> HttpsReply:
        return await self._ask("POST", url, body, {"Content-Type": media}, 64 * 1024)

    async def _ask(self, method: str, url: str, body: bytes, headers: Mapping[str, str], most: int) -> HttpsReply:
        host, port, path = _parts(url)
        failure = HttpsFailed("dns")
        try:
            async with asyncio.timeout(self._timeout):
                for address in await self._addresses(host):
                    try:
                        return await self._once(method, (host, port, address), path, body, headers, most)
                    except HttpsFailed as error:
                        failure = error
                        if error.reason != "connect":
                            break
        except TimeoutError as error:
            raise HttpsFailed("timeout") from error
        raise failure

    async def _addresses(self, host: str) -> list[str]:
        four, six = await asyncio.gather(self._resolver.a(host), self._resolver.aaaa(host))
        found = [item for answer in (four, six) if answer.outcome is Outcome.OK for item in answer.records]
        return [address for address in found if self._allowed(address)][:MAX_ADDRESSES]

    async def _once(
        self, method: str, place: tuple[str, int, str], path: str, body: bytes, headers: Mapping[str, str], most: int
    ) -> HttpsReply:
        host, port, address = place
        literal = f"[{address}]" if ":" in address else address
        authority = host if port == 443 else f"{host}:{port}"
        sent = {"Host": authority, "Accept-Encoding": "identity", "User-Agent": "Beffroi", **headers}
        try:
            async with self._client.stream(
                method, f"https://{literal}:{port}{path}", headers=sent, content=body or None,
                extensions={"sni_hostname": host},
            ) as response:  # fmt: skip
                data = bytearray()
                async for piece in response.aiter_raw():
                    data += piece
                    if len(data) > most:
                        raise HttpsFailed("too-long")
                media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                return HttpsReply(response.status_code, media, bytes(data))
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise HttpsFailed(_reason(error)) from error


def _parts(url: str) -> tuple[str, int, str]:
    try:
        parts = urlsplit(url)
        host = to_ascii(parts.hostname or "")
        port = parts.port or 443
    except (ValueError, DomainError) as error:
        raise HttpsFailed("bad-url") from error
    if parts.scheme != "https" or parts.username is not None or not url.isascii() or not url.isprintable():
        raise HttpsFailed("bad-url")
    return host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _reason(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "certificate"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx2.TimeoutException):
        return "timeout"
    return "connect" if isinstance(error, httpx2.ConnectError | OSError) else "protocol"
