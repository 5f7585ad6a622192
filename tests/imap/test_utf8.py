"""UTF8=ACCEPT as transcripts (RFC 6855)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import imap_world
from tests.fakes.imap_world import World
from tests.imap.test_real_store import real

NAME = "Délibérations"


async def test_names_travel_in_utf8_once_enabled() -> None:
    async with World() as world:
        client = await world.login()
        assert (await client.ask(f'CREATE "{NAME}"'.encode()))[-1].startswith(b"a BAD")
        assert await client.ok(b"ENABLE UTF8=ACCEPT") == [b"* ENABLED UTF8=ACCEPT", b"a OK ENABLE completed"]
        await client.ok(f'CREATE "{NAME}"'.encode())
        listed = f'* LIST (\\HasNoChildren) "/" "{NAME}"'.encode()
        assert (await client.ok(b'LIST "" "D%li*"'))[0] == listed
        assert (await client.ok(f'LIST "" "{NAME}"'.encode()))[0] == listed
        told = f'* STATUS "{NAME}" (MESSAGES 0)'.encode()
        assert (await client.ok(f"STATUS {{{len(NAME.encode())}+}}\r\n{NAME} (MESSAGES)".encode()))[0] == told
        await client.ok(f'RENAME "{NAME}" "R&D"'.encode())  # "&" is a letter like others now
        assert "R&D" in (await world.account()).boxes
        for bad in (b'CREATE "\xff"', b"CREATE \xc3\xa9"):
            assert (await client.ask(bad))[-1].startswith(b"a BAD"), bad
        other = await world.login()
        assert (await other.ok(b'LIST "" R*'))[0] == b'* LIST (\\HasNoChildren) "/" R&-D'


async def test_two_spellings_of_unicode_are_one_name() -> None:
    async with World() as world:
        client = await world.login()
        await client.ok(b"ENABLE UTF8=ACCEPT")
        lines = await client.ok('CREATE "e\u0301te\u0301"'.encode())
        assert lines[0] == '* LIST () "/" "été" ("OLDNAME" ("e\u0301te\u0301"))'.encode()  # RFC 9051 6.3.9.7
        assert "été" in (await world.account()).boxes
        told = lines[0]
        for command in ('SELECT "e\u0301te\u0301"', 'EXAMINE "e\u0301te\u0301"', 'APPEND "e\u0301te\u0301" {1+}\r\nx'):
            assert told in await client.ok(command.encode()), command
            assert told not in await client.ok(command.replace("e\u0301te\u0301", "été").encode()), command
        await client.ok(b"CREATE x")
        gone, odd = b"\\NonExistent".decode(), "o\u0302"
        await client.ok('CREATE "ô"'.encode())
        # RFC 9051 6.3.6: OLDNAME is the existing name as it was supplied, the name the new one as it is.
        assert (await client.ok(f'RENAME "{odd}" "u\u0302"'.encode()))[:-1] == [
            f'* LIST () "/" "û" ("OLDNAME" ("{odd}"))'.encode()
        ]
        assert (await client.ok('DELETE "u\u0302"'.encode()))[0] == (
            f'* LIST ({gone}) "/" "û" ("OLDNAME" ("u\u0302"))'.encode()
        )
        lines = await client.ok('RENAME x "e\u0301"'.encode())
        assert lines[:-1] == ['* LIST () "/" "é" ("OLDNAME" (x))'.encode()]
        lines = await client.ok('RENAME "e\u0301" y'.encode())
        assert lines[:-1] == ['* LIST () "/" y ("OLDNAME" ("e\u0301"))'.encode()]
        assert await client.ok(b"RENAME y z") == [b"a OK RENAME completed"]
        assert b"OLDNAME" not in b"".join(await client.ask('SELECT "o\u0302"'.encode()))  # there is none


async def test_a_login_in_utf8_is_read_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 6855 5 asks clients for AUTHENTICATE; those that log in so are logged in, enabled or not."""
    monkeypatch.setattr(imap_world, "PASSWORD", "été à Brou")
    async with World() as world:
        client = await world.connect()
        refused = await client.ask("LOGIN alice@mairie.test {7+}\r\nhivér".encode() + b"x")
        assert refused[-1].startswith(b"a NO [AUTHENTICATIONFAILED]")
        size = len("été à Brou".encode())
        await client.ok(f"LOGIN alice@mairie.test {{{size}+}}\r\nété à Brou".encode())


async def test_rfc9051_6_3_2_select_lists_the_mailbox_once_with_what_it_was_called() -> None:
    async with World() as world:
        client = await world.login()
        await client.ok(b"ENABLE IMAP4rev2")
        await client.ok('CREATE "é"'.encode())
        for command in ('SELECT "e\u0301"', 'EXAMINE "e\u0301"'):
            listed = [line for line in await client.ok(command.encode()) if line.startswith(b"* LIST")]
            assert listed == ['* LIST () "/" "é" ("OLDNAME" ("e\u0301"))'.encode()], command


async def test_search_takes_no_charset_any_more() -> None:
    async with World() as world:
        client = await world.login()
        await client.ok(b"ENABLE UTF8=ACCEPT")
        (await world.account()).deliver("Subject: été\r\n\r\nx\r\n".encode())
        await client.ok(b"SELECT INBOX")
        assert (await client.ask(b"SEARCH CHARSET UTF-8 ALL"))[-1].startswith(b"a BAD")
        assert (await client.ok('SEARCH SUBJECT "été"'.encode()))[0] == b"* SEARCH 1"


async def test_append_with_utf8_data() -> None:
    async with World() as world:
        client = await world.login()
        await client.ok(b"ENABLE UTF8=ACCEPT")
        raw = "Subject: été\r\n\r\nx\r\n".encode()
        await client.raw(b"a APPEND INBOX UTF8 (~{%d}\r\n" % len(raw))
        assert await client.line() == b"+ OK"
        await client.raw(raw + b")\r\n")
        assert (await client.until(b"a"))[-1].startswith(b"a OK [APPENDUID 1001 1]")
        await client.raw(b"a APPEND INBOX UTF8 (~{%d+}\r\n%b) {3+}\r\nx\r\n\r\n" % (len(raw), raw))
        assert (await client.until(b"a"))[-1].startswith(b"a OK [APPENDUID 1001 2:3]")
        assert (await client.ask(b"APPEND INBOX UTF8 ({3}"))[-1].startswith(b"a BAD")  # not a literal8
        assert (await world.account()).boxes["INBOX"].raw == {1: raw, 2: raw, 3: b"x\r\n"}


async def test_who_has_not_enabled_it_gets_eight_bits_in_literals() -> None:
    """RFC 6855 3: never in quoted strings; RFC 6855 7: the message as it is."""
    async with World() as world:
        client = await world.login()
        message = "Subject: Réunion\r\nFrom: Zoé <zoe@b.test>\r\n\r\nbody\r\n".encode()
        await client.append(b"INBOX", message)
        await client.ok(b"SELECT INBOX")
        (envelope, _) = await client.ok(b"FETCH 1 ENVELOPE")
        assert "(NIL {8}\r\nRéunion (({4}\r\nZoé NIL ".encode() in envelope
        (body, _) = await client.ok(b"FETCH 1 BODY.PEEK[]")
        assert message in body


async def test_rfc6855_3_names_are_net_unicode_without_controls(tmp_path: Path) -> None:
    async with real(tmp_path) as (world, _):
        client = await world.login()
        await client.ok(b"ENABLE UTF8=ACCEPT")
        for wrong in ("a\u2028b", "a\u2029b", "a\u0085b", "a\u007fb"):
            assert (await client.ask(b'CREATE "%b"' % wrong.encode()))[-1].startswith(b"a NO [CANNOT]"), repr(wrong)
        assert (await client.ask(b'CREATE "\xff"'))[-1].startswith(b"a BAD")
