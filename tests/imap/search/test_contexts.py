"""Searches that are kept up (RFC 5267 4.3, RFC 5465 7): on the wire, and what moves where."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from core.config import Imap
from imap import contexts
from imap.contexts import Context, Places, additions, removals
from imap.responses import context_update
from tests.fakes.imap_world import Client, World, selected

MAIL = b"Subject: one\r\n\r\nbody\r\n"


def mail(subject: bytes, sender: bytes = b"a@b.test") -> bytes:
    return b"From: %b\r\nSubject: %b\r\n\r\nbody\r\n" % (sender, subject)


def updates(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if line.startswith(b"* ESEARCH ")]


async def second(world: World) -> Client:
    client = await world.login()
    await client.ok(b"SELECT INBOX")
    return client


# --- positions -------------------------------------------------------------------------------------------------------


def apply(found: list[int], removed: Places, added: Places) -> list[int]:
    """What a client does with both (RFC 5267 4.3.3, 4.3.4)."""
    for position, uids in removed:
        assert found[position - 1 : position - 1 + len(uids)] == list(uids)
        del found[position - 1 : position - 1 + len(uids)]
    for position, uids in added:
        found[position - 1 : position - 1] = uids
    return found


def test_a_client_that_follows_the_positions_has_the_new_order() -> None:
    chance = random.Random(5267)
    for _ in range(300):
        before = chance.sample(range(1, 40), chance.randint(0, 20))
        gone = set(chance.sample(before, chance.randint(0, len(before))))
        new = set(chance.sample(range(40, 60), chance.randint(0, 10)))
        after = [uid for uid in before if uid not in gone]
        for uid in new:
            after.insert(chance.randint(0, len(after)), uid)
        assert apply(list(before), removals(before, gone), additions(after, new)) == after


async def test_what_went_during_the_look_keeps_its_place_until_its_removal_is_told() -> None:
    """Another session expunged 5, 2 and the new 9 between the look at the mailbox and the sorting."""
    there = [8, 1, 3, 7]

    async def find(among: Sequence[int]) -> Sequence[int]:
        return among

    async def order(uids: Sequence[int]) -> Sequence[int]:
        return [uid for uid in there if uid in uids]

    context = Context("a", True, find, order)
    context.keep([5, 8, 2, 3])
    change = await context.look({1: True, 7: True, 9: True}, [1, 7, 9])
    assert (change.removed, change.added) == ((), ((4, (1,)), (6, (7,))))
    assert apply([5, 8, 2, 3], change.removed, change.added) == list(change.after) == [5, 8, 2, 1, 3, 7]
    context.keep(change.after)
    change = await context.look({5: False, 2: False, 9: False}, [])
    assert apply([5, 8, 2, 1, 3, 7], change.removed, change.added) == [8, 1, 3, 7]


def test_the_form_the_rfc_prefers() -> None:
    places = additions([2731, 2732, 2733, 2734, 2735], {2731, 2732, 2733})
    assert context_update("C01", "ADDTO", places, by_uid=True) == b'* ESEARCH (TAG "C01") UID ADDTO (1 2731:2733)\r\n'
    assert context_update("B01", "ADDTO", ((0, (32768, 32769)),), by_uid=True) == (
        b'* ESEARCH (TAG "B01") UID ADDTO (0 32768:32769)\r\n'
    )


# --- the wire --------------------------------------------------------------------------------------------------------


async def test_rfc5267_notifications_as_flags_change() -> None:
    async with World() as world, selected(world, *(MAIL,) * 4) as client:
        lines = await client.ask(b"UID SEARCH RETURN (UPDATE COUNT) DELETED KEYWORD $Junk", b"B01")
        assert lines[0] == b'* ESEARCH (TAG "B01") UID COUNT 0'
        assert lines[-1].startswith(b"B01 OK ")
        lines = await client.ok(b"STORE 2:3 +FLAGS (\\Deleted $Junk)")
        assert updates(lines) == [b'* ESEARCH (TAG "B01") UID ADDTO (0 2:3)']
        assert lines.index(updates(lines)[0]) > 1  # behind the FETCH responses that carry the change
        assert updates(await client.ok(b"STORE 2 +FLAGS (\\Seen)")) == []
        assert updates(await client.ok(b"STORE 2 -FLAGS ($Junk)")) == [b'* ESEARCH (TAG "B01") UID REMOVEFROM (0 2)']
        assert updates(await (await second(world)).ok(b"STORE 1 +FLAGS (\\Deleted $Junk)")) == []
        assert updates(await client.ok(b"NOOP")) == [b'* ESEARCH (TAG "B01") UID ADDTO (0 1)']


async def test_tag_reuse_is_rejected_and_has_no_effect() -> None:
    async with World() as world, selected(world, MAIL) as client:
        await client.ask(b"UID SEARCH RETURN (UPDATE COUNT) SEEN", b"B01")
        lines = await client.ask(b"SORT RETURN (UPDATE) (DATE) UTF-8 FLAGGED", b"B01")
        assert lines == [b"B01 BAD [CLIENTBUG] a search of this tag is still kept up"]
        assert updates(await client.ok(b"STORE 1 +FLAGS (\\Flagged)")) == []


async def test_arrivals_are_told_behind_exists_and_removals_before_expunge() -> None:
    """RFC 5267 4.3.3, 4.3.4: message numbers must be valid when they are told."""
    async with World() as world, selected(world, mail(b"yes"), mail(b"no")) as client:
        await client.ask(b"SEARCH RETURN (UPDATE) SUBJECT yes", b"C1")
        (await world.account()).deliver(mail(b"yes"))
        assert await client.ok(b"NOOP") == [
            b"* 3 EXISTS",
            b'* ESEARCH (TAG "C1") ADDTO (0 3)',
            b"a OK NOOP completed",
        ]
        await client.ok(b"STORE 1:3 +FLAGS.SILENT (\\Deleted)")
        lines = await client.ok(b"EXPUNGE")
        assert lines[:4] == [
            b'* ESEARCH (TAG "C1") REMOVEFROM (0 1,3)',
            b"* 3 EXPUNGE",
            b"* 2 EXPUNGE",
            b"* 1 EXPUNGE",
        ]


async def test_what_leaves_by_its_flags_is_told_after_them_and_what_is_expunged_before_its_number_goes() -> None:
    """RFC 5465 5.1: the FETCH precedes the ESEARCH; RFC 5267 4.3.4: REMOVEFROM precedes the EXPUNGE."""
    async with World() as world, selected(world, *(mail(subject) for subject in (b"a", b"b", b"c", b"d"))) as client:
        other = await second(world)
        await client.ask(b"SEARCH RETURN (UPDATE) UNSEEN", b"n")
        await client.ask(b"UID SORT RETURN (UPDATE) (REVERSE SUBJECT) UTF-8 UNSEEN", b"s")
        await other.ok(b"STORE 3 +FLAGS.SILENT \\Deleted")
        await client.ok(b"NOOP")
        await other.ok(b"STORE 4 +FLAGS.SILENT \\Seen")
        await other.ok(b"EXPUNGE")
        assert await client.ok(b"NOOP") == [
            b'* ESEARCH (TAG "n") REMOVEFROM (0 3)',
            b'* ESEARCH (TAG "s") UID REMOVEFROM (2 3)',
            b"* 3 EXPUNGE",
            b"* 3 FETCH (UID 4 FLAGS (\\Seen))",
            b'* ESEARCH (TAG "n") REMOVEFROM (0 3)',
            b'* ESEARCH (TAG "s") UID REMOVEFROM (1 4)',
            b"a OK NOOP completed",
        ]


async def test_an_expunge_that_is_withheld_is_told_to_who_keeps_up() -> None:
    """RFC 5267 A.3."""
    async with World() as world, selected(world, MAIL, MAIL) as client:
        await client.ask(b"SEARCH RETURN (UPDATE) ALL", b"A3")
        await (await second(world)).ok(b"UID MOVE 1 Trash")
        lines = await client.ok(b"FETCH 2 UID")
        assert lines[:2] == [b"* 2 FETCH (UID 2)", b'* ESEARCH (TAG "A3") REMOVEFROM (0 1)']
        assert b"* 1 EXPUNGE" in await client.ok(b"NOOP")


@pytest.mark.parametrize("uid", [b"", b"UID "])
async def test_what_was_expunged_before_the_search_and_is_told_after_it_leaves_the_result(uid: bytes) -> None:
    """RFC 5267 4.3.3: the removal was taken in by an earlier command, but the search still counted the message."""
    async with World() as world, selected(world, *(MAIL,) * 3) as client:
        other = await second(world)
        await other.ok(b"STORE 2 +FLAGS.SILENT (\\Deleted)")
        await other.ok(b"EXPUNGE")
        await client.ok(b"FETCH 1 FLAGS")
        lines = await client.ok(uid + b"SEARCH RETURN (UPDATE ALL) ALL")
        lines += await client.ok(b"NOOP")
        form = uid and b" UID"
        assert lines.index(b'* ESEARCH (TAG "a")%b ALL 1:3' % form) == 0
        removed = lines.index(b'* ESEARCH (TAG "a")%b REMOVEFROM (0 2)' % form[:4])
        assert removed < lines.index(b"* 2 EXPUNGE")


async def test_what_came_unnoticed_before_the_search_enters_the_result() -> None:
    """NOTIFY NONE: the arrival was taken in by a command that told nothing of it."""
    async with World() as world, selected(world, MAIL) as client:
        await client.ok(b"NOTIFY NONE")
        (await world.account()).deliver(MAIL)
        await client.ok(b"STORE 1 +FLAGS.SILENT (\\Seen)")
        lines = await client.ok(b"UID SEARCH RETURN (UPDATE ALL) ALL")
        assert lines[:-1] == [b'* ESEARCH (TAG "a") UID ALL 1', b"* 2 EXISTS", b'* ESEARCH (TAG "a") UID ADDTO (0 2)']


async def test_sorted_results_are_told_with_their_positions() -> None:
    async with World() as world, selected(world, mail(b"b"), mail(b"d"), mail(b"f")) as client:
        lines = await client.ask(b"UID SORT RETURN (UPDATE ALL) (SUBJECT) UTF-8 UNDELETED", b"S1")
        assert lines[0] == b'* ESEARCH (TAG "S1") UID ALL 1:3'
        for subject in (b"e", b"a"):
            (await world.account()).deliver(mail(subject))
        assert updates(await client.ok(b"NOOP")) == [b'* ESEARCH (TAG "S1") UID ADDTO (1 5 4 4)']
        lines = await client.ok(b"UID STORE 2:3 +FLAGS.SILENT (\\Deleted)")
        assert updates(lines) == [b'* ESEARCH (TAG "S1") UID REMOVEFROM (5 3 3 2)']


async def test_idle_tells_at_once() -> None:
    async with World() as world, selected(world, MAIL) as client:
        await client.ask(b"UID SEARCH RETURN (UPDATE) FLAGGED", b"I1")
        await client.raw(b"I2 IDLE\r\n")
        assert await client.line() == b"+ idling"
        await (await second(world)).ok(b"STORE 1 +FLAGS (\\Flagged)")
        assert (await client.line()).startswith(b"* 1 FETCH (")
        assert await client.line() == b'* ESEARCH (TAG "I1") UID ADDTO (0 1)'
        await client.raw(b"DONE\r\n")
        await client.until(b"I2")


async def test_rfc5465_new_messages_bring_what_was_asked_for() -> None:
    async with World() as world, selected(world, mail(b"x", b"boss@b.test")) as client:
        asked = b'SEARCH RETURN (COUNT UPDATE (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])) FROM "boss"'
        lines = await client.ask(asked, b"a00")
        assert lines[0] == b'* ESEARCH (TAG "a00") COUNT 1'
        (await world.account()).deliver(mail(b"other"))
        (await world.account()).deliver(mail(b"good morning", b"boss@b.test"))
        lines = await client.ok(b"NOOP")
        assert lines[0] == b"* 3 EXISTS"
        assert lines[1].startswith(b"* 3 FETCH (UID 3 BODY[HEADER.FIELDS (SUBJECT)] {")
        assert lines[2] == b'* ESEARCH (TAG "a00") ADDTO (0 3)'
        lines = await client.ok(b"STORE 1 +FLAGS (\\Seen)")
        assert b"BODY" not in b"".join(lines)


async def test_cancelupdate_and_leaving_the_mailbox_end_it() -> None:
    async with World() as world, selected(world, MAIL) as client:
        await client.ask(b"SEARCH RETURN (UPDATE) SEEN", b"B01")
        await client.ask(b"SEARCH RETURN (UPDATE) ANSWERED", b"B02")
        await client.ok(b'CANCELUPDATE "B01"')
        lines = await client.ok(b"STORE 1 FLAGS (\\Seen \\Answered)")
        assert updates(lines) == [b'* ESEARCH (TAG "B02") ADDTO (0 1)']
        assert (await client.ask(b'CANCELUPDATE "B01" "B02"'))[-1].startswith(b"a NO [NONEXISTENT] ")
        assert updates(await client.ok(b"STORE 1 FLAGS ()")) == []
        await client.ask(b"SEARCH RETURN (UPDATE) SEEN", b"B01")
        await client.ok(b"SELECT INBOX")
        assert updates(await client.ok(b"STORE 1 FLAGS (\\Seen)")) == []
        assert (await client.ask(b"CANCELUPDATE B01"))[-1].startswith(b"a BAD ")


async def test_one_context_too_many_is_refused_and_its_search_answered() -> None:
    async with World() as world, selected(world, MAIL) as client:
        for number in range(contexts.MOST):
            assert len(await client.ask(b"SEARCH RETURN (UPDATE COUNT) ALL", b"C%d" % number)) == 2
        lines = await client.ask(b"SEARCH RETURN (UPDATE COUNT) ALL", b"B02")
        assert lines[0] == b'* ESEARCH (TAG "B02") COUNT 1'
        assert lines[1].startswith(b'* NO [NOUPDATE "B02"] ')
        assert lines[2].startswith(b"B02 OK ")


async def test_results_that_are_too_long_together_are_not_kept_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "MOST_UIDS", 3)
    async with World() as world, selected(world, MAIL, MAIL) as client:
        assert b"NOUPDATE" not in b"".join(await client.ask(b"SEARCH RETURN (UPDATE) ALL", b"C1"))
        assert b"NOUPDATE" not in b"".join(await client.ask(b"SEARCH RETURN (UPDATE) UID 1", b"C2"))
        assert b'[NOUPDATE "C3"]' in b"".join(await client.ask(b"SEARCH RETURN (UPDATE) UID 2", b"C3"))


async def test_message_numbers_mean_what_they_meant() -> None:
    """RFC 5267 4.3: numbers in the criterion are evaluated once."""
    async with World() as world, selected(world, MAIL, MAIL, MAIL) as client:
        await client.ask(b"UID SEARCH RETURN (UPDATE) 2 SEEN", b"N1")
        await (await second(world)).ok(b"UID MOVE 1 Trash")
        await client.ok(b"NOOP")
        assert updates(await client.ok(b"UID STORE 2:3 FLAGS.SILENT (\\Seen)")) == [
            b'* ESEARCH (TAG "N1") UID ADDTO (0 2)'
        ]


async def test_context_is_a_hint_and_both_can_be_switched_off() -> None:
    async with World() as world, selected(world, MAIL) as client:
        lines = await client.ask(b"SEARCH RETURN (CONTEXT COUNT) UNDELETED", b"A01")
        assert lines[0] == b'* ESEARCH (TAG "A01") COUNT 1'
    async with World(settings=Imap(without=["CONTEXT=SEARCH"])) as world, selected(world, MAIL) as client:
        assert b"CONTEXT=SEARCH" not in (await client.ok(b"CAPABILITY"))[0]
        assert (await client.ask(b"SEARCH RETURN (UPDATE) ALL"))[-1].startswith(b"a BAD ")
        assert (await client.ask(b'CANCELUPDATE "a"'))[-1].startswith(b"a BAD ")


async def test_partial_and_update_do_not_interact() -> None:
    """RFC 5267 4.4: changes are told of all results, whatever part was asked for."""
    async with World() as world, selected(world, *(MAIL,) * 4) as client:
        lines = await client.ask(b"UID SEARCH RETURN (PARTIAL 1:2 UPDATE) UNDELETED", b"A03")
        assert lines[0] == b'* ESEARCH (TAG "A03") UID PARTIAL (1:2 1:2)'
        assert updates(await client.ok(b"UID STORE 4 FLAGS.SILENT (\\Deleted)")) == [
            b'* ESEARCH (TAG "A03") UID REMOVEFROM (0 4)'
        ]
