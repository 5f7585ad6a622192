"""FETCH and SEARCH through the whole server and the real store, asked by imaplib: an independent client."""

from __future__ import annotations

import asyncio
import contextlib
import email
import imaplib
import random
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from message.content import BytesContent
from message.facts import KEPT_FIELDS
from store.service import MaildirStore, initialise
from store.types import AccountRef, Flag, Placement
from tests.fakes.imap_world import PASSWORD, World
from tests.interop.shapes import SHAPES

T = TypeVar("T")
MESSAGES = list(SHAPES.values())
LARGE = b"From: big@b.test\r\nSubject: large\r\nX-Odd: last\r\n\r\n" + b"0123456789abcdef\r\n" * 120_000


@contextlib.asynccontextmanager
async def server(data: Path) -> AsyncIterator[World]:
    initialise(data)
    store = MaildirStore(data)
    await store.open()
    try:
        world = World()
        world.services = replace(world.services, store=store)
        async with world:
            account = await store.account(AccountRef.of(world.alice))
            items = [
                (BytesContent(raw), Placement(internal_date=1_700_000_000 + at)) for at, raw in enumerate(MESSAGES)
            ]
            await account.append(items)
            await account.append([(BytesContent(LARGE), Placement(flags=Flag.SEEN, keywords=("$Big",)))])
            yield world
    finally:
        await store.close()


async def imap(world: World, work: Callable[[imaplib.IMAP4], T], *, readonly: bool = False) -> T:
    """`work` in a thread, with INBOX selected."""

    def session() -> T:
        with imaplib.IMAP4("127.0.0.1", world.plain_port, timeout=30) as client:
            client.login("alice@mairie.test", PASSWORD)
            assert client.select("INBOX", readonly)[0] == "OK"
            return work(client)

    return await asyncio.to_thread(session)


def octets(answer: Sequence[object]) -> bytes:
    (found,) = [part[1] for part in answer if isinstance(part, tuple)]
    assert isinstance(found, bytes)
    return found


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with server(tmp_path / "data") as world:
        yield world


async def test_every_message_comes_back_octet_for_octet(world: World) -> None:
    def work(client: imaplib.IMAP4) -> None:
        for number, raw in enumerate([*MESSAGES, LARGE], 1):
            assert octets(client.fetch(str(number), "(BODY.PEEK[])")[1]) == raw
            head, text = (
                octets(client.fetch(str(number), "(BODY.PEEK[HEADER])")[1]),
                client.fetch(str(number), "(BODY.PEEK[TEXT])")[1],
            )
            assert head + octets(text) == raw
            assert client.fetch(str(number), "(RFC822.SIZE)")[1] == [b"%d (RFC822.SIZE %d)" % (number, len(raw))]

    await imap(world, work)


async def test_partial_reads_of_a_large_message_join_to_the_whole(world: World) -> None:
    def work(client: imaplib.IMAP4) -> None:
        number, step = str(len(MESSAGES) + 1), 700_001
        pieces = [
            octets(client.fetch(number, f"(BODY.PEEK[]<{start}.{step}>)")[1])
            for start in range(0, len(LARGE) + step, step)
        ]
        assert b"".join(pieces) == LARGE
        assert pieces[-1] == b""

    await imap(world, work)


async def test_a_part_is_what_the_standard_library_finds_there(world: World) -> None:
    def work(client: imaplib.IMAP4) -> None:
        number = list(SHAPES).index("attachment") + 1
        part = email.message_from_bytes(MESSAGES[number - 1]).get_payload(1)
        assert isinstance(part, email.message.Message)
        assert octets(client.fetch(str(number), "(BODY.PEEK[2])")[1]).decode() == part.get_payload()
        mime = email.message_from_bytes(octets(client.fetch(str(number), "(BODY.PEEK[2.MIME])")[1]))
        assert mime.items() == part.items()

    await imap(world, work)


async def test_reading_sets_seen_for_good_and_examine_does_not(world: World) -> None:
    def flags(client: imaplib.IMAP4, number: str) -> bytes:
        answer = client.fetch(number, "(FLAGS)")[1][0]
        assert isinstance(answer, bytes)
        return answer

    def examined(client: imaplib.IMAP4) -> None:
        client.fetch("1", "(BODY[])")
        assert flags(client, "1") == b"1 (FLAGS (\\Recent))"

    def read(client: imaplib.IMAP4) -> None:
        _, answer = client.fetch("1", "(BODY[TEXT])")
        assert isinstance(answer[0], tuple)
        assert answer[0][0].startswith(b"1 (FLAGS (\\Seen \\Recent) BODY[TEXT]")
        assert flags(client, "1") == b"1 (FLAGS (\\Seen \\Recent))"

    await imap(world, examined, readonly=True)
    await imap(world, read)
    await imap(world, lambda client: client.fetch("1", "(BODY[])"))
    assert await imap(world, lambda client: flags(client, "1")) == b"1 (FLAGS (\\Seen))"


async def test_header_subsets_from_the_index_and_from_the_file_agree(world: World) -> None:
    def work(client: imaplib.IMAP4) -> None:
        for number in range(1, len(MESSAGES) + 1):
            kept = octets(client.fetch(str(number), "(BODY.PEEK[HEADER.FIELDS (From Subject)])")[1])
            filed = octets(client.fetch(str(number), "(BODY.PEEK[HEADER.FIELDS (From Subject X-Never)])")[1])
            assert kept == filed

    await imap(world, work)


async def test_any_kept_fields_of_all_messages_are_those_of_their_files(world: World) -> None:
    """The index answers when all the names are kept there (`message.facts`); X-Never has the files read."""
    dice, names = random.Random(9051), sorted(name.decode() for name in KEPT_FIELDS)

    def asked(client: imaplib.IMAP4, fields: Sequence[str], end: str) -> list[bytes]:
        items = f"(FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS ({' '.join(fields)})]{end})"
        answer = client.uid("FETCH", "1:*", items)[1]
        return [b"".join(part).partition(b"{")[2] for part in answer if isinstance(part, tuple)]

    def work(client: imaplib.IMAP4) -> None:
        for count in (1, 2, 5, 10, len(names)):
            for end in ("", "<3.20>"):
                some = [dice.choice((name, name.upper(), name.title())) for name in dice.sample(names, count)]
                kept = asked(client, some, end)
                assert len(kept) == len(MESSAGES) + 1
                assert kept == asked(client, [*some, "X-Never"], end)

    await imap(world, work)


async def test_searches_reach_index_header_file_and_text(world: World) -> None:
    last = len(MESSAGES) + 1

    def work(client: imaplib.IMAP4) -> None:
        def found(*criteria: str) -> list[int]:
            return [int(number) for number in client.search(None, *criteria)[1][0].split()]

        assert found("KEYWORD", "$big") == found("SEEN") == [last]
        assert found("LARGER", "1000000") == [last]
        assert found("SUBJECT", "large") == found("HEADER", "X-Odd", "last") == [last]
        assert found("BODY", "never-there") == []
        assert last in found("TEXT", "9abcdef")
        assert found("ON", "14-Nov-2023", "UNSEEN") == list(range(1, last))
        assert found("NOT", "1:5", "NOT", "7:*") == [6]
        answer = client.uid("SEARCH", "CHARSET", "UTF-8", "FROM", "jean")[1]
        assert answer == [b"1"]

    await imap(world, work)


async def test_other_sessions_are_served_while_a_large_answer_waits_for_its_reader(world: World) -> None:
    """h037: a client that asks for much and reads nothing holds neither memory nor the other sessions."""
    greedy = await world.login()
    await greedy.ok(b"SELECT INBOX")
    await greedy.raw(b"".join(b"g%d FETCH %d BODY.PEEK[]\r\n" % (at, len(MESSAGES) + 1) for at in range(20)))
    polite = await world.login()
    await polite.ok(b"SELECT INBOX")
    async with asyncio.timeout(5):
        lines = await polite.ok(b"FETCH 1:* (UID FLAGS)")
    assert len(lines) == len(MESSAGES) + 2
    total = b"".join([line for at in range(20) for line in await greedy.until(b"g%d" % at)])
    assert total.count(LARGE) == 20


async def test_expunged_by_another_session_between_two_fetches(world: World) -> None:
    one, two = await world.login(), await world.login()
    await one.ok(b"SELECT INBOX")
    await two.ok(b"SELECT INBOX")
    await one.ok(b"FETCH 1:3 UID")
    await two.ok(b"STORE 2 +FLAGS.SILENT (\\Deleted)")
    await two.ok(b"EXPUNGE")
    lines = await one.ask(b"FETCH 1:3 (UID BODY.PEEK[HEADER.FIELDS (From)])")
    numbers = [match[1] for line in lines if (match := re.match(rb"\* (\d+) FETCH \(UID", line))]
    assert numbers == [b"1", b"3"]
    assert not any(b"EXPUNGE" in line for line in lines[:-1])
    assert lines[-1].startswith(b"a NO [EXPUNGEISSUED]")
    assert b"* 2 EXPUNGE" in await one.ask(b"NOOP")
