"""`beffroi serve` sends to domains that say how they want to be reached: a client submits, a worker delivers to a real
Postfix as DANE, MTA-STS or the message itself demand, and the report of that day tells what became of it.

`test_outbound_tls` plays every level with the client alone; here the whole program is judged by what arrives, by what
crosses the network in clear, and by what the sender and the domains' owners are told.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.interop.mail import Marked, await_mark, body, find, marked, parsed, part
from tests.interop.sender import HOME, PASSWORD, Sender
from tests.peers.cutter import Cutter, cutter
from tests.peers.dns import mail_zone, unbound
from tests.peers.postfix import postfix
from tests.peers.sasl import sasl
from tests.peers.suite import HOSTNAME, Settings, suite
from tests.peers.web import Web, web

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

WRITER = f"secretariat@{HOME}"
PATH = "/.well-known/mta-sts.txt"
REPORTED = "reports.test"  # where the reports of all these domains go
POSTED = "sts.test"  # whose report is posted, too
# Domain > (mail host's address, whether its certificate names it, TLSA of which key, mode of its MTA-STS policy).
OFFERS, CLEAR, HEARD, HEARD_CLEAR = "127.0.0.41", "127.0.0.42", "127.0.0.43", "127.0.0.44"
SMART = "127.0.0.45"
SECRET = "un secret: à l'envers"
DOMAINS: dict[str, tuple[str, bool, str, str]] = {
    "dane.test": (OFFERS, False, "right", ""),
    "dane-wrong.test": (HEARD, True, "wrong", ""),
    "dane-clear.test": (HEARD_CLEAR, True, "right", ""),
    "sts.test": (OFFERS, True, "", "enforce"),
    "sts-name.test": (HEARD, False, "", "enforce"),
    "sts-clear.test": (HEARD_CLEAR, True, "", "enforce"),
    "sts-testing.test": (OFFERS, False, "", "testing"),
    REPORTED: (OFFERS, True, "", ""),
    "smart.test": (SMART, True, "", ""),  # reached by a route, with a login
}
EXTRA = """virtual_mailbox_domains = {domains}
smtpd_tls_chain_files = {chain}
smtpd_tls_cert_file =
smtpd_tls_key_file =
smtpd_client_connection_count_limit = 0
"""
DELIVERY = """mta_sts_port = {port}
ca_file = "{authority}"
"""


@dataclass
class Reported(Sender):
    web: Web
    heard: Cutter  # before the Postfix that offers TLS
    heard_clear: Cutter  # before the one that does not

    def sent(self, domain: str, *wishes: str) -> Marked:
        message = marked(WRITER, f"bob@{domain}")
        self.submit([f"bob@{domain}"], message.raw, mail=("BODY=8BITMIME", *wishes))
        return message

    def in_clear(self) -> bytes:
        """What our side said at both listening places; what is under TLS is noise here."""
        return b"".join((*self.heard.heard, *self.heard_clear.heard))


def zones(port: int, public: bytes, posted: str) -> dict[str, str]:
    found = {"dept.test": "mx IN A 127.0.0.1\n", HOME: f"@ IN MX 10 {HOSTNAME}.\n"}
    for domain, (address, _, key, mode) in DOMAINS.items():
        also = f",{posted}" if domain == POSTED else ""
        lines = [f'_smtp._tls IN TXT "v=TLSRPTv1; rua=mailto:tls@{REPORTED}{also}"']
        if key:
            digest = sha256(public if key == "right" else b"else").hexdigest()
            lines.append(f"_{port}._tcp.mx IN TLSA 3 1 1 {digest}")
        if mode:
            lines += ['_mta-sts IN TXT "v=STSv1; id=1;"', "mta-sts IN A 127.0.0.1"]
        found[domain] = mail_zone("\n".join(lines)).replace("127.0.0.1", address, 1)
    return found


def login(port: int) -> dict[str, str]:
    """Settings of a door that takes nothing from who shows no password."""
    return {
        "smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": f"inet:127.0.0.1:{port}",
        "smtpd_tls_auth_only": "yes", "smtpd_recipient_restrictions": "permit_sasl_authenticated reject",
    }  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reported]:
    base, authority = tmp_path_factory.mktemp("sending"), trustme.CA()
    authority.cert_pem.write_to_path(str(base / "authority.pem"))
    issued = authority.issue_cert(*(f"mx.{domain}" for domain, (_, named, *_) in DOMAINS.items() if named))
    (base / "chain.pem").write_bytes(issued.private_key_and_cert_chain_pem.bytes())
    key = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes()).public_key()
    public = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pages = {
        (f"mta-sts.{domain}", PATH): f"version: STSv1\nmode: {mode}\nmx: mx.{domain}\nmax_age: 86400\n".encode()
        for domain, (*_, mode) in DOMAINS.items()
        if mode
    }
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        doors = {OFFERS: {}, CLEAR: {"smtpd_tls_security_level": "none"}, SMART: login(enter(sasl({"us": SECRET})))}
        extra = EXTRA.format(domains=" ".join(DOMAINS), chain=base / "chain.pem")
        partner = enter(postfix(REPORTED, [f"@{domain}" for domain in DOMAINS], {}, doors=doors, extra=extra))
        pages_at = enter(web(pages, authority, *(host for host, _ in pages)))
        posted = f"https://mta-sts.{POSTED}:{pages_at.port}/tlsrpt"
        dns = enter(unbound(zones(partner.port, public, posted)))
        heard = enter(cutter((HEARD, partner.port), (OFFERS, partner.port)))
        heard_clear = enter(cutter((HEARD_CLEAR, partner.port), (CLEAR, partner.port)))
        delivery = DELIVERY.format(port=pages_at.port, authority=base / "authority.pem")
        settings = Settings(dns.endpoint, partner.port, workers=1, delivery=delivery, retry="1s, 300s")
        hop = f"@mx.smart.test:{partner.port}"
        settings.routes = {
            "smart.test": f"smtp://us:{quote(SECRET)}{hop}",
            "smart-wrong.test": f"smtp://them:faux{hop}",
        }
        running = enter(suite(settings))
        running.api("POST", "/organisations", {"name": "Commune"})
        for domain in (HOME, HOSTNAME.partition(".")[2]):  # the other one's keys sign the reports
            running.api("POST", "/domains", {"name": domain, "organisation": "Commune"})
        running.api("POST", "/mailboxes", {"address": WRITER, "password": PASSWORD, "quota": 1 << 30})
        yield Reported(dns, partner, running, pages_at, heard, heard_clear)


@pytest.mark.parametrize("domain", ["dane.test", "sts.test", "sts-testing.test"])
def test_what_a_domain_asks_for_is_kept_and_mail_arrives_over_tls(place: Reported, domain: str) -> None:
    """DANE-EE does not ask for the certificate's names (RFC 7672 3.1.1); a policy in testing is told and lets go (RFC
    8461 5)."""
    message = place.sent(domain)
    [raw] = place.await_received(f"@{domain}", message)
    assert body(raw) == body(message.raw)
    assert " with ESMTPS " in str(parsed(raw).get_all("Received", [])[0])
    place.settled(f"bob@{domain}")


@pytest.mark.parametrize(
    ("domain", "reason"),
    [
        ("dane-wrong.test", "tlsa-mismatch"),
        ("dane-clear.test", "no-tls"),
        ("sts-name.test", "certificate-host-mismatch"),
        ("sts-clear.test", "no-tls"),
    ],
)
def test_where_it_cannot_be_kept_mail_waits_with_the_reason_and_nothing_leaves_in_clear(
    place: Reported, domain: str, reason: str
) -> None:
    message = place.sent(domain)
    tried = place.await_attempts(f"bob@{domain}", 2)
    assert {(item["outcome"], item["reason"]) for item in tried} == {("waiting", reason)}
    [waiting] = place.waiting(f"bob@{domain}")
    assert waiting["recipients"][0]["last_status"].startswith("451 4.7."), waiting
    assert not place.received(f"@{domain}", message)
    said = place.in_clear()
    assert b"EHLO mx.dept.test\r\n" in said, "it was there"
    assert b"MAIL FROM" not in said.upper()
    assert message.mark.encode() not in said


def test_what_requires_tls_comes_back_from_who_does_not_carry_that_on(place: Reported) -> None:
    """RFC 8689 4.2.1: 5.7.30, whatever TLS the server has; the notice returns the header alone (5)."""
    message = place.sent("dane.test", "REQUIRETLS")
    raw = await_mark(place, WRITER, message.mark)
    report = parsed(raw)
    status = part(report, 1).as_bytes()
    assert b"Status: 5.7.30" in status
    assert b"Final-Recipient: rfc822; bob@dane.test" in status
    assert body(message.raw)[:40] not in raw
    assert len(find(place, WRITER, message.mark)) == 1
    assert not place.received("@dane.test", message)


def test_a_smarthost_gets_our_login_over_verified_tls_and_nobody_hears_the_password(place: Reported) -> None:
    message, held = place.sent("smart.test"), place.sent("smart-wrong.test")
    [raw] = place.await_received("@smart.test", message)
    assert " with ESMTPSA " in str(parsed(raw).get_all("Received", [])[0])
    assert "sasl_username=us" in place.postfix.log()
    [tried] = place.await_attempts("bob@smart-wrong.test", 1)[:1]
    assert (tried["outcome"], tried["reason"]) == ("waiting", "session-refused")
    assert "535 5.7.8" in str(tried["status"])
    assert not place.received("@smart.test", held)
    said = place.suite.log() + str(place.waiting("bob@smart-wrong.test"))
    assert not [secret for secret in (SECRET, quote(SECRET), "faux") if secret in said]


def counted(report: dict[str, Any]) -> tuple[Counter[str], Counter[str]]:
    """(sessions that went well by policy type, sessions that failed by result type) of one report."""
    well, failed = Counter[str](), Counter[str]()
    for told in report["policies"]:
        well[told["policy"]["policy-type"]] += told["summary"]["total-successful-session-count"]
        for detail in told.get("failure-details", []):
            failed[detail["result-type"]] += detail["failed-session-count"]
    return +well, +failed


def reports(place: Reported) -> dict[str, dict[str, Any]]:
    """By the domain they are about."""
    found = {}
    for raw in place.postfix.messages(f"@{REPORTED}"):
        mail = parsed(raw)
        if mail["TLS-Report-Domain"]:
            _, attached = mail.iter_parts()
            found[str(mail["TLS-Report-Domain"])] = json.loads(gzip.decompress(attached.get_content()))
    return found


def test_the_report_of_the_day_counts_these_sessions_and_goes_to_who_asked(place: Reported) -> None:
    """RFC 8460: the day is over (its counts are moved back by two while nothing runs), and who starts sends it."""
    expected = {
        "dane.test": ("tlsa", ""),
        "dane-wrong.test": ("", "validation-failure"),
        "dane-clear.test": ("", "starttls-not-supported"),
        "sts.test": ("sts", ""),
        "sts-name.test": ("", "certificate-host-mismatch"),
        "sts-clear.test": ("", "starttls-not-supported"),
        "sts-testing.test": ("no-policy-found", "certificate-host-mismatch"),
    }
    for domain in expected:  # this test alone has its sessions, too
        before = len(place.attempts(f"bob@{domain}"))
        place.sent(domain)
        place.await_attempts(f"bob@{domain}", 1, before)
    place.suite.stop()
    tried = {domain: len(place.attempts(f"bob@{domain}")) for domain in expected}
    with contextlib.closing(sqlite3.connect(place.suite.data / "queue/queue.db")) as database, database:
        database.execute("UPDATE queue_tls SET day = day - 2")
    place.suite.start()
    place.settled(f"tls@{REPORTED}")
    found = reports(place)
    assert found.keys() == expected.keys()
    for domain, (policy, failure) in expected.items():
        well, failed = counted(found[domain])
        assert set(well) == ({policy} - {""}), domain
        assert set(failed) == ({failure} - {""}), domain
        assert 1 <= sum((well or failed).values()) <= tried[domain], (domain, found[domain])
        assert found[domain]["organization-name"] == HOSTNAME
    [(host, path, data)] = place.web.posts
    assert (host, path) == (f"mta-sts.{POSTED}", "/tlsrpt")
    assert json.loads(gzip.decompress(data)) == found[POSTED]
    assert not place.suite.tracebacks()
