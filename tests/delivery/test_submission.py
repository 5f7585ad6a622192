"""A message from one of our people: whose name it bears, what is added and removed, where it goes."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from antispam.authentication.dkim import DkimVerification
from core.clock import ManualClock
from core.config import Limits
from core.envelope import Dsn
from core.errors import StorageError, TemporaryError
from delivery.types import MailParameters
from directory.types import State
from message.header import split
from tests.delivery.conftest import HOST, OneKey, World
from tests.fakes.delivery_world import FakeStore
from tests.fakes.resolver import FakeResolver

ME = "maire@ville.test"


def mail(author: str = ME, *fields: str, body: str = "Texte.\r\n") -> bytes:
    lines = [f"From: {author}", "To: x@ailleurs.test", "Subject: Essai", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


async def submit(
    world: World,
    data: bytes,
    *to: str,
    sender: str = ME,
    account: str = ME,
    dsn: Dsn | None = None,
    parameters: MailParameters | None = None,
) -> str:
    recipients = to or ("x@ailleurs.test",)
    status = await world.send(
        world.submission(), data, *recipients, sender=sender, account=account, dsn=dsn, parameters=parameters
    )
    return f"{status.code} {status.enhanced} {status.reason}"


async def sent_bytes(world: World) -> list[bytes]:
    out = []
    for claimed in await world.queue.claim(world.scheduler()._destinations.selection()):
        content = await world.queue.content(claimed.message)
        out.append(content.read(0, content.size))
    return out


async def test_a_message_leaves_complete_signed_last_and_without_secrets(world: World) -> None:
    key = Ed25519PrivateKey.generate()

    world.keys = OneKey(key)
    data = mail(ME, "Bcc: secret@ailleurs.test", "X-Spam-Flag: NO", f"Authentication-Results: {HOST}; dmarc=pass")
    assert await submit(world, data) == "250 2.0.0 accepted"
    [sent] = await sent_bytes(world)
    assert sent.startswith(b"DKIM-Signature: ")
    assert b"secret@ailleurs.test" not in sent
    assert b"192.0.2.7" not in sent
    assert b"client.sender.test" not in sent
    assert b"X-Spam-Flag" not in sent
    assert f"Authentication-Results: {HOST}".encode() not in sent
    assert re.search(rb"\r\nMessage-ID: <[a-z0-9]+@ville\.test>\r\n", sent)
    assert re.search(rb"\r\nDate: [A-Z][a-z]{2}, ", sent)
    assert b"Return-Path" not in sent
    assert sent.endswith(b"\r\n\r\nTexte.\r\n")
    result = await verified(sent, key)
    assert result == "pass"


async def verified(sent: bytes, key: Ed25519PrivateKey) -> str:
    """An independent reading of our signature: the verifier of the receiving side."""
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    resolver = FakeResolver({"s1._domainkey.ville.test": {"TXT": [f"v=DKIM1; k=ed25519; p={public}".encode()]}})
    head, body = sent[: sent.index(b"\r\n\r\n") + 4], sent[sent.index(b"\r\n\r\n") + 4 :]
    verification = DkimVerification(split(head), Limits())
    verification.feed(body)
    [result] = await verification.finish(resolver, ManualClock().now())
    return result.result.value


async def test_date_and_message_id_of_the_client_stay(world: World) -> None:
    date = "Date: Sun, 22 Nov 2026 15:43:36 +0100"
    await submit(world, mail(ME, date, "Message-ID: <mine@client>"))
    [sent] = await sent_bytes(world)
    assert sent.count(b"Date:") == 1
    assert date.encode() in sent
    assert b"Message-ID: <mine@client>\r\n" in sent
    assert sent.count(b"Message-ID:") == 1


@pytest.mark.parametrize(
    ("author", "sender", "expected"),
    [
        (ME, ME, "250 2.0.0 accepted"),
        ("Le Maire <MAIRE+x@ville.test>", "maire+y@ville.test", "250 2.0.0 accepted"),
        ("agent@ville.test", ME, "553 5.7.1 sender-not-owned"),
        ("voisin@bourg.test", ME, "553 5.7.1 sender-not-owned"),
        (ME, "voisin@bourg.test", "553 5.7.1 sender-not-owned"),
        (ME, "boss@ailleurs.test", "553 5.7.1 sender-not-owned"),
        (f"{ME}, agent@ville.test", ME, "553 5.7.1 sender-not-owned"),
        ("a@ville.test: b@ville.test;", ME, "550 5.7.1 group-in-from"),
        (f"{ME}\r\nFrom: agent@ville.test", ME, "550 5.7.1 several-from-fields"),
        (f"{ME}\r\nSender: agent@ville.test", ME, "553 5.7.1 sender-not-owned"),
        (f"{ME}\r\nSender: {ME}\r\nSender: {ME}", ME, "550 5.7.1 bad-sender"),
        (f"{ME}\r\nSender: {ME}, x@y.test", ME, "550 5.7.1 bad-sender"),
        ("=?utf-8?q?maire=40ville.test?=", ME, "550 5.7.1 address-without-domain"),
        (f'"a" <{ME}> <x@evil.test>', ME, "550 5.7.1 malformed-from"),
        ("", ME, "550 5.7.1 malformed-from"),
    ],
)
async def test_h051_nobody_writes_in_anothers_name(world: World, author: str, sender: str, expected: str) -> None:
    assert await submit(world, mail(author), sender=sender) == expected
    if not expected.startswith("250"):
        assert await world.queue.administration.list(None) == []
        assert world.store.boxes == {}


async def test_h051_a_space_before_the_colon_does_not_hide_an_author(world: World) -> None:
    data = b"From : agent@ville.test\r\n" + mail()
    assert (await submit(world, data)).startswith("550 5.7.1")
    assert (await submit(world, mail().replace(b"From:", b"X-From:"))) == "550 5.7.1 no-from"


async def test_a_grant_lets_send_as_another(world: World) -> None:
    world.directory.grants.add((f"id-{ME}", "contact@ville.test"))
    assert await submit(world, mail("contact@ville.test"), sender="contact@ville.test") == "250 2.0.0 accepted"


async def test_h053_a_read_receipt_may_have_a_null_sender_when_its_from_is_owned(world: World) -> None:
    assert await submit(world, mail(), sender="") == "250 2.0.0 accepted"
    assert await submit(world, mail("agent@ville.test"), sender="") == "553 5.7.1 sender-not-owned"


async def test_a_suspended_account_sends_nothing_from_that_moment(world: World) -> None:
    world.directory.account(ME, state=State.SUSPENDED)
    assert await submit(world, mail()) == "550 5.7.1 suspended"
    assert await submit(world, mail(), account="") == "530 5.7.0 no-login"


async def test_unknown_people_of_ours_are_refused_at_rcpt_and_others_relayed(world: World) -> None:
    assert await submit(world, mail(), "nul@ville.test") == "550 5.1.1 unknown-user"
    assert await submit(world, mail(), "x@ailleurs.test") == "250 2.0.0 accepted"
    [shown] = await world.queue.administration.list(None)
    assert (shown.organisation_id, shown.sender) == ("ville.test", ME)


async def test_local_recipients_have_it_before_250_and_remote_ones_are_queued_before_that(world: World) -> None:
    assert (
        await submit(world, mail(), "agent@ville.test", "voisin@bourg.test", "x@ailleurs.test") == "250 2.0.0 accepted"
    )
    [stored] = world.store.inbox("agent@ville.test")
    assert stored.startswith(f"Return-Path: <{ME}>\r\nAuthentication-Results: {HOST};\r\n\tauth=pass".encode())
    assert stored.endswith(b"Texte.\r\n")
    assert world.store.inbox("voisin@bourg.test") == [stored]
    [shown] = await world.queue.administration.list(None)
    states = {item.address: item.state for item in shown.recipients}
    assert states == {"agent@ville.test": "delivered", "voisin@bourg.test": "delivered", "x@ailleurs.test": "waiting"}
    assert {shown.organisation_id for shown in await world.queue.administration.list("bourg.test")} == {"bourg.test"}


async def test_eight_bit_is_what_the_octets_say_not_what_body_promised(world: World) -> None:
    await submit(world, mail(body="été\r\n"))
    await submit(world, mail(body="ete\r\n"))
    jobs = await world.queue.claim(world.scheduler()._destinations.selection())
    assert [job.message.body for job in jobs] == ["8BITMIME", "7BIT"]


async def test_limits_per_message_and_per_day_hold_at_the_limit_and_one_past_it(world: World) -> None:
    limits = Limits(recipients_submission=3, account_recipients_per_day=5, exempt=["198.51.100.0/24"])
    world.config = world.config.model_copy(update={"limits": limits})
    to = [f"x{n}@ailleurs.test" for n in range(4)]
    assert await submit(world, mail(), *to) == "250 2.0.0 accepted"
    [shown] = await world.queue.administration.list(None)
    assert len(shown.recipients) == 3
    assert await submit(world, mail(), *to[:2]) == "250 2.0.0 accepted"
    assert await submit(world, mail()) == "450 4.7.1 daily-limit"
    world.clock.advance(86400)
    assert await submit(world, mail()) == "250 2.0.0 accepted"


async def test_exempt_networks_have_no_daily_limit(world: World) -> None:
    limits = Limits(account_recipients_per_day=0, exempt=["192.0.2.0/24"])
    world.config = world.config.model_copy(update={"limits": limits})
    assert await submit(world, mail()) == "250 2.0.0 accepted"


async def test_a_message_refused_for_its_author_is_not_counted(world: World) -> None:
    await submit(world, mail("agent@ville.test"))
    assert await world.queue.sent_recently(f"id-{ME}") == 0
    await submit(world, mail())
    assert await world.queue.sent_recently(f"id-{ME}") == 1


async def test_a_message_that_could_not_be_kept_is_not_counted(world: World) -> None:
    """A mail program that tries again while a disk is full used up its day without sending anything."""
    world.store.failures["stage"] = [StorageError("full", code="storage-full")]
    assert (await submit(world, mail(), "agent@ville.test", "x@ailleurs.test")).startswith("452")
    assert await world.queue.sent_recently(f"id-{ME}") == 0
    world.clock.advance(3600)
    await submit(world, mail(), "agent@ville.test", "x@ailleurs.test")
    assert await world.queue.sent_recently(f"id-{ME}") == 2


async def test_the_loop_guard_and_the_size_hold_for_our_people_too(world: World) -> None:
    assert await submit(world, b"Received: x\r\n" * 50 + mail()) == "554 5.4.6 mail-loop"
    parameters = MailParameters(size=10**9)
    status = await world.send(
        world.submission(), mail(), "x@ailleurs.test", sender=ME, account=ME, parameters=parameters
    )
    assert (status.code, status.enhanced) == (552, "5.3.4")


async def test_f149_nothing_is_kept_when_the_queue_or_the_disk_refuses(world: World) -> None:
    store: FakeStore = world.store
    store.failures["stage"] = [StorageError("full", code="storage-full")]
    assert (await submit(world, mail(), "agent@ville.test", "x@ailleurs.test")).startswith("452 4.3.1")
    assert await world.queue.administration.list(None) == []

    async def broken(*_: object) -> list[int]:
        raise TemporaryError("busy")

    queue: Any = world.queue
    queue.enter = broken
    assert (await submit(world, mail(), "agent@ville.test", "x@ailleurs.test")).startswith("451 4.3.0")
    assert store.boxes == {}


async def test_dsn_wishes_travel_with_the_recipient(world: World) -> None:
    await submit(world, mail(), dsn=Dsn(frozenset({"NEVER"}), "rfc822;x@ailleurs.test"))
    [claimed] = await world.queue.claim(world.scheduler()._destinations.selection())
    assert claimed.recipients[0].dsn == Dsn(frozenset({"NEVER"}), "rfc822;x@ailleurs.test")
    assert claimed.message.account_id == f"id-{ME}"


@pytest.mark.parametrize(
    ("said", "kept"),
    [(None, ME), ("", ""), (ME, ME), ("voisin@bourg.test", ""), ("nobody", ""), ("x@ailleurs.test", "")],
)
async def test_who_submitted_is_known_as_far_as_the_login_vouches_for_it(
    world: World, said: str | None, kept: str
) -> None:
    """RFC 4954 5."""
    assert (await submit(world, mail(), parameters=MailParameters(auth=said))).startswith("250")
    [claimed] = await world.queue.claim(world.scheduler()._destinations.selection())
    assert claimed.message.submitter == kept
