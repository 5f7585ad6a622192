"""TLS reports: counted by day and policy, sent once, by signed mail and by HTTPS (RFC 8460)."""

from __future__ import annotations

import asyncio
import email
import email.policy
import gzip
import json
import re
from collections.abc import AsyncIterator, Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from structlog.testing import capture_logs

from core.clock import ManualClock
from core.errors import ConflictError, TemporaryError
from core.https import HttpsFailed, HttpsReply
from delivery.queue.claims import Choice
from delivery.queue.queue import Queue
from delivery.queue.tls_counts import TlsKey
from dkim_keys.sign import Signer
from smtp.outbound.tls_counts import DAY, TlsCounts
from smtp.outbound.tls_report import destinations
from smtp.outbound.tls_reporter import TlsReporter
from smtp.outbound.tls_results import Applied, PolicyKind, Session
from tests.fakes.delivery_world import CountingIds
from tests.fakes.resolver import FakeResolver

STS = Applied(PolicyKind.STS, "r.test", ("version: STSv1", "mode: enforce", "mx: *.r.test"), ("*.r.test",))
TLSA = Applied(PolicyKind.TLSA, "mx.r.test", ("3 1 1 abcd",))


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([b"v=TLSRPTv1; rua=mailto:tls@r.test"], ("mailto:tls@r.test",)),
        ([b"v=TLSRPTv1;rua=mailto:a@r.test,https://r.test/x ;"], ("mailto:a@r.test", "https://r.test/x")),
        ([b"other", b"v=TLSRPTv1; ext=1; rua=mailto:a@r.test"], ("mailto:a@r.test",)),
        ([b"v=TLSRPTv1; rua=ftp://r.test,mailto:a b@r.test"], ()),
        ([b"v=TLSRPTv1; rua=mailto:a@r.test", b"v=TLSRPTv1; rua=mailto:b@r.test"], ()),
        ([b"v=TLSRPTv1; rua=" + b",".join(b"mailto:a%d@r.test" % n for n in range(9))],
         tuple(f"mailto:a{n}@r.test" for n in range(5))),
        ([b"v=TLSRPTv2; rua=mailto:a@r.test"], ()),
        ([], ()),
    ],
)  # fmt: skip
def test_where_reports_go(records: list[bytes], expected: tuple[str, ...]) -> None:
    assert destinations(records) == expected


class Web:
    def __init__(self) -> None:
        self.status, self.reason, self.refused = 201, "", ""
        self.posts: list[tuple[str, bytes, str]] = []

    async def post(self, url: str, body: bytes, media: str) -> HttpsReply:
        await asyncio.sleep(0)  # others run meanwhile
        if self.reason:
            raise HttpsFailed(self.reason)
        if url == self.refused:
            return HttpsReply(500, "", b"")
        self.posts.append((url, body, media))
        return HttpsReply(self.status, "", b"")

    async def close(self) -> None:
        pass


class Keys:
    async def signers(self, domain: str) -> tuple[Signer, ...]:
        if domain != "dept.test":
            return ()
        return (Signer(domain, "s1", "ed25519-sha256", Ed25519PrivateKey.generate()),)


class Place:
    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock()
        self.clock.at -= self.clock.at % DAY
        self.queue = Queue(directory / "queue.db", directory / "run", clock=self.clock)
        self.counts = TlsCounts(self.queue, self.clock)
        self.resolver = FakeResolver()
        self.web: Any = cast(Any, Web())
        self.reporter = self.reporting_as("mx.dept.test")

    def reporting_as(self, hostname: str) -> TlsReporter:
        return TlsReporter(
            self.queue, self.counts, self.resolver, self.web, Keys(),
            hostname=hostname, clock=self.clock, ids=CountingIds(),
        )  # fmt: skip

    def rua(self, value: str) -> None:
        self.resolver.zone["_smtp._tls.r.test"] = {"TXT": [f"v=TLSRPTv1; rua={value}"]}

    def note(self, applied: Applied = STS, failure: str = "", times: int = 1) -> None:
        for _ in range(times):
            self.counts.note(Session("r.test", applied, "mx.r.test", "192.0.2.1", "192.0.2.9", failure, failure))

    async def next_day(self) -> None:
        await self.counts.flush()
        self.clock.advance(DAY + 5 * 3600)
        await self.reporter.report_due()

    async def queued(self) -> list[EmailMessage]:
        claimed = await self.queue.claim(lambda page: Choice(tuple((item.id,) for item in page), frozenset()))
        found = []
        for job in claimed:
            content = await self.queue.content(job.message)
            assert job.message.sender is None
            data = content.read(0, content.size)
            found.append(email.message_from_bytes(data, policy=email.policy.default))
        return found


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path)
    await made.queue.open()
    yield made
    await made.queue.close()


async def test_a_day_is_reported_by_signed_mail_with_its_sums(place: Place) -> None:
    place.rua("mailto:tls@r.test")
    place.note(times=3)
    await place.counts.flush()
    place.note(times=2)
    place.note(failure="certificate-expired", times=4)
    place.note(TLSA, failure="validation-failure")
    await place.next_day()
    [mail] = await place.queued()
    assert mail["From"] == "noreply-tls-reports@dept.test"
    assert mail["To"] == "tls@r.test"
    assert "d=dept.test" in mail["DKIM-Signature"]
    assert (mail["TLS-Report-Domain"], mail["TLS-Report-Submitter"]) == ("r.test", "mx.dept.test")
    assert mail["TLS-Required"] == "No"
    named = re.fullmatch(r"Report Domain: r\.test Submitter: mx\.dept\.test Report-ID: <(\S+)>", mail["Subject"])
    assert named, "RFC 8460 5.3"
    assert mail.get_content_type() == "multipart/report"
    assert mail.get_param("report-type") == "tlsrpt"
    text, attached = mail.iter_parts()
    assert "10 sessions SMTP, dont 5 en échec" in text.get_content()
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    start = int(place.clock.at // DAY) * DAY - DAY
    assert (attached.get_filename() or "").startswith(f"mx.dept.test!r.test!{start}!{start + DAY - 1}!")
    report = json.loads(gzip.decompress(attached.get_content()))
    assert report["organization-name"] == "mx.dept.test"
    assert report["report-id"] == f"{named[1]}@mx.dept.test"
    assert report["date-range"]["end-datetime"].endswith("T23:59:59Z")
    sts, tlsa = report["policies"]
    assert sts["policy"] == {
        "policy-type": "sts", "policy-domain": "r.test", "mx-host": ["*.r.test"],
        "policy-string": ["version: STSv1", "mode: enforce", "mx: *.r.test"],
    }  # fmt: skip
    assert sts["summary"] == {"total-successful-session-count": 5, "total-failure-session-count": 4}
    assert sts["failure-details"] == [
        {
            "result-type": "certificate-expired", "sending-mta-ip": "192.0.2.9", "receiving-mx-hostname": "mx.r.test",
            "receiving-ip": "192.0.2.1", "failure-reason-code": "certificate-expired", "failed-session-count": 4,
        }
    ]  # fmt: skip
    assert tlsa["policy"]["policy-domain"] == "mx.r.test"
    assert await place.queue.tls_days(10**6) == []


@pytest.mark.parametrize("uris", ["mailto:tls@r.test", "mailto:tls@r.test,https://r.test/x"])
async def test_a_report_that_nobody_here_can_sign_is_not_mailed_and_the_log_names_it(place: Place, uris: str) -> None:
    """It left without a signature, for its reader to ignore (RFC 8460 3). No signature is asked of what is posted."""
    place.rua(uris)
    place.reporter = place.reporting_as("mx.elsewhere.test")
    place.note()
    with capture_logs() as logs:
        await place.next_day()
    assert await place.queued() == []
    assert [url for url, _, _ in place.web.posts] == [uri for uri in uris.split(",") if uri.startswith("https:")]
    [line] = [line for line in logs if line["event"] == "tls-report-unsigned"]
    assert (line["domain"], line["hostname"]) == ("r.test", "mx.elsewhere.test")
    assert await place.queue.tls_days(10**6) == []


# RFC 8460 4.4: each object's members, what they are, and whether they must be there.
INSTANT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"  # RFC 3339, UTC
WORDS = (
    r"starttls-not-supported|certificate-host-mismatch|certificate-expired|certificate-not-trusted|validation-failure"
    r"|tlsa-invalid|dnssec-invalid|dane-required|sts-policy-fetch-error|sts-policy-invalid|sts-webpki-invalid"
)  # 4.3
Shape = dict[str, Any]
DETAIL: Shape = {
    "result-type": WORDS, "sending-mta-ip?": r"[0-9a-f.:]+", "receiving-mx-hostname?": r"[a-z0-9.-]+",
    "receiving-mx-helo?": r".+", "receiving-ip?": r"[0-9a-f.:]+", "failed-session-count": int,
    "additional-information?": r".+", "failure-reason-code?": r".+",
}  # fmt: skip
POLICY: Shape = {
    "policy": {
        "policy-type": "tlsa|sts|no-policy-found", "policy-string?": [r".+"], "policy-domain": r"[a-z0-9.-]+",
        "mx-host?": [r".+"],
    },
    "summary": {"total-successful-session-count": int, "total-failure-session-count": int},
    "failure-details?": [DETAIL],
}  # fmt: skip
REPORT: Shape = {
    "organization-name": r".+", "date-range": {"start-datetime": INSTANT, "end-datetime": INSTANT},
    "contact-info": r"[^@]+@[^@]+", "report-id": r".+", "policies": [POLICY],
}  # fmt: skip


def unlike(value: Any, shape: Any, where: str = "report") -> list[str]:
    """What is not as the shape says."""
    if isinstance(shape, dict):
        known = {name.rstrip("?"): (inner, name.endswith("?")) for name, inner in shape.items()}
        lines = [f"{where}: {name} is unknown" for name in value.keys() - known.keys()]
        lines += [f"{where}: {name} is missing" for name, (_, may) in known.items() if not may and name not in value]
        return lines + [line for name in value.keys() & known for line in unlike(value[name], known[name][0], name)]
    if isinstance(shape, list):
        return [line for item in value for line in unlike(item, shape[0], where)] if value else [f"{where}: empty"]
    if shape is int:
        return [] if type(value) is int and value >= 0 else [f"{where}: {value!r}"]
    return [] if isinstance(value, str) and re.fullmatch(shape, value) else [f"{where}: {value!r}"]


async def test_every_report_has_the_shape_and_the_words_of_the_rfc(place: Place) -> None:
    """RFC 8460 4.4, with every kind of policy and every failure that our client tells (tests/interop has them told)."""
    place.rua("mailto:tls@r.test")
    for applied in (STS, TLSA, Applied(PolicyKind.NONE, "r.test")):
        place.note(applied)
        for failure in ("starttls-not-supported", "certificate-host-mismatch", "certificate-expired",
                        "certificate-not-trusted", "validation-failure"):  # fmt: skip
            place.note(applied, failure, times=2)
    for failure in ("tlsa-invalid", "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid"):
        place.counts.note(Session("r.test", TLSA if failure == "tlsa-invalid" else STS, "mx.r.test", "192.0.2.1",
                                  "192.0.2.9", failure, failure))  # fmt: skip
    await place.next_day()
    [mail] = await place.queued()
    _, attached = mail.iter_parts()
    report = json.loads(gzip.decompress(attached.get_content()))
    assert unlike(report, REPORT) == []
    assert len(report["policies"]) == 3
    for told in report["policies"]:
        failed = sum(detail["failed-session-count"] for detail in told["failure-details"])
        assert failed == told["summary"]["total-failure-session-count"]
    assert unlike({**report, "policies": []}, REPORT) == ["policies: empty"]
    assert unlike({**report, "report-id": 7, "x": ""}, REPORT) == ["report: x is unknown", "report-id: 7"]


async def test_a_report_is_sent_once_whoever_is_quicker(place: Place) -> None:
    place.rua("mailto:tls@r.test")
    place.note()
    await place.next_day()
    await place.reporter.report_due()
    assert len(await place.queued()) == 1
    with pytest.raises(ConflictError):
        await place.queue.settle_tls(int(place.clock.at // DAY) - 1, "r.test", [])


async def test_the_day_is_over_before_it_is_reported(place: Place) -> None:
    place.rua("mailto:tls@r.test")
    place.note()
    await place.counts.flush()
    place.clock.advance(DAY - 60)
    await place.reporter.report_due()
    assert await place.queued() == []


async def test_a_report_leaves_some_time_after_midnight_and_each_day_has_its_own(place: Place) -> None:
    """RFC 8460 5.5: not everybody's at once; 4.4: an id for each."""
    place.rua("mailto:tls@r.test")
    ids = set()
    for _ in range(2):
        place.note()
        await place.counts.flush()
        place.clock.advance(DAY - place.clock.at % DAY + 60)
        await place.reporter.report_due()
        assert await place.queued() == []
        place.clock.advance(4 * 3600)
        await place.reporter.report_due()
        [mail] = await place.queued()
        _, attached = mail.iter_parts()
        ids.add(json.loads(gzip.decompress(attached.get_content()))["report-id"])
    assert len(ids) == 2


async def test_what_came_due_while_nothing_ran_leaves_at_once(place: Place) -> None:
    place.rua("mailto:tls@r.test")
    place.note()
    await place.counts.flush()
    place.clock.advance(DAY + 5 * 3600)
    running = asyncio.create_task(place.reporter.run())
    try:
        async with asyncio.timeout(10):
            while await place.queue.tls_days(10**6):
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert len(await place.queued()) == 1


async def test_an_address_of_a_report_is_read_as_a_uri(place: Place) -> None:
    """RFC 6068 2: octets as %XX, header fields behind a question mark."""
    place.rua("mailto:tls%2Breports@r.test?subject=x")
    place.note()
    await place.next_day()
    [mail] = await place.queued()
    assert mail["To"] == "tls+reports@r.test"


async def test_a_record_that_cannot_be_had_is_asked_for_again(place: Place) -> None:
    place.rua("mailto:tls@r.test")
    place.note()
    place.resolver.failing.add("_smtp._tls.r.test")
    await place.next_day()
    assert await place.queued() == []
    place.resolver.failing.clear()
    await place.reporter.report_due()
    assert len(await place.queued()) == 1


async def test_successes_are_counted_together_whatever_server_answered(place: Place) -> None:
    for host in ("mx1.r.test", "mx2.r.test"):
        place.counts.note(Session("r.test", STS, host, "192.0.2.1", "192.0.2.9"))
        place.counts.note(Session("r.test", STS, host, "192.0.2.1", "192.0.2.9", "certificate-expired", "x"))
    await place.counts.flush()
    kept = await place.queue.tls_counts(int(place.clock.at // DAY), "r.test")
    assert sorted((key.host, key.failure, sessions) for key, sessions in kept.items()) == [
        ("", "", 2), ("mx1.r.test", "certificate-expired", 1), ("mx2.r.test", "certificate-expired", 1),
    ]  # fmt: skip


async def test_who_asks_for_no_report_is_forgotten(place: Place) -> None:
    place.note()
    await place.next_day()
    assert await place.queued() == []
    assert await place.queue.tls_days(10**6) == []


async def test_a_report_is_posted_and_tried_again_for_a_day(place: Place) -> None:
    place.rua("https://r.test/tls,mailto:tls@r.test")
    place.note()
    place.web.reason = "connect"
    await place.next_day()
    assert await place.queued() == []
    place.web.reason = ""
    await place.reporter.report_due()
    [(url, data, media)] = place.web.posts
    assert (url, media) == ("https://r.test/tls", "application/tlsrpt+gzip")
    assert json.loads(gzip.decompress(data))["report-id"].endswith("@mx.dept.test")
    assert len(await place.queued()) == 1


async def test_a_report_is_posted_by_one_worker_of_several_that_look_at_once(place: Place) -> None:
    place.rua("https://r.test/tls,mailto:tls@r.test")
    place.note()
    await place.counts.flush()
    place.clock.advance(DAY + 5 * 3600)
    [(day, domain)] = await place.queue.tls_days(10**6)
    await asyncio.gather(*(place.reporter.report_due() for _ in range(4)))
    await place.reporter.report_due()
    assert len(place.web.posts) == 1
    assert len(await place.queued()) == 1
    assert await place.queue.claim_tls(day, domain, 900) is None  # who read the list before it was settled


async def test_a_report_is_not_posted_again_where_it_was_taken(place: Place) -> None:
    place.rua("https://good.test/tls,https://bad.test/tls,mailto:tls@r.test")
    place.note()
    place.web.refused = "https://bad.test/tls"
    await place.next_day()
    await place.reporter.report_due()
    assert await place.queued() == []
    place.web.refused = ""
    await place.reporter.report_due()
    assert [url for url, _, _ in place.web.posts] == ["https://good.test/tls", "https://bad.test/tls"]
    assert len(await place.queued()) == 1


async def test_what_a_worker_wanted_to_post_when_it_was_killed_is_posted_by_another(place: Place) -> None:
    place.rua("https://r.test/tls")
    place.note()
    await place.counts.flush()
    place.clock.advance(DAY + 5 * 3600)
    [(day, domain)] = await place.queue.tls_days(10**6)
    assert await place.queue.claim_tls(day, domain, 900) == frozenset()
    await place.reporter.report_due()
    assert place.web.posts == []
    place.clock.advance(901)
    await place.reporter.report_due()
    assert len(place.web.posts) == 1


async def test_a_claim_holds_at_every_moment_of_its_second_and_by_a_clock_a_little_behind(place: Place) -> None:
    """At half of all moments it was held for a claim of a clock that ran ahead, and two workers posted."""
    place.rua("https://r.test/tls")
    place.note()
    await place.counts.flush()
    place.clock.advance(DAY + 5 * 3600)
    place.clock.at = place.clock.now() // 1 + 0.6
    [(day, domain)] = await place.queue.tls_days(10**6)
    assert await place.queue.claim_tls(day, domain, 900) == frozenset()
    assert await place.queue.claim_tls(day, domain, 900) is None
    place.clock.at = place.clock.now() - 5
    assert await place.queue.claim_tls(day, domain, 900) is None
    place.clock.at = place.clock.now() - 3600  # it ran ahead by an hour
    assert await place.queue.claim_tls(day, domain, 900) == frozenset()


async def test_a_report_nobody_takes_is_given_up(place: Place) -> None:
    place.rua("https://r.test/tls")
    place.note()
    place.web.status = 500
    await place.next_day()
    assert await place.queue.tls_days(10**6)
    place.clock.advance(2 * DAY)
    await place.reporter.report_due()
    assert await place.queue.tls_days(10**6) == []


async def test_counts_wait_for_a_database_that_is_away(place: Place) -> None:
    place.rua("mailto:tls@r.test")
    real = place.queue.count_tls

    async def away(counts: Mapping[TlsKey, int]) -> None:
        raise TemporaryError("away")

    place.queue.count_tls = away  # type: ignore[method-assign]  # a fault
    place.note(times=2)
    await place.counts.flush()
    place.queue.count_tls = real  # type: ignore[method-assign]  # healed
    place.note()
    await place.next_day()
    [mail] = await place.queued()
    assert "3 sessions SMTP, dont 0" in mail.get_body().get_content()  # type: ignore[union-attr]  # it has one
