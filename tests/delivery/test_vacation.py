"""Absence notices: whom they reach, what they say, and who must never get one (RFC 3834; security.md row 136)."""

from __future__ import annotations

import asyncio
import email
import email.policy
from email.message import EmailMessage
from typing import Any

import pytest

from antispam.types import Result
from core.address import parse
from core.config import Limits
from core.envelope import Schedule
from core.errors import QuotaError
from delivery.commit import Committer
from delivery.inbound import Inbound
from delivery.queue.rows import NewMessage
from delivery.queue.vacations import AGAIN, HOUR, MOST
from delivery.types import MailParameters, Vacation
from delivery.vacation import KNOWN_FOR, Responder, withheld
from message.header import split
from tests.delivery.conftest import HOST, NoKeys, World
from tests.delivery.runner import running, until
from tests.fakes.delivery_world import vouched

MAIL = (
    b"From: Anne <anne@sender.test>\r\nTo: Maire <maire@ville.test>\r\nSubject: =?utf-8?q?Conseil_d'=C3=A9cole?=\r\n"
    b"Message-ID: <1@sender.test>\r\n\r\nBonjour\r\n"
)
ACCOUNT = "id-maire@ville.test"


class Away:
    def __init__(self, world: World) -> None:
        self.world = world
        limits = world.config.limits
        self.responder = Responder(world.queue, world.directory, NoKeys(), world.clock, world.ids, limits, HOST)
        self.committer = Committer(world.store, world.queue, world.rules, responder=self.responder)

    async def set(self, **changes: Any) -> None:
        now = self.world.clock.now()
        values = {"text": "Je suis absente.\nÀ lundi.", "starts": now, "ends": now + 30 * 86400.0, **changes}
        await self.world.queue.administration.set_vacation(ACCOUNT, Vacation(**values))
        self.world.clock.advance(KNOWN_FOR)

    async def receive(self, data: bytes = MAIL, to: str = "maire@ville.test", sender: str = "anne@sender.test") -> None:
        world = self.world
        inbound: Inbound[Any] = Inbound(
            world.config, world.directory, world.store, world.authenticator, None, self.committer, world.clock
        )
        assert (await world.send(inbound, data, to, sender=sender)).ok

    async def answers(self) -> list[EmailMessage]:
        found = []
        for item in await self.world.queue.claim(self.world.scheduler()._destinations.selection()):
            assert item.message.sender is None  # RFC 3834 3.3
            assert item.recipients[0].dsn.notify == {"NEVER"}
            content = await self.world.queue.content(item.message)
            message = email.message_from_bytes(content.read(0, content.size), policy=email.policy.default)
            assert isinstance(message, EmailMessage)
            assert str(item.recipients[0].address) == message["To"]
            found.append(message)
        return found


@pytest.fixture
def away(world: World) -> Away:
    return Away(world)


async def test_a_person_who_writes_is_told(away: Away) -> None:
    await away.set()
    await away.receive()
    [answer] = await away.answers()
    assert answer["From"] == "maire@ville.test"
    assert answer["To"] == "anne@sender.test"
    assert answer["Subject"] == "Absence : Conseil d'école"
    assert answer["Auto-Submitted"] == "auto-replied"
    assert answer["In-Reply-To"] == answer["References"] == "<1@sender.test>"
    assert answer.get_content().split() == "Je suis absente. À lundi.".split()


async def test_only_between_its_dates_and_not_after_it_was_taken_back(away: Away) -> None:
    now = away.world.clock.now()
    await away.set(starts=now + 3600.0, ends=now + 7200.0)
    await away.receive()
    away.world.clock.advance(3600.0)
    await away.receive()
    away.world.clock.advance(3600.0)
    await away.receive(sender="paul@sender.test")
    assert [answer["To"] for answer in await away.answers()] == ["anne@sender.test"]
    await away.set()
    await away.world.queue.administration.set_vacation(ACCOUNT, None)
    away.world.clock.advance(KNOWN_FOR)
    await away.receive(sender="luc@sender.test")
    assert await away.answers() == []


async def test_h136_each_sender_is_told_once_in_seven_days_however_often_he_writes(away: Away) -> None:
    await away.set()
    for _ in range(50):
        await away.receive()
    await away.receive(sender="ANNE@sender.test")
    assert len(await away.answers()) == 1
    away.world.clock.advance(AGAIN)
    await away.receive()
    assert len(await away.answers()) == 1
    await away.set(subject="Autre absence")
    await away.receive()
    assert [answer["Subject"] for answer in await away.answers()] == ["Autre absence"]


async def test_h136_a_sender_with_a_new_address_for_each_message_is_told_once(away: Away) -> None:
    """Lists, ticket systems: the envelope sender, or what stands behind its "+", is each message's own."""
    await away.set()
    for number in range(5):
        await away.receive(sender=f"retour-{number}-maire=ville.test@sender.test")
        await away.receive(MAIL.replace(b"anne@", f"anne{number}@".encode()), sender=f"guichet+{number}@sender.test")
    assert [answer["To"] for answer in await away.answers()] == [
        "retour-0-maire=ville.test@sender.test", "guichet+0@sender.test",
    ]  # fmt: skip


async def test_h136_a_robot_of_many_names_gets_no_more_than_so_many_notices_an_hour(away: Away) -> None:
    await away.set()
    queue = away.world.queue
    told = [await queue.tell_once(ACCOUNT, f"{number}@sender.test") for number in range(MOST + 5)]
    assert told == [True] * MOST + [False] * 5
    assert await queue.tell_once("another", "0@sender.test")
    away.world.clock.advance(HOUR + 1)
    assert await queue.tell_once(ACCOUNT, "anne@sender.test")


async def test_who_was_told_more_than_seven_days_ago_is_not_kept(away: Away) -> None:
    """Robots' addresses stayed for as long as the absence, and were counted at each message."""
    await away.set()
    queue, clock = away.world.queue, away.world.clock
    for number in range(5):
        assert await queue.tell_once(
            ACCOUNT, f"{number}@sender.test", "anne@sender.test" if not number else "b@b.test"
        ) is (number < 2)
        clock.advance(1)
    clock.advance(AGAIN)
    assert await queue.tell_once(ACCOUNT, "0@sender.test", "x@sender.test")
    kept = await queue._database.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM queue_vacation_told").scalar())
    assert kept == 2
    assert not await queue.tell_once(ACCOUNT, "x@sender.test")
    assert await queue.tell_once(ACCOUNT, "anne@sender.test")


async def test_junk_is_not_answered(away: Away) -> None:
    await away.set()
    away.world.authenticator.opinion = vouched(dmarc=Result.FAIL, policy="quarantine", disposition="quarantine")
    await away.receive()
    assert away.world.store.junk("maire@ville.test")
    assert await away.answers() == []


async def test_a_colleague_is_told_in_his_mailbox(away: Away) -> None:
    await away.set()
    await away.receive(sender="voisin@bourg.test")
    [item] = await away.world.queue.claim(away.world.scheduler()._destinations.selection())
    assert item.recipients[0].domain == ""  # a mailbox here


async def test_hostile_subjects_and_ids_are_harmless(away: Away) -> None:
    await away.set()
    hostile = MAIL.replace(
        b"=?utf-8?q?Conseil_d'=C3=A9cole?=", b"=?utf-8?q?a=0D=0ABcc=3A_x=40y.fr?= \x1b[2J" + b"x" * 900
    )
    await away.receive(hostile.replace(b"<1@sender.test>", b"<a b\xff@x>"))
    [answer] = await away.answers()
    assert answer["Bcc"] is None
    assert answer["In-Reply-To"] is None
    assert len(str(answer["Subject"])) < 200
    assert "\x1b" not in str(answer["Subject"])


def reason(
    *fields: bytes, sender: str | None = "anne@sender.test", to: bytes = b"maire@ville.test", spf: Result = Result.NONE
) -> str:
    head = split(b"".join([*(field + b"\r\n" for field in fields), b"To: " + to + b"\r\n\r\n"]))
    me = parse("maire@ville.test")
    return withheld(parse(sender) if sender else None, head, me, parse("mairie@ville.test"), vouched(spf=spf), Limits())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], ""),
        ([b"Auto-Submitted: no"], ""),
        ([b"Auto-Submitted: (said by) no (a person)"], ""),
        ([b"Auto-Submitted: (said (by (me)) \\) ;) no (a (very) human person)"], ""),
        ([b"Auto-Submitted: no (a\r\n (folded) comment); x=y"], ""),
        ([b"Auto-Submitted: (no) auto-replied"], "auto-submitted"),
        ([b"Auto-Submitted: (no (no) no) auto-replied (no (no))"], "auto-submitted"),
        ([b"Auto-Submitted: (no"], "auto-submitted"),
        ([b"Auto-Submitted: no, auto-replied"], "auto-submitted"),
        ([b"Auto-Submitted:"], "auto-submitted"),
        ([b"Auto-Submitted: auto-generated"], "auto-submitted"),
        ([b"Auto-Submitted: auto-replied; owner-email=x"], "auto-submitted"),
        ([b"Precedence: bulk"], "bulk"),
        ([b"Precedence: LIST"], "bulk"),
        ([b"Precedence: junk"], "bulk"),
        ([b"Precedence: first-class"], ""),
        ([b"List-Id: <conseil.x.test>"], "list"),
        ([b"List-Unsubscribe: <https://x.test>"], "list"),
        ([b"Auto-Submitted: no", b"Auto-Submitted: auto-replied"], "auto-submitted"),
        ([b"X-Auto-Response-Suppress: DR, OOF, AutoReply"], "suppressed"),
        ([b"X-Auto-Response-Suppress: All"], "suppressed"),
        ([b"X-Auto-Response-Suppress: DR, RN"], ""),
        ([b"Content-Type: Multipart/Report; report-type=delivery-status; boundary=b"], "report"),
        ([b"Content-Type: multipart/related; boundary=b"], ""),
        ([b"In-Reply-To: <absence.0a1b2c@Ville.test>"], "answers-a-notice"),
        ([b"References: <absence.0a1b2c@sender.test>"], ""),  # a colleague of theirs was away earlier in the thread
        ([b"References: <1@sender.test>\r\n <absence.0a1b2c@ville.test> <2@x.test>"], "answers-a-notice"),
        ([b"In-Reply-To: <1@absence.test>", b"References: <absence@ville.test>"], ""),
    ],
)
def test_h136_fields_that_withhold_an_answer(fields: list[bytes], expected: str) -> None:
    assert reason(*fields) == expected


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        (None, "null-sender"),
        ("maire@ville.test", "from-oneself"),
        ("Maire+x@ville.test", "from-oneself"),
        ("mailer-daemon@sender.test", "robot"),
        ("owner-liste@sender.test", "robot"),
        ("liste-request@sender.test", "robot"),
        ("liste-bounces+maire=ville.test@sender.test", "robot"),
        ("noreply@sender.test", "robot"),
        ("no-reply@sender.test", "robot"),
        ("no_reply@sender.test", "robot"),
        ("ne-pas-repondre@sender.test", "robot"),
        ("nepasrepondre@sender.test", "robot"),
        ("Ne_Pas_Répondre@sender.test", "robot"),
        ("pas-de-reponse@sender.test", "robot"),
        ("repondre@sender.test", ""),
        ("SRS0=aaaaaaaa=00=x.test=a@sender.test", "robot"),
        ("LISTSERV@sender.test", "robot"),
        ("majordomo@sender.test", "robot"),
        ("norbert@sender.test", ""),
    ],
)
def test_h136_senders_that_get_no_answer(sender: str | None, expected: str) -> None:
    assert reason(sender=sender) == expected


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        (b"mairie@ville.test", ""),  # the alias that led here
        (b"x@y.test, Le Maire <MAIRE+dossier@ville.test>", ""),
        (b"autre@ville.test", "not-addressed"),
        (b"undisclosed-recipients:;", "not-addressed"),
        (b"<<<", "not-addressed"),
    ],
)
def test_who_was_not_addressed_does_not_answer(to: bytes, expected: str) -> None:
    assert reason(to=to) == expected


def test_h135_a_forged_sender_gets_no_answer() -> None:
    assert reason(spf=Result.FAIL) == "sender-forged"
    assert reason(spf=Result.PASS) == ""


OURS = b"From: agent@ville.test\r\nTo: maire@ville.test\r\nSubject: Ordre du jour\r\n\r\nBonjour\r\n"


async def test_who_is_away_answers_what_was_kept_back_when_he_gets_it(away: Away) -> None:
    """RFC 4865: not when it is written, and by the dates of the day on which it arrives."""
    world = away.world
    now = world.clock.now()
    await away.set(starts=now + 3000.0, ends=now + 9000.0)
    world.committer = away.committer
    later = MailParameters(schedule=Schedule(release_at=now + 3600.0, hold="for;3600"))
    for recipients in (("maire@ville.test",), ("maire@ville.test", "x@far.test")):
        status = await world.send(
            world.submission(),
            OURS,
            *recipients,
            sender="agent@ville.test",
            account="agent@ville.test",
            parameters=later,
        )
        assert status.ok
    queue = world.queue
    assert len(await queue.administration.list(None)) == 2  # and no answer
    world.clock.advance(3600.0)
    async with running(world.scheduler(poll=0.01, responder=away.responder)):
        await until(lambda: len(world.store.inbox("maire@ville.test")) == 2)
        await until(lambda: world.store.inbox("agent@ville.test"))
    [answer] = world.store.inbox("agent@ville.test")
    assert b"\r\nSubject: Absence : Ordre du jour\r\n" in answer


@pytest.mark.parametrize("required", [True, False])
async def test_a_later_answer_to_what_requires_tls_requires_it_too(away: Away, *, required: bool) -> None:
    """To what was kept back until a time: RFC 8689 6."""
    await away.set()
    world = away.world
    release = Schedule(release_at=world.clock.now() + 60, hold="for;60")
    asked = MailParameters(schedule=release, require_tls=required)
    status = await world.send(
        world.submission(), OURS, "maire@ville.test", sender="agent@ville.test", account="agent@ville.test",
        parameters=asked,
    )  # fmt: skip
    assert status.ok
    entered: list[NewMessage] = []
    enqueue = world.queue.enqueue

    async def seen(new: NewMessage) -> list[int]:
        entered.append(new)
        return await enqueue(new)

    world.queue.enqueue = seen  # type: ignore[method-assign]  # watches
    world.clock.advance(60.0)
    async with running(world.scheduler(poll=0.01, responder=away.responder)):
        await until(lambda: world.store.inbox("agent@ville.test"))
    assert [new.require_tls for new in entered] == [required]


async def test_what_failed_at_first_is_answered_once(away: Away) -> None:
    """When it was accepted: its sender does not wait for room in a full mailbox to hear that nobody reads it."""
    world = away.world
    await away.set()
    world.store.failures["deliver:maire@ville.test"] = [QuotaError("full")]
    world.committer = away.committer
    assert (
        await world.send(
            world.submission(), OURS, "maire@ville.test", "agent@ville.test", sender="agent@ville.test",
            account="agent@ville.test",
        )
    ).ok  # fmt: skip
    world.clock.advance(900.0)
    async with running(world.scheduler(poll=0.01, responder=away.responder)):
        await until(lambda: world.store.inbox("maire@ville.test"))
        await until(lambda: len(world.store.inbox("agent@ville.test")) == 2)


async def test_an_answer_to_what_requires_tls_requires_it_too(away: Away) -> None:
    """RFC 8689 6: it tells the subject."""
    await away.set()
    world = away.world
    for required in (True, False):
        sender = f"anne{required}@sender.test"
        mail = MAIL.replace(b"anne@sender.test", sender.encode())
        inbound: Inbound[Any] = Inbound(
            world.config, world.directory, world.store, world.authenticator, None, away.committer, world.clock
        )
        asked = MailParameters(require_tls=required)
        assert (await world.send(inbound, mail, "maire@ville.test", sender=sender, parameters=asked)).ok
        [item] = await world.queue.claim(world.scheduler()._destinations.selection())
        assert item.message.require_tls is required


class Broken(Responder):
    """Meets a bug where the answer is made."""

    async def _message(self, *_: Any) -> Any:
        raise RuntimeError("bug")


@pytest.mark.parametrize("kept_back", [0.0, 3600.0])
async def test_a_bug_in_an_answer_costs_neither_the_delivery_nor_a_second_copy(
    away: Away, kept_back: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was kept back was deferred as "agent-failed" with the message in its mailbox; what came in ended its session
    after the commit, and its sender came again."""
    world = away.world
    limits = world.config.limits
    responder = Broken(world.queue, world.directory, NoKeys(), world.clock, world.ids, limits, HOST)
    world.committer = Committer(world.store, world.queue, world.rules, responder=responder)
    await away.set()
    release = world.clock.now() + kept_back
    later = MailParameters(schedule=Schedule(release_at=release, hold="for;3600") if kept_back else Schedule())
    me, to = "agent@ville.test", "maire@ville.test"
    assert (await world.send(world.submission(), OURS, to, sender=me, account=me, parameters=later)).ok
    world.clock.advance(kept_back)
    async with running(world.scheduler(poll=0.01, responder=responder)):
        await until(lambda: world.store.inbox(to))
        async with asyncio.timeout(10):
            while await world.queue.administration.list(None):
                await asyncio.sleep(0.01)
    assert len(world.store.inbox(to)) == 1
    told = capsys.readouterr().out
    assert "RuntimeError: bug" in told
    assert "agent-failed" not in told
