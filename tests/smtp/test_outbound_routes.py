"""Static routes: a smarthost with a login, TLS from the first octet, LMTP, the address we call from."""

from __future__ import annotations

import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from core.clock import ManualClock
from core.tls import ServerTls
from delivery.next_hop import Protocol, Routes, RouteTls, parse_route
from delivery.types import Result, ResultKind
from smtp.outbound.agent import SmtpAgent
from smtp.outbound.connection import Caller
from smtp.outbound.mx import MxResolver
from smtp.outbound.pool import Pool
from smtp.outbound.sts_cache import StsCache
from smtp.outbound.sts_source import StsSource
from smtp.outbound.tls_policies import Policies
from smtp.outbound.tls_policy import Opportunistic
from smtp.outbound.tls_results import Uncounted
from tests.fakes.resolver import FakeResolver
from tests.fakes.scripted_smtp import EHLO, Remote, Script, job, scripted
from tests.fakes.smtp_server import certificate

AUTH_EHLO = EHLO.replace("250 HELP", "250 AUTH PLAIN LOGIN")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("127.0.0.1:25", "127.0.0.1:25"),
        ("[::1]:25", "[::1]:25"),
        ("smtp://relay.test:587", "smtp://relay.test:587"),
        ("smtp://us%40er:p%3Aw@relay.test:587?tls=encrypt", "smtp://us@er@relay.test:587"),
        ("lmtp://[::1]:24/", "lmtp://[::1]:24"),
    ],
)
def test_a_route_has_a_name_without_its_secret(text: str, name: str) -> None:
    route = parse_route(text)
    assert route.name == name
    assert "p:w" not in repr(route)
    routes = Routes({"*": text})
    assert routes.next_hop("any.test").name == name
    assert routes.route(name) == route


@pytest.mark.parametrize(
    "text",
    [
        "relay.test", "u:sesame@relay.test:25", "http://relay.test:25", "smtp://relay.test", "smtp://relay.test:25/x", "smtp://relay.test:99999",
        "smtp://relay.test:25?tls=maybe", "smtp://relay.test:25?x=y", "smtp://user@relay.test:25",
        "smtp://u:sesame@relay.test:25?tls=may", "smtp://u:sesame@relay.test:25?tls=none", "smtp://u:sesam%0De@relay.test:25",
    ],
)  # fmt: skip
def test_what_is_no_route_is_refused_without_showing_a_secret(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_route(text)
    assert "sesam" not in str(refused.value)


def test_the_parts_of_a_route() -> None:
    route = parse_route("smtps://user:sesame@relay.test:465")
    assert (route.host, route.port, route.protocol, route.user) == ("relay.test", 465, Protocol.SMTPS, "user")
    assert (route.password.reveal(), route.tls) == ("sesame", RouteTls.DEFAULT)


# --- on the wire -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    authority, chain, key = certificate(folder, "127.0.0.1")
    (folder / "ca.pem").write_bytes(authority.cert_pem.bytes())
    return authority, chain, key


@contextlib.asynccontextmanager
async def agent(
    route: str, tmp_path: Path, ca_file: str = "", bind: tuple[str, ...] = ()
) -> AsyncIterator[tuple[SmtpAgent, str]]:
    routes = Routes({"*": route})
    resolver, clock = FakeResolver(), ManualClock()
    mx = MxResolver(resolver, port=25, ours=lambda a, p: False, allow_private=True, shuffle=lambda records: None)

    class NoWeb:
        async def close(self) -> None:
            pass

    sts = StsSource(resolver, NoWeb(), StsCache(tmp_path / "sts"), clock)  # type: ignore[arg-type]  # a fake
    policies = Policies(resolver, sts, Opportunistic(ca_file), Uncounted(), clock)
    caller = Caller("mx.mairie.test", bind, connect=5.0)
    made = SmtpAgent(caller, mx, policies, pool=Pool(idle=0.0), routes=routes)
    try:
        yield made, routes.next_hop("r.test").name
    finally:
        await made.close()


async def deliver(
    tmp_path: Path, script: Script, route: Callable[[int], str], *recipients: str, ca_file: str = "",
    bind: tuple[str, ...] = (),
) -> tuple[list[Result], list[str]]:  # fmt: skip
    async with scripted(script) as remote, agent(route(remote.port), tmp_path, ca_file, bind) as (made, name):
        return await made.deliver(job(name, *recipients)), remote.heard


async def take(remote: Remote) -> None:
    for answer in ("250 ok", "250 ok", "354 go"):
        await remote.hear(answer=answer)
    await remote.body()
    await remote.say("250 done")


def with_tls(issued: tuple[trustme.CA, Path, Path], *auth: str, ehlo: str = AUTH_EHLO) -> Script:
    async def script(remote: Remote) -> None:
        await remote.greet(EHLO.replace("250 HELP", "250 STARTTLS"))
        await remote.hear(answer="220 go")
        await remote.start_tls(ServerTls(issued[1], issued[2]).context)
        await remote.hear(answer=ehlo)
        for answer in auth:
            await remote.hear(answer=answer)
        await take(remote)

    return script


def ca(issued: tuple[trustme.CA, Path, Path]) -> str:
    return str(issued[1].with_name("ca.pem"))


async def test_a_smarthost_is_shown_the_password_after_verified_tls(
    issued: tuple[trustme.CA, Path, Path], tmp_path: Path
) -> None:
    def route(port: int) -> str:
        return f"smtp://user:s%C3%A9same@127.0.0.1:{port}"

    [result], heard = await deliver(tmp_path, with_tls(issued, "235 ok"), route, ca_file=ca(issued))
    assert result.kind is ResultKind.DELIVERED
    assert [line.split(" ")[0] for line in heard[:5]] == ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL"]
    assert base64.b64decode(heard[3].split(" ")[2]) == "\0user\0sésame".encode()
    [result], heard = await deliver(tmp_path, with_tls(issued, "235 ok"), route)
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "certificate-not-trusted")
    assert not any(line.startswith("AUTH") for line in heard)


async def test_login_is_spoken_where_nothing_else_is(issued: tuple[trustme.CA, Path, Path], tmp_path: Path) -> None:
    ehlo = EHLO.replace("250 HELP", "250 AUTH LOGIN")
    script = with_tls(issued, "334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 ok", ehlo=ehlo)
    [result], heard = await deliver(tmp_path, script, lambda port: f"smtp://user:sesame@127.0.0.1:{port}?tls=encrypt")
    assert result.kind is ResultKind.DELIVERED
    assert [base64.b64decode(line) for line in heard[4:6]] == [b"user", b"sesame"]


@pytest.mark.parametrize(
    ("auth", "ehlo", "reason"),
    [(("535 5.7.8 wrong",), AUTH_EHLO, "session-refused"), ((), EHLO, "no-login")],
)
async def test_a_login_that_fails_defers(
    issued: tuple[trustme.CA, Path, Path], tmp_path: Path, auth: tuple[str, ...], ehlo: str, reason: str
) -> None:
    script = with_tls(issued, *auth, ehlo=ehlo)
    [result], _ = await deliver(tmp_path, script, lambda port: f"smtp://u:sesame@127.0.0.1:{port}", ca_file=ca(issued))
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, reason)
    assert "sesame" not in repr(result)


async def test_no_password_goes_over_clear_text(tmp_path: Path) -> None:
    async def script(remote: Remote) -> None:
        await remote.greet(AUTH_EHLO)
        await remote.hear()

    [result], heard = await deliver(tmp_path, script, lambda port: f"smtp://u:sesame@127.0.0.1:{port}?tls=encrypt")
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "no-tls")
    assert not any(line.startswith("AUTH") for line in heard)


async def test_tls_from_the_first_octet(issued: tuple[trustme.CA, Path, Path], tmp_path: Path) -> None:
    async def script(remote: Remote) -> None:
        await remote.start_tls(ServerTls(issued[1], issued[2]).context)
        await remote.greet(AUTH_EHLO)
        await remote.hear(answer="235 ok")
        await take(remote)

    [result], heard = await deliver(
        tmp_path, script, lambda port: f"smtps://u:sesame@127.0.0.1:{port}", ca_file=ca(issued)
    )
    assert result.kind is ResultKind.DELIVERED
    assert [line.split(" ")[0] for line in heard[:3]] == ["EHLO", "AUTH", "MAIL"]
    [result], _ = await deliver(tmp_path, script, lambda port: f"smtps://u:sesame@127.0.0.1:{port}")
    assert result.status.reason == "certificate-not-trusted"


async def test_lmtp_answers_for_each_recipient(tmp_path: Path) -> None:
    async def script(remote: Remote) -> None:
        await remote.greet()
        for answer in ("250 ok", "250 ok", "550 5.1.1 unknown", "250 ok", "354 go"):
            await remote.hear(answer=answer)
        await remote.body()
        await remote.say("250 2.1.5 in the mailbox")
        await remote.say("452 4.2.2 full")

    results, heard = await deliver(
        tmp_path, script, lambda port: f"lmtp://127.0.0.1:{port}", "a@r.test", "b@r.test", "c@r.test"
    )
    assert heard[0] == "LHLO mx.mairie.test"
    assert [(r.kind, r.status.enhanced) for r in results] == [
        (ResultKind.DELIVERED, "2.1.5"),
        (ResultKind.FAILED, "5.1.1"),
        (ResultKind.DEFERRED, "4.2.2"),
    ]


async def test_f146_what_lmtp_said_before_it_broke_counts(tmp_path: Path) -> None:
    async def script(remote: Remote) -> None:
        await remote.greet()
        for answer in ("250 ok", "250 ok", "250 ok", "354 go"):
            await remote.hear(answer=answer)
        await remote.body()
        await remote.say("250 2.1.5 in the mailbox")

    results, _ = await deliver(tmp_path, script, lambda port: f"lmtp://127.0.0.1:{port}", "a@r.test", "b@r.test")
    assert [r.kind for r in results] == [ResultKind.DELIVERED, ResultKind.DEFERRED]


async def test_a_server_without_lhlo_is_no_lmtp_server(tmp_path: Path) -> None:
    async def script(remote: Remote) -> None:
        await remote.greet("500 what")

    [result], heard = await deliver(tmp_path, script, lambda port: f"lmtp://127.0.0.1:{port}")
    assert (result.kind, heard[:1]) == (ResultKind.DEFERRED, ["LHLO mx.mairie.test"])
    assert not any(line.startswith("HELO") for line in heard)


async def test_we_call_from_the_address_that_is_configured(tmp_path: Path) -> None:
    seen: list[str] = []

    async def script(remote: Remote) -> None:
        seen.append(remote.writer.get_extra_info("peername")[0])
        await remote.greet()
        await take(remote)

    [result], _ = await deliver(
        tmp_path, script, lambda port: f"127.0.0.1:{port}", bind=("::1", "127.0.0.2", "127.0.0.3")
    )
    assert (result.kind, seen) == (ResultKind.DELIVERED, ["127.0.0.2"])


def test_a_verified_context_is_what_a_password_asks_for() -> None:
    assert Opportunistic().required.context.verify_mode is ssl.CERT_REQUIRED


# --- RFC 4954 5: who submitted the message ---------------------------------------------------------------------------


async def named(
    issued: tuple[trustme.CA, Path, Path], tmp_path: Path, script: Script, submitter: str, *, user: str = "u:sesame@"
) -> tuple[list[Result], list[str]]:
    async with (
        scripted(script) as remote,
        agent(f"smtp://{user}127.0.0.1:{remote.port}?tls=encrypt", tmp_path, ca(issued)) as (made, name),
    ):
        results = await made.deliver(replace(job(name), submitter=submitter))
        return results, [line for line in remote.heard if line.startswith(("MAIL", "RSET"))]


@pytest.mark.parametrize(
    ("submitter", "told"),
    [
        ("e=mc2+x@mairie.test", "e+3Dmc2+2Bx@mairie.test"),
        ("", "<>"),
        ("é@mairie.test", "<>"),
        ("x" * 501, "<>"),
        ("+" * 167, "<>"),  # 501 octets encoded
        ("+" * 166, "+2B" * 166),
    ],
)
async def test_who_submitted_a_message_is_told_to_a_server_that_we_logged_in_at(
    issued: tuple[trustme.CA, Path, Path], tmp_path: Path, submitter: str, told: str
) -> None:
    [result], [mail] = await named(issued, tmp_path, with_tls(issued, "235 ok"), submitter)
    assert result.kind is ResultKind.DELIVERED
    assert mail.endswith(f" AUTH={told}")


async def test_who_submitted_a_message_is_nobody_elses_affair(
    issued: tuple[trustme.CA, Path, Path], tmp_path: Path
) -> None:
    _, [mail] = await named(issued, tmp_path, with_tls(issued), "a@mairie.test", user="")
    assert "AUTH" not in mail


def picky(issued: tuple[trustme.CA, Path, Path], refusal: str, after: tuple[str, ...]) -> Script:
    """Offers logins and refuses MAIL with a parameter that it cannot read."""

    async def script(remote: Remote) -> None:
        await remote.greet(EHLO.replace("250 HELP", "250 STARTTLS"))
        await remote.hear(answer="220 go")
        await remote.start_tls(ServerTls(issued[1], issued[2]).context)
        await remote.hear(answer=AUTH_EHLO)
        for answer in ("235 ok", refusal, "503 no", "503 no", *after):
            await remote.hear(answer=answer)
        if after[-1:] == ("250 ok",):
            await take(remote)

    return script


@pytest.mark.parametrize("refusal", ["501 5.5.4 syntax", "504 5.5.4 what is that", "555 5.5.4 unknown"])
async def test_a_server_that_cannot_read_who_submitted_gets_the_message_without(
    issued: tuple[trustme.CA, Path, Path], tmp_path: Path, refusal: str
) -> None:
    [result], lines = await named(issued, tmp_path, picky(issued, refusal, ("250 ok",)), "a@mairie.test")
    assert result.kind is ResultKind.DELIVERED
    assert [line.partition(" ")[0] for line in lines] == ["MAIL", "RSET", "MAIL"]
    assert ["AUTH=" in line for line in lines] == [True, False, False]


@pytest.mark.parametrize("after", [(), ("421 bye",), ("250 ok", "501 5.5.4 syntax", "503 no", "503 no")])
async def test_what_comes_of_the_second_try_counts(
    issued: tuple[trustme.CA, Path, Path], tmp_path: Path, after: tuple[str, ...]
) -> None:
    """A refusal that was meant for the parameter makes nothing final."""
    [result], _ = await named(issued, tmp_path, picky(issued, "501 5.5.4 syntax", after), "a@mairie.test")
    assert result.kind is (ResultKind.FAILED if len(after) > 1 else ResultKind.DEFERRED)


@pytest.mark.parametrize(("most", "calls"), [(1, 3), (2, 2)])
async def test_rfc9422_a_second_mail_without_who_submitted_counts_like_any_other(
    issued: tuple[trustme.CA, Path, Path], tmp_path: Path, most: int, calls: int
) -> None:
    """Where no more are wanted it comes on another connection; what was not understood once is not said again."""

    async def limited(remote: Remote) -> None:
        await remote.greet(EHLO.replace("250 HELP", "250 STARTTLS"))
        await remote.hear(answer="220 go")
        await remote.start_tls(ServerTls(issued[1], issued[2]).context)
        await remote.hear(answer=AUTH_EHLO.replace("250 AUTH", f"250-LIMITS MAILMAX={most}\r\n250 AUTH"))
        while (line := await remote.hear()) and line != "QUIT":
            bad = "AUTH=" in line or (line == "DATA" and "AUTH=" in remote.heard[-3])
            answer = (
                "235 ok" if line.startswith("AUTH") else "501 what" if bad else "354 go" if line == "DATA" else "250 ok"
            )
            await remote.say(answer)
            if answer == "354 go":
                await remote.body()
                await remote.say("250 done")
        await remote.say("221 bye")

    async with (
        scripted(limited) as remote,
        agent(f"smtp://u:sesame@127.0.0.1:{remote.port}?tls=encrypt", tmp_path, ca(issued)) as (made, name),
    ):
        for _ in range(2):
            [result] = await made.deliver(replace(job(name), submitter="a@mairie.test"))
            assert result.kind is ResultKind.DELIVERED
        assert ["AUTH=" in line for line in remote.heard if line.startswith("MAIL")] == [True, False, False]
        assert remote.connections == calls
