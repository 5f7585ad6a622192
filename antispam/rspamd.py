"""The seam to rspamd: /checkv2 for a verdict, /learnspam and /learnham on the controller (httpx2 is touched here only).

No client library exists; the protocol is HTTP with the envelope in request headers. Everything that goes into a header
is refused when it carries a control character, everything that comes back is bounded and checked (rows 8, 143; fault
160). What cannot be asked is an `Unscanned` value: whether mail waits for rspamd is the policy's decision.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from antispam.types import Action, Unscanned, Verdict
from core.breaker import Breaker
from core.clock import Clock
from core.envelope import Envelope, Peer
from core.log import Secret, get
from core.tally import Tally
from message.content import BLOCK, Content

CONNECTIONS = 32
CONNECT_TIMEOUT = 2.0
TOTAL_TIMEOUT = 30.0
PROBE_TIMEOUT = 2.0
MAX_REPLY = 1024 * 1024
MAX_SYMBOLS = 200
MAX_TEXT = 200

# rspamd says what it would do; what we do is fewer things (its "greylist" is ours to decide: design "Decided").
ACTIONS = {
    "no action": Action.ACCEPT,
    "greylist": Action.ACCEPT,
    "add header": Action.JUNK,
    "rewrite subject": Action.JUNK,
    "quarantine": Action.JUNK,
    "discard": Action.JUNK,  # never lost silently: P1 holds for spam too
    "soft reject": Action.DEFER,
    "reject": Action.REJECT,
}
_SYMBOL = re.compile(r"[A-Za-z0-9_.:-]{1,80}")
_HEADER_VALUE = re.compile(r"[^\x00-\x1f\x7f-\x9f]*")
_log = get(__name__)


class _BadAnswerError(Exception):
    pass


class Rspamd:
    """`url` "" means no scanner: every scan answers `Unscanned("disabled")`. One instance per process; `close` it."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        controller: str = "",
        password: Secret | None = None,
        total_timeout: float = TOTAL_TIMEOUT,
        tally: Tally | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._controller = controller.rstrip("/")
        self._password = password
        self._total = total_timeout
        self._breaker = Breaker(clock, tally=tally, name="rspamd")
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(total_timeout, connect=CONNECT_TIMEOUT),
            limits=httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            follow_redirects=False,
            trust_env=False,  # a proxy of the environment must never see mail
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def scan(
        self, content: Content, prefix: bytes, envelope: Envelope, peer: Peer, user: str = ""
    ) -> Verdict | Unscanned:
        """The verdict on `prefix` (header fields of ours, may be empty) followed by `content`. Never raises for what
        rspamd or the message does; `user` is the login on submission, "" otherwise."""
        if not self._url:
            return Unscanned("disabled")
        if not self._breaker.available:
            return Unscanned("unavailable")
        try:
            async with asyncio.timeout(self._total):
                verdict = read_verdict(await self._check(content, prefix, _headers(envelope, peer, user)))
        except (TimeoutError, httpx2.TimeoutException):
            return self._failed("timeout")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError):
            return await self._blamed("unavailable")
        except _BadAnswerError as error:
            return await self._blamed("bad-answer", str(error))
        self._breaker.succeeded()
        return verdict

    async def _check(self, content: Content, prefix: bytes, headers: list[tuple[str, str]]) -> bytes:
        url = f"{self._url}/checkv2"
        headers = [*headers, ("Content-Length", str(len(prefix) + content.size))]
        try:
            return await self._post(url, headers, _body(prefix, content))
        except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
            # An idle connection that rspamd closed in this very moment says nothing about rspamd: once more, freshly.
            return await self._post(url, headers, _body(prefix, content))

    async def learn_spam(self, content: Content) -> bool:
        """True when learnt or known already (204, 208); False when rspamd could not be asked or refused."""
        return await self._learn("learnspam", content)

    async def learn_ham(self, content: Content) -> bool:
        return await self._learn("learnham", content)

    async def _learn(self, what: str, content: Content) -> bool:
        if not self._controller:
            return False
        headers = [("Content-Length", str(content.size))]
        if self._password is not None:
            headers.append(("Password", self._password.reveal()))
        try:
            async with asyncio.timeout(self._total):
                await self._post(f"{self._controller}/{what}", headers, _body(b"", content), learning=True)
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL, OSError, _BadAnswerError) as error:
            _log.warning("rspamd-learn-failed", what=what, cause=type(error).__name__)
            return False
        return True

    async def _post(
        self, url: str, headers: list[tuple[str, str]], body: AsyncIterator[bytes], *, learning: bool = False
    ) -> bytes:
        """The reply's octets, at most MAX_REPLY of them."""
        # Raw octets, nothing inflated: a small compressed reply must not become a large one in here.
        headers = [*headers, ("Accept-Encoding", "identity")]
        encoded = [(name.encode("ascii"), value.encode("utf-8")) for name, value in headers]
        async with self._client.stream("POST", url, headers=encoded, content=body) as response:
            if response.status_code not in ((200, 204, 208) if learning else (200,)):
                raise _BadAnswerError(f"status {response.status_code}")
            reply = bytearray()
            async for piece in response.aiter_raw():
                reply += piece
                if len(reply) > MAX_REPLY:
                    raise _BadAnswerError("reply too long")
        return bytes(reply)

    async def _blamed(self, reason: str, detail: str = "") -> Unscanned:
        """Is rspamd broken, or is it this message that it cannot judge, or that ends its worker? A stranger who found
        such a message sends it again and again, and must not have everybody else's mail put off. So before rspamd
        rests it is asked whether it is there. One that is too slow rests all the same."""
        if self._breaker.doubtful and await self._there():
            self._breaker.succeeded()
        return self._failed(reason, detail)

    async def _there(self) -> bool:
        try:
            response = await self._client.get(f"{self._url}/ping", timeout=PROBE_TIMEOUT)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError):
            return False
        return response.status_code == 200

    def _failed(self, reason: str, detail: str = "") -> Unscanned:
        self._breaker.failed()
        _log.warning("rspamd-failed", reason=reason, detail=detail, resting=not self._breaker.available)
        return Unscanned(reason)


def read_verdict(reply: bytes) -> Verdict:
    """A reply of /checkv2, checked field by field: anything odd is `_BadAnswerError`, never half believed (row 143)."""
    try:
        data = json.loads(reply, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _BadAnswerError("not JSON") from error
    if not isinstance(data, dict):
        raise _BadAnswerError("not an object")
    action = ACTIONS.get(str(data.get("action")))
    if action is None:
        raise _BadAnswerError("unknown action")
    symbols = data.get("symbols", {})
    if not isinstance(symbols, dict):
        raise _BadAnswerError("symbols are no object")
    names = sorted(name for name in symbols if _SYMBOL.fullmatch(name))
    return Verdict(
        action=action,
        score=_number(data, "score"),
        required=_number(data, "required_score"),
        symbols=tuple(names[:MAX_SYMBOLS]),
        text=_text(data),
    )


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _number(data: dict[str, Any], name: str) -> float:
    value = data.get(name, 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e6:
        raise _BadAnswerError(f"{name} is no sane number")
    return float(value)


def _text(data: dict[str, Any]) -> str:
    """What the peer may read: one printable ASCII line, or nothing."""
    messages = data.get("messages")
    value = messages.get("smtp_message") if isinstance(messages, dict) else None
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        return ""
    return value[:MAX_TEXT]


def _headers(envelope: Envelope, peer: Peer, user: str) -> list[tuple[str, str]]:
    wanted = [
        ("IP", peer.address),
        ("Helo", peer.helo),
        ("Hostname", peer.hostname),
        ("From", f"<{envelope.sender}>" if envelope.sender else "<>"),
        *(("Rcpt", f"<{recipient.address}>") for recipient in envelope.recipients),
        ("User", user),
        ("Queue-Id", envelope.queue_id),
        ("TLS-Version", peer.tls.version if peer.tls else ""),
        ("TLS-Cipher", peer.tls.cipher if peer.tls else ""),
    ]
    # A value that cannot stand in a header is left out, and not the whole scan: rspamd then knows less, we not.
    return [(name, value) for name, value in wanted if value and _HEADER_VALUE.fullmatch(value)]


async def _body(prefix: bytes, content: Content) -> AsyncIterator[bytes]:
    """The message in blocks; what lies past the head may be on disk, so it is read in a thread."""
    if prefix:
        yield prefix
    for start in range(0, content.size, BLOCK):
        stop = min(start + BLOCK, content.size)
        if stop <= len(content.head):
            yield content.head[start:stop]
        else:
            yield await asyncio.to_thread(content.read, start, stop)
