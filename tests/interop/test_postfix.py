"""Postfix delivers to our MX, and receives what our queue sends."""

from __future__ import annotations

import smtplib

import pytest

from tests.interop.conftest import AUBIN, FLEURI, PARTNER, PASSWORD, World, settled
from tests.interop.mail import JUNK, await_mark, body, find, marked, parsed
from tests.peers.process import wait_until

pytestmark = pytest.mark.interop


def send_through_partner(world: World, sender: str, recipients: list[str], raw: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", world.partner.port, timeout=30) as client:
        client.sendmail(sender, recipients, raw, mail_options=["BODY=8BITMIME"])


def submit(world: World, user: str, recipients: list[str], raw: bytes, password: str = PASSWORD) -> None:
    with smtplib.SMTP("127.0.0.1", world.ports["submission"], timeout=30) as client:
        client.starttls(context=world.suite.tls())
        client.user, client.password = user, password
        client.ehlo()
        client.auth("PLAIN", lambda _=None: f"\0{user}\0{password}")
        client.sendmail(user, recipients, raw, mail_options=["BODY=8BITMIME"])


def test_postfix_delivers_to_a_mairie_byte_for_byte(world: World) -> None:
    message = marked(f"alice@{PARTNER}", f"secretariat@{AUBIN}")
    send_through_partner(world, f"alice@{PARTNER}", [f"secretariat@{AUBIN}"], message.raw)
    raw = await_mark(world, f"secretariat@{AUBIN}", message.mark)
    assert body(raw) == body(message.raw)
    head = parsed(raw)
    results = str(head["Authentication-Results"])
    assert results.startswith("mx.dept.test;")
    assert "spf=pass" in results
    assert "dmarc=pass" in results
    assert head["Return-Path"] == f"<alice@{PARTNER}>"
    assert "ESMTPS" in str(head.get_all("Received", [])[0])


def test_postfix_delivers_to_both_communes_and_through_an_alias(world: World) -> None:
    message = marked(f"alice@{PARTNER}", f"contact@{AUBIN}")
    send_through_partner(world, f"alice@{PARTNER}", [f"contact@{AUBIN}", f"mairie@{FLEURI}"], message.raw)
    for user in (f"secretariat@{AUBIN}", f"maire@{AUBIN}", f"mairie@{FLEURI}"):
        assert body(await_mark(world, user, message.mark)) == body(message.raw)


def test_a_large_message_arrives_whole(world: World) -> None:
    message = marked(f"alice@{PARTNER}", f"urbanisme@{AUBIN}", size=5_000_000)
    send_through_partner(world, f"alice@{PARTNER}", [f"urbanisme@{AUBIN}"], message.raw)
    assert body(await_mark(world, f"urbanisme@{AUBIN}", message.mark)) == body(message.raw)


def test_a_spoofed_domain_is_rejected_and_a_quarantined_one_goes_to_junk(world: World) -> None:
    spoofed = marked("conseiller@banque.test", f"compta@{FLEURI}")
    with smtplib.SMTP("127.0.0.1", world.ports["mx"], timeout=30) as client, pytest.raises(smtplib.SMTPDataError) as no:
        client.sendmail("conseiller@banque.test", [f"compta@{FLEURI}"], spoofed.raw)
    assert no.value.smtp_code == 550
    assert b"5.7.1" in no.value.smtp_error
    suspect = marked("facture@fournisseur.test", f"compta@{FLEURI}")
    with smtplib.SMTP("127.0.0.1", world.ports["mx"], timeout=30) as client:
        client.sendmail("facture@fournisseur.test", [f"compta@{FLEURI}"], suspect.raw)
    await_mark(world, f"compta@{FLEURI}", suspect.mark, JUNK)
    assert not find(world, f"compta@{FLEURI}", spoofed.mark)


def test_an_answer_leaves_signed_to_the_partners_mx(world: World) -> None:
    message = marked(f"secretariat@{AUBIN}", f"bob@{PARTNER}", extra="Bcc: cache@example.test\r\n")
    submit(world, f"secretariat@{AUBIN}", [f"bob@{PARTNER}"], message.raw)
    wait_until(lambda: any(message.mark.encode() in raw for raw in world.partner.messages("bob")), what="bob's mail")
    raw = next(raw for raw in world.partner.messages("bob") if message.mark.encode() in raw)
    head = parsed(raw)
    assert head["Bcc"] is None
    assert len(head.get_all("DKIM-Signature", [])) == 2
    assert "dkim=pass" in str(head["Authentication-Results"]), head["Authentication-Results"]
    crlf = raw.replace(b"\n", b"\r\n")
    assert body(crlf) == body(message.raw)
    verdict = world.rspamd.check(
        crlf.partition(b"\r\n")[2], {"IP": "127.0.0.1", "From": f"secretariat@{AUBIN}", "Helo": "mx.dept.test"}
    )
    symbols = verdict["symbols"]
    assert isinstance(symbols, dict)
    assert "R_DKIM_ALLOW" in symbols, symbols
    assert "DMARC_POLICY_ALLOW" in symbols, symbols
    settled(world)


def test_a_commune_writes_to_its_neighbour_without_leaving(world: World) -> None:
    message = marked(f"maire@{AUBIN}", f"mairie@{FLEURI}")
    submit(world, f"maire@{AUBIN}", [f"mairie@{FLEURI}"], message.raw)
    assert body(await_mark(world, f"mairie@{FLEURI}", message.mark)) == body(message.raw)


def test_an_unknown_remote_recipient_comes_back_as_a_bounce(world: World) -> None:
    message = marked(f"secretariat@{AUBIN}", f"nobody@{PARTNER}")
    submit(world, f"secretariat@{AUBIN}", [f"nobody@{PARTNER}"], message.raw)
    raw = await_mark(world, f"secretariat@{AUBIN}", f"nobody@{PARTNER}")
    report = parsed(raw)
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    assert b"Action: failed" in raw
    assert b"Status: 5.1.1" in raw
    assert report["Return-Path"] == "<>"
    settled(world)
