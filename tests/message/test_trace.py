"""Trace fields say what happened and carry nothing of a stranger's making."""

import re
import ssl

import pytest

from core.address import parse
from core.envelope import Listener, Peer, Tls
from core.tls import harden
from message import dates, trace
from message.header import Defect, split

TLS = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
WHEN = 1_795_362_216.9


def peer(**changes: object) -> Peer:
    values: dict[str, object] = {"address": "192.0.2.7", "port": 4000, "listener": Listener.MX, "connection": "c1",
                                 "helo": "mx.partner.test", "hostname": "out.partner.test"}  # fmt: skip
    return Peer(**(values | changes))  # type: ignore[arg-type]  # a test's shorthand


def received(one: Peer, *recipients: str, smtputf8: bool = False) -> str:
    raw = trace.received(one, "mx.dept.test", "q1", [parse(item) for item in recipients], WHEN, smtputf8=smtputf8)
    head = split(raw + b"\r\n")
    assert len(head.fields) == 1
    assert head.defects is Defect.NONE
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    return head.fields[0].value.decode().replace("\t", " ")


def test_a_received_field_is_whole() -> None:
    assert received(peer(tls=TLS), "maire@mairie.test") == (
        "from mx.partner.test (out.partner.test [192.0.2.7]) by mx.dept.test (Beffroi) with ESMTPS id q1 "
        "(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256 bits)) for <maire@mairie.test> "
        "tls TLS_AES_256_GCM_SHA384; Sun, 22 Nov 2026 15:43:36 +0000"
    )


# The TLS Cipher Suites registry, by number.
SUITES = {
    0x1301: "TLS_AES_128_GCM_SHA256",
    0x1302: "TLS_AES_256_GCM_SHA384",
    0x1303: "TLS_CHACHA20_POLY1305_SHA256",
    0xC02B: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    0xC02C: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    0xC02F: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    0xC030: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    0xCCA8: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    0xCCA9: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
}


def test_the_tls_clause_has_the_registered_name_of_the_cipher_suite() -> None:
    """RFC 8314 4.3; every suite that we let through has one."""
    for cipher in harden(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)).get_ciphers():
        expected = SUITES[cipher["id"] & 0xFFFF]
        assert f" tls {expected};" in received(peer(tls=Tls("TLSv1.2", cipher["name"], 128)))
    assert " tls " not in received(peer())
    assert " tls " not in received(peer(tls=Tls("TLSv1.2", "ODD\r\ncipher", 1)))


@pytest.mark.parametrize(
    ("changes", "smtputf8", "word"),
    [
        ({"extended": False}, False, "SMTP"),
        ({}, False, "ESMTP"),
        ({"tls": TLS}, False, "ESMTPS"),
        ({"tls": TLS, "account_id": "a"}, False, "ESMTPSA"),
        ({"account_id": "a"}, False, "ESMTPA"),
        ({"tls": TLS}, True, "UTF8SMTPS"),
        ({"listener": Listener.LMTP}, False, "LMTP"),
        ({"listener": Listener.LMTP, "tls": TLS}, True, "UTF8LMTPS"),
    ],
)
def test_with_types(changes: dict[str, object], smtputf8: bool, word: str) -> None:
    assert f" with {word} id q1" in received(peer(**changes), smtputf8=smtputf8)


def test_for_only_with_a_single_recipient() -> None:
    assert " for " not in received(peer(), "a@x.test", "b@x.test")
    assert " for " not in received(peer())


def test_where_staff_work_from_stays_out() -> None:
    text = received(peer(account_id="a", helo="marie-laptop", hostname="box.isp.test"), "a@x.test")
    assert text.startswith("from authenticated.invalid by mx.dept.test")
    assert "192.0.2.7" not in text
    assert "marie" not in text


def test_addresses_are_literals() -> None:
    assert "[IPv6:2001:db8::1]" in received(peer(address="2001:db8::1"))
    assert "[192.0.2.7]" in received(peer(address="::ffff:192.0.2.7"))
    assert "[unknown]" in received(peer(address="not\r\nan address"))


def test_a_hostile_greeting_stays_one_word() -> None:
    text = received(peer(helo="x\r\nBcc: y;for(\u202e" + "z" * 9999, hostname="a b", tls=Tls("T\r\n", "c)", 1)))
    assert re.match(r"from [!-~]{1,255} \(a\?b \[192\.0\.2\.7\]\) by ", text)
    assert dates.parse(text.rpartition(";")[2].strip().encode()) is not None


def test_return_path() -> None:
    assert trace.return_path(None) == b"Return-Path: <>\r\n"
    assert trace.return_path(parse("a@x.test")) == b"Return-Path: <a@x.test>\r\n"
    assert trace.return_path(parse('"a b"@x.test')) == b'Return-Path: <"a b"@x.test>\r\n'


def test_hops() -> None:
    assert trace.hops(split(b"Received: a\r\n" * 51 + b"X-Received: b\r\nreceived: c\r\n\r\n")) == 52


FORGED = [
    b"Authentication-Results: mx.dept.test; dmarc=pass",
    b"authentication-results : MX.Dept.Test. 1; spf=pass",
    b'Authentication-Results: (c (d)) "mx.dept.test" ; none',
    b"Authentication-Results:\r\n mx.dept.test;\r\n dkim=pass",
    b"Authentication-Results: =?utf-8?q?mx=2Edept=2Etest?=; dmarc=pass",
    "Authentication-Results: ｍx.dept.test; dmarc=pass".encode(),
    "Authentication-Results: mx.dépt.test; dmarc=pass".encode(),
    b"Authentication-Results: mx.dept.test/worker; dmarc=pass",
    b"Authentication-Results: mx(c).dept.test; dmarc=pass",
    b"Authentication-Results: mx.\r\n dept.test 1; dmarc=pass",
    b"Authentication-Results:",
    b"X-Spam-Flag: NO",
    b"X-SPAM-Status: No, score=-10",
    b"X-Beffroi-Reason: accepted",
    b"Return-Path: <x@y.test>",
]
HONEST = [b"Authentication-Results: mx.partner.test; spf=pass", b"Authentication-Results: xmx.dept.test; spf=pass",
          b"Authentication-Results: mx.dept.tester (c) 1; spf=pass",
          b"ARC-Authentication-Results: i=1; mx.partner.test", b"Subject: X-Spam-Flag", b"Received: x"]  # fmt: skip


def test_h084_forged_results_go_and_honest_ones_stay() -> None:
    head = split(b"\r\n".join([*HONEST[:2], *FORGED, *HONEST[2:]]) + b"\r\n\r\n")
    assert bytes(trace.without_forgeries(head, "mx.dept.test")) == b"\r\n".join(HONEST) + b"\r\n\r\n"


def test_bcc_goes_from_what_clients_send() -> None:
    head = split(b"To: a@b\r\nBCC : secret@x,\r\n more@x\r\nResent-Bcc: z\r\nReturn-Path: <q>\r\nX: y\r\n\r\n")
    assert bytes(trace.without_bcc(head)) == b"To: a@b\r\nX: y\r\n\r\n"
