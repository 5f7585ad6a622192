"""I18NLEVEL=1 (RFC 5255 4.3): announced where SEARCH compares by i;unicode-casemap (RFC 5051), no other way."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from message.content import BytesContent
from store.service import MaildirStore, initialise
from store.types import AccountRef, Placement
from tests.fakes.imap_world import Client, World

SUBJECTS = ("Élection", "E\u0301LECTION", "election", "Straße", "STRASSE", "ıslak", "ISLAK", "ﬁn")


@contextlib.asynccontextmanager
async def exact(path: Path, *, filled: bool) -> AsyncIterator[Client]:
    """Messages 1 to 8 with these texts as Subject, X-Note and body, where the operator lets accents count."""
    initialise(path / "data")
    store = MaildirStore(path / "data", fold_accents=False)
    await store.open()
    try:
        async with World(store=store, exact_collation=True) as world:
            account = await store.account(AccountRef.of(world.alice))
            for text in SUBJECTS:
                raw = f"Subject: {text}\r\nX-Note: {text}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
                await account.append([(BytesContent(raw.encode()), Placement())])
            if filled:
                await store.fill_text(None)
            client = await world.login()
            await client.ok(b"SELECT INBOX")
            yield client
    finally:
        await store.close()


async def found(client: Client, key: bytes, text: str) -> list[int]:
    octets = text.encode()
    lines = await client.ok(b"SEARCH CHARSET UTF-8 %b {%d+}\r\n%b" % (key, len(octets), octets))
    return [int(number) for number in lines[-2].split()[2:]]


@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize("key", [b"SUBJECT", b"HEADER X-Note", b"BODY", b"TEXT"])
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("élection", [1, 2]),  # composed or not
        ("ÉLECTION", [1, 2]),
        ("election", [3]),  # an accent is a difference
        ("straße", [4]),  # RFC 5051 2: a letter becomes one letter
        ("strasse", [5]),
        ("islak", [6, 7]),  # both have the capital I
        ("ection", [1, 2, 3]),
    ],
)
async def test_texts_are_compared_by_unicode_casemap(
    tmp_path: Path, filled: bool, key: bytes, text: str, wanted: list[int]
) -> None:
    async with exact(tmp_path, filled=filled) as client:
        assert await found(client, key, text) == wanted


async def test_it_is_announced_only_where_it_holds(tmp_path: Path) -> None:
    async with exact(tmp_path, filled=False) as client:
        assert b" I18NLEVEL=1" in (await client.ok(b"CAPABILITY"))[0]
    async with World() as world:
        assert b"I18NLEVEL" not in (await (await world.login()).ok(b"CAPABILITY"))[0]
