"""STARTTLS, implicit TLS and AUTH on the wire (security.md 3.2), on asyncio and on uvloop, with a client not ours."""

import asyncio
import base64
import shutil
import smtplib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trustme
import uvloop

from core.config import Auth
from core.envelope import Listener
from core.tls import ServerTls
from tests.fakes.smtp_server import PASSWORD, FakeAcceptor, FakeLogins, Wire, certificate, running, service

USER = "agent@mairie.test"


def plain(user: str = USER, password: str = PASSWORD) -> str:
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path, Path]:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls(issued: tuple[trustme.CA, Path, Path]) -> ServerTls:
    return ServerTls(issued[1], issued[2])


@pytest.fixture
def client_context(issued: tuple[trustme.CA, Path, Path]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    issued[0].configure_trust(context)
    return context


async def secured(wire: Wire, context: ssl.SSLContext) -> None:
    assert (await wire.say("STARTTLS")).startswith("220 2.0.0")
    await wire.writer.start_tls(context, server_hostname="127.0.0.1")


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("role", [Listener.MX, Listener.SUBMISSION, Listener.SUBMISSIONS])
def test_smtplib_sends_through_every_door(
    factory: Callable[[], asyncio.AbstractEventLoop], role: Listener, tls: ServerTls, client_context: ssl.SSLContext
) -> None:
    acceptor = FakeAcceptor()

    def client(address: tuple[str, int]) -> None:
        if role is Listener.SUBMISSIONS:
            session: smtplib.SMTP = smtplib.SMTP_SSL(*address, context=client_context, timeout=10)
        else:
            session = smtplib.SMTP(*address, timeout=10)
            session.starttls(context=client_context)
        with session:
            if role is not Listener.MX:
                session.login(USER, PASSWORD)
            session.sendmail(USER, [USER, "autre@mairie.test"], b"Subject: x\r\n\r\n.dot\r\n" + b"y" * 60000 + b"\r\n")

    async def main() -> None:
        async with running(service(role, tls=tls, acceptor=acceptor)) as server:
            for _ in range(3):
                await asyncio.to_thread(client, server.addresses[0])

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert acceptor.messages == [b"Subject: x\r\n\r\n.dot\r\n" + b"y" * 60000 + b"\r\n"] * 3
    peer = acceptor.receptions[0].transaction.peer
    assert peer.tls is not None
    assert peer.tls.version in ("TLSv1.2", "TLSv1.3")
    assert peer.account_id == (None if role is Listener.MX else "a1")


async def test_h021_injected_commands_drop_the_connection(tls: ServerTls) -> None:
    acceptor = FakeAcceptor()
    async with running(service(tls=tls, acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        assert (await wire.say("STARTTLS\r\nMAIL FROM:<x@y.fr>")).startswith("554 5.5.0")
        assert await wire.closed()
    assert not acceptor.senders


async def test_h021_commands_behind_the_answer_and_before_the_handshake_are_no_commands(tls: ServerTls) -> None:
    """In a segment of their own: whoever sits between sends them as soon as 220 passes."""
    acceptor = FakeAcceptor()
    async with running(service(tls=tls, acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        assert (await wire.say("STARTTLS")).startswith("220 2.0.0")
        wire.send(b"EHLO evil.test\r\nMAIL FROM:<x@y.fr>\r\n")
        rest = await wire.reader.read()
        assert not any(line[:3].isdigit() for line in rest.splitlines())
    assert not acceptor.senders


async def test_h022_nothing_said_in_clear_counts_after_starttls(tls: ServerTls, client_context: ssl.SSLContext) -> None:
    async with running(service(tls=tls)) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        await secured(wire, client_context)
        assert (await wire.say("MAIL FROM:<a@b.fr>")).startswith("503 5.5.1")
        assert "STARTTLS" not in (text := await wire.ehlo())
        assert "REQUIRETLS" in text


async def test_h023_starttls_out_of_place(tls: ServerTls, client_context: ssl.SSLContext) -> None:
    async with running(service(tls=tls)) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        await wire.say("MAIL FROM:<a@b.fr>")
        assert (await wire.say("STARTTLS")).startswith("503")
        await wire.say("RSET")
        assert (await wire.say("STARTTLS now")).startswith("501")
        await secured(wire, client_context)
        await wire.ehlo()
        assert (await wire.say("STARTTLS")).startswith("503")


async def test_h024_no_password_in_clear(tls: ServerTls) -> None:
    logins = FakeLogins()
    async with running(service(Listener.SUBMISSION, tls=tls, logins=logins)) as server:
        wire = await Wire.connect(server)
        assert "AUTH" not in await wire.ehlo()
        assert (await wire.say(f"AUTH PLAIN {plain()}")).startswith("538 5.7.11")
        assert (await wire.say("MAIL FROM:<a@b.fr>")).startswith("530 5.7.0")
        assert (await wire.say("VRFY x")).startswith("530 5.7.0")
    assert logins.attempts == []


async def test_h025_clear_text_on_the_tls_port_gets_nothing(tls: ServerTls) -> None:
    async with running(service(Listener.SUBMISSIONS, tls=tls)) as server:
        wire = await Wire.connect(server, greeting=False)
        wire.send("EHLO x")
        assert b"220" not in await wire.reader.read()


def early(address: tuple[str, int], context: ssl.SSLContext) -> bytes:
    """What is answered to an EHLO that leaves in one segment with the end of the client's handshake."""
    received, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    inside = context.wrap_bio(received, out, server_hostname="127.0.0.1")
    with socket.create_connection(address, timeout=10) as link:

        def until(step: Callable[[], object]) -> None:
            while True:
                try:
                    step()
                    return
                except ssl.SSLWantReadError:
                    link.sendall(out.read())
                    received.write(link.recv(65536))

        until(inside.do_handshake)
        inside.write(b"EHLO x\r\n")
        answer = list[bytes]()
        until(lambda: answer.append(inside.read(65536)))
    return answer[0]


def test_h010_who_talks_together_with_the_end_of_his_handshake_gets_no_banner(
    tls: ServerTls, client_context: ssl.SSLContext
) -> None:
    """On uvloop, which hands on what came under TLS a turn of its loop after the session began."""
    client_context.minimum_version = ssl.TLSVersion.TLSv1_3  # whose client is the last to shake hands

    async def answered() -> bytes:
        async with running(service(Listener.SUBMISSIONS, tls=tls)) as server:
            return await asyncio.to_thread(early, server.addresses[0], client_context)

    assert uvloop.run(answered()) == b"554 5.5.0 Talked before the greeting\r\n"


async def test_h031_a_stalled_handshake_ends(tls: ServerTls) -> None:
    async with running(service(Listener.SUBMISSIONS, tls=tls, limits={"tls_handshake": 0.2})) as server:
        wire = await Wire.connect(server, greeting=False)
        wire.send(b"\x16\x03")
        assert await wire.closed()
        async with asyncio.timeout(5):
            while server.sessions:
                await asyncio.sleep(0.01)


async def test_h029_old_protocols_and_weak_ciphers_are_refused(tls: ServerTls, client_context: ssl.SSLContext) -> None:
    def ciphers(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-GCM-SHA256:AES256-SHA:@SECLEVEL=0")  # no forward secrecy

    async with running(service(tls=tls)) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        assert (await wire.say("STARTTLS")).startswith("220")
        ciphers(client_context)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await wire.writer.start_tls(client_context, server_hostname="127.0.0.1")
    assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert not any(name["name"].startswith(("AES", "DES", "RC4")) for name in tls.context.get_ciphers())


def test_h030_h032_no_renegotiation_and_tickets_of_one_service_only(issued: tuple[trustme.CA, Path, Path]) -> None:
    one, two = ServerTls(issued[1], issued[2]), ServerTls(issued[1], issued[2])
    assert one.context.options & ssl.OP_NO_RENEGOTIATION
    assert one.context.options & ssl.OP_NO_COMPRESSION
    assert one.context is not two.context


async def test_h032_a_session_ticket_of_one_listener_is_worthless_at_another(
    issued: tuple[trustme.CA, Path, Path],
) -> None:
    """TLS 1.2 sessions can be offered again by hand; the same listener resumes, the other does not."""
    services = [service(Listener.SUBMISSIONS, tls=ServerTls(issued[1], issued[2])) for _ in range(2)]
    async with running(services[0]) as one, running(services[1]) as two:
        context = ssl.create_default_context()
        issued[0].configure_trust(context)
        context.maximum_version = ssl.TLSVersion.TLSv1_2

        def visit(address: tuple[str, int], session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool]:
            with (
                socket.create_connection(address, timeout=10) as raw,
                context.wrap_socket(raw, server_hostname="127.0.0.1", session=session) as sock,
            ):
                sock.recv(100)
                return sock.session, bool(sock.session_reused)

        ticket, _ = await asyncio.to_thread(visit, one.addresses[0], None)
        assert (await asyncio.to_thread(visit, one.addresses[0], ticket))[1] is True
        assert (await asyncio.to_thread(visit, two.addresses[0], ticket))[1] is False


async def test_f166_reload_takes_the_new_certificate_and_keeps_the_last_good(tmp_path: Path) -> None:
    _, chain, key = certificate(tmp_path, "127.0.0.1")
    tls = ServerTls(chain, key)
    good = tls.context
    chain.write_text("nonsense")
    with pytest.raises(ssl.SSLError):
        tls.reload()
    assert tls.context is good
    new, chain, key = certificate(tmp_path, "127.0.0.1")
    async with running(service(Listener.SUBMISSIONS, tls=tls)) as server:
        tls.reload()
        context = ssl.create_default_context()
        new.configure_trust(context)
        reader, writer = await asyncio.open_connection(*server.addresses[0], ssl=context, server_hostname="127.0.0.1")
        assert (await reader.readline()).startswith(b"220")
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """A submission session where passwords may travel in clear: loopback, switched on."""
    what = service(Listener.SUBMISSION, auth=Auth(plaintext_on_loopback=True))
    async with running(what) as server:
        wire = await Wire.connect(server)
        assert "AUTH PLAIN LOGIN" in await wire.ehlo()
        yield wire


async def test_auth_plain_at_once_and_after_a_challenge(wire: Wire) -> None:
    assert (await wire.say("MAIL FROM:<a@b.fr>")).startswith("530 5.7.0")
    assert await wire.say("auth plain") == "334 "
    assert (await wire.say(plain())).startswith("235 2.7.0")
    assert (await wire.say(f"AUTH PLAIN {plain()}")).startswith("503")
    assert (await wire.say(f"MAIL FROM:<{USER}> AUTH=<>")).startswith("250")


async def test_h117_a_login_ends_with_its_password() -> None:
    logins = FakeLogins()
    what = service(Listener.SUBMISSION, auth=Auth(plaintext_on_loopback=True), logins=logins)
    async with running(what) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        assert (await wire.say(f"AUTH PLAIN {plain()}")).startswith("235")
        assert (await wire.say(f"MAIL FROM:<{USER}>")).startswith("250")
        await wire.say("RSET")
        logins.over = True
        assert (await wire.say(f"MAIL FROM:<{USER}>")).startswith("530 5.7.0")
        logins.over = False
        assert (await wire.say(f"MAIL FROM:<{USER}>")).startswith("530 5.7.0")
        assert (await wire.say(f"AUTH PLAIN {plain()}")).startswith("235")


async def test_auth_login(wire: Wire) -> None:
    assert base64.b64decode((await wire.say("AUTH LOGIN"))[4:]) == b"Username:"
    reply = await wire.say(base64.b64encode(USER.encode()).decode())
    assert base64.b64decode(reply[4:]) == b"Password:"
    assert (await wire.say(base64.b64encode(PASSWORD.encode()).decode())).startswith("235 2.7.0")


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (["AUTH"], "501 5.5.4"),
        (["AUTH CRAM-MD5"], "504 5.5.4"),
        (["AUTH PLAIN !!!"], "501 5.5.2"),
        (["AUTH PLAIN", "*"], "501 5.7.0"),
        (["AUTH PLAIN", "AGE="], "501 5.5.2"),
        (["AUTH PLAIN " + base64.b64encode(b"other\0me\0pw").decode()], "535 5.7.8"),
        (["AUTH PLAIN " + plain(password="wrong")], "535 5.7.8"),
        (["AUTH PLAIN", "x" * 12300], "500 5.5.6"),
        (["AUTH PLAIN " + "QUFB" * 3068], "501 5.5.2"),
        (["AUTH PLAIN " + "QUFB" * 3100], "500 5.5.6"),
    ],
)
async def test_h095_h115_bad_exchanges(
    wire: Wire, lines: list[str], answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smtp.guards.TARPIT", 0.0)
    reply = ""
    for line in lines:
        reply = await wire.say(line)
    assert reply.startswith(answer)


async def test_h113_a_session_has_three_passwords(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smtp.guards.TARPIT", 0.0)
    for _ in range(3):
        assert (await wire.say(f"AUTH PLAIN {plain(password='wrong')}")).startswith("535 5.7.8")
    assert (await wire.reply()).startswith("421 4.7.0")
    assert await wire.closed()


async def test_no_password_reaches_the_log(
    wire: Wire, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise P10, wrong passwords too."""
    monkeypatch.setattr("smtp.guards.TARPIT", 0.0)
    secret = "sesame-ouvre-toi-42"
    await wire.say(f"AUTH PLAIN {plain(password=secret)}")
    await wire.say("AUTH LOGIN")
    await wire.say(base64.b64encode(USER.encode()).decode())
    await wire.say(base64.b64encode(secret.encode()).decode())
    await wire.say("QUIT")
    assert await wire.closed()
    told = "".join(capsys.readouterr())
    assert "smtp-connection" in told
    for form in (secret, plain(password=secret), base64.b64encode(secret.encode()).decode()):
        assert form not in told


async def test_leaving_in_the_middle_of_an_exchange_leaves_nothing_open() -> None:
    what = service(Listener.SUBMISSION, auth=Auth(plaintext_on_loopback=True))
    async with running(what) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        await wire.say("AUTH LOGIN")
        wire.close()
        async with asyncio.timeout(5):
            while server.sessions:
                await asyncio.sleep(0.01)


@pytest.mark.interop
async def test_swaks_sends_over_tls_with_auth(tls: ServerTls, tmp_path: Path) -> None:
    swaks = shutil.which("swaks")
    assert swaks, "the Debian package swaks is missing"
    acceptor = FakeAcceptor()
    async with running(service(Listener.SUBMISSION, tls=tls, acceptor=acceptor)) as server:
        port = server.addresses[0][1]
        process = await asyncio.create_subprocess_exec(
            *(swaks, "--server", "127.0.0.1", "--port", str(port), "--tls", "--auth", "LOGIN", "--auth-user", USER),
            *("--auth-password", PASSWORD, "--from", USER, "--to", USER, "--body", ".first dot"),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, output.decode()
    assert len(acceptor.messages) == 1
    assert b"\r\n.first dot\r\n" in acceptor.messages[0]


async def test_h034_a_flood_of_server_names_leaves_nothing_behind(
    tls: ServerTls, issued: tuple[trustme.CA, Path, Path]
) -> None:
    """Whatever name is asked for, the one certificate answers, and nothing is kept for the name."""
    trusting = ssl.create_default_context()
    issued[0].configure_trust(trusting)
    trusting.check_hostname = False
    assert tls.context.sni_callback is None
    async with running(service(Listener.SUBMISSIONS, tls=tls)) as server:
        seen = set()
        for number in range(40):
            reader, writer = await asyncio.open_connection(
                *server.addresses[0], ssl=trusting, server_hostname=f"x{number}.{'y' * 50}.test"
            )
            assert (await reader.readline()).startswith(b"220 ")
            seen.add(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
            writer.close()
        assert len(seen) == 1
