"""What names a message and when it came, on the real store (RFC 8474, 8514, 8970), and its orders (RFC 5256, 7162)."""

from __future__ import annotations

import re
from pathlib import Path

from tests.imap.test_real_store import deliver, real


def mail(number: int, subject: str, *more: str) -> bytes:
    lines = [
        f"Subject: {subject}",
        f"Date: {10 - number} Nov 2026 10:00:00 +0100",
        f"Message-ID: <{number}@a.test>",
        *more,
    ]
    return ("\r\n".join([*lines, "", f"text of {number}"]) + "\r\n").encode()


def value(lines: list[bytes], name: bytes) -> bytes:
    match = re.search(rb"%b \(?([^\s()\]]+)" % name, b" ".join(lines))
    assert match, lines
    return match[1]


async def test_identities_outlive_copies_and_renames(tmp_path: Path) -> None:
    async with real(tmp_path) as (world, store):
        client = await world.login()
        folder = value(await client.ok(b"CREATE Dossier"), b"MAILBOXID")
        assert value(await client.ok(b"SELECT Dossier"), b"MAILBOXID") == folder
        await client.ok(b"RENAME Dossier Dossiers")
        assert value(await client.ok(b"STATUS Dossiers (MAILBOXID)"), b"MAILBOXID") == folder
        await deliver(store, world.services, mail(1, "budget"))
        await deliver(store, world.services, mail(2, "Re: budget", "In-Reply-To: <1@a.test>"))
        await deliver(store, world.services, mail(3, "autre"))
        await client.ok(b"SELECT INBOX")
        await client.ok(b"COPY 1 Dossiers")
        lines = await client.ok(b"FETCH 1:3 (EMAILID THREADID)")
        emails, threads = ([value([line], name) for line in lines[:3]] for name in (b"EMAILID", b"THREADID"))
        assert len(set(emails)) == 3
        assert threads[0] == threads[1] != threads[2]
        assert (await client.ok(b"SEARCH EMAILID " + emails[1]))[0] == b"* SEARCH 2"
        assert (await client.ok(b"SEARCH THREADID " + threads[0]))[0] == b"* SEARCH 1 2"
        await client.ok(b"SELECT Dossiers")
        assert value(await client.ok(b"FETCH 1 EMAILID"), b"EMAILID") == emails[0]
        for name in (*emails, *threads, folder):
            assert re.fullmatch(rb"[A-Za-z0-9_-]{1,255}", name)  # RFC 8474 7


async def test_the_save_date_is_that_of_the_copy(tmp_path: Path) -> None:
    async with real(tmp_path) as (world, _):
        client = await world.login()
        await client.append(b"INBOX", mail(1, "alt"), b'"17-Jul-1996 02:44:25 -0700" ')
        await client.ok(b"SELECT INBOX")
        await client.ok(b"COPY 1 Archive")
        await client.ok(b"SELECT Archive")
        (line, _) = await client.ok(b"FETCH 1 (INTERNALDATE SAVEDATE)")
        assert b'INTERNALDATE "17-Jul-1996 09:44:25 +0000"' in line
        assert b"1996" not in line.partition(b"SAVEDATE")[2]
        assert (await client.ok(b"SEARCH SAVEDATESUPPORTED SAVEDSINCE 1-Jan-2020"))[0] == b"* SEARCH 1"
        assert (await client.ok(b"SEARCH OR SAVEDBEFORE 1-Jan-2020 SAVEDON 17-Jul-1996"))[0] == b"* SEARCH"


async def test_previews_are_short_texts_and_empty_where_there_is_none(tmp_path: Path) -> None:
    async with real(tmp_path) as (world, _):
        client = await world.login()
        await client.append(b"INBOX", mail(1, "a"))
        await client.append(b"INBOX", b"Subject: b\r\n\r\n" + "Été ".encode() * 500 + b"\r\n")
        await client.append(b"INBOX", b"Subject: c\r\n\r\n")
        await client.ok(b"SELECT INBOX")
        lines = await client.ok(b"FETCH 1:3 (PREVIEW (LAZY))")
        assert lines[0] == b'* 1 FETCH (PREVIEW "text of 1")'
        text = lines[1].partition(b"}\r\n")[2].removesuffix(b")").decode()
        assert text.startswith("Été Été")
        assert len(text) <= 200  # RFC 8970 3.2: characters
        assert lines[2] == b'* 3 FETCH (PREVIEW "")'


async def test_sort_and_thread_come_from_the_index(tmp_path: Path) -> None:
    async with real(tmp_path) as (world, store):
        client = await world.login()
        for raw in (
            mail(1, "Re: [liste] budget", "References: <3@a.test>", "From: Zoe <z@b.test>"),
            mail(2, "Élections", "From: adele@b.test", "To: c@d.test"),
            mail(3, "budget", "From: mairie@b.test"),
        ):
            await deliver(store, world.services, raw)
        await client.ok(b"SELECT INBOX")
        for command, wanted in (
            (b"SORT (DATE) UTF-8 ALL", b"* SORT 3 2 1"),
            (b"SORT (SUBJECT DATE) UTF-8 ALL", b"* SORT 3 1 2"),
            (b"SORT (REVERSE FROM) UTF-8 ALL", b"* SORT 1 3 2"),
            (b"SORT (DISPLAYFROM) UTF-8 ALL", b"* SORT 2 3 1"),
            (b"UID THREAD REFERENCES UTF-8 ALL", b"* THREAD (3 1)(2)"),
            (b"THREAD ORDEREDSUBJECT UTF-8 2:3", b"* THREAD (3)(2)"),
        ):
            assert (await client.ok(command))[0] == wanted, command


async def test_a_client_resynchronises_with_the_real_store(tmp_path: Path) -> None:
    async with real(tmp_path) as (world, store):
        client = await world.login()
        for number in range(1, 6):
            await deliver(store, world.services, mail(number, "x"))
        known = await client.ok(b"SELECT INBOX")
        validity, modseq = (int(value(known, name)) for name in (b"UIDVALIDITY", b"HIGHESTMODSEQ"))
        await client.ok(b"UID STORE 4 (UNCHANGEDSINCE %d) +FLAGS.SILENT (\\Flagged)" % modseq)
        assert b"[MODIFIED 4]" in (await client.ok(b"UID STORE 4 (UNCHANGEDSINCE %d) FLAGS ()" % modseq))[-1]
        await client.ok(b"UID STORE 2,5 +FLAGS.SILENT \\Deleted")
        await client.ok(b"EXPUNGE")
        await deliver(store, world.services, mail(6, "x"))
        await client.ok(b"UNSELECT")
        await client.ok(b"ENABLE QRESYNC")
        lines = await client.ok(b"SELECT INBOX (QRESYNC (%d %d))" % (validity, modseq))
        assert b"* 4 EXISTS" in lines
        assert b"* VANISHED (EARLIER) 2,5" in lines
        assert [line for line in lines if b"FETCH" in line] == [
            b"* 3 FETCH (UID 4 FLAGS (\\Flagged) MODSEQ (%d))" % (modseq + 1),
            b"* 4 FETCH (UID 6 FLAGS (\\Recent) MODSEQ (%d))" % int(value(lines, b"HIGHESTMODSEQ")),
        ]
