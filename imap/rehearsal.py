"""What a mail program does first, done once by the server itself before anybody is let in.

A process that just started has run nothing: the first SELECT took two and a half times as long as the next (code that
the interpreter has not specialised, pages that nobody has touched). The session is an ordinary one over a pair of
sockets, with a store of its own that is thrown away; only the login is given, so that neither the directory nor any
count learns of it.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

from core.address import Address
from directory.types import Account, LoggedIn, State
from imap.channel import Channel
from imap.commands.table import TABLE
from imap.connection import Connection, Door
from imap.places import Places
from imap.seats import Admission
from imap.session import Services
from store.store import Store
from store.types import AccountRef

ROUNDS = 16  # CPython 3.11 looks at what a function does from its eighth call on
SOMEBODY = Account("rehearsal", Address("rehearsal", "invalid"), "rehearsal", "", 0, State.ACTIVE)
PLAIN = b"From: a@b.invalid\r\nTo: c@d.invalid\r\nSubject: one\r\nDate: Mon, 30 Nov 2026 10:00:00 +0100\r\n\r\none\r\n"
PARTS = (
    b"From: a@b.invalid\r\nSubject: =?utf-8?q?=C3=A9t=C3=A9?=\r\nMessage-ID: <1@b.invalid>\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\none\r\n'
    b"--x\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n--x--\r\n"
)
MESSAGES = (PLAIN, PARTS) * 4
BEFORE = (b"APPEND INBOX " + b" ".join(b"{%d+}\r\n%b" % (len(each), each) for each in MESSAGES),)
ROUND = (
    b'LIST "" "*" RETURN (SUBSCRIBED)',
    b"STATUS INBOX (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)",
    b"SELECT INBOX",
    b"UID FETCH 1:* (FLAGS)",
    b"UID FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Subject Date Message-ID Content-Type)])",
    b"FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE)",
    b"UID FETCH 2 (BODY.PEEK[])",
    b"NOOP",
    b"UNSELECT",
)


class _OpenSeats:
    """Nobody is counted."""

    def take_address(self, address: str) -> bool:
        return True

    def leave_address(self, address: str) -> None: ...

    def take_account(self, account_id: str, address: str) -> bool:
        return True

    def leave_account(self, account_id: str) -> None: ...


async def rehearse(services: Services, store: Store) -> int:
    """How many commands were answered with OK. `store` is nobody's: what is put into it stays there. Raises `OSError`,
    `MailError`."""
    services = replace(services, store=store, seats=_OpenSeats(), teacher=None, proxy_from=())
    own = await store.account(AccountRef.of(SOMEBODY))
    ours, theirs = socket.socketpair()
    try:
        channel = Channel(services.limits.imap_stall)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: channel, ours)
        reader, writer = await asyncio.open_connection(sock=theirs)
    except BaseException:
        ours.close()
        theirs.close()
        raise
    connection = Connection(
        services, Door(None, implicit=False), TABLE, channel, Admission(services.seats, "127.0.0.1")
    )
    serving = asyncio.create_task(connection.run("rehearsal"))
    try:
        await reader.readline()  # the greeting
        sharing, names = services.directory.sharing, services.namespaces
        connection.session.logged_in(LoggedIn(SOMEBODY), Places(own, SOMEBODY, store, sharing, names))
        return await _spoken(reader, writer)
    finally:
        writer.close()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def _spoken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    done = 0
    for command in (*BEFORE, *ROUND * ROUNDS):
        writer.write(b"r %b\r\n" % command)
        while not (line := await reader.readline()).startswith(b"r "):
            if not line:
                raise ConnectionResetError("the rehearsal was ended")
        done += line.startswith(b"r OK ")
    return done
