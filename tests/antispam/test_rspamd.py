"""The rspamd seam against an HTTP server of the test's own: requests, verdicts, nonsense, silence."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from antispam.rspamd import MAX_REPLY, Rspamd
from antispam.types import Action, Unscanned, Verdict
from core.address import Address
from core.clock import ManualClock
from core.envelope import Envelope, Listener, Peer, Recipient, Tls
from core.log import Secret
from message.content import BytesContent

ENVELOPE = Envelope(
    "q1", Address("a", "x.test"), (Recipient(Address("b", "y.test")), Recipient(Address("c", "y.test")))
)
PEER = Peer("192.0.2.1", 25, Listener.MX, "c1", helo="h.test", hostname="r.test", tls=Tls("TLSv1.3", "AES", 256))
MAIL = BytesContent(b"Subject: x\r\n\r\nbody\r\n")

Handler = Callable[["Request"], Awaitable[bytes | None]]


class Request:
    def __init__(self, line: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.line, self.headers, self.body = line, headers, body

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


def ok(data: object, status: str = "200 OK") -> bytes:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


@asynccontextmanager
async def server(
    answer: bytes | Handler, *, close: bool = False
) -> AsyncIterator[tuple[str, list[Request], list[Any]]]:
    """(url, requests, connections). A handler that returns None closes the connection without a word."""
    requests: list[Request] = []
    connections: list[Any] = []
    tasks: list[asyncio.Task[Any] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        tasks.append(asyncio.current_task())
        try:
            while request := await _read(reader):
                requests.append(request)
                reply = answer if isinstance(answer, bytes) else await answer(request)
                if reply is None:
                    break
                writer.write(reply)
                await writer.drain()
                if close:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", requests, connections
    finally:
        listener.close()
        for writer in connections:
            writer.transport.abort()
        for task in tasks:
            assert task is not None
            task.cancel()
        await asyncio.gather(*(task for task in tasks if task), return_exceptions=True)
        await listener.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    line, *rest = head.decode("utf-8").split("\r\n")
    headers = [(k, v) for k, _, v in (item.partition(": ") for item in rest if item)]
    length = int(next((v for k, v in headers if k.lower() == "content-length"), "0"))
    return Request(line, headers, await reader.readexactly(length))


@asynccontextmanager
async def client(url: str, **options: Any) -> AsyncIterator[Rspamd]:
    rspamd = Rspamd(url, options.pop("clock", None) or ManualClock(), **options)
    try:
        yield rspamd
    finally:
        await rspamd.close()


async def scan(answer: bytes | Handler, *, close: bool = False, **options: Any) -> Verdict | Unscanned:
    async with server(answer, close=close) as (url, _, _), client(url, **options) as rspamd:
        return await rspamd.scan(MAIL, b"", ENVELOPE, PEER)


def reply(**fields: object) -> dict[str, object]:
    return {"action": "no action", "score": 1.5, "required_score": 15.0, "symbols": {}, **fields}


async def test_the_envelope_travels_in_headers_and_the_message_in_the_body() -> None:
    async with server(ok(reply())) as (url, requests, _), client(url + "/") as rspamd:
        verdict = await rspamd.scan(MAIL, b"Received: here\r\n", ENVELOPE, PEER, user="u1")
    assert verdict == Verdict(Action.ACCEPT, 1.5, 15.0)
    request = requests[0]
    assert request.line == "POST /checkv2 HTTP/1.1"
    assert request.body == b"Received: here\r\nSubject: x\r\n\r\nbody\r\n"
    assert request.all("rcpt") == ["<b@y.test>", "<c@y.test>"]
    for name, value in {
        "ip": "192.0.2.1", "helo": "h.test", "hostname": "r.test", "from": "<a@x.test>", "user": "u1",
        "queue-id": "q1", "tls-version": "TLSv1.3",
    }.items():  # fmt: skip
        assert request.all(name) == [value]
    assert request.all("transfer-encoding") == []


async def test_the_null_sender_and_missing_facts() -> None:
    bare = Peer("192.0.2.1", 25, Listener.MX, "c1")
    async with server(ok(reply())) as (url, requests, _), client(url) as rspamd:
        await rspamd.scan(MAIL, b"", Envelope("q1", None, ()), bare)
    assert requests[0].all("from") == ["<>"]
    for name in ("helo", "hostname", "user", "tls-version", "rcpt"):
        assert requests[0].all(name) == []


async def test_a_large_body_is_streamed_in_blocks() -> None:
    big = BytesContent(b"Subject: x\r\n\r\n" + b"0123456789abcde\n" * 65536 * 2)
    async with server(ok(reply())) as (url, requests, _), client(url) as rspamd:
        assert isinstance(await rspamd.scan(big, b"X: 1\r\n", ENVELOPE, PEER), Verdict)
    assert requests[0].body == b"X: 1\r\n" + big.read(0, big.size)


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("no action", Action.ACCEPT),
        ("greylist", Action.ACCEPT),  # ours to decide
        ("add header", Action.JUNK),
        ("rewrite subject", Action.JUNK),
        ("quarantine", Action.JUNK),
        ("discard", Action.JUNK),  # promise P1 holds for spam too
        ("soft reject", Action.DEFER),
        ("reject", Action.REJECT),
    ],
)
async def test_each_word_of_rspamd_is_one_of_our_actions(name: str, action: Action) -> None:
    verdict = await scan(ok(reply(action=name)))
    assert isinstance(verdict, Verdict)
    assert verdict.action is action


async def test_a_verdict_without_full_scan_counts() -> None:
    """rspamd answers GTUBE, and mail its operator exempted, with is_skipped: the action stands."""
    verdict = await scan(ok(reply(action="reject", is_skipped=True, messages={"smtp_message": "Gtube pattern"})))
    assert verdict == Verdict(Action.REJECT, 1.5, 15.0, (), "Gtube pattern")


async def test_connections_are_kept() -> None:
    async with server(ok(reply())) as (url, requests, connections), client(url) as rspamd:
        for _ in range(5):
            await rspamd.scan(MAIL, b"", ENVELOPE, PEER)
        assert (len(requests), len(connections)) == (5, 1)


async def test_a_connection_closed_while_idle_costs_no_scan() -> None:
    async def closing(request: Request) -> bytes | None:
        calls.append(request)
        return None if len(calls) == 2 else ok(reply())

    calls: list[Request] = []
    async with server(closing) as (url, _, _), client(url) as rspamd:
        for _ in range(2):
            assert isinstance(await rspamd.scan(MAIL, b"", ENVELOPE, PEER), Verdict)
    assert len(calls) == 3


async def test_h143_symbols_and_text_are_checked() -> None:
    data = reply(
        symbols={"GOOD_ONE": {"score": 1}, "BAD\r\nX-Inject: 1": {}, "é": {}, **{f"S{n:04}": {} for n in range(1000)}},
        messages={"smtp_message": "550 no\r\nX: y"},
        action="reject",
    )
    verdict = await scan(ok(data))
    assert isinstance(verdict, Verdict)
    assert "GOOD_ONE" in verdict.symbols
    assert len(verdict.symbols) == 200
    assert all(name.isascii() and name.isprintable() for name in verdict.symbols)
    assert verdict.text == ""
    polite = await scan(ok(reply(messages={"smtp_message": "Gtube pattern" + "." * 500}, action="reject")))
    assert isinstance(polite, Verdict)
    assert polite.text.startswith("Gtube pattern")
    assert len(polite.text) == 200


@pytest.mark.parametrize(
    "answer",
    [
        ok(b""), ok(b"\xff\xfe"), ok(b"[]"), ok(b"{"), ok(b"null"), ok(b"[" * 100_000), ok({}),
        ok(reply(action="dance")),
        ok(reply(action=None)), ok(reply(action=["reject"])), ok(reply(score="1")), ok(reply(score=True)),
        ok(b'{"action": "no action", "score": NaN}'), ok(b'{"action": "no action", "score": 1e999}'),
        ok(reply(symbols=[])), ok(b"x" * (MAX_REPLY + 1)), ok(reply(), "500 Oops"),
        ok(reply(), "302 Found"), ok(reply(), "204 No Content"), b"NOT HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"action\":",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
    ],
)  # fmt: skip
async def test_h143_nonsense_is_unscanned_never_half_believed(answer: bytes) -> None:
    result = await scan(answer, close=True, total_timeout=5)
    assert isinstance(result, Unscanned)
    assert result.reason in ("bad-answer", "unavailable")


async def test_h143_a_good_reply_of_1_mib_is_read_and_one_octet_more_refused() -> None:
    good = json.dumps(reply()).encode()
    assert isinstance(await scan(ok(good.ljust(MAX_REPLY))), Verdict)
    assert await scan(ok(good.ljust(MAX_REPLY + 1))) == Unscanned("bad-answer")


async def test_h143_a_compressed_reply_is_not_inflated() -> None:
    packed = gzip.compress(json.dumps(reply()).encode() + b" " * MAX_REPLY * 4)
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(packed), packed)
    assert await scan(answer) == Unscanned("bad-answer")


async def test_h008_a_control_character_never_becomes_a_header() -> None:
    evil = Peer("192.0.2.1", 25, Listener.MX, "c1", helo="h\r\nUser: root", hostname="a\x00b")
    async with server(ok(reply())) as (url, requests, _), client(url) as rspamd:
        await rspamd.scan(MAIL, b"", ENVELOPE, evil, user="x\ny")
    for name in ("helo", "hostname", "user"):
        assert requests[0].all(name) == []


async def test_no_url_means_disabled() -> None:
    async with client("") as rspamd:
        assert await rspamd.scan(MAIL, b"", ENVELOPE, PEER) == Unscanned("disabled")
        assert not await rspamd.learn_spam(MAIL)


async def test_f160_a_silent_scanner_costs_the_timeout() -> None:
    async def silent(_: Request) -> bytes:
        await asyncio.sleep(60)
        return b""

    async with server(silent) as (url, _, _), client(url, total_timeout=0.2) as rspamd:
        loop = asyncio.get_running_loop()
        start = loop.time()
        assert await rspamd.scan(MAIL, b"", ENVELOPE, PEER) == Unscanned("timeout")
        assert loop.time() - start < 3


async def test_f160_after_five_failures_it_rests_for_ten_seconds() -> None:
    clock = ManualClock()
    async with server(ok(b"junk", "500 Broken")) as (url, requests, _), client(url, clock=clock) as rspamd:
        for _ in range(5):
            assert await rspamd.scan(MAIL, b"", ENVELOPE, PEER) == Unscanned("bad-answer")
        assert await rspamd.scan(MAIL, b"", ENVELOPE, PEER) == Unscanned("unavailable")
        assert [item.line.split()[1] for item in requests] == [*["/checkv2"] * 5, "/ping"]
        clock.advance(10.1)
        await rspamd.scan(MAIL, b"", ENVELOPE, PEER)
        assert len(requests) == 8


@pytest.mark.parametrize("cut", [False, True])
async def test_h143_a_message_that_rspamd_cannot_judge_does_not_have_the_others_put_off(cut: bool) -> None:
    async def answer(request: Request) -> bytes | None:
        if request.line.startswith("GET /ping "):
            return ok(b"pong\r\n")
        if b"poison" in request.body:
            return None if cut else ok(b"junk")
        return ok(reply())

    poison = BytesContent(b"Subject: poison\r\n\r\nbody\r\n")
    async with server(answer) as (url, _, _), client(url) as rspamd:
        for _ in range(12):
            assert isinstance(await rspamd.scan(poison, b"", ENVELOPE, PEER), Unscanned)
        assert isinstance(await rspamd.scan(MAIL, b"", ENVELOPE, PEER), Verdict)


async def test_f160_one_that_answers_nothing_but_pings_rests() -> None:
    async def answer(request: Request) -> bytes:
        await asyncio.sleep(0 if request.line.startswith("GET ") else 60)
        return ok(b"pong\r\n")

    async with server(answer) as (url, requests, _), client(url, total_timeout=0.05) as rspamd:
        for _ in range(5):
            assert await rspamd.scan(MAIL, b"", ENVELOPE, PEER) == Unscanned("timeout")
        assert await rspamd.scan(MAIL, b"", ENVELOPE, PEER) == Unscanned("unavailable")
        assert len(requests) == 5


async def test_f160_nobody_listening_is_unavailable() -> None:
    async with server(ok(reply())) as (url, _, _):
        pass
    async with client(url) as rspamd:
        assert await rspamd.scan(MAIL, b"", ENVELOPE, PEER) == Unscanned("unavailable")


async def test_learning_asks_the_controller_with_its_password() -> None:
    for status, learnt in (("200 OK", True), ("204 No Content", True), ("208 Already", True), ("403 No", False)):
        answer = b"HTTP/1.1 204 No Content\r\n\r\n" if status.startswith("204") else ok({"success": True}, status)
        async with server(answer) as (url, requests, _):
            rspamd = Rspamd("", ManualClock(), controller=url, password=Secret("geheim"))
            assert await rspamd.learn_spam(MAIL) is learnt
            assert await rspamd.learn_ham(MAIL) is learnt
            await rspamd.close()
        assert [item.line.split()[1] for item in requests] == ["/learnspam", "/learnham"]
        assert requests[0].all("password") == ["geheim"]
        assert requests[0].body == MAIL.read(0, MAIL.size)
