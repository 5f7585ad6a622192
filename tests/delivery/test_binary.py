"""BODY=BINARYMIME at both doors: verified as it came, kept and signed as lines (RFC 3030 3)."""

from __future__ import annotations

from email import message_from_bytes

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.config import Limits
from delivery.types import BINARY, MailParameters
from tests.delivery.conftest import OneKey, World
from tests.delivery.test_submission import ME, sent_bytes, verified

OCTETS = bytes(range(256)) * 1200  # past what a spool keeps in memory
ASKED = MailParameters(body=BINARY)


def mail(octets: bytes = OCTETS, *fields: str) -> bytes:
    lines = [f"From: {ME}", "Subject: Essai", "MIME-Version: 1.0", "Content-Type: application/pdf", *fields]
    return ("\r\n".join(lines) + "\r\nContent-Transfer-Encoding: binary\r\n\r\n").encode() + octets


async def test_on_the_mx_signatures_are_checked_over_what_came_and_lines_are_kept(world: World) -> None:
    status = await world.send(world.inbound(), mail(), ME, parameters=ASKED, block=10_000)
    assert status.ok, status
    seen = world.authenticator.seen
    assert seen is not None
    assert seen.body == OCTETS
    [kept] = world.store.inbox(ME)
    parsed = message_from_bytes(kept)
    assert parsed["Content-Transfer-Encoding"] == "base64"
    assert parsed.get_payload(decode=True) == OCTETS
    assert kept.count(b"\n") == kept.count(b"\r\n")


async def test_on_submission_lines_leave_and_are_what_is_signed(world: World) -> None:
    key = Ed25519PrivateKey.generate()

    world.keys = OneKey(key)
    status = await world.send(world.submission(), mail(), "x@ailleurs.test", sender=ME, account=ME, parameters=ASKED)
    assert status.ok, status
    [sent] = await sent_bytes(world)
    assert message_from_bytes(sent).get_payload(decode=True) == OCTETS
    assert await verified(sent, key) == "pass"
    [queued] = await world.queue.administration.list(None)
    assert queued.size == len(sent)


async def test_h001_what_is_no_binary_part_is_refused_for_its_lines(world: World) -> None:
    data = mail().replace(b"binary", b"8bit")
    for door, account in ((world.inbound(), ""), (world.submission(), ME)):
        status = await world.send(door, data, ME, sender=ME, account=account, parameters=ASKED)
        assert (status.code, status.enhanced, status.reason) == (550, "5.5.2", "bare-line-end")
    assert not world.store.boxes


async def test_h040_the_limit_of_a_message_holds_for_what_is_kept(world: World) -> None:
    """At the limit after conversion, and one octet past it."""
    head = mail(b"")
    for octets, reason in ((57 * 100, ""), (57 * 100 + 1, "message-too-large")):
        room = len(head) + 57 * 100 // 57 * 78
        world.config = world.config.model_copy(update={"limits": Limits(message_size=str(room))})
        status = await world.send(world.inbound(), mail(b"\0" * octets), ME, parameters=ASKED)
        assert ("" if status.ok else status.reason) == reason


async def test_h060_too_many_parts_to_convert_are_refused(world: World) -> None:
    world.config = world.config.model_copy(update={"limits": Limits(mime_parts=10)})
    part = b"\r\n--b\r\nContent-Transfer-Encoding: binary\r\n\r\n\0"
    data = f"From: {ME}\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n".encode() + part * 10 + b"\r\n--b--\r\n"
    status = await world.send(world.inbound(), data, ME, parameters=ASKED)
    assert (status.code, status.enhanced, status.reason) == (554, "5.6.3", "binary-parts")
