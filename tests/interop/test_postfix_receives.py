"""Our queue sends to a real Postfix in every mode it receives in: TLS levels, refusals for now and for good, slowness,
cuts, and servers that know less than we do."""

from __future__ import annotations

import re
from collections import Counter
from email.message import EmailMessage

import pytest

from tests.interop.mail import Marked, await_mark, body, find, marked, parsed, part, seven_bit
from tests.interop.ways import CUT, HOME, PARTNER, Ways
from tests.peers.process import wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

WRITER = f"secretariat@{HOME}"


def report_of(place: Ways, message: Marked) -> EmailMessage:
    """The notification that the sender got of it."""
    return parsed(await_mark(place, WRITER, message.mark))


def status_of(report: EmailMessage) -> str:
    """The machine's part, as text."""
    return part(report, 1).as_bytes().decode()


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("domain", "protocol"), [("plain.test", "ESMTP"), (PARTNER, "ESMTPS"), ("encrypt.test", "ESMTPS")]
)
def test_every_level_of_tls_that_postfix_may_have(place: Ways, domain: str, protocol: str) -> None:
    box = "bob" if domain == PARTNER else f"@{domain}"
    message = marked(WRITER, f"bob@{domain}")
    place.submit([f"bob@{domain}"], message.raw)
    [raw] = place.await_received(box, message)
    assert body(raw) == body(message.raw)
    assert f" with {protocol} " in str(parsed(raw).get_all("Received", [])[0])


def test_mail_waits_while_a_signed_zone_names_another_key_and_goes_when_it_is_mended(place: Ways) -> None:
    message = marked(WRITER, "bob@late.test")
    place.submit(["bob@late.test"], message.raw)
    wait_until(lambda: place.attempts("bob@late.test"), what="an attempt")
    assert place.attempts("bob@late.test")[0]["reason"] == "tlsa-mismatch"
    [waiting] = place.waiting("bob@late.test")
    assert waiting["recipients"][0]["last_status"].endswith("tlsa mismatch")
    assert not place.received("@late.test", message)
    place.dns.zone("late.test", "@ IN MX 10 mx\nmx IN A 127.0.0.19\n")

    def arrived() -> bool:
        place.retried("bob@late.test")  # the former answer of the name service is remembered for its 5 s
        return bool(place.received("@late.test", message))

    wait_until(arrived, what="the message that waited")
    place.settled("bob@late.test")
    assert len(place.received("@late.test", message)) == 1


# --- for now, slowly, and cut ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("domain", "answers"),
    [
        ("grey.test", ["450 4.7.1 greylisted, come back later", "451 4.3.0 not yet"]),
        ("grey.test", ["421 4.3.2 going down"]),
        ("dot.test", ["451 4.3.0 said of the whole message", "452 4.3.1 no room"]),
    ],
)
def test_refused_for_now_is_tried_again_and_arrives_once(place: Ways, domain: str, answers: list[str]) -> None:
    place.policy.script(domain, answers)
    message = marked(WRITER, f"bob@{domain}")
    before = len(place.attempts(f"bob@{domain}"))
    place.submit([f"bob@{domain}"], message.raw)
    assert len(place.await_received(f"@{domain}", message)) == 1
    place.settled(f"bob@{domain}")
    tried = place.await_attempts(f"bob@{domain}", len(answers) + 1, before)
    assert [item["outcome"] for item in tried] == ["waiting"] * len(answers) + ["delivered"]
    for answer, item in zip(answers, tried, strict=False):
        assert str(item["diagnostic"]).startswith(answer[:10]), item
    assert not find(place, WRITER, message.mark)


def test_one_recipient_refused_for_now_does_not_hold_the_others(place: Ways) -> None:
    """The others of the same transaction are delivered at once, and once."""
    place.policy.script("grey.test", ["dunno", "450 4.2.0 full", "dunno"])
    people = [f"{name}@grey.test" for name in ("un", "deux", "trois")]
    message = marked(WRITER, people[0])
    place.submit(people, message.raw)
    copies = place.await_received("@grey.test", message, 3)
    place.settled("trois@grey.test")
    assert sorted(str(parsed(raw)["Delivered-To"]) for raw in copies) == sorted(people)
    assert len(place.received("@grey.test", message)) == 3


def test_a_tarpit_gets_its_mail_and_delays_nobody_else(place: Ways) -> None:
    """Postfix sleeps before the banner, at each recipient, and after its own refusal."""
    place.policy.script("tarpit.test", ["450 4.7.1 slowly"])
    slow, quick = marked(WRITER, "bob@tarpit.test"), marked(WRITER, "bob@plain.test")
    place.submit(["bob@tarpit.test"], slow.raw)
    place.submit(["bob@plain.test"], quick.raw)
    place.await_received("@plain.test", quick)
    assert not place.received("@tarpit.test", slow)
    assert len(place.await_received("@tarpit.test", slow)) == 1
    place.settled("bob@tarpit.test")


@pytest.mark.parametrize(("where", "most"), [("before", 1), ("after", 2)])
def test_f146_a_connection_cut_around_the_dot_doubles_at_most_once(place: Ways, where: str, most: int) -> None:
    """Cut before the dot nothing came; after it Postfix has it, answered, and nobody heard: it comes again, and both
    copies say so by their Message-ID and our queue id."""
    place.cut_out.where = "before" if where == "before" else "after"
    place.cut_out.cuts, done = 1, place.cut_out.done
    recipient = f"bob@{CUT[0]}"
    message = marked(WRITER, recipient)
    before = len(place.attempts(recipient))
    place.submit([recipient], message.raw)
    place.await_received(f"@{CUT[0]}", message, most)
    place.settled(recipient)
    copies = place.received(f"@{CUT[0]}", message)
    assert len(copies) == most
    assert place.cut_out.done == done + 1
    assert len({(str(parsed(raw)["Message-ID"]), queue_id(raw)) for raw in copies}) == 1
    assert [item["outcome"] for item in place.await_attempts(recipient, 2, before)] == ["waiting", "delivered"]
    if where == "after":
        assert place.cut_out.answers[-1].startswith(b"250 2.0.0 Ok: queued")
    assert not find(place, WRITER, message.mark)


def queue_id(raw: bytes) -> str:
    """Ours, from the Received field that the suite wrote."""
    found = re.search(rb"by mx\.dept\.test[^;]*?id (\S+)", raw)
    assert found, raw[:2000]
    return found[1].decode()


# --- what a server does not know -------------------------------------------------------------------------------------


def test_eight_bits_come_back_from_a_server_of_seven_and_ascii_gets_through(place: Ways) -> None:
    wide, narrow = marked(WRITER, "bob@old.test"), seven_bit(WRITER, "bob@old.test")
    place.submit(["bob@old.test"], wide.raw)
    place.submit(["bob@old.test"], narrow.raw, mail=())
    assert "Status: 5.6.3" in status_of(report_of(place, wide))
    [raw] = place.await_received("@old.test", narrow)
    assert body(raw) == body(narrow.raw)
    assert not place.received("@old.test", wide)


def test_an_internationalised_address_goes_to_who_knows_it_and_comes_back_from_who_does_not(place: Ways) -> None:
    """RFC 6531 3.2; RFC 6533 3 and 4 for the report."""
    good, bad = marked(WRITER, "hélène@plain.test"), marked(WRITER, "hélène@old.test")
    place.submit(["hélène@plain.test"], good.raw, mail=("SMTPUTF8", "BODY=8BITMIME"))
    [raw] = place.await_received("@plain.test", good)
    assert "UTF8SMTP" in str(parsed(raw).get_all("Received", [])[0])
    place.submit(["hélène@old.test"], bad.raw, mail=("SMTPUTF8", "BODY=8BITMIME"))
    report = report_of(place, bad)
    assert part(report, 1).get_content_type() == "message/global-delivery-status"
    raw = await_mark(place, WRITER, bad.mark)
    assert "Final-Recipient: utf-8; hélène@old.test".encode() in raw
    assert b"Status: 5.6.7" in raw


@pytest.mark.parametrize("domain", ["small.test", "silent.test"])
def test_a_message_too_large_for_a_server_comes_back_and_a_small_one_arrives(place: Ways, domain: str) -> None:
    """Whether the server tells its limit (RFC 1870 6.1: no octet is sent) or refuses what it got."""
    large, small = marked(WRITER, f"bob@{domain}", size=40_000), marked(WRITER, f"bob@{domain}")
    place.submit([f"bob@{domain}"], large.raw)
    place.submit([f"bob@{domain}"], small.raw)
    assert "Status: 5.3.4" in status_of(report_of(place, large))
    assert len(place.await_received(f"@{domain}", small)) == 1
    assert not place.received(f"@{domain}", large)


def test_a_domain_with_a_null_mx_is_not_asked(place: Ways) -> None:
    message = marked(WRITER, "bob@null.test")
    place.submit(["bob@null.test"], message.raw)
    assert "Status: 5.1.10" in status_of(report_of(place, message))


@pytest.mark.parametrize("domain", ["six.test", "fallback.test"])
def test_ipv6_is_used_and_where_nobody_listens_ipv4_is(place: Ways, domain: str) -> None:
    message = marked(WRITER, f"bob@{domain}")
    place.submit([f"bob@{domain}"], message.raw)
    [raw] = place.await_received(f"@{domain}", message)
    peer = "[IPv6:::1]" if domain == "six.test" else "[127.0.0.1]"
    assert peer in str(parsed(raw).get_all("Received", [])[0])
    place.settled(f"bob@{domain}")
    assert [item["outcome"] for item in place.await_attempts(f"bob@{domain}", 1)] == ["delivered"]


# --- many ------------------------------------------------------------------------------------------------------------


def test_many_recipients_travel_by_the_hundred_and_get_one_copy_each(place: Ways) -> None:
    people = [f"r{number:03}@plain.test" for number in range(250)]
    message = marked(WRITER, people[0])
    place.submit(people, message.raw)
    copies = place.await_received("@plain.test", message, 250)
    place.settled(people[-1])
    assert Counter(str(parsed(raw)["Delivered-To"]) for raw in copies) == Counter(people)
    sizes = [
        int(found[1]) for found in re.finditer(r"from=<secretariat@\S+ size=\d+, nrcpt=(\d+)", place.postfix.log())
    ]
    assert sorted(size for size in sizes if size > 3) == [50, 100, 100]


def test_whom_a_server_has_no_room_for_in_one_message_gets_the_next(place: Ways) -> None:
    """Postfix takes 50 recipients a message here and answers 452 4.5.3 to the others (RFC 5321 4.5.3.1.10)."""
    people = [f"r{number:03}@few.test" for number in range(120)]
    message = marked(WRITER, people[0])
    place.submit(people, message.raw)
    copies = place.await_received("@few.test", message, 120)
    place.settled(people[-1])
    assert Counter(str(parsed(raw)["Delivered-To"]) for raw in copies) == Counter(people)
    assert {item["attempt"] for person in people for item in place.attempts(person)} == {1}, "in its next transaction"
    assert not find(place, WRITER, message.mark)


def test_a_server_that_takes_two_connections_gets_all_its_mail_over_two(place: Ways) -> None:
    """421 4.7.0 to the third of one client, as big providers say it: who was turned away comes again, and the others go
    on meanwhile."""
    sent = [marked(WRITER, f"r{number}@crowded.test") for number in range(20)]
    for number, message in enumerate(sent):
        place.submit([f"r{number}@crowded.test"], message.raw)
    for message in sent:
        [_] = place.await_received("@crowded.test", message)
    for number in range(20):
        place.settled(f"r{number}@crowded.test")
        assert not find(place, WRITER, sent[number].mark)


def test_messages_to_one_server_share_connections_and_each_is_one_group_of_commands(place: Ways) -> None:
    """RFC 5321 4.5.4.1 and RFC 2920 3.1, as the real server and the wire see it."""
    sent = [seven_bit(WRITER, f"bob@{CUT[0]}") for _ in range(15)]
    place.cut_out.heard.clear()
    for message in sent:
        place.submit([f"bob@{CUT[0]}"], message.raw)
    for message in sent:
        place.await_received(f"@{CUT[0]}", message)
    groups = [data for data in place.cut_out.heard if b"MAIL FROM" in data]
    assert len(groups) == 15
    for group in groups:
        assert re.fullmatch(rb"(?:RSET\r\n)?MAIL FROM:<[^\r]*\r\nRCPT TO:<[^\r]*\r\nDATA\r\n", group), group
    connections = sum(data.startswith(b"EHLO") for data in place.cut_out.heard)
    assert connections < 15
    assert sum(group.startswith(b"RSET") for group in groups) == 15 - connections


# --- DSN (RFC 3461) --------------------------------------------------------------------------------------------------

WISHES = ("NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;first+2Bcopy@saint-aubin.test")


def test_wishes_for_notices_are_carried_to_a_server_that_knows_them_and_its_report_comes_back(place: Ways) -> None:
    message = seven_bit(WRITER, f"bob@{PARTNER}")
    place.submit([f"bob@{PARTNER}"], message.raw, mail=("RET=HDRS", "ENVID=dossier-7+2B"), rcpt=WISHES)
    place.await_received("bob", message)
    status = status_of(report := report_of(place, message))
    assert "mail delivery system" in str(report["From"]).lower()  # Postfix wrote it: we gave the duty to it
    for line in ("Original-Envelope-Id: dossier-7+", "Original-Recipient: rfc822;first+copy@saint-aubin.test",
                 "Action: delivered"):  # fmt: skip
        assert line.replace(" ", "").lower() in status.replace(" ", "").lower(), status
    assert len(find(place, WRITER, message.mark)) == 1


def test_where_a_server_knows_no_wishes_we_say_that_the_message_was_relayed(place: Ways) -> None:
    message = seven_bit(WRITER, "bob@old.test")
    place.submit(["bob@old.test"], message.raw, mail=("RET=HDRS", "ENVID=dossier-8"), rcpt=WISHES)
    place.await_received("@old.test", message)
    status = status_of(report := report_of(place, message))
    assert "Action: relayed" in status
    assert "Original-Envelope-Id: dossier-8" in status
    assert "Original-Recipient: rfc822; first+copy@saint-aubin.test" in status
    assert str(report["From"]).endswith(f"<postmaster@{HOME}>")


@pytest.mark.parametrize("ret", ["HDRS", "FULL"])
def test_a_failure_returns_what_was_wished_for(place: Ways, ret: str) -> None:
    message = seven_bit(WRITER, f"nobody@{PARTNER}")
    place.submit([f"nobody@{PARTNER}"], message.raw, mail=(f"RET={ret}", "ENVID=dossier-9"), rcpt=WISHES)
    report = report_of(place, message)
    assert "Action: failed" in status_of(report)
    assert "Original-Envelope-Id: dossier-9" in status_of(report)
    expected = "message/rfc822" if ret == "FULL" else "text/rfc822-headers"
    assert part(report, 2).get_content_type() == expected


def test_who_wants_no_notice_gets_none(place: Ways) -> None:
    silent, told = seven_bit(WRITER, f"nobody@{PARTNER}"), seven_bit(WRITER, f"nobody@{PARTNER}")
    place.submit([f"nobody@{PARTNER}"], silent.raw, rcpt=("NOTIFY=NEVER",))
    place.submit([f"nobody@{PARTNER}"], told.raw)
    report_of(place, told)
    place.settled(f"nobody@{PARTNER}")
    assert not find(place, WRITER, silent.mark)
