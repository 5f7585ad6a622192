"""Notifications are written for people and machines, and read back by a library that is not ours."""

import email
from typing import Any

import pytest

from core.address import parse
from core.ids import RandomIds
from core.status import Status, accepted, deferred, refused
from message import dsn, mime
from message.content import BytesContent
from message.dsn import Action, Notice, RecipientReport
from message.header import split

ORIGINAL = b"From: a@mairie.test\r\nSubject: caf\r\nMessage-ID: <o@x>\r\n\r\nbody line\r\n"
UNKNOWN = refused("No such user", "unknown-user", "5.1.1")


def report(
    address: str = "x@y.test", action: Action = Action.FAILED, status: Status = UNKNOWN, **more: Any
) -> RecipientReport:
    return RecipientReport(parse(address), action, status, **more)


def written(*recipients: RecipientReport, original: bytes = ORIGINAL, ret: str = "", envid: str = "") -> bytes:
    notice = Notice("mx.dept.test", parse("postmaster@mx.dept.test"), parse("maire@mairie.test"), "q1", 1_795_362_216,
                    recipients, envid, ret)  # fmt: skip
    data = dsn.write(notice, BytesContent(original), ids=RandomIds(), now=1_795_362_300)
    assert b"\n" not in data.replace(b"\r\n", b"")
    assert b"\r" not in data.replace(b"\r\n", b"")
    return data


def parts(data: bytes) -> list[tuple[str, bytes]]:
    tree = mime.scan(BytesContent(data))
    return [
        (f"{tree.media[part.index].type.decode()}/{tree.media[part.index].subtype.decode()}",
         data[part.body_start : part.body_end])
        for part in tree.root.children
    ]  # fmt: skip


def groups(data: bytes) -> list[dict[str, str]]:
    """The fields of the status part, per message and then for each recipient (RFC 3464 2.1)."""
    texts = parts(data)[1][1].strip(b"\r\n").split(b"\r\n\r\n")
    return [dict(email.message_from_string(text.decode()).items()) for text in texts]


def test_a_failure_for_people_and_machines() -> None:
    data = written(report(remote="mx.y.test", diagnostic="550 5.1.1 no such\r\nuser", original="rfc822;x+2Bz@y.test",
                          last_attempt=1_795_362_290), envid="E+1")  # fmt: skip
    head = split(data)
    assert head.value(b"subject") == b"Message non remis / Undelivered mail"
    assert head.value(b"auto-submitted") == b"auto-replied"
    assert head.value(b"to") == b"maire@mairie.test"
    (human, status, original) = parts(data)
    assert [item[0] for item in (human, status, original)] == [
        "text/plain",
        "message/delivery-status",
        "message/rfc822",
    ]
    assert original[1] == ORIGINAL
    assert status[1] == (
        b"Reporting-MTA: dns; mx.dept.test\r\nOriginal-Envelope-Id: E+1\r\n"
        b"Arrival-Date: Sun, 22 Nov 2026 15:43:36 +0000\r\nX-Beffroi-Queue-Id: q1\r\n\r\n"
        b"Original-Recipient: rfc822; x+z@y.test\r\nFinal-Recipient: rfc822; x@y.test\r\nAction: failed\r\n"
        b"Status: 5.1.1\r\nRemote-MTA: dns; mx.y.test\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
        b"Last-Attempt-Date: Sun, 22 Nov 2026 15:44:50 +0000\r\n"
    )


def test_who_had_the_last_word_is_whose_log_is_named() -> None:
    """RFC 3464 2.3.8: under which name a remote server keeps a message, only that server knows. 2.3.6: what we say of
    one that did not answer is no reply of SMTP."""
    silent = report(
        "late@y.test", Action.DELAYED, deferred("mx.y.test: connect failed", "x", "4.4.1"), remote="mx.y.test"
    )
    asked = report(remote="mx.y.test", diagnostic="550 no")
    (_, status, _) = parts(written(asked, report("here@x.test", Action.DELIVERED, accepted()), silent))
    remote, here, unheard = status[1].split(b"\r\n\r\n")[1:]
    assert b"Final-Log-ID" not in remote
    assert b"\r\nDiagnostic-Code: smtp; 550 no" in remote
    for ours in (here, unheard):
        assert b"Final-Log-ID: q1" in ours
        assert b"\r\nDiagnostic-Code: x-beffroi; " in ours


def test_the_human_part_is_french_then_english() -> None:
    message = email.message_from_bytes(written(report(remote="mx.y.test", diagnostic="550 no")))
    first = message.get_payload(0)
    assert isinstance(first, email.message.Message)
    payload = first.get_payload(decode=True)
    assert isinstance(payload, bytes)
    text = payload.decode()
    assert text.index("Cette adresse n'existe pas.") < text.index("This address does not exist.")
    assert "Votre message du 22/11/2026 à 15:43 (UTC)" in text
    assert "Réponse de mx.y.test : 550 no" in text
    assert "Answer of mx.y.test: 550 no" in text
    assert text.count("x@y.test") == 2


def test_rfc2045_6_4_a_notice_that_returns_eight_bits_says_so_at_its_head() -> None:
    """A multipart without the field is 7bit, and a server of seven bits would be given it."""
    assert split(written(report())).value(b"content-transfer-encoding") is None
    for data in (written(report("r\u00e9mi@y.test")), written(report(), original=ORIGINAL + b"caf\xc3\xa9\r\n")):
        assert split(data).value(b"content-transfer-encoding") == b"8bit"


def test_why_a_server_refused_us_stands_in_the_human_part() -> None:
    """What it said when it greeted us is no answer about a recipient; a person wants to read it all the same."""
    refusal = "Session refused: 554 5.7.1 listed at example.test"
    waiting = report(action=Action.DELAYED, status=deferred(refusal, "x", "4.4.0"), remote="mx.y.test")
    over = report(status=refused(f"delivery time expired (last answer: 451 4.4.0 {refusal})", "expired", "5.4.7"))
    for item in (waiting, over):
        message = email.message_from_bytes(written(item)).get_payload(0)
        assert isinstance(message, email.message.Message)
        payload = message.get_payload(decode=True)
        assert isinstance(payload, bytes)
        assert payload.decode().count(refusal) == 2


def test_it_is_read_back() -> None:
    data = written(
        report(diagnostic="550 no", remote="mx.y.test"),
        report("late@y.test", Action.DELAYED, deferred("Busy", "busy", "4.4.1"), retry_until=1_795_400_000),
        report("ok@y.test", Action.RELAYED, accepted()),
        envid="E1",
    )
    whole, *each = groups(data)
    assert (whole["Reporting-MTA"], whole["Original-Envelope-Id"]) == ("dns; mx.dept.test", "E1")
    assert [(item["Final-Recipient"], item["Action"], item["Status"]) for item in each] == [
        ("rfc822; x@y.test", "failed", "5.1.1"),
        ("rfc822; late@y.test", "delayed", "4.4.1"),
        ("rfc822; ok@y.test", "relayed", "2.0.0"),
    ]
    assert (each[0]["Diagnostic-Code"], each[0]["Remote-MTA"]) == ("smtp; 550 no", "dns; mx.y.test")
    assert parts(data)[2] == ("message/rfc822", ORIGINAL)


@pytest.mark.parametrize(
    ("action", "ret", "size", "media"),
    [
        (Action.FAILED, "", 10, "message/rfc822"),
        (Action.FAILED, "FULL", 10, "message/rfc822"),
        (Action.FAILED, "HDRS", 10, "text/rfc822-headers"),
        (Action.FAILED, "", dsn.RETURN_LIMIT - len(ORIGINAL), "message/rfc822"),
        (Action.FAILED, "", dsn.RETURN_LIMIT - len(ORIGINAL) + 1, "text/rfc822-headers"),
        (Action.DELAYED, "FULL", 10, "text/rfc822-headers"),
        (Action.DELIVERED, "FULL", 10, "text/rfc822-headers"),
    ],
)
def test_what_is_returned(action: Action, ret: str, size: int, media: str) -> None:
    status = {Action.FAILED: UNKNOWN, Action.DELAYED: deferred("x", "x")}.get(action, accepted())
    data = written(report(action=action, status=status), original=ORIGINAL + b"x" * size, ret=ret)
    kind, content = parts(data)[2]
    assert kind == media
    assert (content == ORIGINAL + b"x" * size) == (media == "message/rfc822")
    assert content.startswith(b"From: a@mairie.test\r\n")


def test_international_addresses_and_headers() -> None:
    data = written(report("élu@mairie.test"), original="Subject: é\r\n\r\nx\r\n".encode())
    kinds = [kind for kind, _ in parts(data)]
    assert kinds == ["text/plain", "message/global-delivery-status", "message/global"]
    assert groups(data)[1]["Final-Recipient"] == "utf-8; élu@mairie.test"
    eight_bit = written(report(), original=b"Subject: x\r\n\r\n\xe9\r\n")
    assert parts(eight_bit)[2][0] == "message/rfc822"
    assert b"Content-Transfer-Encoding: 8bit\r\n\r\nSubject: x" in eight_bit


def test_h066_nothing_of_a_remote_server_makes_a_line() -> None:
    evil = "x\r\nAction: delivered\r\n\r\nFinal-Recipient: rfc822; y@z\x1b[31m\u2028"
    data = written(report(remote=evil, diagnostic=evil, original=f"rfc822;{evil}+0D+0AStatus: 2.0.0"), envid=evil)
    _, *each = groups(data)
    assert [(item["Action"], item["Status"]) for item in each] == [("failed", "5.1.1")]
    assert b"\x1b" not in data
