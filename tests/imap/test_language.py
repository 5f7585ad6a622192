"""LANGUAGE as transcripts (RFC 5255 3), and the table of what is said in French."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import imap
from core.config import Imap
from directory.codes import CODES
from imap import french
from imap.language import SPOKEN, chosen
from tests.cost import cheap
from tests.fakes.imap_world import World, client_context
from tests.imap.refusals.table import ROWS
from tests.imap.sharing import answer

SAYING = {"No", "Bad", "BadSyntax", "Bye", "Ok", "say"}
# Of `directory.codes`, what a command of IMAP can be refused with.
REACHED = (
    "unknown-mailbox", "conflict", "invalid-value", "acl-of-owner", "acl-full", "annotation-too-big",
    "annotations-too-many", "annotations-over-quota", "quota-not-granted", "quota-over-ceiling",
)  # fmt: skip


def texts() -> Iterator[tuple[str, str]]:
    """All that is said anywhere in `imap/`, but what is made of parts."""
    for path in Path(imap.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            text = node.args[1 if name == "say" else 0] if name in SAYING else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield f"{path.name}:{node.lineno}", text.value


def test_everything_that_is_said_has_french_words() -> None:
    assert not [(where, text) for where, text in texts() if french.said(text) == text]
    assert len(list(texts())) > 150


def test_every_refusal_that_a_client_can_see_has_french_words() -> None:
    """What comes from the store and the directory, too."""
    told = [row.says.decode().partition("] ")[2] for row in ROWS] + [CODES[code][1] for code in REACHED]
    assert not {text for text in told if french.said(text) == text}


def test_what_is_said_can_stand_in_a_line() -> None:
    """RFC 5255 3.5: resp-text has no control characters and begins with no "["; promise P9."""
    for said in french.TEXTS.values():
        assert said.isprintable()
        assert not said.startswith("[")


@pytest.mark.parametrize(
    ("ranges", "language"),
    [
        (("fr",), "fr"),
        (("FR-CA",), "fr"),
        (("fr-x-private",), "fr"),
        (("de", "en-GB", "fr"), "en"),
        (("default",), "fr"),
        (("*",), "fr"),
        (("i-default",), "i-default"),
        (("MUL",), None),
        (("frr",), None),
        (("", "-", "x"), None),
    ],
)
def test_rfc4647_3_4_a_language_is_looked_up(ranges: tuple[str, ...], language: str | None) -> None:
    assert chosen(ranges) == language


def test_a_line_full_of_subtags_is_looked_up_at_once() -> None:
    """Cause: each was taken off, and the rest put together again, which held everybody's connections for three seconds
    (50 ms before login, where lines are shorter), and for minutes where it came as a literal."""
    with cheap(0.1):
        assert chosen(["fr" + "-ab" * 20_000]) == "fr"
        assert chosen(["mul" + "-a" * 30_000]) is None


async def test_rfc5255_3_2_a_person_is_told_in_her_language() -> None:
    async with World() as world:
        client = await world.connect()
        assert b" LANGUAGE " in client.greeting
        assert await client.ok(b"LANGUAGE") == [
            b"* LANGUAGE (%b)" % " ".join(SPOKEN).encode(),
            b"a OK the languages that are spoken here",
        ]
        assert await answer(client, b"LANGUAGE MUL") == b"a NO [CANNOT] this language is not spoken here"
        assert await client.ok(b'LANGUAGE "fr-CA" en') == [
            b"* LANGUAGE (fr)",
            "a OK les réponses seront désormais en français".encode(),
        ]
        refused = await answer(client, b"LOGIN alice@mairie.test wrong")
        assert refused == b"a NO [AUTHENTICATIONFAILED] identifiant ou mot de passe incorrect"
        await client.login()
        assert await answer(client, b"SELECT Absent") == b"a NO [NONEXISTENT] ce dossier n'existe pas"
        assert await answer(client, b"NOOP") == "a OK NOOP terminé".encode()
        assert await answer(client, b"LANGUAGE MUL") == b"a NO [CANNOT] cette langue n'est pas disponible"
        assert await client.ok(b"LANGUAGE EN") == [b"* LANGUAGE (en)", b"a OK this language is spoken from now on"]
        assert await answer(client, b"SELECT Absent") == b"a NO [NONEXISTENT] no such folder"
        assert await client.ok(b"LANGUAGE default") == [
            b"* LANGUAGE (fr)",
            "a OK les réponses seront désormais en français".encode(),
        ]
        assert (await client.ok(b"LOGOUT"))[0] == b"* BYE au revoir"


async def test_rfc5255_7_a_language_chosen_before_tls_is_forgotten() -> None:
    async with World() as world:
        client = await world.connect()
        await client.ok(b"LANGUAGE fr")
        await client.ok(b"STARTTLS")
        await client.writer.start_tls(client_context(), server_hostname="127.0.0.1")
        assert await answer(client, b"NOOP") == b"a OK NOOP completed"


async def test_a_language_ends_with_the_login_that_chose_it() -> None:
    async with World() as world:
        client = await world.login()
        await client.ok(b"LANGUAGE fr")
        await client.ok(b"UNAUTHENTICATE")
        assert await answer(client, b"NOOP") == b"a OK NOOP completed"


async def test_what_is_told_unasked_is_in_it_too() -> None:
    async with World() as world:
        client, other = await world.login(), await world.login()
        await client.ok(b"CREATE Dossier")
        await client.ok(b"LANGUAGE fr")
        await client.ok(b"SELECT Dossier")
        assert "* OK [CLOSED] dossier précédent fermé".encode() in await client.ok(b"SELECT INBOX")
        await client.ok(b"SELECT Dossier")
        await other.ok(b"DELETE Dossier")
        await client.raw(b"a NOOP\r\n")
        assert "* BYE [UNAVAILABLE] le dossier ouvert a été supprimé".encode() in await client.ended()


@pytest.mark.parametrize("wrong", [b"LANGUAGE ", b"LANGUAGE (fr)", b"LANGUAGE " + b" ".join([b"xx"] * 21)])
async def test_outside_the_grammar(wrong: bytes) -> None:
    async with World() as world:
        client = await world.connect()
        assert (await answer(client, wrong)).startswith(b"a BAD")
        assert (await answer(client, b"LANGUAGE " + b" ".join([b"xx"] * 20))).startswith(b"a NO")


async def test_it_can_be_switched_off() -> None:
    async with World(settings=Imap(without=["LANGUAGE"])) as world:
        client = await world.connect()
        assert b"LANGUAGE" not in client.greeting
        assert (await answer(client, b"LANGUAGE fr")).startswith(b"a BAD")
