"""FUZZY on the wire (RFC 6203): what is found besides, how it scores, and what has no meaning without it."""

from __future__ import annotations

import re

import pytest

from core.config import Imap
from imap.commands.search.parse import MAX_FUZZY_KEYS
from tests.fakes.imap_world import Client, World, selected


def mail(subject: str, body: str = "rien", sender: str = "a@b.test") -> bytes:
    return f"From: {sender}\r\nSubject: {subject}\r\n\r\n{body}\r\n".encode()


MAILS = (
    mail("Conseil municipal", "Voici le compte rendu."),
    mail("Municipal : conseil du 3", "Rien de neuf."),
    mail("Permis de construire", "Le conseiller passera."),
    mail("Facture", "Le consiel est convoque."),  # a slip of the sender's
    mail("Vacances", "Plage"),
)


async def found(client: Client, command: bytes) -> list[int]:
    return [int(number) for number in (await client.ok(command))[0].split()[2:]]


async def test_words_match_in_any_order_and_with_slips() -> None:
    async with World() as world, selected(world, *MAILS) as client:
        assert await found(client, b'SEARCH SUBJECT "conseil municipal"') == [1]
        assert await found(client, b'SEARCH FUZZY SUBJECT "conseil municipal"') == [1, 2]
        assert await found(client, b'SEARCH FUZZY SUBJECT "consiel municpal"') == [1, 2]
        assert await found(client, b"SEARCH FUZZY TEXT conseil") == [1, 2, 3, 4]
        assert await found(client, b"SEARCH FUZZY BODY conseil") == [3, 4]
        assert await found(client, b"SEARCH FUZZY TEXT cadastre") == []


async def test_rfc6203_a_fuzzy_subject_beside_an_exact_from() -> None:
    mails = (mail("working", sender="user@example.com"), mail("work", sender="other@example.com"))
    async with World() as world, selected(world, *mails) as client:
        assert await found(client, b"SEARCH FUZZY SUBJECT work FROM user@example.com") == [1]
        assert await found(client, b"SEARCH FUZZY (SUBJECT wrok FROM example)") == [1, 2]
        assert await found(client, b"SEARCH FUZZY (SUBJECT workng FROM usser@example.com)") == [1]


async def test_other_keys_are_matched_exactly_below_fuzzy() -> None:
    async with World() as world, selected(world, *MAILS) as client:
        await client.ok(b"STORE 2 +FLAGS (\\Flagged)")
        assert await found(client, b"SEARCH FUZZY (FLAGGED TEXT conseil)") == [2]
        assert await found(client, b"SEARCH FUZZY NOT TEXT conseil") == [5]
        assert await found(client, b"SEARCH FUZZY LARGER 1000000") == []


async def test_relevancy_stands_beside_the_results() -> None:
    async with World() as world, selected(world, *MAILS) as client:
        (line, _) = await client.ok(b"SEARCH RETURN (RELEVANCY ALL) FUZZY TEXT conseil")
        match = re.fullmatch(rb'\* ESEARCH \(TAG "a"\) ALL 1:4 RELEVANCY \((\d+) (\d+) (\d+) (\d+)\)', line)
        assert match, line
        scores = [int(score) for score in match.groups()]
        assert scores[:3] == [100, 100, 100]  # the pattern as it stands: "conseiller" holds it
        assert 1 <= scores[3] < 90  # a word that is like it
        (line, _) = await client.ok(b'SEARCH RETURN (RELEVANCY) FUZZY SUBJECT "conseil municipal"')
        assert line == b'* ESEARCH (TAG "a") RELEVANCY (100 90)'
        (line, _) = await client.ok(b"UID SEARCH RETURN (COUNT RELEVANCY) FUZZY TEXT cadastre")
        assert line == b'* ESEARCH (TAG "a") UID COUNT 0 RELEVANCY ()'


async def test_sorting_by_relevancy_puts_the_best_first() -> None:
    async with World() as world, selected(world, *MAILS) as client:
        assert await found(client, b"SORT (RELEVANCY) UTF-8 FUZZY TEXT consiel") == [4, 1, 2, 3]
        (line, _) = await client.ok(b"SORT RETURN (PARTIAL 1:2 RELEVANCY) (RELEVANCY) UTF-8 FUZZY TEXT consiel")
        assert re.fullmatch(rb'\* ESEARCH \(TAG "a"\) PARTIAL \(1:2 4,1\) RELEVANCY \(100 \d\d\)', line), line
        assert await found(client, b"SORT (REVERSE RELEVANCY) UTF-8 FUZZY TEXT consiel") == [1, 2, 3, 4]


async def test_relevancy_among_other_criteria_decides_where_it_stands() -> None:
    mails = (
        mail("b", "conseil"),
        mail("a", "consiel"),
        mail("b", "consiel"),
        mail("a", "conseil"),
    )
    async with World() as world, selected(world, *mails) as client:
        assert await found(client, b"SORT (SUBJECT RELEVANCY) UTF-8 FUZZY TEXT consiel") == [2, 4, 3, 1]
        assert await found(client, b"SORT (REVERSE SUBJECT RELEVANCY) UTF-8 FUZZY TEXT consiel") == [3, 1, 2, 4]
        assert await found(client, b"SORT (RELEVANCY SUBJECT) UTF-8 FUZZY TEXT consiel") == [2, 3, 4, 1]


@pytest.mark.parametrize(
    "command",
    [
        b"SEARCH RETURN (RELEVANCY) TEXT x",
        b"SORT (RELEVANCY) UTF-8 TEXT x",
        b"SORT RETURN (RELEVANCY) (DATE) UTF-8 TEXT x",
        b"SEARCH FUZZY",
        b"SEARCH FUZZY FUZZY",
    ],
)
async def test_without_a_fuzzy_key_there_is_no_relevancy(command: bytes) -> None:
    async with World() as world, selected(world, *MAILS) as client:
        assert (await client.ask(command))[-1].startswith(b"a BAD [CLIENTBUG] ")


async def test_more_fuzzy_texts_than_the_limit_are_refused() -> None:
    async with World() as world, selected(world, *MAILS) as client:
        await client.ok(b"SEARCH " + b" ".join([b"FUZZY SUBJECT a"] * MAX_FUZZY_KEYS))
        lines = await client.ask(b"SEARCH " + b" ".join([b"FUZZY SUBJECT a"] * (MAX_FUZZY_KEYS + 1)))
        assert lines[-1].startswith(b"a NO [LIMIT] ")


async def test_fuzzy_results_are_saved_but_not_kept_up() -> None:
    async with World() as world, selected(world, *MAILS) as client:
        await client.ok(b"SEARCH RETURN (SAVE) FUZZY BODY conseil")
        assert await found(client, b"SEARCH $") == [3, 4]
        lines = await client.ok(b"SEARCH RETURN (UPDATE COUNT) FUZZY BODY conseil")
        assert lines[0] == b'* ESEARCH (TAG "a") COUNT 2'
        assert lines[1].startswith(b'* NO [NOUPDATE "a"] ')


async def test_switched_off_the_key_is_unknown() -> None:
    async with World(settings=Imap(without=["SEARCH=FUZZY"])) as world, selected(world, *MAILS) as client:
        assert b"FUZZY" not in (await client.ok(b"CAPABILITY"))[0]
        for command in (
            b"SEARCH FUZZY TEXT x",
            b"SORT (DATE) UTF-8 FUZZY TEXT x",
            b"THREAD REFERENCES UTF-8 FUZZY ALL",
        ):
            assert (await client.ask(command))[-1].startswith(b"a BAD "), command
