"""A real Postfix sends to our MX at every level of TLS that it knows, through refusals for now, and through cuts."""

from __future__ import annotations

import time

import pytest

from tests.interop.mail import await_mark, body, find, marked, parsed, seven_bit
from tests.interop.ways import ALICE, HOME, SENDING, UNDELIVERED, Ways
from tests.peers.process import wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

REACHED = [domain for domain in SENDING if domain not in (*UNDELIVERED, "in-cut.test")]


def postfix_says(place: Ways, recipient: str, since: int = 0) -> list[str]:
    """Its log's lines about a recipient."""
    return [line for line in place.postfix.log()[since:].splitlines() if f"to=<{recipient}>" in line]


@pytest.mark.parametrize("domain", REACHED)
def test_postfix_reaches_us_at_every_level_of_tls(place: Ways, domain: str) -> None:
    """None, may, encrypt; verify and secure against our name; DANE against our key in a signed zone."""
    message = marked(ALICE, f"box@{domain}")
    place.hand_over([f"box@{domain}"], message.raw)
    raw = await_mark(place, f"box@{domain}", message.mark)
    assert body(raw) == body(message.raw)
    received = " ".join(str(parsed(raw).get_all("Received", [])[0]).split())
    assert f" with {'ESMTP' if domain == 'in-none.test' else 'ESMTPS'} " in received
    if domain not in ("in-none.test", "in-may.test", "in-encrypt.test"):
        assert "Verified TLS connection established to mx.dept.test[127.0.0.1]" in place.postfix.log()


@pytest.mark.parametrize(
    ("domain", "reason"),
    [
        ("in-elsewhere.test", "Server certificate not verified"),
        ("in-mismatch.test", "Server certificate not verified"),
        ("in-bogus.test", "Host or domain name not found"),
    ],
)
def test_postfix_holds_mail_back_when_our_key_or_name_is_another(place: Ways, domain: str, reason: str) -> None:
    message = marked(ALICE, f"box@{domain}")
    place.hand_over([f"box@{domain}"], message.raw)
    wait_until(lambda: postfix_says(place, f"box@{domain}"), what="an attempt of Postfix")
    line = postfix_says(place, f"box@{domain}")[0]
    assert "status=deferred" in line
    assert reason in line
    assert not find(place, f"box@{domain}", message.mark)


@pytest.mark.parametrize(("where", "most"), [("before", 1), ("after", 2)])
def test_f144_postfix_whose_connection_is_cut_around_the_dot_tries_again(place: Ways, where: str, most: int) -> None:
    """Cut before the dot we keep nothing (P2). After it we have the message and Postfix does not know: it may come
    twice, never more, and never not."""
    place.cut_in.where = "before" if where == "before" else "after"
    place.cut_in.cuts, done = 1, place.cut_in.done
    message = marked(ALICE, "box@in-cut.test")
    place.hand_over(["box@in-cut.test"], message.raw)
    wait_until(lambda: place.cut_in.done == done + 1, what="the cut", timeout=60)
    wait_until(
        lambda: any("status=sent" in line for line in postfix_says(place, "box@in-cut.test")[done:]),
        what="Postfix to deliver",
        timeout=60,
    )
    wait_until(lambda: len(find(place, "box@in-cut.test", message.mark)) >= most, what="the copies")
    copies = find(place, "box@in-cut.test", message.mark)
    assert len(copies) == most
    assert {body(raw) for raw in copies} == {body(message.raw)}
    if where == "after":
        assert place.cut_in.answers[-1].startswith(b"250 2.0.0")
    assert not place.suite.tracebacks()


def test_postfix_tries_again_what_a_full_mailbox_cannot_take_and_it_arrives_when_there_is_room(place: Ways) -> None:
    address = f"plein@{HOME}"
    place.suite.api("POST", "/mailboxes", {"address": address, "password": "un mot de passe de test", "quota": 2000})
    message = marked(ALICE, address, size=10_000)
    place.hand_over([address], message.raw)
    wait_until(lambda: postfix_says(place, address), what="an attempt of Postfix")
    assert "status=deferred" in postfix_says(place, address)[0]
    assert "452 4.2.2" in postfix_says(place, address)[0]
    place.suite.api("PATCH", f"/mailboxes/{address}", {"quota": 1 << 20})
    wait_until(lambda: "status=sent" in postfix_says(place, address)[-1], what="Postfix to deliver", timeout=60)
    place.suite.api("PUT", f"/mailboxes/{address}/password", {"password": "le beffroi sonne a midi"})
    assert len(find(place, address, message.mark)) == 1


def test_a_message_larger_than_we_take_comes_back_to_its_sender_at_postfix(place: Ways) -> None:
    """RFC 1870: Postfix reads our limit in EHLO and returns the message without sending it."""
    message = marked(ALICE, f"maire@{HOME}", size=4_000_000)
    place.hand_over([f"maire@{HOME}"], message.raw)
    report = place.await_received("alice", message)[0]
    assert "message size 4" in report.decode(errors="replace")
    assert "exceeds size limit" in report.decode(errors="replace")
    assert not find(place, f"maire@{HOME}", message.mark)


def test_an_internationalised_mailbox_of_ours_is_reached(place: Ways) -> None:
    address = f"hélène@{HOME}"
    place.suite.api("POST", "/mailboxes", {"address": address, "password": "le beffroi sonne a midi", "quota": 1 << 20})
    message = marked(ALICE, address)
    place.hand_over([address], message.raw, mail=("SMTPUTF8", "BODY=8BITMIME"))
    raw = await_mark(place, address, message.mark)
    assert "UTF8SMTP" in str(parsed(raw).get_all("Received", [])[0])


def test_more_recipients_of_ours_than_postfix_sends_at_a_time_are_all_reached(place: Ways) -> None:
    boxes = [f"agent{number}@{HOME}" for number in range(60)]
    target = f"maire@{HOME}"
    for address in boxes:
        place.suite.api("POST", "/aliases", {"address": address, "targets": [target]})
    message = marked(ALICE, boxes[0])
    place.hand_over(boxes, message.raw)
    wait_until(lambda: len(sent(place, boxes)) == len(boxes), what="Postfix to deliver to all", timeout=60)
    copies = find(place, target, message.mark)
    assert len(copies) == 2  # Postfix sends fifty at a time; within one message an account gets one copy


def sent(place: Ways, addresses: list[str]) -> set[str]:
    log = place.postfix.log().splitlines()
    return {address for line in log if "status=sent" in line for address in addresses if f"to=<{address}>" in line}


def test_postfixs_wishes_for_notices_are_honoured(place: Ways) -> None:
    """RFC 3461 5.2.3: the last server delivers, so it reports; ENVID and ORCPT come back as they went."""
    message = seven_bit(ALICE, f"maire@{HOME}")
    place.hand_over(
        [f"maire@{HOME}"], message.raw, mail=("RET=HDRS", "ENVID=lettre-7+2B"),
        rcpt=("NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;le+2Bmaire@partner.test"),
    )  # fmt: skip
    await_mark(place, f"maire@{HOME}", message.mark)
    report = place.await_received("alice", message)[0].decode()
    for line in (
        "Reporting-MTA: dns; mx.dept.test",
        "Original-Envelope-Id: lettre-7+",
        "Original-Recipient: rfc822; le+maire@partner.test",
        "Action: delivered",
        "Status: 2.",
    ):
        assert line in report, report


def test_postfix_is_not_told_of_success_it_did_not_ask_for(place: Ways) -> None:
    quiet, told = seven_bit(ALICE, f"maire@{HOME}"), seven_bit(ALICE, f"maire@{HOME}")
    place.hand_over([f"maire@{HOME}"], quiet.raw)
    place.hand_over([f"maire@{HOME}"], told.raw, rcpt=("NOTIFY=SUCCESS",))
    place.await_received("alice", told)
    place.settled(ALICE)
    assert not place.received("alice", quiet)


def test_many_messages_of_postfix_share_connections(place: Ways) -> None:
    since, begun = len(place.postfix.log()), time.monotonic()
    letters = [marked(ALICE, "box@in-may.test") for _ in range(20)]
    for letter in letters:
        place.hand_over(["box@in-may.test"], letter.raw)
    for letter in letters:
        await_mark(place, "box@in-may.test", letter.mark)
    lines = postfix_says(place, "box@in-may.test", since)
    assert sum("status=sent" in line for line in lines) == 20
    assert time.monotonic() - begun < 60
