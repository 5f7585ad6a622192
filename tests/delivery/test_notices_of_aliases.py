"""What a sender is told of aliases: the address he wrote, one notice for a list, no member of it (RFC 3461 5.2.7)."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

import pytest

from antispam.types import Result
from core.address import parse
from core.envelope import Dsn, Schedule
from core.status import refused
from delivery.spread import SILENT, spread
from delivery.types import MailParameters, ResultKind
from delivery.types import Result as Told
from tests.delivery.conftest import World
from tests.delivery.runner import empty, running, until
from tests.fakes.delivery_world import vouched

ME = "agent@ville.test"
MAIL = b"From: agent@ville.test\r\nTo: equipe@ville.test\r\nSubject: Bonjour\r\n\r\nUn texte.\r\n"
MEMBERS = ("maire@ville.test", "voisin@bourg.test", "x@far.test")
SUCCESS = frozenset({"SUCCESS"})


async def write(world: World, to: str, *notify: str, parameters: MailParameters | None = None) -> None:
    status = await world.send(
        world.submission(), MAIL, to, sender=ME, account=ME, dsn=Dsn(frozenset(notify)), parameters=parameters
    )
    assert status.ok


async def told(world: World) -> list[dict[str, str]]:
    """The fields about each recipient, of all notices that came."""
    async with running(world.scheduler(poll=0.01)):
        await until(lambda: empty(world))
    found = []
    for raw in world.store.inbox(ME):
        report = email.message_from_bytes(raw, policy=email.policy.default)
        groups = list(report.iter_parts())[1].get_payload()
        assert isinstance(groups, list)
        found += [dict(group.items()) for group in groups[1:] if isinstance(group, EmailMessage)]
    return found


@pytest.mark.parametrize(("asked", "left"), [({"SUCCESS", "FAILURE"}, {"FAILURE"}), ({"SUCCESS"}, {"NEVER"})])
async def test_a_list_has_one_notice_and_its_members_none(world: World, asked: set[str], left: set[str]) -> None:
    world.directory.alias("equipe@ville.test", *MEMBERS)
    await write(world, "equipe@ville.test", *asked)
    [notice] = await told(world)
    assert notice["Action"] == "expanded"
    assert notice["Final-Recipient"].replace(" ", "") == "rfc822;equipe@ville.test"
    assert notice["Status"] == "2.1.5"
    assert "Last-Attempt-Date" not in notice  # nobody tried (it said 1970)
    [sent] = world.remote.jobs
    assert sent.recipients[0].dsn == Dsn(frozenset(left), "rfc822;equipe@ville.test")
    for member in MEMBERS[:2]:
        assert len(world.store.inbox(member)) == 1
    text = b"".join(world.store.inbox(ME)).partition(b"Reporting-MTA")[0].decode()
    assert not any(member in text for member in MEMBERS)


async def test_a_list_whose_sender_asked_for_nothing_is_not_told_of(world: World) -> None:
    world.directory.alias("equipe@ville.test", *MEMBERS)
    await write(world, "equipe@ville.test")
    await write(world, "equipe@ville.test", "FAILURE", "DELAY")
    assert await told(world) == []


async def test_where_an_alias_of_one_leads_is_not_told(world: World) -> None:
    """Nor whose mailbox a subaddress is in other words than the sender's."""
    world.directory.alias("equipe@ville.test", "voisin@bourg.test")
    for to in ("equipe@ville.test", "maire+dossier@ville.test", "maire@ville.test"):
        await write(world, to, "SUCCESS")
    notices = await told(world)
    assert {notice["Action"] for notice in notices} == {"delivered"}
    assert sorted(notice["Final-Recipient"].replace(" ", "") for notice in notices) == [
        "rfc822;equipe@ville.test",
        "rfc822;maire+dossier@ville.test",
        "rfc822;maire@ville.test",
    ]
    assert b"voisin@bourg.test" not in b"".join(world.store.inbox(ME))


async def test_what_a_member_refuses_is_told_of_the_list(world: World) -> None:
    world.directory.alias("equipe@ville.test", *MEMBERS)
    no = refused("no such user", "remote-refused", "5.1.1")
    world.remote.answer = lambda job: [Told(item.id, ResultKind.FAILED, no) for item in job.recipients]
    await write(world, "equipe@ville.test", "SUCCESS", "FAILURE")
    notices = await told(world)
    assert sorted(notice["Action"] for notice in notices) == ["expanded", "failed"]
    assert {notice["Final-Recipient"].replace(" ", "") for notice in notices} == {"rfc822;equipe@ville.test"}


async def test_a_list_is_told_of_when_its_members_may_have_the_message(world: World) -> None:
    """RFC 4865: not while it is kept back."""
    world.directory.alias("equipe@ville.test", *MEMBERS)
    later = Schedule(release_at=world.clock.now() + 60, hold="for;60")
    await write(world, "equipe@ville.test", "SUCCESS", parameters=MailParameters(schedule=later))
    assert await world.queue.debts() == []
    world.clock.advance(60)
    assert [debt.owed.value for debt in await world.queue.debts()] == ["expanded"]


async def test_a_list_is_not_told_of_while_something_holds_its_message(world: World) -> None:
    """An account that is suspended, or an administrator: each gives back what it held."""
    world.directory.alias("equipe@ville.test", *MEMBERS)
    administration, account = world.queue.administration, f"id-{ME}"
    await administration.suspend([account])
    await write(world, "equipe@ville.test", "SUCCESS")
    assert await world.queue.debts() == []
    await administration.resume([account])
    assert [debt.owed.value for debt in await world.queue.debts()] == ["expanded"]
    await administration.suspend([account])  # what is there already
    assert await world.queue.debts() == []
    [kept] = await administration.list(None)
    await administration.release(None, kept.queue_id)
    assert [debt.owed.value for debt in await world.queue.debts()] == ["expanded"]


async def test_h135_of_a_list_a_sender_that_may_be_forged_is_not_told(world: World) -> None:
    world.directory.alias("equipe@ville.test", "maire@ville.test", "voisin@bourg.test")
    for spf, expected in ((Result.NONE, []), (Result.FAIL, []), (Result.PASS, ["expanded"])):
        world.authenticator.opinion = vouched(spf=spf)
        assert (await world.send(world.inbound(), MAIL, "equipe@ville.test", dsn=Dsn(SUCCESS))).ok
        assert [debt.owed.value for debt in await world.queue.debts()] == expected


async def test_who_is_written_to_by_name_too_has_a_notice_of_his_own(world: World) -> None:
    """In whichever order the list and its member are named."""
    world.directory.alias("equipe@ville.test", *MEMBERS)
    for both in (("equipe@ville.test", "maire@ville.test"), ("maire@ville.test", "equipe@ville.test")):
        spread_out = await spread(
            world.directory, [(parse(to), Dsn(SUCCESS)) for to in both], depth=10, relay_for="ville"
        )
        wishes = {str(target.account.address): target.dsn.notify for target in spread_out.targets}
        assert wishes["maire@ville.test"] == SUCCESS
        assert wishes["voisin@bourg.test"] == SILENT.notify
        assert [item.expanded for item in spread_out.outgoing if item.dsn.notify == SUCCESS] == [True]


async def test_a_list_is_its_own_communes_whose_ever_its_members_are(world: World) -> None:
    world.directory.alias("equipe@ville.test", "voisin@bourg.test", "maire@ville.test")
    [notice] = (
        await spread(world.directory, [(parse("equipe@ville.test"), Dsn(SUCCESS))], depth=10, relay_for="x")
    ).outgoing
    home = await world.directory.hosted_domain("ville.test")
    assert home is not None
    assert notice.organisation_id == home.organisation_id
    away = await world.directory.hosted_domain("bourg.test")
    assert away is not None
    assert away.organisation_id != home.organisation_id


async def test_an_orcpt_that_is_no_address_does_not_tell_where_an_alias_leads(world: World) -> None:
    world.directory.alias("equipe@ville.test", "voisin@bourg.test")
    status = await world.send(
        world.submission(), MAIL, "equipe@ville.test", sender=ME, account=ME, dsn=Dsn(SUCCESS, "x;y")
    )
    assert status.ok
    [notice] = await told(world)
    assert notice["Final-Recipient"].replace(" ", "") == "rfc822;equipe@ville.test"
    assert b"voisin@bourg.test" not in b"".join(world.store.inbox(ME))
