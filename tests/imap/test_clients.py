"""Independent judges: imaplib over TLS and STARTTLS, uvloop under the server, garbage from a seeded generator."""

from __future__ import annotations

import asyncio
import imaplib
import random
from collections.abc import Callable
from pathlib import Path

import imapclient
import uvloop

from imap import capability
from imap.commands.table import TABLE
from tests.fakes.imap_world import PASSWORD, World, client_context, selected

MAIL = b"Subject: bonjour\r\nFrom: a@b.test\r\n\r\nbody\r\n"


def _imaplib_session(port: int, *, starttls: bool) -> None:
    if starttls:
        client: imaplib.IMAP4 = imaplib.IMAP4("127.0.0.1", port, timeout=10)
        client.starttls(client_context())
    else:
        client = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=client_context(), timeout=10)
    client.login("alice@mairie.test", PASSWORD)
    assert client.append("INBOX", "(\\Seen)", imaplib.Time2Internaldate(1_700_000_000), MAIL)[0] == "OK"
    assert client.select()[1] == [b"1"]
    assert client.search(None, "SUBJECT", "bonjour")[1] == [b"1"]
    data = client.fetch("1", "(UID FLAGS BODY.PEEK[])")[1]
    assert isinstance(data[0], tuple)
    assert data[0][1] == MAIL
    assert client.store("1", "+FLAGS", "\\Flagged")[0] == "OK"
    assert client.copy("1", "Archive")[0] == "OK"
    assert client.create("Dossier")[0] == "OK"
    assert client.rename("Dossier", "Classeur")[0] == "OK"
    assert client.status("Archive", "(MESSAGES UIDNEXT)")[1] == [b"Archive (MESSAGES 1 UIDNEXT 2)"]
    assert len(client.list()[1]) == 7
    assert client.namespace()[0] == "OK"
    assert client.uid("MOVE", "1", "Trash")[0] == "OK"
    assert client.noop()[0] == "OK"
    assert client.delete("Classeur")[0] == "OK"
    assert client.close()[0] == "OK"
    assert client.logout()[0] == "BYE"


async def test_imaplib_over_tls() -> None:
    async with World(plaintext=False) as world:
        await asyncio.to_thread(_imaplib_session, world.tls_port, starttls=False)


async def test_imaplib_over_starttls() -> None:
    async with World(plaintext=False) as world:
        await asyncio.to_thread(_imaplib_session, world.plain_port, starttls=True)


async def test_imapclient_lists_idles_and_moves() -> None:
    def session(port: int, loop: asyncio.AbstractEventLoop, deliver: Callable[[], object]) -> None:
        with imapclient.IMAPClient("127.0.0.1", port, ssl_context=client_context(), timeout=10) as client:
            client.login("alice@mairie.test", PASSWORD)
            assert client.find_special_folder(b"\\Trash") == "Trash"
            client.create_folder("Délibérations")
            assert "Délibérations" in [name for _, _, name in client.list_folders()]
            assert client.select_folder("INBOX")[b"EXISTS"] == 0
            client.idle()
            loop.call_soon_threadsafe(deliver)
            assert client.idle_check(timeout=10) == [(1, b"EXISTS")]
            client.idle_done()
            uids = client.search(["SUBJECT", "bonjour"])
            assert client.fetch(uids, ["ENVELOPE"])[uids[0]][b"ENVELOPE"].subject == b"bonjour"
            client.add_flags(uids, [b"\\Flagged"])
            client.move(uids, "Délibérations")
            assert client.folder_status("Délibérations", ["MESSAGES"])[b"MESSAGES"] == 1

    async with World(plaintext=False) as world:
        account = await world.account()
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(session, world.tls_port, loop, lambda: account.deliver(MAIL))


async def test_imaplib_authenticates_with_plain() -> None:
    def session(port: int) -> None:
        client = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=client_context(), timeout=10)
        client.authenticate("PLAIN", lambda _: f"\0alice@mairie.test\0{PASSWORD}".encode())
        assert client.logout()[0] == "BYE"

    async with World(plaintext=False) as world:
        await asyncio.to_thread(session, world.tls_port)


def test_the_server_under_uvloop() -> None:
    async def scenario() -> None:
        async with World(plaintext=False) as world:
            for starttls, port in ((True, world.plain_port), (False, world.tls_port)):
                (await world.account()).boxes["INBOX"].remove(list((await world.account()).boxes["INBOX"].messages))
                await asyncio.to_thread(_imaplib_session_once, port, starttls)

    def _imaplib_session_once(port: int, starttls: bool) -> None:
        client: imaplib.IMAP4
        if starttls:
            client = imaplib.IMAP4("127.0.0.1", port, timeout=10)
            client.starttls(client_context())
        else:
            client = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=client_context(), timeout=10)
        client.login("alice@mairie.test", PASSWORD)
        assert client.append("INBOX", "", "", MAIL * 2000)[0] == "OK"
        client.select()
        assert client.fetch("1", "(BODY.PEEK[])")[1][0][1] == MAIL * 2000  # type: ignore[index]  # a tuple, per imaplib
        assert client.logout()[0] == "BYE"

    uvloop.run(scenario())


async def test_seeded_garbage_never_costs_more_than_the_connection() -> None:
    """Words of the grammar in any order: every command is answered, the server bug code never appears."""
    seed = random.Random(9051)
    words = [name.encode() for name in TABLE if name not in ("LOGOUT", "IDLE", "AUTHENTICATE", "STARTTLS")]
    words += [
        b"1",
        b"1:*",
        b"*",
        b"0",
        b"(",
        b")",
        b'"',
        b'"x"',
        b"INBOX",
        b"Trash",
        b"FLAGS",
        b"+FLAGS",
        b"\\Seen",
        b"BODY[]",
    ]
    words += [
        b"BODY[1.1.1]<0.5>",
        b"ALL",
        b"NOT",
        b"OR",
        b"RETURN",
        b"&AAA-",
        b"{3+}\r\nabc",
        b"\\",
        b"\0",
        b"\xe9",
        b"%",
        b"NIL",
    ]
    async with World() as world, selected(world, MAIL, MAIL) as client:
        for _ in range(1500):
            command = b" ".join(seed.choices(words, k=seed.randrange(1, 7)))
            await client.raw(b"a " + command + b"\r\n")
            line = b""
            while not line.startswith(b"a "):
                line = await client.line()
                if line.startswith(b"* BYE"):
                    client = await world.login()
                    await client.ok(b"SELECT INBOX")
                    break
            assert b"SERVERBUG" not in line, command


def test_every_command_file_is_in_the_table_and_every_row_has_a_name_of_its_own() -> None:
    folder = Path(capability.__file__).parent / "commands"
    files = {path.stem for path in folder.glob("*.py")} | {path.name for path in folder.iterdir() if path.is_dir()}
    modules = {row.parse.__module__ for row in TABLE.values()} | {row.handle.__module__ for row in TABLE.values()}
    named = {module.removeprefix("imap.commands.").partition(".")[0] for module in modules}
    helpers = {"__init__", "__pycache__", "catenate", "guards", "incoming", "returned", "share", "table", "window"}
    assert files - helpers == named - {"imap"}
    assert all(name == row.name for name, row in TABLE.items())


def test_every_capability_that_brings_a_command_has_it() -> None:
    brings = {
        "IDLE": "IDLE",
        "NAMESPACE": "NAMESPACE",
        "MOVE": "MOVE",
        "UNSELECT": "UNSELECT",
        "ID": "ID",
        "ENABLE": "ENABLE",
        "UIDBATCHES": "UIDBATCHES",
        "CONTEXT=SEARCH": "CANCELUPDATE",
        "MULTISEARCH": "ESEARCH",
    }
    announced = {*capability.BASE, *capability.MAIL}
    assert brings.keys() <= announced
    assert set(brings.values()) <= TABLE.keys()
    assert {"UID EXPUNGE", "UID MOVE"} <= TABLE.keys()
