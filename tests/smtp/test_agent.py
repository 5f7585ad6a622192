"""The delivery agent against scripted peers and against our own server (security.md rows 5, 26, 139, 140, f146)."""

import asyncio
import contextlib
import functools
import os
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trustme
import uvloop

from core.clock import ManualClock
from core.config import Config
from core.envelope import Dsn, Schedule
from core.tls import ServerTls
from delivery.types import Job, Result, ResultKind
from message.content import BytesContent
from smtp.outbound.agent import SmtpAgent
from smtp.outbound.connection import PATIENCE, Caller
from smtp.outbound.dialogue import Stage
from smtp.outbound.mx import MxResolver
from smtp.outbound.pool import Pool
from smtp.outbound.tls_policy import Opportunistic
from smtp.outbound.tls_results import Uncounted
from tests.fakes.resolver import FakeResolver
from tests.fakes.scripted_smtp import EHLO, Remote, Script, job, scripted
from tests.fakes.smtp_server import FakeAcceptor, certificate, running, service

SHORT = dict.fromkeys(Stage, 0.3)


@contextlib.asynccontextmanager
async def agent(
    resolver: FakeResolver | None = None,
    *,
    port: int = 25,
    patience: dict[Stage, float] | None = None,
    ca_file: str = "",
    ours: Callable[[str, int], bool] = lambda address, port: False,
    idle: float = 0.0,
    deadline: float = 60.0,
) -> AsyncIterator[SmtpAgent]:
    mx = MxResolver(resolver or FakeResolver(), port=port, ours=ours, allow_private=True, shuffle=lambda records: None)
    caller = Caller("mx.mairie.test", patience=patience or PATIENCE, connect=2.0)
    made = SmtpAgent(caller, mx, Opportunistic(ca_file), pool=Pool(idle=idle), deadline=deadline)
    try:
        yield made
    finally:
        await made.close()


async def deliver(work: Callable[[int], Job], *scripts: Script, **options: object) -> tuple[list[Result], list[str]]:
    async with scripted(*scripts) as remote, agent(**options) as made:  # type: ignore[arg-type]
        results = await made.deliver(work(remote.port))
        return results, remote.heard


def to(*recipients: str, **more: object) -> Callable[[int], Job]:
    return lambda port: job(f"127.0.0.1:{port}", *recipients, **more)  # type: ignore[arg-type]


async def good(remote: Remote) -> None:
    await remote.greet()
    for answer in ("250 ok", "250 ok"):
        await remote.hear(answer=answer)
    await remote.hear(answer="354 go")
    assert await remote.body() == b"Subject: x\r\n\r\nbody\r\n.\r\n"
    await remote.say("250 2.0.0 queued as 42")
    await remote.hear(answer="221 bye")


async def test_a_message_is_delivered_and_told() -> None:
    (result,), heard = await deliver(to(), good)
    assert result.kind is ResultKind.DELIVERED
    assert (result.status.code, result.status.enhanced) == (250, "2.0.0")
    assert result.diagnostic == "250 2.0.0 queued as 42"
    assert result.remote == "127.0.0.1"
    assert result.relayed_dsn
    assert heard[:2] == ["EHLO mx.mairie.test", "MAIL FROM:<maire@mairie.test> SIZE=20"]


async def test_recipients_get_a_result_each() -> None:
    async def script(remote: Remote) -> None:
        await remote.greet()
        for answer in ("250 ok", "250 ok", "550 5.1.1 unknown", "452 4.2.2 full", "354 go"):
            await remote.hear(answer=answer)
        await remote.body()
        await remote.say("250 done")

    results, _ = await deliver(to("a@r.test", "b@r.test", "c@r.test"), script)
    assert [(r.recipient_id, r.kind, r.status.enhanced) for r in results] == [
        (1, ResultKind.DELIVERED, "2.0.0"),
        (2, ResultKind.FAILED, "5.1.1"),
        (3, ResultKind.DEFERRED, "4.2.2"),
    ]


async def test_helo_is_tried_where_ehlo_is_unknown() -> None:
    async def script(remote: Remote) -> None:
        await remote.say("220 old")
        await remote.hear(answer="500 what")
        await remote.hear(answer="250 hello")
        for answer in ("250 ok", "250 ok", "354 go"):
            await remote.hear(answer=answer)
        await remote.body()
        await remote.say("250 done")

    (result,), heard = await deliver(to(), script)
    assert result.kind is ResultKind.DELIVERED
    assert not result.relayed_dsn
    assert heard[:3] == ["EHLO mx.mairie.test", "HELO mx.mairie.test", "MAIL FROM:<maire@mairie.test>"]


async def test_h139_eight_bit_mail_does_not_go_where_it_would_break() -> None:
    async def script(remote: Remote) -> None:
        await remote.greet("250 remote.test")
        await remote.hear(answer="221 bye")

    (result,), heard = await deliver(to(content="Subject: x\r\n\r\né\r\n".encode()), script)
    assert (result.kind, result.status.enhanced) == (ResultKind.FAILED, "5.6.3")
    assert heard == ["EHLO mx.mairie.test", "QUIT"]


async def stall(remote: Remote) -> None:
    assert not await remote.reader.read()


async def _say_and_stall(remote: Remote, *texts: str) -> None:
    for text in texts:
        await remote.say(text)
    await stall(remote)


def says(*texts: str) -> Script:
    return lambda remote: _say_and_stall(remote, *texts)


async def never_354(remote: Remote) -> None:
    await remote.greet()
    await remote.hear(answer="250 ok")
    await remote.hear(answer="250 ok")
    await remote.hear()
    await remote.reader.read()


async def after_the_dot(remote: Remote) -> None:
    await remote.greet()
    for answer in ("250 ok", "250 ok", "354 go"):
        await remote.hear(answer=answer)
    await remote.body()


async def slow_after_the_dot(remote: Remote) -> None:
    await after_the_dot(remote)
    await remote.reader.read()


async def cut_at_mail(remote: Remote) -> None:
    await remote.greet()
    await remote.hear(answer="421 4.3.2 going down")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (stall, "timeout-greeting"),
        (says("250-" + "x" * 5000), "reply-line-too-long"),
        (says(*["220-again"] * 200), "too-many-reply-lines"),
        (says("999 what"), "bad-reply"),
        (says("554 no"), "session-refused"),
        (says("421 busy"), "session-refused"),
        (says("220 hi", "250-a", "550 b"), "bad-reply"),
        (never_354, "timeout-data"),
        (cut_at_mail, "remote-deferred"),
        (after_the_dot, "connection-lost"),
        (slow_after_the_dot, "timeout-final"),
    ],
)
async def test_h139_a_strange_server_defers(script: Script, reason: str) -> None:
    (result,), _ = await deliver(to(), script, patience=SHORT)
    assert result.kind is ResultKind.DEFERRED
    assert result.status.reason == reason
    assert result.status.text.isascii()


async def test_nobody_listens() -> None:
    async with agent() as made:
        (result,) = await made.deliver(job("127.0.0.1:1"))
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "connect-failed")


def two_hosts(port: int) -> FakeResolver:
    return FakeResolver(
        {
            "r.test": {"MX": [(10, "one.r.test"), (20, "two.r.test")]},
            "one.r.test": {"A": ["127.0.0.1"]},
            "two.r.test": {"A": ["127.0.0.1"]},
        }
    )


async def by_mx(*scripts: Script, patience: dict[Stage, float] | None = None) -> tuple[Result, int]:
    async with scripted(*scripts) as remote:
        async with agent(two_hosts(remote.port), port=remote.port, patience=patience) as made:
            (result,) = await made.deliver(job("r.test", "a@r.test", static=False))
        return result, remote.connections


@pytest.mark.parametrize("first", [says("421 busy"), says("554 no"), stall, cut_at_mail, never_354])
async def test_the_next_host_is_tried(first: Script) -> None:
    patience = {**PATIENCE, Stage.GREETING: 0.3, Stage.DATA: 0.3}
    result, connections = await by_mx(first, good, patience=patience)
    assert result.kind is ResultKind.DELIVERED
    assert result.remote == "two.r.test"
    assert connections == 2


async def later(remote: Remote) -> None:
    await remote.greet()
    for answer in ("250 ok", "450 4.7.1 greylisted", "503 none"):
        await remote.hear(answer=answer)


async def less_able(remote: Remote) -> None:
    await remote.greet(ehlo="250-remote.test\r\n250 SIZE 10")
    await remote.hear()


async def cut_without_a_word(remote: Remote) -> None:
    await remote.greet()
    await remote.hear()


@pytest.mark.parametrize("second", [says("421 busy"), cut_without_a_word, less_able])
async def test_a_backup_host_does_not_hide_what_the_first_one_said(second: Script) -> None:
    """A greylisting host beside a dead one looked like a domain that is away: all its mail was put off; beside one that
    takes less, the message came back at once."""
    result, connections = await by_mx(later, second)
    assert (result.kind, result.status.enhanced, connections) == (ResultKind.DEFERRED, "4.7.1", 2)
    assert result.remote == "one.r.test"


async def test_what_one_host_cannot_take_another_may() -> None:
    result, connections = await by_mx(less_able, good)
    assert (result.kind, connections) == (ResultKind.DELIVERED, 2)
    result, _ = await by_mx(less_able, says("421 busy"))
    assert result.kind is ResultKind.DEFERRED
    result, _ = await by_mx(less_able, less_able)
    assert (result.kind, result.status.enhanced) == (ResultKind.FAILED, "5.3.4")


def sockets() -> int:
    count = 0
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{entry}").startswith("socket:")
    return count


async def test_h139_a_peer_that_never_reads_keeps_no_socket() -> None:
    """What it had not read kept the connection open behind our back, one more with each attempt."""
    given_up = asyncio.Event()

    async def deaf(remote: Remote) -> None:
        await remote.greet(ehlo="250 remote.test")
        for answer in ("250 ok", "250 ok", "354 go"):
            await remote.hear(answer=answer)
        await given_up.wait()

    content = b"Subject: x\r\n\r\n" + (b"x" * 998 + b"\r\n") * 16_000
    async with scripted(deaf) as remote, agent(patience={**PATIENCE, Stage.BLOCK: 0.3}) as made:
        before = sockets()
        (result,) = await made.deliver(job(f"127.0.0.1:{remote.port}", content=content))
        assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "timeout-block")
        try:
            async with asyncio.timeout(3):
                while sockets() > before + 1:  # the one that is left is the deaf peer's own
                    await asyncio.sleep(0.02)
        finally:
            given_up.set()


async def test_a_refusal_for_good_is_not_taken_elsewhere() -> None:
    async def script(remote: Remote) -> None:
        await remote.greet()
        for answer in ("250 ok", "550 5.1.1 unknown", "503 none"):
            await remote.hear(answer=answer)

    result, connections = await by_mx(script, good)
    assert (result.kind, connections) == (ResultKind.FAILED, 1)


async def test_f146_a_lost_answer_after_the_dot_is_not_sent_twice_at_once() -> None:
    result, connections = await by_mx(after_the_dot, good)
    assert (result.kind, connections) == (ResultKind.DEFERRED, 1)


@pytest.mark.parametrize(
    ("zone", "status"),
    [
        ({"r.test": {"MX": [(0, "")]}}, "5.1.10"),
        ({}, "5.1.2"),
        ({"r.test": {"TXT": ["x"]}}, "5.4.4"),
    ],
)
async def test_h140_domains_without_mail(zone: dict[str, dict[str, list[object]]], status: str) -> None:
    async with agent(FakeResolver(zone)) as made:
        (result,) = await made.deliver(job("r.test", "a@r.test", static=False))
    assert (result.kind, result.status.enhanced) == (ResultKind.FAILED, status)


async def test_h140_mail_to_ourselves_is_a_loop() -> None:
    async with agent(two_hosts(25), ours=lambda address, port: True) as made:
        (result,) = await made.deliver(job("r.test", "a@r.test", static=False))
    assert (result.kind, result.status.enhanced) == (ResultKind.FAILED, "5.4.6")


async def test_h005_bare_line_ends_are_refused_and_the_transaction_is_cut() -> None:
    seen = bytearray()

    async def script(remote: Remote) -> None:
        await remote.greet()
        for answer in ("250 ok", "250 ok", "354 go"):
            await remote.hear(answer=answer)
        with contextlib.suppress(ConnectionError):
            while data := await remote.reader.read(65536):
                seen.extend(data)

    (result,), _ = await deliver(to(content=b"a\r\n" * 100_000 + b"b\r\n.\r\r\nMAIL FROM:<x>\r\n"), script)
    assert (result.kind, result.status.enhanced) == (ResultKind.FAILED, "5.6.0")
    assert b"\r\n.\r\n" not in seen


async def test_a_job_has_a_deadline() -> None:
    (result,), _ = await deliver(to(), stall, deadline=0.3)
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "delivery-deadline")


async def test_a_bug_defers() -> None:
    class Bad(BytesContent):
        def read(self, start: int, stop: int) -> bytes:
            raise KeyError("bug")

    (result,), _ = await deliver(lambda port: _with_content(port, Bad(b"Subject: x\r\n\r\nb\r\n")), good)
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "bug")


def _with_content(port: int, content: BytesContent) -> Job:
    made = job(f"127.0.0.1:{port}")
    return Job(made.queue_id, made.sender, made.recipients, content, made.next_hop, static=True)


async def serve_one(remote: Remote, *, reset: bool = False) -> None:
    for answer in (*(("250 ok",) if reset else ()), "250 ok", "250 ok", "354 go"):
        await remote.hear(answer=answer)
    await remote.body()
    await remote.say("250 done")


@pytest.mark.parametrize("ehlo", [EHLO, "250 remote.test"])
async def test_connections_are_used_again_after_rset(ehlo: str) -> None:
    async def script(remote: Remote) -> None:
        await remote.greet(ehlo)
        await serve_one(remote)
        await serve_one(remote, reset=True)
        await remote.hear(answer="221 bye")

    async with scripted(script) as remote, agent(idle=5.0) as made:
        for _ in range(2):
            (result,) = await made.deliver(job(f"127.0.0.1:{remote.port}"))
            assert result.kind is ResultKind.DELIVERED
    assert remote.connections == 1
    assert [line.split(" ")[0] for line in remote.heard] == [
        *("EHLO", "MAIL", "RCPT", "DATA", "RSET", "MAIL", "RCPT", "DATA", "QUIT"),
    ]


async def test_a_kept_connection_costs_no_round_trip_of_its_own() -> None:
    """RFC 2920 3.1: RSET goes with the next MAIL, RCPT and DATA."""

    async def script(remote: Remote) -> None:
        await remote.greet()
        await serve_one(remote)
        together = await remote.reader.readuntil(b"DATA\r\n")
        assert [line.split(b" ")[0] for line in together.splitlines()] == [b"RSET", b"MAIL", b"RCPT", b"DATA"]
        for answer in ("250 ok", "250 ok", "250 ok", "354 go"):
            await remote.say(answer)
        await remote.body()
        await remote.say("250 done")
        await remote.hear(answer="221 bye")

    async with scripted(script) as remote, agent(idle=5.0) as made:
        for _ in range(2):
            (result,) = await made.deliver(job(f"127.0.0.1:{remote.port}"))
            assert result.kind is ResultKind.DELIVERED


async def closes(_remote: Remote) -> None:
    """At once."""


async def was_bored(remote: Remote) -> None:
    await remote.say("421 4.4.2 timeout")


async def is_silent(remote: Remote) -> None:
    await remote.reader.read()


async def refuses_to_forget(remote: Remote) -> None:
    for answer in ("502 5.5.1 what", "503 5.5.1 nested MAIL", "250 ok", "354 go"):
        await remote.hear(answer=answer)
    assert b"\r\n.\r\n" not in await remote.reader.read()


@pytest.mark.parametrize("end", [closes, was_bored, is_silent, refuses_to_forget])
@pytest.mark.parametrize("ehlo", [EHLO, "250 remote.test"])
async def test_a_kept_connection_that_is_gone_is_replaced(end: Script, ehlo: str) -> None:
    async def first(remote: Remote) -> None:
        await remote.greet(ehlo)
        await serve_one(remote)
        await end(remote)

    patience = {**PATIENCE, Stage.RESET: 0.3}
    async with scripted(first, good) as remote, agent(idle=5.0, patience=patience) as made:
        for _ in range(2):
            (result,) = await made.deliver(job(f"127.0.0.1:{remote.port}"))
            assert result.kind is ResultKind.DELIVERED
    assert remote.connections == 2


async def test_a_new_connection_that_breaks_is_not_tried_for_ever() -> None:
    async def first(remote: Remote) -> None:
        await remote.greet()
        await serve_one(remote)

    async def breaks(remote: Remote) -> None:
        await remote.greet()
        await remote.hear()

    async with scripted(first, breaks) as remote, agent(idle=5.0) as made:
        (result,) = await made.deliver(job(f"127.0.0.1:{remote.port}"))
        assert result.kind is ResultKind.DELIVERED
        (result,) = await made.deliver(job(f"127.0.0.1:{remote.port}"))
        assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "connection-lost")
    assert remote.connections == 2


async def test_the_next_part_of_a_job_does_not_meet_the_mail_of_one_whose_recipients_were_all_refused() -> None:
    """A strict server still has that MAIL, and calls the next one nested."""

    async def strict(remote: Remote) -> None:
        await remote.greet("250-remote.test\r\n250 LIMITS RCPTMAX=1")
        open_ = False
        while (line := await remote.hear()) and line != "QUIT":
            verb = line[:4]
            if verb == "RCPT":
                await remote.say("550 5.1.1 unknown" if "a@" in line else "250 ok")
            elif verb == "DATA":
                await remote.say("354 go")
                await remote.body()
                await remote.say("250 done")
            else:
                await remote.say("503 5.5.1 nested MAIL" if verb == "MAIL" and open_ else "250 ok")
            open_ = verb in ("MAIL", "RCPT")
        await remote.say("221 bye")

    async with scripted(strict) as remote, agent(idle=5.0) as made:
        results = await made.deliver(to("a@r.test", "b@r.test")(remote.port))
    assert [result.kind for result in results] == [ResultKind.FAILED, ResultKind.DELIVERED]


# --- TLS -----------------------------------------------------------------------------------------------------------

TLS_EHLO = EHLO.replace("250 HELP", "250 STARTTLS")


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path, Path]:
    return certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1")


def offers_tls(context: ssl.SSLContext, *, extra: str = "", ehlo: str = EHLO) -> Script:
    async def script(remote: Remote) -> None:
        await remote.greet(TLS_EHLO)
        await remote.hear(answer="220 go" + extra)
        await remote.start_tls(context)
        await remote.hear(answer=ehlo)
        for answer in ("250 ok", "250 ok", "354 go"):
            await remote.hear(answer=answer)
        await remote.body()
        await remote.say("250 done")

    return script


async def test_tls_is_used_when_offered_without_trust(issued: tuple[trustme.CA, Path, Path]) -> None:
    (result,), heard = await deliver(to(), offers_tls(ServerTls(issued[1], issued[2]).context))
    assert result.kind is ResultKind.DELIVERED
    assert [line.split(" ")[0] for line in heard[:4]] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]


async def test_h026_replies_injected_before_the_handshake_end_the_session(
    issued: tuple[trustme.CA, Path, Path],
) -> None:
    script = offers_tls(ServerTls(issued[1], issued[2]).context, extra="\r\n250-evil\r\n250 NOTLS")
    (result,), heard = await deliver(to(), script)
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "injected-reply")
    assert not any(line.startswith("MAIL") for line in heard)


async def test_a_failed_handshake_falls_back_to_what_would_have_been() -> None:
    async def breaks(remote: Remote) -> None:
        await remote.greet(TLS_EHLO)
        await remote.hear(answer="220 go")
        await remote.reader.read(100)
        remote.writer.write(b"not tls at all, sorry\r\n")

    (result,), heard = await deliver(to(), breaks, good)
    assert result.kind is ResultKind.DELIVERED
    assert [line.split(" ")[0] for line in heard[:4]] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]


async def test_h026_require_tls_is_verified_or_deferred(issued: tuple[trustme.CA, Path, Path], tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    issued[0].cert_pem.write_to_path(ca_file)
    with_requiretls = EHLO.replace("250 HELP", "250 REQUIRETLS")
    script = offers_tls(ServerTls(issued[1], issued[2]).context, ehlo=with_requiretls)
    work = to(require_tls=True)
    (result,), heard = await deliver(work, script, ca_file=str(ca_file))
    assert result.kind is ResultKind.DELIVERED
    assert heard[3].endswith(" REQUIRETLS")
    (result,), heard = await deliver(work, script)
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "certificate-not-trusted")
    (result,), heard = await deliver(work, good, ca_file=str(ca_file))
    assert (result.kind, result.status.enhanced) == (ResultKind.DEFERRED, "4.7.10")
    assert not any(line.startswith("MAIL") for line in heard)


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_from_our_agent_to_our_server(
    factory: Callable[[], asyncio.AbstractEventLoop], issued: tuple[trustme.CA, Path, Path]
) -> None:
    acceptor = FakeAcceptor()
    body = b"Subject: x\r\n\r\n" + (b"." * 70 + b"\r\n") * 20_000

    async def main() -> None:
        what = service(acceptor=acceptor, tls=ServerTls(issued[1], issued[2]))
        async with running(what) as server, agent(idle=5.0) as made:
            host, port = server.addresses[0]
            for number in range(20):
                people = ("agent@mairie.test", f"unknown{number}@mairie.test")
                results = await made.deliver(job(f"{host}:{port}", *people, content=body))
                assert [r.kind for r in results] == [ResultKind.DELIVERED, ResultKind.FAILED]

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert acceptor.messages == [body] * 20
    assert acceptor.receptions[0].transaction.peer.tls is not None
    assert len({each.transaction.peer.connection for each in acceptor.receptions}) == 1


def test_the_agent_of_the_suite(tmp_path: Path) -> None:
    config = Config(hostname="mx.mairie.test", data=tmp_path)
    assert isinstance(SmtpAgent.create(config, FakeResolver(), ManualClock(), Uncounted()), SmtpAgent)


BY_EHLO = "250-remote.test\r\n250-PIPELINING\r\n250-DSN\r\n250-MT-PRIORITY\r\n250 DELIVERBY 60"


async def takes_all(remote: Remote, ehlo: str = BY_EHLO) -> None:
    await remote.greet(ehlo)
    for answer in ("250 ok", "250 ok", "354 go"):
        await remote.hear(answer=answer)
    await remote.body()
    await remote.say("250 2.0.0 ok")


async def test_rfc2852_what_is_left_of_a_time_limit_and_the_priority_go_to_who_knows_them() -> None:
    limit = Schedule(deliver_by=time.time() + 500, by_mode="R", by_trace=True, priority=3)
    (result,), heard = await deliver(to(schedule=limit), takes_all)
    assert (result.kind, result.relayed_by) == (ResultKind.DELIVERED, True)
    assert re.fullmatch(r"MAIL FROM:<maire@mairie\.test> BY=(49\d|500);RT MT-PRIORITY=3", heard[1])


@pytest.mark.parametrize(
    ("left", "ehlo"), [(500, EHLO), (59, BY_EHLO)], ids=["no DELIVERBY", "a higher minimum than what is left"]
)
async def test_rfc2852_by_mode_r_is_returned_where_it_cannot_be_kept(left: int, ehlo: str) -> None:
    async def greets(remote: Remote) -> None:
        await remote.greet(ehlo)

    limit = Schedule(deliver_by=time.time() + left, by_mode="R")
    (result,), heard = await deliver(to(schedule=limit), greets)
    assert (result.kind, result.status.enhanced) == (ResultKind.FAILED, "5.4.7")
    assert not any(line.startswith("MAIL") for line in heard)


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (frozenset[str](), " NOTIFY=DELAY,FAILURE"),
        (frozenset({"SUCCESS"}), " NOTIFY=DELAY,SUCCESS"),
        (frozenset({"NEVER"}), " NOTIFY=NEVER"),
    ],
)
async def test_rfc2852_by_mode_n_asks_who_knows_no_limits_to_tell_of_delays(asked: frozenset[str], sent: str) -> None:
    limit = Schedule(deliver_by=time.time() + 500, by_mode="N", priority=3)
    script = functools.partial(takes_all, ehlo=EHLO)
    (result,), heard = await deliver(to(schedule=limit, dsn=[Dsn(asked)]), script)
    assert (result.kind, result.relayed_by) == (ResultKind.DELIVERED, False)
    assert "BY=" not in heard[1]
    assert "MT-PRIORITY" not in heard[1]
    assert heard[2] == f"RCPT TO:<a@remote.test>{sent}"


async def test_rfc9422_no_more_recipients_and_messages_than_a_server_wants() -> None:
    """Five recipients, two a message, three messages a connection: the rest of them begin a new one."""

    async def limited(remote: Remote) -> None:
        await remote.greet("250-remote.test\r\n250 LIMITS RCPTMAX=2 MAILMAX=3")
        await take_all(remote)

    people = [f"{name}@r.test" for name in "abcde"]
    async with scripted(limited) as remote, agent(idle=5.0) as made:
        for _ in range(2):
            results = await made.deliver(to(*people)(remote.port))
            assert {result.kind for result in results} == {ResultKind.DELIVERED}
        assert remote.connections == 2
    groups = "".join(line[0] for line in remote.heard if line.startswith(("EHLO", "MAIL", "RCPT"))).split("E")[1:]
    assert groups == ["MRRMRRMR", "MRRMRRMR"]


async def take_all(remote: Remote) -> None:
    """Everything is taken, until QUIT."""
    while (line := await remote.hear()) and line != "QUIT":
        await remote.say("354 go" if line == "DATA" else "250 ok")
        if line == "DATA":
            await remote.body()
            await remote.say("250 done")
    await remote.say("221 bye")


@pytest.mark.parametrize(
    ("limits", "expected"),
    [("RCPTMAX=2 MAILMAX=2", ["MRRMRR", "MRRMR"]), ("RCPTMAX=1 MAILMAX=1", ["MR"] * 7)],
)
async def test_rfc9422_one_job_begins_no_more_messages_on_a_connection_than_a_server_wants(
    limits: str, expected: list[str]
) -> None:
    """Seven recipients, two a message, two messages a connection; and a server that takes one of each."""

    async def limited(remote: Remote) -> None:
        await remote.greet(f"250-remote.test\r\n250 LIMITS {limits}")
        await take_all(remote)

    async with scripted(limited) as remote, agent(idle=5.0) as made:
        results = await made.deliver(to(*(f"{name}@r.test" for name in "abcdefg"))(remote.port))
        assert {result.kind for result in results} == {ResultKind.DELIVERED}
    heard = "".join(line[0] for line in remote.heard if line.startswith(("EHLO", "MAIL", "RCPT")))
    assert heard.split("E")[1:] == expected


async def test_rfc9422_whom_a_lost_second_connection_was_for_is_tried_again() -> None:
    calls: list[Remote] = []

    async def once(remote: Remote) -> None:
        calls.append(remote)
        if len(calls) > 1:
            return
        await remote.greet("250-remote.test\r\n250 LIMITS RCPTMAX=1 MAILMAX=1")
        await take_all(remote)

    async with scripted(once) as remote, agent(idle=5.0) as made:
        results = await made.deliver(to("a@r.test", "b@r.test", "c@r.test")(remote.port))
        assert [result.kind for result in results] == [ResultKind.DELIVERED, *[ResultKind.DEFERRED] * 2]
        assert len(calls) == 2
