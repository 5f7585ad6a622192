"""Refusals before a mailbox is open: lines that are no commands, literals, logins."""

from __future__ import annotations

import base64

from core.config import Imap, Limits
from tests.imap.refusals.row import Row, Table, after, bug


async def _unavailable(table: Table) -> None:
    table.world.directory.unavailable = True


async def _tls(table: Table) -> None:
    table.client = await table.world.connect(tls=True)


async def _bug(table: Table) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    table.patch.setattr("tests.fakes.memory_store.MemoryAccount.subscribe", fail)


WAYS_IN = (
    Row(b"AUTHENTICATE PLAIN\r\n*", b"BAD [AUTHENTICATIONFAILED] authentication cancelled", who=""),
    Row(b"AUTHENTICATE PLAIN %%%", bug(b"base64 expected"), who=""),
    Row(b"AUTHENTICATE PLAIN\r\n%%%", bug(b"the response is not valid base64"), who="", title="base64 that is none"),
    Row(
        b"AUTHENTICATE PLAIN\r\n" + base64.b64encode(b"\0a\0" + b"x" * 1025),
        b"BAD [TOOBIG] the response is too long",
        who="",
        title="a response that is too long",
    ),
    Row(
        b"AUTHENTICATE PLAIN\r\n" + b"A" * 13000,
        b"BAD [TOOBIG] line too long",
        who="",
        title="a line of a login that is too long",
    ),
    Row(b"AUTHENTICATE GSSAPI", b"NO [CANNOT] this authentication mechanism is not offered", who=""),
    Row(b"LOGIN alice@mairie.test wrong", b"NO [AUTHENTICATIONFAILED] authentication failed", who=""),
    Row(b"LOGIN a b", b"NO [PRIVACYREQUIRED] use TLS first", who="", world={"plaintext": False}),
    Row(b"LOGIN a c", b"NO [UNAVAILABLE] login is not possible at the moment", _unavailable, who=""),
    Row(b"STARTTLS", bug(b"TLS is already on or not available"), _tls, who=""),
    Row(b"COMPRESS LZMA", bug(b"unknown compression algorithm")),
    Row(b"LANGUAGE MUL", b"NO [CANNOT] this language is not spoken here", who=""),
    Row(b"LANGUAGE" + b" xx" * 21, bug(b"too many languages"), title="LANGUAGE of 21 ranges"),
    Row(b"ID (" + b" ".join([b'"a" "b"'] * 31) + b")", bug(b"too many ID fields"), title="ID of 31 fields"),
    Row(b'ID ("a" "%b")' % (b"x" * 1025), bug(b"ID field too long"), title="ID of 1025 octets"),
)


GRAMMAR = (
    Row(b"", b"* BAD [CLIENTBUG] tag expected", title="a line without a tag", bare=True),
    Row(b"a", bug(b"command expected"), title="a tag alone", bare=True),
    Row(b"ODD", bug(b"unknown command")),
    Row(b"NOOP x", bug(b"unexpected text after the command")),
    Row(b"SELECT", bug(b"space expected")),
    Row(b"ID x", bug(b"( expected")),
    Row(b"FETCH 1 FLAGS", bug(b"log in first"), who=""),
    Row(b"FETCH 1 BODY", bug(b"select a mailbox first")),
    Row(b"LOGIN x y", bug(b"you are logged in already")),
    Row(b"SELECT (", bug(b"string expected")),
    Row(b"SELECT {1+}\r\n\0", bug(b"malformed literal"), title="NUL in a literal"),
    Row(b'SELECT "\xff"', bug(b"malformed UTF-8"), after(b"ENABLE UTF8=ACCEPT"), title="UTF-8 that is none"),
    Row(b'APPEND INBOX "odd" {1+}\r\nx', bug(b"malformed date-time")),
    Row(b'APPEND INBOX "31-Feb-2020 00:00:00 +0000" {1+}\r\nx', bug(b"no such date-time")),
    Row(b"SUBSCRIBE Trash", b"NO [SERVERBUG] internal error", _bug),
    Row(
        b"APPEND INBOX {5000+}\r\n" + b"x" * 5000,
        b"BAD [TOOBIG] a literal of this size must wait for our +",
        world={"settings": Imap(literal_minus=True)},
        title="LITERAL-",
    ),
    Row(b"SELECT {2000000}", b"NO [TOOBIG] literal too large"),
    Row(b"LOGIN {9000}", b"BAD [TOOBIG] literal too large", who=""),
    Row(b"SELECT " + b"x" * 70_000, b"BAD [TOOBIG] command too long", title="a line of 70,000 octets"),
    Row(
        b"SELECT {200000000+}",
        b"* BYE [TOOBIG] literal too large",
        title="a literal nobody waits for, past all bounds",
    ),
    Row(
        b"SELECT " + b"x" * 70_000 + b" {200000000+}",
        b"* BYE [TOOBIG] literal too large",
        title="the same behind a line that is too long",
    ),
    Row(
        b"SELECT " + b"x" * 300_000,
        b"* BYE [TOOBIG] line without end",
        world={"limits": Limits(message_size="1K", imap_literals=1024)},
        title="a line without end",
    ),
)
