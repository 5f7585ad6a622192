"""SETQUOTA as transcripts (RFC 9208 4.1.3): for whom an administrator lets set the quota of a mailbox he shares."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from core.config import Imap, Limits
from tests.fakes.imap_world import Client, World
from tests.imap.sharing import BOX, MAIL, Town, answer

ROOT = b"mairie@mairie.test"
MANAGE = "lrswipkxtea"
ABSENT = b"a NO [NONEXISTENT] no such quota root"


@contextlib.asynccontextmanager
async def granted(
    *, rights: str = MANAGE, ceiling: int = 0, world: World | None = None
) -> AsyncIterator[tuple[Town, Client]]:
    """Alice may set the quota of the mairie's mailbox; `ceiling` is the commune's."""
    async with world or World() as world:
        town = Town(world)
        accounts = world.directory.accounts
        town.mairie = accounts["mairie@mairie.test"] = replace(town.mairie, quota=2048, organisation_quota=ceiling)
        town.grant(rights)
        town.sharing.quota_setters.add((town.alice.id, town.mairie.id))
        yield town, await world.login()


async def test_rfc9208_setquota_by_whom_it_was_granted() -> None:
    async with granted() as (town, client):
        (await town.box()).deliver(MAIL)
        assert b" QUOTASET" in (await client.ok(b"CAPABILITY"))[0]
        assert await client.ok(b"GETQUOTAROOT " + BOX) == [
            b"* QUOTAROOT %b %b" % (BOX, ROOT),
            b"* QUOTA %b (STORAGE 1 2 MESSAGE 1 1000000)" % ROOT,
            b"a OK GETQUOTAROOT completed",
        ]
        assert await client.ok(b"SETQUOTA %b (storage 512)" % ROOT) == [
            b"* QUOTA %b (STORAGE 1 512 MESSAGE 1 1000000)" % ROOT,
            b"a OK SETQUOTA completed",
        ]
        assert town.world.directory.accounts["mairie@mairie.test"].quota == 512 * 1024
        assert (await client.ok(b"GETQUOTA " + ROOT))[0] == b"* QUOTA %b (STORAGE 1 512 MESSAGE 1 1000000)" % ROOT


async def test_rfc9208_4_1_3_what_is_not_named_is_not_limited_any_more() -> None:
    async with granted(world=World(limits=Limits(account_messages=0))) as (town, client):
        assert await client.ok(b"SETQUOTA %b ()" % ROOT) == [b"* QUOTA %b ()" % ROOT, b"a OK SETQUOTA completed"]
        assert town.world.directory.accounts["mairie@mairie.test"].quota == 0
        assert (await client.ok(b"GETQUOTAROOT " + BOX))[:2] == [
            b"* QUOTAROOT %b %b" % (BOX, ROOT),
            b"* QUOTA %b ()" % ROOT,  # RFC 9208 4.2.1
        ]


async def test_the_number_of_messages_is_a_limit_of_the_system() -> None:
    async with granted() as (_, client):
        assert (await answer(client, b"SETQUOTA %b (STORAGE 9 MESSAGE 1000000)" % ROOT)).startswith(b"a OK")
        refused = await answer(client, b"SETQUOTA %b (STORAGE 9 MESSAGE 10)" % ROOT)
        assert refused == b"a NO [CANNOT] the number of messages is a limit of the system"
        assert b"(STORAGE 0 9 MESSAGE 0 1000000)" in (await client.ok(b"GETQUOTA " + ROOT))[0]


@pytest.mark.parametrize(
    ("limits", "refusal"),
    [
        (b"(STORAGE 0)", b"NO [CANNOT] a mailbox that may hold nothing is suspended by an administrator"),
        (b"(MAILBOX 5)", b"NO [CANNOT] only STORAGE can be limited"),
        (b"(STORAGE %d)" % (2**43 + 1), b"NO [LIMIT] a quota is not as large as that"),
        (b"(STORAGE 1 storage 2)", b"BAD [CLIENTBUG] a resource is named twice"),
        (b"(STORAGE)", b"BAD"),
        (b"(STORAGE -1)", b"BAD"),
        (b"STORAGE 1", b"BAD"),
    ],
)
async def test_limits_that_cannot_be(limits: bytes, refusal: bytes) -> None:
    async with granted() as (town, client):
        assert (await answer(client, b"SETQUOTA %b %b" % (ROOT, limits))).startswith(b"a " + refusal)
        assert town.world.directory.accounts["mairie@mairie.test"].quota == 2048
        assert (await answer(client, b"SETQUOTA %b (STORAGE %d)" % (ROOT, 2**43))).startswith(b"a OK")


async def test_no_mailbox_may_hold_more_than_the_commune() -> None:
    async with granted(ceiling=4096) as (_, client):
        assert (await answer(client, b"SETQUOTA %b (STORAGE 4)" % ROOT)).startswith(b"a OK")
        for more in (b"(STORAGE 5)", b"()"):
            assert (await answer(client, b"SETQUOTA %b %b" % (ROOT, more))).startswith(b"a NO [NOPERM]"), more


async def test_nobody_sets_his_own_quota() -> None:
    async with granted() as (_, client):
        assert (
            await answer(client, b'SETQUOTA "" (STORAGE 512)')
        ) == b"a NO [NOPERM] quotas are set by the administrators"
        assert await answer(client, b"SETQUOTA alice@mairie.test (STORAGE 512)") == ABSENT


@pytest.mark.parametrize("rights", ["lrswipkxte", "lr"])
async def test_rfc9208_6_the_right_a_is_needed_besides(rights: str) -> None:
    async with granted(rights=rights) as (_, client):
        assert (await client.ok(b"GETQUOTAROOT " + BOX))[0] == b"* QUOTAROOT " + BOX
        assert await answer(client, b"SETQUOTA %b (STORAGE 512)" % ROOT) == ABSENT
        assert await answer(client, b"GETQUOTA " + ROOT) == ABSENT


@pytest.mark.parametrize("command", [b"GETQUOTA %b", b"SETQUOTA %b (STORAGE 1)"])
async def test_h106_whose_quota_one_may_not_set_is_absent(command: bytes) -> None:
    """Also for who manages the mailbox: the right "a" is given by its holder, a quota by the administrators."""
    async with World() as world:
        town = Town(world)
        town.grant(MANAGE)
        town.sharing.quota_setters.add((town.alice.id, town.eve.id))  # of another commune, whatever the table says
        client = await world.login()
        for root in (ROOT, b"bob@mairie.test", b"eve@autre.test", b"nobody@mairie.test", b"&", b"{2+}\r\n\xc3\xa9"):
            assert await answer(client, command % root) == ABSENT, root


async def test_quotaset_is_told_to_whom_it_is_granted_and_to_nobody_else() -> None:
    async with granted() as (town, client):
        greeting = (await client.ask(b"CAPABILITY"))[0]
        assert b" QUOTASET" in greeting
        await client.ok(b"UNAUTHENTICATE")
        assert b" QUOTASET" not in (await client.ok(b"CAPABILITY"))[0]
        town.sharing.quota_setters.clear()
        await client.login()
        assert b" QUOTASET" not in (await client.ok(b"CAPABILITY"))[0]


async def test_quotaset_can_be_switched_off() -> None:
    async with granted(world=World(settings=Imap(without=["QUOTASET"]))) as (_, client):
        assert b" QUOTASET" not in (await client.ok(b"CAPABILITY"))[0]
        assert (await answer(client, b"SETQUOTA %b (STORAGE 512)" % ROOT)).startswith(b"a BAD")
