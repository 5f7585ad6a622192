"""Postfix and the suite over a bad road, both ways: late, uneven and small pieces, stand-stills, resets at any octet.

Nothing is lost, what arrives is whole, and nothing is doubled that a reset between a dot and its answer does not
explain (RFC 1047; promises P1, P2). Without TLS, so that the road sees dots; faults of packets (loss, reordering) are
these faults to who reads a TCP stream.
"""

from __future__ import annotations

import contextlib
import smtplib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.interop.mail import Marked, body, fetch_all, marked
from tests.interop.ways import HOME, PASSWORD
from tests.peers.dns import mail_zone, unbound
from tests.peers.postfix import Postfix, postfix
from tests.peers.process import wait_until
from tests.peers.rough import Road, road
from tests.peers.suite import Settings, Suite, suite

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

FAR = "rough.test"
ALICE, OURS = f"alice@{FAR}", f"secretariat@{HOME}"
MESSAGES = 24
CALM = 8.0  # seconds of resets at most; then the road is only slow, so that the test ends
EXTRA = """smtp_connect_timeout = 5s
smtpd_client_connection_count_limit = 0
smtpd_tls_security_level = none
smtp_destination_concurrency_failed_cohort_limit = 1000
"""


@dataclass
class Rough:
    postfix: Postfix
    suite: Suite
    into: Road
    out: Road

    @property
    def ports(self) -> dict[str, int]:
        return self.suite.ports


@pytest.fixture(scope="module")
def rough() -> Iterator[Rough]:
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        spf = mail_zone('@ IN TXT "v=spf1 ip4:127.0.0.0/8 -all"')
        dns = enter(unbound({FAR: spf, HOME: "@ IN MX 10 mx.dept.test.\n", "dept.test": "mx IN A 127.0.0.1\n"}))
        settings = Settings(dns.endpoint, retry="1s")
        installation = enter(suite(settings, started=False))
        into = enter(road(("127.0.0.1", installation.ports["mx"]), 1))
        routes = {HOME: f"127.0.0.1:{into.port}"}
        partner = enter(postfix(FAR, ["alice"], routes, client_tls="none", extra=EXTRA))
        out = enter(road(("127.0.0.1", partner.port), 2))
        settings.routes[FAR] = f"127.0.0.1:{out.port}"
        installation.config.write_text(settings.toml(installation.ports))
        installation.start()
        installation.api("POST", "/organisations", {"name": "Commune"})
        installation.api("POST", "/domains", {"name": HOME, "organisation": "Commune"})
        installation.api("POST", "/mailboxes", {"address": OURS, "password": PASSWORD})
        yield Rough(partner, installation, into, out)


def sizes() -> list[int]:
    return [(300, 3_000, 20_000, 300, 3_000, 90_000)[number % 6] for number in range(MESSAGES)]


def arrive(sent: list[Marked], held: Callable[[], list[bytes]], way: Road, nudge: Callable[[], None]) -> None:
    """All of them, whole; copies beyond one are no more than the road explains."""
    begun = time.monotonic()

    def copies() -> Counter[str]:
        found = [body(raw) for raw in held()]
        wrong = [raw for raw in found if raw not in {body(message.raw) for message in sent}]
        assert not wrong
        return Counter(message.mark for message in sent for raw in found if raw == body(message.raw))

    def all_there() -> bool:
        way.smooth = way.smooth or time.monotonic() - begun > CALM
        nudge()
        return len(copies()) == len(sent)

    wait_until(all_there, what="all messages", timeout=120)
    assert way.resets >= 3
    assert way.stalls >= 1
    assert sum(copies().values()) - len(sent) <= way.unanswered


def test_f144_postfix_reaches_us_over_a_bad_road_and_nothing_is_lost_or_doubled(rough: Rough) -> None:
    sent = [marked(ALICE, OURS, size=size) for size in sizes()]
    with smtplib.SMTP("127.0.0.1", rough.postfix.port, timeout=60) as client:
        for message in sent:
            assert not client.sendmail(ALICE, [OURS], message.raw)
    arrive(sent, lambda: list(fetch_all(rough, OURS, "INBOX").values()), rough.into, rough.postfix.flush)
    assert not rough.suite.tracebacks()


def test_f146_our_queue_reaches_postfix_over_a_bad_road_and_nothing_is_lost_or_doubled(rough: Rough) -> None:
    sent = [marked(OURS, ALICE, size=size) for size in sizes()]
    with smtplib.SMTP("127.0.0.1", rough.ports["submission"], timeout=60) as client:
        client.starttls(context=rough.suite.tls())
        client.login(OURS, PASSWORD)
        for message in sent:
            assert not client.sendmail(OURS, [ALICE], message.raw, mail_options=["BODY=8BITMIME"])

    def held() -> list[bytes]:
        return [raw.replace(b"\n", b"\r\n") for raw in rough.postfix.messages("alice")]

    arrive(sent, held, rough.out, lambda: time.sleep(0.2))
    wait_until(lambda: rough.suite.api("GET", "/queue") == [], what="our queue to be empty", timeout=60)
    assert len(held()) - len(sent) <= rough.out.unanswered
    assert not rough.suite.tracebacks()
