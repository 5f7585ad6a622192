"""FUTURERELEASE, DELIVERBY and MT-PRIORITY on submission: announced, read, refused at one past each bound."""

from __future__ import annotations

import pytest

from core.clock import ManualClock
from core.config import Auth
from core.envelope import Listener, Schedule
from smtp import replies
from smtp.parameters import ArgumentError, Offers, parse_mail
from smtp.schedule import Terms, by_parameter, left
from tests.fakes.smtp_server import FakeAcceptor, Wire, running, service
from tests.smtp.test_tls_wire import plain

NOW = 1_790_000_000.0  # 2026-09-21T14:13:20Z
OFFERS = Offers(terms=Terms(NOW, 3600, 60))


def asked(parameters: str, offers: Offers = OFFERS) -> Schedule:
    return parse_mail(f"FROM:<a@b.fr> {parameters}", offers).parameters.schedule


@pytest.mark.parametrize(
    ("parameters", "schedule"),
    [
        ("HOLDFOR=1", Schedule(release_at=NOW + 1, hold="for;1")),
        ("HOLDFOR=3600", Schedule(release_at=NOW + 3600, hold="for;3600")),
        ("holduntil=2026-09-21T15:13:20Z", Schedule(release_at=NOW + 3600, hold="until;2026-09-21T15:13:20Z")),
        (
            "HOLDUNTIL=2026-09-21t17:13:20+02:00",
            Schedule(release_at=NOW + 3600, hold="until;2026-09-21t17:13:20+02:00"),
        ),
        ("BY=120;R", Schedule(deliver_by=NOW + 120, by_mode="R")),
        ("BY=60;r", Schedule(deliver_by=NOW + 60, by_mode="R")),
        ("BY=+120;RT", Schedule(deliver_by=NOW + 120, by_mode="R", by_trace=True)),
        ("BY=-30;nt", Schedule(deliver_by=NOW - 30, by_mode="N", by_trace=True)),
        ("BY=999999999;N", Schedule(deliver_by=NOW + 999_999_999, by_mode="N")),
        ("MT-PRIORITY=9", Schedule(priority=9)),
        ("MT-PRIORITY=-9", Schedule(priority=-9)),
        ("MT-PRIORITY=0", Schedule()),
        (
            "HOLDFOR=10 BY=600;N MT-PRIORITY=3",
            Schedule(release_at=NOW + 10, hold="for;10", deliver_by=NOW + 600, by_mode="N", priority=3),
        ),
    ],
)
def test_what_is_asked_for(parameters: str, schedule: Schedule) -> None:
    assert asked(parameters) == schedule


@pytest.mark.parametrize(
    "parameters",
    [
        "HOLDFOR",
        "HOLDFOR=",
        "HOLDFOR=3601",
        "HOLDFOR=0",
        "HOLDFOR=010",
        "HOLDFOR=-1",
        "HOLDFOR=1000000000",
        "HOLDFOR=1.5",
        "HOLDFOR=10 HOLDFOR=10",
        "HOLDFOR=10 HOLDUNTIL=2026-09-21T15:00:00Z",
        "HOLDUNTIL=2026-09-21T15:13:21Z",
        "HOLDUNTIL=2026-09-21T14:13:19Z",
        "HOLDUNTIL=2026-09-21",
        "HOLDUNTIL=2026-09-21T15:00:00",
        "HOLDUNTIL=2026-13-41T25:00:00Z",
        "HOLDUNTIL=20260921T150000Z",
        "BY=120",
        "BY=120;X",
        "BY=120;TR",
        "BY=0;R",
        "BY=-5;R",
        "BY=1000000000;N",
        "BY=;N",
        "BY=600;N HOLDFOR=600",
        "MT-PRIORITY",
        "MT-PRIORITY=10",
        "MT-PRIORITY=+3",
        "MT-PRIORITY=03",
        "MT-PRIORITY=-0",
        "MT-PRIORITY=x",
        "MT-PRIORITY=3 MT-PRIORITY=3",
        "BY=120;N BY=120;N",
    ],
)
def test_h017_what_cannot_be_had_is_501(parameters: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        asked(parameters)
    assert caught.value.reply is replies.BAD_PARAMETER


def test_a_time_limit_below_the_announced_minimum_is_555() -> None:
    with pytest.raises(ArgumentError) as caught:
        asked("BY=59;R")
    assert caught.value.reply is replies.TOO_SOON
    assert asked("BY=59;N").by_mode == "N"  # RFC 2852 4: the minimum is for by-mode R


@pytest.mark.parametrize("parameters", ["HOLDFOR=10", "HOLDUNTIL=2026-09-21T15:00:00Z", "BY=120;N", "MT-PRIORITY=3"])
def test_what_was_not_announced_is_555(parameters: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        asked(parameters, Offers())
    assert caught.value.reply is replies.UNKNOWN_PARAMETER


def test_what_is_left_of_a_time_limit_is_passed_on() -> None:
    limit = Schedule(deliver_by=NOW + 100, by_mode="N", by_trace=True)
    assert by_parameter(limit, NOW + 40) == "BY=60;NT"
    assert by_parameter(limit, NOW + 160) == "BY=-60;NT"
    assert by_parameter(Schedule(deliver_by=NOW + 100, by_mode="R"), NOW + 100.5) == "BY=1;R"
    assert left(limit, NOW + 2e9) == -999_999_999


async def test_the_wire() -> None:
    """Announced on submission alone; the highest priority that is given is told (RFC 6710 4.1)."""
    acceptor = FakeAcceptor()
    async with running(service(Listener.MX, acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        announced = await wire.ehlo()
        assert not any(keyword in announced for keyword in ("FUTURERELEASE", "DELIVERBY", "MT-PRIORITY"))
        assert (await wire.say("MAIL FROM:<a@b.fr> HOLDFOR=10")).startswith("555 5.5.4")
    auth = Auth(plaintext_on_loopback=True)
    async with running(service(Listener.SUBMISSION, auth=auth, acceptor=acceptor, clock=ManualClock(NOW))) as server:
        wire = await Wire.connect(server)
        lines = (await wire.ehlo()).splitlines()
        assert "250-FUTURERELEASE 2592000 2026-10-21T14:13:20Z" in lines
        assert {"250-DELIVERBY 60", "250-MT-PRIORITY"} <= set(lines)
        assert (await wire.say(f"AUTH PLAIN {plain()}")).startswith("235")
        for line, answer in (
            ("MAIL FROM:<agent@mairie.test> HOLDFOR=2592001", "501 5.5.4"),
            ("MAIL FROM:<agent@mairie.test> BY=59;R", "555 5.5.4"),
            ("MAIL FROM:<agent@mairie.test> HOLDFOR=2592000 MT-PRIORITY=4", "250 2.1.0"),
            ("RSET", "250"),
            ("MAIL FROM:<agent@mairie.test> MT-PRIORITY=5", "250 2.3.6 4 is the new priority"),
            ("RCPT TO:<x@mairie.test>", "250"),
            ("DATA", "354"),
            (b"Subject: x\r\n\r\nx\r\n.\r\n", "250"),
        ):
            assert (await wire.say(line)).startswith(answer)
    assert [each.transaction.parameters.schedule for each in acceptor.receptions] == [Schedule(priority=4)]
