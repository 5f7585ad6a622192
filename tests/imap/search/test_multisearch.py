"""ESEARCH over several mailboxes (RFC 7377): the RFC's example with our numbers, rights, states, correlators."""

from __future__ import annotations

import re

import pytest

from core.config import Imap
from directory.rights import parse
from imap.commands import esearch
from tests.fakes.imap_world import Client, World, selected


def mail(subject: bytes) -> bytes:
    return b"From: a@b.test\r\nSubject: %b\r\n\r\nbody\r\n" % subject


async def folders(world: World) -> Client:
    """folder1 holds three messages, the levels below folder2 one each; nothing is selected."""
    client = await world.login()
    for name in (b"folder1", b"folder2", b"folder2/banana", b"folder2/banana/split", b"folder2/salmon"):
        await client.ok(b"CREATE " + name)
    for name, subject in (
        (b"folder1", b"chad"), (b"folder1", b"other"), (b"folder1", b"chad"),
        (b"folder2/banana", b"ripe"), (b"folder2/banana/split", b"ice"), (b"folder2/salmon", b"chad"),
    ):  # fmt: skip
        await client.append(name, mail(subject))
    return client


def answers(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    """(mailbox, what was found); the correlators must all be there."""
    found = []
    for line in lines[:-1]:
        match = re.fullmatch(rb'\* ESEARCH \(TAG "\w+" MAILBOX ("?)(.*)\1 UIDVALIDITY [1-9]\d*\) UID (.*)', line)
        assert match, line
        found.append((match[2], match[3]))
    return found


async def test_rfc7377_example() -> None:
    async with World() as world:
        client = await folders(world)
        lines = await client.ask(b'ESEARCH IN (mailboxes "folder1" subtree "folder2") unseen', b"tag1")
        assert answers(lines) == [
            (b"folder1", b"ALL 1:3"),
            (b"folder2/banana", b"ALL 1"),
            (b"folder2/banana/split", b"ALL 1"),
            (b"folder2/salmon", b"ALL 1"),
        ]
        lines = await client.ask(b'ESEARCH IN (mailboxes "folder1" subtree-one "folder2") subject "chad"', b"tag2")
        assert answers(lines) == [(b"folder1", b"ALL 1,3"), (b"folder2/salmon", b"ALL 1")]


async def test_the_correlators_name_command_mailbox_and_uidvalidity() -> None:
    async with World() as world:
        client = await folders(world)
        (status, _) = await client.ok(b"STATUS folder1 (UIDVALIDITY)")
        validity = status.split(b"UIDVALIDITY ")[1].rstrip(b")")
        lines = await client.ask(b"ESEARCH IN (mailboxes folder1) RETURN (COUNT MIN MAX) SUBJECT chad", b"t9")
        assert lines == [
            b'* ESEARCH (TAG "t9" MAILBOX folder1 UIDVALIDITY %b) UID MIN 1 MAX 3 COUNT 2' % validity,
            b"t9 OK ESEARCH completed",
        ]


async def test_a_mailbox_without_a_match_has_no_answer_even_for_count() -> None:
    async with World() as world:
        client = await folders(world)
        assert await client.ok(b"ESEARCH IN (personal) RETURN (COUNT) SUBJECT nowhere") == [b"a OK ESEARCH completed"]


async def test_each_mailbox_is_searched_once_and_absent_ones_are_passed_over() -> None:
    async with World() as world:
        client = await folders(world)
        lines = await client.ok(b"ESEARCH IN (mailboxes (folder1 folder1 gone) personal subtree folder1) SUBJECT chad")
        assert answers(lines) == [(b"folder1", b"ALL 1,3"), (b"folder2/salmon", b"ALL 1")]


async def test_each_filter_names_its_mailboxes() -> None:
    async with World() as world:
        client = await folders(world)
        await client.append(b"INBOX", mail(b"chad"))
        await client.append(b"Junk", mail(b"chad"))
        await client.ok(b"SUBSCRIBE folder2/salmon")
        assert {name for name, _ in answers(await client.ok(b"ESEARCH IN (inboxes) SUBJECT chad"))} == {
            b"INBOX",
            b"Junk",
        }
        subscribed = {name for name, _ in answers(await client.ok(b"ESEARCH IN (subscribed) SUBJECT chad"))}
        assert b"folder2/salmon" in subscribed
        assert b"folder1" not in subscribed
        for wrong in (b"selected-delayed", b"mailboxes", b"subtree", b"personal folder1", b"", b"everything"):
            assert (await client.ask(b"ESEARCH IN (%b) ALL" % wrong))[-1].startswith(b"a BAD "), wrong


async def test_what_is_selected_stays_selected_and_is_the_default() -> None:
    async with World() as world, selected(world, mail(b"one"), mail(b"chad")) as client:
        await client.ok(b"CREATE folder1")
        await client.append(b"folder1", mail(b"chad"))
        assert answers(await client.ok(b"ESEARCH SUBJECT chad")) == [(b"INBOX", b"ALL 2")]
        assert answers(await client.ok(b"UID ESEARCH 1:100 SUBJECT chad")) == [(b"INBOX", b"ALL 2")]
        assert answers(await client.ok(b"ESEARCH IN (mailboxes folder1) ALL")) == [(b"folder1", b"ALL 1")]
        assert answers(await client.ok(b"ESEARCH IN (selected personal) SUBJECT chad")) == [
            (b"INBOX", b"ALL 2"),
            (b"folder1", b"ALL 1"),
        ]
        assert (await client.ok(b"SEARCH ALL"))[0] == b"* SEARCH 1 2"


async def test_what_is_selected_is_told_by_the_name_that_another_session_gave_it() -> None:
    async with World() as world:
        client, other = await folders(world), await world.login()
        await client.ok(b"SELECT folder1")
        await other.ok(b"RENAME folder1 elsewhere")
        assert answers(await client.ok(b"ESEARCH IN (selected) ALL")) == [(b"elsewhere", b"ALL 1:3")]
        await other.ok(b"CREATE folder1")
        assert answers(await client.ok(b"ESEARCH ALL")) == [(b"elsewhere", b"ALL 1:3")]


@pytest.mark.parametrize(
    "command", [b"ESEARCH ALL", b"ESEARCH IN (selected) ALL", b"ESEARCH IN (personal) RETURN (UPDATE) ALL"]
)
async def test_without_a_selected_mailbox_it_cannot_be_meant(command: bytes) -> None:
    async with World() as world:
        assert (await (await world.login()).ask(command))[-1].startswith(b"a BAD [CLIENTBUG] ")


async def test_save_is_for_the_selected_mailbox_alone() -> None:
    async with World() as world, selected(world, mail(b"one"), mail(b"chad")) as client:
        assert await client.ok(b"ESEARCH RETURN (SAVE) SUBJECT chad") == [b"a OK ESEARCH completed"]
        assert (await client.ok(b"SEARCH $"))[0] == b"* SEARCH 2"
        for sources in (b"personal", b"mailboxes INBOX", b"selected personal"):
            lines = await client.ask(b"ESEARCH IN (%b) RETURN (SAVE) ALL" % sources)
            assert lines[-1].startswith(b"a BAD [CLIENTBUG] "), sources
        assert (await client.ok(b"SEARCH $"))[0] == b"* SEARCH 2"


async def test_update_is_about_the_selected_mailbox_only() -> None:
    async with World() as world, selected(world, mail(b"one")) as client:
        await client.ok(b"CREATE folder1")
        await client.ask(b"ESEARCH IN (personal) RETURN (UPDATE) FLAGGED", b"u1")
        assert (await client.ok(b"STORE 1 +FLAGS (\\Flagged)"))[1] == b'* ESEARCH (TAG "u1") UID ADDTO (0 1)'


async def test_partial_applies_to_each_mailbox() -> None:
    async with World() as world:
        client = await folders(world)
        lines = await client.ok(b"ESEARCH IN (personal) RETURN (PARTIAL 2:9) SUBJECT chad")
        assert answers(lines) == [(b"folder1", b"PARTIAL (2:9 3)"), (b"folder2/salmon", b"PARTIAL (2:9 NIL)")]


async def test_h106_what_may_not_be_read_is_as_if_absent() -> None:
    """RFC 7377 2.2: "r" for each, "l" for those that were not named."""
    async with World() as world:
        mairie = world.directory.add("mairie", shared=True)
        box = await world.account("mairie")
        box.deliver(mail(b"chad"))
        client = await world.login()
        named = b"ESEARCH IN (mailboxes Shared/mairie@mairie.test/INBOX) ALL"
        below = b"ESEARCH IN (subtree Shared/mairie@mairie.test) ALL"
        seen = (b"Shared/mairie@mairie.test/INBOX", b"ALL 1")
        for letters, by_name, by_tree in (("", [], []), ("l", [], []), ("r", [seen], []), ("lr", [seen], [seen])):
            world.directory.sharing.grant(mairie, world.alice, parse(letters), "")
            assert answers(await client.ok(named)) == by_name, letters
            assert answers(await client.ok(below)) == by_tree, letters
        assert answers(await client.ok(b"ESEARCH IN (personal) SUBJECT chad")) == []


async def test_more_mailboxes_than_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(esearch, "MOST_NAMES", 2)
    monkeypatch.setattr(esearch, "MOST_MAILBOXES", 3)
    async with World() as world:
        client = await folders(world)
        await client.ok(b"ESEARCH IN (mailboxes (a b)) ALL")
        assert (await client.ask(b"ESEARCH IN (mailboxes (a b c)) ALL"))[-1].startswith(b"a BAD ")
        assert (await client.ask(b"ESEARCH IN (personal) ALL"))[-1].startswith(b"a NO [LIMIT] ")


async def test_h100_what_one_command_may_cost_is_bounded_whatever_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World() as world:
        client = await folders(world)
        named, seven = b"ESEARCH IN (mailboxes (folder1 folder2)) ", (b"OR SUBJECT chad " * 6) + b"TEXT x"
        monkeypatch.setattr(esearch, "MOST_QUESTIONS", 14)
        await client.ok(named + seven)
        assert (await client.ask(named + seven + b" SUBJECT x"))[-1].startswith(b"a NO [LIMIT] too many text searches")
        assert (await client.ask(named + b"FUZZY SUBJECT x"))[-1].startswith(b"a NO [LIMIT] too many text searches")
        monkeypatch.setattr(esearch, "MOST_QUESTIONS", 4000)
        boxes = (await world.account()).boxes
        both = len(boxes["folder1"].messages) + len(boxes["folder2"].messages)
        assert both
        monkeypatch.setattr(esearch, "MOST_JUDGED", 2 * both)
        await client.ok(named + b"SEEN UNSEEN")
        assert (await client.ask(named + b"SEEN UNSEEN DRAFT"))[-1].startswith(b"a NO [LIMIT] too many search keys")


async def test_modseq_charset_and_fuzzy_as_in_search() -> None:
    async with World() as world:
        client = await folders(world)
        (line, _) = await client.ok(b"ESEARCH IN (mailboxes folder1) RETURN (ALL) MODSEQ 1")
        assert re.search(rb"UID ALL 1:3 MODSEQ \d+$", line), line
        lines = await client.ok(b"ESEARCH IN (mailboxes folder1) RETURN (RELEVANCY) CHARSET UTF-8 FUZZY SUBJECT chda")
        assert re.search(rb"UID RELEVANCY \(\d+ \d+\)$", lines[0]), lines
        assert (await client.ask(b"ESEARCH IN (personal) CHARSET X-NONE ALL"))[-1].startswith(b"a NO [BADCHARSET ")


async def test_names_are_spelt_as_the_client_reads_them() -> None:
    async with World() as world:
        client = await world.login()
        await client.ok(b"CREATE &AMk-lus")
        await client.append(b"&AMk-lus", mail(b"chad"))
        assert answers(await client.ok(b"ESEARCH IN (personal) SUBJECT chad")) == [(b"&AMk-lus", b"ALL 1")]


async def test_switched_off_it_is_unknown() -> None:
    async with World(settings=Imap(without=["MULTISEARCH"])) as world, selected(world, mail(b"x")) as client:
        assert b"MULTISEARCH" not in (await client.ok(b"CAPABILITY"))[0]
        assert (await client.ask(b"ESEARCH ALL"))[-1].startswith(b"a BAD ")
