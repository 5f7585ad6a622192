"""What leaves has a header that everybody can carry and that tells nobody of the sender's network."""

from __future__ import annotations

from email import message_from_bytes, policy
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.config import Delivery, Limits
from core.status import Status
from delivery.hygiene import clean
from delivery.types import MailParameters
from message.header import split
from tests.delivery.conftest import OneKey, World
from tests.delivery.test_submission import ME, mail, sent_bytes, submit, verified

BASE = b"From: a@b.fr\r\nSubject: x\r\n"


def cleaned(fields: bytes, *, smtputf8: bool = False) -> bytes | str:
    found = clean(split(BASE + fields + b"\r\n"), Limits(), smtputf8=smtputf8)
    if isinstance(found, Status):
        return f"{found.code} {found.enhanced} {found.reason}"
    raw = bytes(found)
    assert raw.startswith(BASE)
    assert raw.endswith(b"\r\n\r\n") or raw == BASE + b"\r\n"
    return raw.removeprefix(BASE).removesuffix(b"\r\n")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"To: x@y.fr\r\nX-A: b\r\n\tc\r\n", b"To: x@y.fr\r\nX-A: b\r\n\tc\r\n"),
        (b"Date: Sun, 22 Nov 2026 15:43:36 +0100\r\n", b"Date: Sun, 22 Nov 2026 15:43:36 +0100\r\n"),
        (b"Date: 2026-11-22 15:43\r\n", b""),  # made anew
        (b"Message-ID: <a@b>\r\n", b"Message-ID: <a@b>\r\n"),
        (b"Message-ID: copier 7\r\n", b""),
        (b"Received: from pc (pc [192.168.1.7]) by lan; x\r\nX-A: b\r\n", b"X-A: b\r\n"),
        (b"Received: from pc ([10.0.0.1])\r\n\tby lan; x\r\n", b""),
        (b"Received: from pc ([IPv6:fe80::1]) by lan; x\r\n", b""),
        (b"Received: from mx ([8.8.8.8]) by far; x\r\n", b"Received: from mx ([8.8.8.8]) by far; x\r\n"),
        (b"Received: from [999.1] by far; x\r\n", b"Received: from [999.1] by far; x\r\n"),
        (b"X-Originating-IP: [10.1.2.3]\r\n", b""),
        # addresses that break the grammar, in fields that say nothing of the author
        (b"To: x@y.fr,, <z@y.fr\r\nCc: nobody; a b@\r\n", b"To: x@y.fr,, <z@y.fr\r\nCc: nobody; a b@\r\n"),
        # 8-bit text
        ("X-Note: été\r\n".encode(), b"X-Note: =?utf-8?b?w6l0w6k=?=\r\n"),
        ("X-Note: été\r\n".encode("latin-1"), b"X-Note: =?utf-8?b?w6l0w6k=?=\r\n"),
        ("To: Hélène <h@y.fr>, b@y.fr\r\n".encode(), b"To: =?utf-8?b?SMOpbMOobmU=?= <h@y.fr>, b@y.fr\r\n"),
        (
            'Content-Disposition: attachment; filename="été.pdf"\r\n'.encode(),
            b"Content-Disposition: attachment; filename*=utf-8''%C3%A9t%C3%A9.pdf\r\n",
        ),
        ("To: é@y.fr\r\n".encode(), "550 5.6.7 8bit-header"),
        ("To: équipe: b@y.fr;\r\n".encode(), "550 5.6.7 8bit-header"),
        ("References: <é@y.fr>\r\n".encode(), "550 5.6.7 8bit-header"),
        ("Content-Type: téxt/plain\r\n".encode(), "550 5.6.7 8bit-header"),
        ("Été\r\n".encode(), "550 5.6.7 8bit-header"),  # no field at all
        # twice
        (b"To: x@y.fr\r\nTo: z@y.fr\r\n", "550 5.6.0 repeated-field"),
        (b"MIME-Version: 1.0\r\nX-A: b\r\nMime-Version:  1.0\r\n", b"MIME-Version: 1.0\r\nX-A: b\r\n"),
        (b"Date: Sun, 22 Nov 2026 15:43:36 +0100\r\nDATE: x\r\n", "550 5.6.0 repeated-field"),
        (b"Message-ID: <a@b>\r\nMessage-Id: <c@d>\r\n", "550 5.6.0 repeated-field"),
        (b"Subject: y\r\n", "550 5.6.0 repeated-field"),
        (b"Content-Type: a/b\r\nContent-Type: c/d\r\n", "550 5.6.0 repeated-field"),
        # long lines: at the limit, one past it
        (b"X-A: " + b"y" * 993 + b"\r\n", b"X-A: " + b"y" * 993 + b"\r\n"),
        (b"X-A: " + b"y" * 994 + b"\r\n", b"X-A:\r\n " + b"y" * 994 + b"\r\n"),
        (b"X-A: " + b"y" * 997 + b"\r\n", b"X-A:\r\n " + b"y" * 997 + b"\r\n"),
        (b"X-A: " + b"y" * 998 + b"\r\n", "550 5.6.0 header-line-too-long"),
        (b"X-A: y " + b"z" * 991 + b" z\r\n", b"X-A: y\r\n " + b"z" * 991 + b" z\r\n"),
    ],
)
def test_the_table(fields: bytes, expected: bytes | str) -> None:
    assert cleaned(fields) == expected


def test_with_smtputf8_text_stays_as_it_is() -> None:
    fields = "To: Hélène <h@y.fr>\r\n".encode()
    assert cleaned(fields, smtputf8=True) == fields


def test_a_long_list_of_recipients_is_folded_and_means_the_same() -> None:
    addresses = ", ".join(f"Agent {number} <agent{number}@ville.test>" for number in range(200))
    raw = cleaned(f"To: {addresses}\r\n".encode())
    assert isinstance(raw, bytes)
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    parsed: Any = message_from_bytes(raw + b"\r\n", policy=policy.default)
    assert [address.addr_spec for address in parsed["To"].addresses] == [f"agent{n}@ville.test" for n in range(200)]


def test_a_fold_never_makes_a_line_of_blanks() -> None:
    raw = cleaned(b"X-A: b" + b" " * 2000 + b"c\r\n")
    assert isinstance(raw, str) or all(line.strip() for line in raw.rstrip(b"\r\n").split(b"\r\n"))


# --- the whole way ---------------------------------------------------------------------------------------------------


async def signing(world: World) -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.generate()

    world.keys = OneKey(key)
    return key


async def test_what_was_mended_is_what_is_signed(world: World) -> None:
    key = await signing(world)
    data = mail(ME, "X-Note: été", "Date: hier", "Received: from pc ([10.0.0.1]) by lan; x", "Bcc: secret@y.test")
    assert await submit(world, data) == "250 2.0.0 accepted"
    [sent] = await sent_bytes(world)
    head = sent[: sent.index(b"\r\n\r\n")]
    assert head.isascii()
    assert b"10.0.0.1" not in head
    assert b"secret@y.test" not in head
    parsed = message_from_bytes(sent)
    for name in ("Date", "From", "Message-ID"):
        assert len(parsed.get_all(name, [])) == 1
    assert await verified(sent, key) == "pass"


async def test_lines_too_long_for_others_leave_in_base64(world: World) -> None:
    """At the limit nothing is touched, one octet past it the part is encoded; what it says stays."""
    key = await signing(world)
    for length in (998, 999):
        text = "é" * ((length - 1) // 2) + "x" * (1 + (length - 1) % 2)
        assert len(text.encode()) == length
        data = mail(ME, "MIME-Version: 1.0", "Content-Type: text/html; charset=utf-8", body=text + "\r\n")
        assert await submit(world, data, f"x{length}@ailleurs.test") == "250 2.0.0 accepted"
    kept, encoded = await sent_bytes(world)
    assert kept.endswith(b"x\r\n")
    assert message_from_bytes(encoded)["Content-Transfer-Encoding"] == "base64"
    assert message_from_bytes(encoded).get_payload(decode=True) == (text + "\r\n").encode()
    assert max(map(len, encoded.split(b"\r\n"))) <= 998
    assert await verified(encoded, key) == "pass"


async def test_long_lines_that_cannot_be_encoded_are_refused(world: World) -> None:
    part = "--b\r\nContent-Type: text/plain\r\n\r\n" + "y" * 1200 + "\r\n--b--\r\n"
    signed = mail(ME, 'Content-Type: multipart/signed; boundary="b"', body=part)
    assert await submit(world, signed) == "550 5.6.0 line-too-long"
    encoded = mail(ME, "Content-Transfer-Encoding: base64", body="y" * 1200 + "\r\n")
    assert await submit(world, encoded) == "550 5.6.0 line-too-long"
    mixed = mail(ME, 'Content-Type: multipart/mixed; boundary="b"', body=part)
    assert await submit(world, mixed) == "250 2.0.0 accepted"


async def test_smtputf8_lets_8_bit_headers_leave(world: World) -> None:
    status = await world.send(
        world.submission(),
        mail(ME, "X-Note: été"),
        "x@ailleurs.test",
        sender=ME,
        account=ME,
        parameters=MailParameters(smtputf8=True),
    )
    assert status.ok
    [sent] = await sent_bytes(world)
    assert "X-Note: été\r\n".encode() in sent


async def test_rfc6409_4_2_a_recipients_domain_is_whole(world: World) -> None:
    assert await submit(world, mail(), "x@intranet") == "550 5.1.2 unqualified-domain"
    world.config = world.config.model_copy(update={"delivery": Delivery(routes={"intranet": "192.0.2.1:25"})})
    assert await submit(world, mail(), "x@intranet") == "250 2.0.0 accepted"


@pytest.mark.parametrize("name", ["To", "Cc", "Reply-To", "Resent-To"])
async def test_rfc6409_4_2_domains_in_the_header_are_whole(world: World, name: str) -> None:
    message = mail().replace(b"To: x@ailleurs.test\r\n", b"")
    field = f"{name}: Paul <paul@far.test>, groupe: copieur@intranet;\r\n".encode()
    assert await submit(world, field + message) == "554 5.6.0 unqualified-domain"
    world.config = world.config.model_copy(update={"delivery": Delivery(routes={"intranet": "192.0.2.1:25"})})
    assert await submit(world, field + message) == "250 2.0.0 accepted"
    odd = f"{name}: undisclosed-recipients:;, a@[192.0.2.1], sans domaine, x@\r\n".encode()
    assert await submit(world, odd + message) == "250 2.0.0 accepted"
