"""Before and at login: greeting, TLS, passwords, bounds against strangers."""

from __future__ import annotations

import asyncio
import base64
import contextlib

import pytest
from structlog.testing import capture_logs

from core.config import Limits
from tests.fakes.imap_world import PASSWORD, Client, World, client_context


def plain(identity: str = "alice@mairie.test", password: str = PASSWORD, authorization: str = "") -> bytes:
    return base64.b64encode(f"{authorization}\0{identity}\0{password}".encode())


async def test_the_greeting_tells_what_is_possible() -> None:
    async with World(plaintext=False) as world:
        clear, tls = await world.connect(), await world.connect(tls=True)
        assert clear.greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 ")
        assert b" STARTTLS LOGINDISABLED]" in clear.greeting
        assert b"AUTH=" not in clear.greeting
        assert b" AUTH=PLAIN AUTH=LOGIN]" in tls.greeting
        assert b"STARTTLS" not in tls.greeting
        assert b"LOGINDISABLED" not in tls.greeting


async def test_login_over_tls() -> None:
    async with World(plaintext=False) as world:
        client = await world.connect(tls=True)
        (done,) = await client.ok(f'LOGIN "Alice@Mairie.test" {{{len(PASSWORD)}+}}\r\n{PASSWORD}'.encode())
        assert done.startswith(b"a OK [CAPABILITY IMAP4rev1")
        assert b"AUTH=" not in done
        assert world.directory.seen == [("Alice@Mairie.test", "imap", "127.0.0.1")]
        assert (await client.ask(b"LOGIN a b"))[-1].startswith(b"a BAD")


@pytest.mark.parametrize("command", [b"LOGIN alice@mairie.test " + PASSWORD.split()[0].encode(), b"AUTHENTICATE PLAIN"])
async def test_h024_a_password_without_tls_is_refused_unread(command: bytes) -> None:
    async with World(plaintext=False) as world:
        client = await world.connect()
        assert (await client.ask(command))[-1].startswith(b"a NO [PRIVACYREQUIRED]")
        assert world.directory.seen == []


async def test_unknown_and_wrong_look_the_same_and_five_are_enough() -> None:
    async with World() as world:
        client = await world.connect()
        answers = [
            (await client.ask(b"LOGIN %b wrong" % name))[-1] for name in (b"alice@mairie.test", b"nobody@mairie.test")
        ]
        assert answers[0] == answers[1]
        assert answers[0].startswith(b"a NO [AUTHENTICATIONFAILED]")
        for _ in range(2):
            await client.ask(b"LOGIN x y")
        await client.raw(b"a LOGIN x y\r\n")
        assert (await client.ended()).startswith(b"* BYE [AUTHENTICATIONFAILED]")


async def test_a_directory_that_is_away_is_said_so() -> None:
    async with World() as world:
        world.directory.unavailable = True
        client = await world.connect()
        assert (await client.ask(b"LOGIN a b"))[-1].startswith(b"a NO [UNAVAILABLE]")


async def test_authenticate_plain_with_and_without_initial_response() -> None:
    async with World() as world:
        first, second = await world.connect(), await world.connect()
        await first.ok(b"AUTHENTICATE PLAIN " + plain())
        await second.raw(b"a authenticate plain\r\n")
        assert await second.line() == b"+ "
        await second.raw(plain() + b"\r\n")
        assert (await second.until(b"a"))[-1].startswith(b"a OK")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"*", b"a BAD"),  # RFC 9051 6.2.2 says BAD for both of the first two
        (b"!!!", b"a BAD"),
        (base64.b64encode(b"x"), b"a NO [AUTHENTICATIONFAILED]"),
        (base64.b64encode(b"\0\xff\xfe\0x"), b"a NO [AUTHENTICATIONFAILED]"),
        (plain(authorization="bob@mairie.test"), b"a NO [AUTHENTICATIONFAILED]"),
    ],
)
async def test_h095_broken_exchanges_fail_and_leave_the_session_in_step(line: bytes, answer: bytes) -> None:
    async with World() as world:
        client = await world.connect()
        await client.raw(b"a AUTHENTICATE PLAIN\r\n")
        assert await client.line() == b"+ "
        await client.raw(line + b"\r\n")
        assert (await client.until(b"a"))[-1].startswith(answer)
        await client.login()


async def test_h095_leaving_in_the_middle_harms_nobody() -> None:
    async with World() as world:
        leaver, stayer = await world.connect(), await world.login()
        await leaver.raw(b"a AUTHENTICATE PLAIN\r\n")
        await leaver.line()
        await leaver.close()
        await stayer.ok(b"NOOP")


async def test_unsupported_mechanisms_are_refused() -> None:
    async with World() as world:
        client = await world.connect()
        assert (await client.ask(b"AUTHENTICATE GSSAPI"))[-1].startswith(b"a NO [CANNOT]")


async def test_starttls_then_login() -> None:
    async with World(plaintext=False) as world:
        client = await world.connect()
        await client.ok(b"STARTTLS")
        await client.writer.start_tls(client_context(), server_hostname="127.0.0.1")
        lines = await client.ok(b"CAPABILITY")
        assert b"AUTH=PLAIN" in lines[0]
        assert b"STARTTLS" not in lines[0]
        assert (await client.ask(b"STARTTLS"))[-1].startswith(b"a BAD")  # h023
        await client.login()


@pytest.mark.parametrize("later", [False, True])
async def test_h021_clear_text_behind_starttls_ends_the_connection(later: bool) -> None:
    async with World() as world:
        client = await world.connect()
        await client.raw(b"a STARTTLS\r\n" + (b"" if later else b"b LOGIN alice@mairie.test x\r\n"))
        if later:
            await client.until(b"a")
            await client.raw(b"b LOGIN alice@mairie.test x\r\n")
        rest = await client.ended()
        assert not [line for line in rest.split(b"\r\n") if line.startswith(b"b ")]
        assert world.directory.seen == []


async def test_h022_what_was_said_before_tls_is_forgotten() -> None:
    async with World() as world:
        client = await world.connect()
        await client.ok(b'ID ("name" "mitm")')
        await client.ok(b"STARTTLS")
        await client.writer.start_tls(client_context(), server_hostname="127.0.0.1")
        await client.ok(b"NOOP")
        (connection,) = world.server._connections
        assert connection.session.client_id == ()


async def test_h025_clear_text_on_the_tls_port_gets_no_banner() -> None:
    async with World() as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.tls_port)
        writer.write(b"a CAPABILITY\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"OK" not in await asyncio.wait_for(reader.read(), 10)
        writer.close()


async def test_h033_another_protocol_is_not_worth_a_session() -> None:
    async with World() as world:
        client = await world.connect()
        await client.raw(b"GET / HTTP/1.1\r\nHost: x\r\nCookie: y\r\nX: y\r\n\r\n")
        rest = await client.ended()
        assert rest.count(b" BAD ") == 3
        assert rest.split(b"\r\n")[-2].startswith(b"* BYE")


async def test_h033_a_strangers_bad_commands_count_whatever_stands_between_them() -> None:
    async with World() as world:
        client = await world.connect()
        await client.raw(b"GET / HTTP/1.1\r\na NOOP\r\nHost: x\r\nb NOOP\r\nCookie: y\r\n")
        rest = await client.ended()
        assert rest.count(b" OK ") == 2
        assert rest.split(b"\r\n")[-2] == b"* BYE [CLIENTBUG] too many invalid commands"


async def test_after_login_bad_commands_count_only_one_after_another() -> None:
    async with World(limits=Limits(imap_bad_after_login=4)) as world:
        client = await world.login()
        for _ in range(3):
            for _ in range(3):
                assert (await client.ask(b"GET /"))[-1].startswith(b"a BAD")
            await client.ok(b"NOOP")
            assert (await client.ask(b"SELECT nowhere"))[-1].startswith(b"a NO"), "understood, too"
        await client.raw(b"a GET /\r\n" * 5)
        rest = await client.ended()
        assert rest.count(b" BAD ") == 4
        assert rest.endswith(b"* BYE [CLIENTBUG] too many invalid commands\r\n")


async def test_h036_the_login_deadline_holds_whatever_is_sent() -> None:
    async with World(limits=Limits(imap_login_timeout=0.4)) as world:
        quiet, slow, busy = await world.connect(), await world.connect(), await world.connect()

        async def send(client: Client, piece: bytes, pause: float) -> None:
            with contextlib.suppress(OSError):
                while True:
                    await client.raw(piece)
                    await asyncio.sleep(pause)

        flood = b"a NOOP\r\n" * 5000  # there is always something to read
        tasks = [asyncio.create_task(send(slow, b"x", 0.02)), asyncio.create_task(send(busy, flood, 0))]
        for client in (quiet, slow, busy):
            last = b""
            async with asyncio.timeout(10):
                with contextlib.suppress(ConnectionResetError):  # the flood's own octets may outrun our BYE
                    while line := await client.line():
                        last = line
            assert last.startswith(b"* BYE") or client is busy
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert world.server.connections == 0


async def test_h091_a_literal_too_large_before_login() -> None:
    async with World() as world:
        client = await world.connect()
        for size in (b"4294967296", b"99999999999999999999"):
            assert (await client.ask(b"LOGIN {%b}" % size))[-1].startswith(b"a BAD")
        other = await world.connect()
        await other.raw(b"a LOGIN {99999999+}\r\n")
        assert (await other.ended()).startswith(b"* BYE")


async def test_h093_a_million_parentheses_before_login() -> None:
    async with World() as world:
        client = await world.connect()
        await client.raw(b"a SEARCH " + b"(" * 100_000)
        assert (await client.ended()).startswith(b"* BYE [TOOBIG]")


async def test_commands_need_their_state() -> None:
    async with World() as world:
        client = await world.connect()
        for command in (b"SELECT INBOX", b"FETCH 1 FLAGS"):
            assert (await client.ask(command))[-1].startswith(b"a BAD")
        await client.login()
        for command in (b"FETCH 1 FLAGS", b"STARTTLS", b"CLOSE", b"UID", b"UID NOOP", b"FOO", b"NOOP x", b"NOOP "):
            assert (await client.ask(command))[-1].startswith(b"a BAD"), command
        await client.ok(b"nOoP")


async def test_too_many_connections_from_one_address_and_of_one_account() -> None:
    async with World(limits=Limits(connections_per_address=2, imap_connections_per_account=2)) as world:
        await world.login()
        await world.login()  # a login frees the seat of the address
        third, _ = await world.connect(), await world.connect()
        assert (await world.connect()).greeting.startswith(b"* BYE [LIMIT]")
        await third.raw(f'a LOGIN alice@mairie.test "{PASSWORD}"\r\n'.encode())
        assert (await third.ended()).startswith(b"* BYE [LIMIT]")


async def test_exempt_networks_are_not_counted() -> None:
    limits = Limits(connections_per_address=1, exempt=["127.0.0.0/8"])
    async with World(limits=limits) as world:
        await world.connect()
        assert (await world.connect()).greeting.startswith(b"* OK")


async def test_p10_a_password_in_the_name_field_is_not_logged() -> None:
    with capture_logs() as events:
        async with World() as world:
            client = await world.connect()
            await client.ask(b'ID ("name" "test")')
            await client.ask(b'LOGIN "tres-secret-mot" x')
            await client.ask(b"LOGIN nobody@mairie.test tres-secret-mot")
    assert "imap-client" in str(events)
    assert "tres-secret-mot" not in str(events)
