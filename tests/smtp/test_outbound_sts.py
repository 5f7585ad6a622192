"""MTA-STS as a sender: records, policies, what is kept when everything is blocked (RFC 8461)."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.clock import ManualClock
from core.https import HttpsFailed, HttpsReply
from smtp.outbound.sts import MAX_AGE, MAX_POLICY, Mode, PolicyFault, read_policy, record_id
from smtp.outbound.sts_cache import StsCache
from smtp.outbound.sts_source import AGAIN, REFRESH, StsSource
from tests.fakes.resolver import FakeResolver

POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mx.r.test\r\nmx: *.mail.r.test\r\nmax_age: 604800\r\n"


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([b"v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        ([b"v=STSv1;id=1"], "1"),
        ([b"v = STSv1 ; id = 1 ; ext=a!b"], "1"),
        ([b"other", b"v=STSv1; id=1;"], "1"),
        ([b"v=STSv1; id=1;", b"v=STSv1; id=2;"], ""),
        ([b"v=STSv1; id=not_allowed;"], ""),
        ([b"v=STSv1; id=" + b"1" * 33], ""),
        ([b"v=STSv1; id=1; no pair"], ""),
        ([b"v=STSv1; id=1; =x"], ""),
        ([b"v=STSv1;"], ""),
        ([b"v=STSv1"], ""),
        ([b"v=STSv2; id=1"], ""),
        ([b"\xff\x00"], ""),
        ([], ""),
    ],
)
def test_the_record(records: list[bytes], expected: str) -> None:
    assert record_id(records) == expected


def test_a_policy_is_read() -> None:
    policy = read_policy("r.test", POLICY, "1", 100.0)
    assert (policy.mode, policy.patterns, policy.max_age) == (Mode.ENFORCE, ("mx.r.test", "*.mail.r.test"), 604800)
    assert policy.holds(100.0)
    assert not policy.holds(100.0 + 604800)
    assert not policy.holds(99.0), "a clock that went back"


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("mx.r.test", True),
        ("a.mail.r.test", True),
        ("mail.r.test", False),
        ("a.b.mail.r.test", False),
        ("xmx.r.test", False),
        ("evil.test", False),
    ],
)
def test_h027_patterns(host: str, allowed: bool) -> None:
    assert read_policy("r.test", POLICY, "1", 0.0).allows(host) is allowed


def test_lines_may_end_in_lf_and_unknown_fields_and_repeats_do_no_harm() -> None:
    text = b"version: STSv1\nmode:testing\nmode: enforce\nfuture: x\nmx:MX.R.Test\nmax_age: 0\n\n"
    policy = read_policy("r.test", text, "1", 0.0)
    assert (policy.mode, policy.patterns, policy.max_age) == (Mode.TESTING, ("mx.r.test",), 0)
    assert read_policy("r.test", b"version: STSv1\nmode: none\nmax_age: 1", "1", 0.0).patterns == ()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"mode: enforce\nmx: a.test\nmax_age: 1",
        b"version: STSv2\nmode: enforce\nmx: a.test\nmax_age: 1",
        b"version: STSv1\nmode: strict\nmx: a.test\nmax_age: 1",
        b"version: STSv1\nmode: enforce\nmax_age: 1",
        b"version: STSv1\nmode: enforce\nmx: a.test",
        b"version: STSv1\nmode: enforce\nmx: a.test\nmax_age: -1",
        b"version: STSv1\nmode: enforce\nmx: a.test\nmax_age: %d" % (MAX_AGE + 1),
        b"version: STSv1\nmode: enforce\nmx: *.*.test\nmax_age: 1",
        b"version: STSv1\nmode: enforce\nmx: a..test\nmax_age: 1",
        b"version: STSv1\nno field\nmode: none\nmax_age: 1",
        b"version: STSv1\nmode: none\nmax_age: 1\nx: \xff",
        b"version: STSv1\nmode: enforce\nmax_age: 1\n" + b"mx: a.test\n" * 101,
        b"version: STSv1\nmx: a.test\nmax_age: 1",
        POLICY + b"x: " + b"y" * (MAX_POLICY - len(POLICY) - 2),
    ],
)
def test_h027_what_is_no_policy(text: bytes) -> None:
    with pytest.raises(PolicyFault):
        read_policy("r.test", text, "1", 0.0)


def test_h027_a_policy_may_be_as_long_as_is_read() -> None:
    text = POLICY + b"x: " + b"y" * (MAX_POLICY - len(POLICY) - 3)
    assert len(text) == MAX_POLICY
    assert read_policy("r.test", text, "1", 0.0).mode is Mode.ENFORCE


# --- fetching and keeping -------------------------------------------------------------------------------------------


class Web:
    """Answers with `policy`, or fails with `reason`; counts."""

    def __init__(self) -> None:
        self.policy = POLICY
        self.reason = ""
        self.status, self.media = 200, "text/plain"
        self.urls: list[str] = []

    async def get(self, url: str, *, most: int) -> HttpsReply:
        self.urls.append(url)
        if self.reason:
            raise HttpsFailed(self.reason)
        return HttpsReply(self.status, self.media, self.policy)

    async def close(self) -> None:
        pass


class Place:
    def __init__(self, directory: Path) -> None:
        self.clock, self.web, self.directory = ManualClock(), Web(), directory
        self.resolver = FakeResolver({"_mta-sts.r.test": {"TXT": ["v=STSv1; id=1;"]}})
        self.restart()

    def restart(self) -> None:
        self.source = StsSource(self.resolver, self.web, StsCache(self.directory / "sts"), self.clock, port=8443)  # type: ignore[arg-type]  # a fake

    def id(self, text: str) -> None:
        self.resolver.zone["_mta-sts.r.test"]["TXT"] = [f"v=STSv1; id={text};"]

    async def mode(self) -> str:
        policy = (await self.source.state("r.test")).policy
        return policy.mode.value if policy else ""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_a_policy_is_fetched_once_and_kept(place: Place) -> None:
    assert [await place.mode() for _ in range(3)] == ["enforce"] * 3
    assert place.web.urls == ["https://mta-sts.r.test:8443/.well-known/mta-sts.txt"]


async def test_h027_a_policy_survives_a_restart_and_the_blocking_of_dns_and_web(place: Place) -> None:
    await place.mode()
    place.restart()
    place.resolver.failing.add("_mta-sts.r.test")
    place.web.reason = "connect"
    place.clock.advance(6 * 86400)
    assert await place.mode() == "enforce"
    place.resolver.failing.clear()
    place.id("2")
    assert await place.mode() == "enforce", "the new policy cannot be had, the old one holds"
    place.clock.advance(86400)
    assert await place.mode() == "", "past its max_age"


async def test_h027_a_record_that_is_gone_ends_no_policy(place: Place) -> None:
    await place.mode()
    place.resolver.zone.clear()
    assert await place.mode() == "enforce"


async def test_h027_a_new_id_is_fetched_and_none_ends_the_policy(place: Place) -> None:
    await place.mode()
    place.web.policy = b"version: STSv1\nmode: none\nmax_age: 86400"
    place.id("2")
    assert await place.mode() == ""
    assert await place.mode() == ""
    assert len(place.web.urls) == 2


async def test_a_policy_in_use_is_refreshed_and_so_lives_on(place: Place) -> None:
    await place.mode()
    for _ in range(10):
        place.clock.advance(REFRESH + 1)
        assert await place.mode() == "enforce"
    assert len(place.web.urls) == 11


@pytest.mark.parametrize(
    ("reason", "fault"),
    [
        ("connect", "sts-policy-fetch-error"),
        ("timeout", "sts-policy-fetch-error"),
        ("too-long", "sts-policy-fetch-error"),
        ("certificate", "sts-webpki-invalid"),
    ],
)
async def test_h027_a_failure_is_told_and_not_repeated_at_once(place: Place, reason: str, fault: str) -> None:
    place.web.reason = reason
    for _ in range(3):
        state = await place.source.state("r.test")
        assert (state.policy, state.fault) == (None, fault)
    assert len(place.web.urls) == 1
    place.web.reason = ""
    place.clock.advance(AGAIN + 1)
    assert await place.mode() == "enforce"


@pytest.mark.parametrize(
    ("status", "media"), [(206, "text/plain"), (301, "text/plain"), (404, "text/plain"), (200, "text/html")]
)
async def test_h027_only_a_plain_200_is_a_policy(place: Place, status: int, media: str) -> None:
    place.web.status, place.web.media = status, media
    state = await place.source.state("r.test")
    assert state.policy is None
    assert state.fault


async def test_a_policy_that_holds_for_a_short_time_is_refreshed_at_half_of_it(place: Place) -> None:
    """RFC 8461 3.3: whoever blocks its host once it has ended would have switched it off."""
    place.web.policy = POLICY.replace(b"604800", b"3600")
    await place.mode()
    place.clock.advance(1799)
    await place.mode()
    assert len(place.web.urls) == 1
    place.clock.advance(2)
    await place.mode()
    assert len(place.web.urls) == 2


async def test_a_kept_file_counts_for_its_own_domain_alone(place: Place) -> None:
    await place.mode()
    [file] = (place.directory / "sts").iterdir()
    file.write_text(file.read_text().replace('"r.test"', '"other.test"'))
    place.restart()
    place.web.reason = "connect"
    assert await place.mode() == ""


async def test_h027_a_damaged_file_is_no_policy(place: Place) -> None:
    await place.mode()
    for file in (place.directory / "sts").iterdir():
        file.write_text("[]")
    place.restart()
    assert await place.mode() == "enforce"
    assert len(place.web.urls) == 2


async def test_a_disk_that_cannot_be_written_stops_nothing(place: Place) -> None:
    (place.directory / "sts").write_text("a file where the directory would be")
    assert await place.mode() == "enforce"


async def test_mail_goes_where_a_policy_led_until_the_one_that_replaces_it_can_be_read(place: Place) -> None:
    """A domain moves, its new policy is announced, and its web server is down for a day."""

    async def allowed() -> tuple[bool, bool]:
        policy = (await place.source.state("r.test")).policy
        assert policy is not None
        return policy.allows("mx.r.test"), policy.allows("mx.new.test")

    assert await allowed() == (True, False)
    place.id("2")
    place.web.reason, place.web.policy = "connect", POLICY.replace(b"mx: mx.r.test", b"mx: mx.new.test")
    for _ in range(24):
        assert await allowed() == (True, False)
        place.clock.advance(3600)
    place.web.reason = ""
    assert await allowed() == (False, True)
    place.restart()
    assert await allowed() == (False, True), "and is kept"
