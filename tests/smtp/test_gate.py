"""Who may come in: three circles, rates, bans, accounts, stress, all over the counts of the machine."""

from __future__ import annotations

import base64
from bisect import bisect_left
from pathlib import Path
from typing import Any

import pytest

from core import reputation
from core.clock import ManualClock
from core.config import Auth, Limits
from core.envelope import Listener
from core.tally import Tally
from smtp.gate import EVERYBODY, RATE_WINDOW, Refusal, TallyGate
from tests.fakes.smtp_server import PASSWORD, Wire, running, service


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def gate(clock: ManualClock, **limits: Any) -> TallyGate:
    return TallyGate(Limits(**limits), Tally.private(clock))


def test_h035_the_gate_counts_in_three_circles(clock: ManualClock) -> None:
    door = gate(clock, connections_per_address=2, connections_per_network=3, connections_per_region=4)
    assert [door.enter("192.0.2.1") for _ in range(3)] == [None, None, Refusal.CONNECTIONS]
    assert door.enter("192.0.2.2") is None
    assert door.enter("192.0.2.3") is Refusal.CONNECTIONS  # the /24 is full
    assert door.enter("192.0.3.1") is None
    assert door.enter("192.0.4.1") is Refusal.CONNECTIONS  # the /20 is full
    assert door.enter("198.51.100.1") is None
    door.leave("192.0.2.1")
    assert door.enter("192.0.4.1") is None


def test_an_ipv6_host_is_its_64(clock: ManualClock) -> None:
    door = gate(clock, connections_per_address=1)
    assert door.enter("2001:db8::1") is None
    assert door.enter("2001:db8::2") is Refusal.CONNECTIONS
    assert door.enter("2001:db8:0:1::1") is None


def test_h035_rates_are_counted_in_three_circles_and_end_with_the_minute(clock: ManualClock) -> None:
    door = gate(clock, connection_rate_address=3, connection_rate_network=5, connection_rate_region=100)

    def visit(address: str) -> Refusal | None:
        refusal = door.enter(address)
        if refusal is None:
            door.leave(address)
        return refusal

    assert [visit("192.0.2.1") for _ in range(4)] == [None, None, None, Refusal.RATE]
    assert visit("192.0.2.2") is None
    assert visit("192.0.2.3") is Refusal.RATE  # the sixth of this /24, with the refused one
    assert visit("198.51.100.1") is None
    clock.advance(120.0)
    assert visit("192.0.2.1") is None


def test_h035_two_processes_share_one_count(clock: ManualClock, tmp_path: Path) -> None:
    limits = Limits(connections_per_address=2)
    first, second = (Tally.shared(tmp_path, clock) for _ in range(2))
    one, other = TallyGate(limits, first), TallyGate(limits, second)
    assert one.enter("192.0.2.1") is None
    assert other.enter("192.0.2.1") is None
    assert one.enter("192.0.2.1") is other.enter("192.0.2.1") is Refusal.CONNECTIONS
    other.leave("192.0.2.1")
    assert one.enter("192.0.2.1") is None
    for tally in (first, second):
        tally.close()


def test_h035_processes_that_ask_at_one_moment_let_in_one_more_for_each_but_one(
    clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound that docs/limits.md tells: each process has asked before any of them counted."""
    tallies = [Tally.shared(tmp_path, clock) for _ in range(4)]
    doors = [TallyGate(Limits(connections_per_address=3), tally) for tally in tallies]
    assert [doors[0].enter("192.0.2.1") for _ in range(2)] == [None, None]
    refusals = []

    def answered_late(index: int) -> None:
        real = tallies[index].inside

        def inside(name: str) -> int:
            found = real(name)
            if name == EVERYBODY and index + 1 < len(doors):  # the last question, all of whose answers are old now
                refusals.append(doors[index + 1].enter("192.0.2.1"))
            return found

        monkeypatch.setattr(tallies[index], "inside", inside)

    for index in range(len(doors)):
        answered_late(index)
    refusals.append(doors[0].enter("192.0.2.1"))
    monkeypatch.undo()
    assert refusals == [None] * 4
    assert {tally.inside(EVERYBODY) for tally in tallies} == {3 + 4 - 1}
    for _ in range(4 - 1):
        assert {door.enter("192.0.2.1") for door in doors} == {Refusal.CONNECTIONS}
        doors[0].leave("192.0.2.1")
    assert doors[0].enter("192.0.2.1") is Refusal.CONNECTIONS  # as many as the limit are left
    for tally in tallies:
        tally.close()


@pytest.mark.parametrize("burst_at", [0.0, 20.0, 59.9])
def test_h035_no_minute_has_more_than_twice_a_rate(clock: ManualClock, burst_at: float) -> None:
    """A rate is estimated from two minutes: who never comes once too often has most behind a burst at one's end."""
    clock.at = 1_790_000_040.0 + burst_at  # of a whole number of windows
    rate, tally, came = 60, Tally.private(clock), list[float]()
    door = TallyGate(Limits(connection_rate_address=rate), tally)
    for _ in range(1800):
        while tally.seen("smtp 192.0.2.1/32", RATE_WINDOW) < rate:
            assert door.enter("192.0.2.1") is None
            door.leave("192.0.2.1")
            came.append(clock.now())
        clock.advance(0.1)

    def most_within(span: float) -> int:
        return max(bisect_left(came, first + span) - number for number, first in enumerate(came))

    assert most_within(RATE_WINDOW) <= 2 * rate
    assert burst_at < 59.0 or most_within(RATE_WINDOW) > 1.9 * rate  # it can be had
    assert most_within(RATE_WINDOW / 10) <= 1.1 * rate + 1  # but not at once


def test_h035_listed_partners_get_in_through_any_flood(clock: ManualClock) -> None:
    door = gate(clock, connections_per_address=1, smtp_connections=2, exempt=["192.0.2.0/24"])
    assert door.enter("198.51.100.1") is None
    assert door.enter("203.0.113.1") is None
    assert door.enter("203.0.114.1") is Refusal.FULL
    assert all(door.enter("192.0.2.1") is None for _ in range(5))


def test_h039_harvesters_are_banned_across_sessions_and_for_an_hour(clock: ManualClock) -> None:
    door = gate(clock)
    assert [door.recipient("192.0.2.1", known=False) for _ in range(21)] == [False] * 20 + [True]
    assert door.enter("192.0.2.1") is Refusal.BANNED
    assert door.enter("192.0.2.2") is None
    clock.advance(3601.0)
    assert door.enter("192.0.2.1") is None


def test_h039_an_old_list_is_no_harvest(clock: ManualClock) -> None:
    door = gate(clock)
    asked = [door.recipient("192.0.2.1", known=number % 4 == 0) for number in range(200)]
    assert not any(asked)
    for _ in range(19):  # unknown ones of long ago
        assert not door.recipient("198.51.100.1", known=False)
    clock.advance(1200.0)
    assert not door.recipient("198.51.100.1", known=False)
    assert not door.recipient("198.51.100.1", known=False)


def test_h039_who_was_vouched_for_within_30_days_is_never_banned(clock: ManualClock) -> None:
    tally = Tally.private(clock)
    door = TallyGate(Limits(), tally)
    reputation.vouch(tally, "192.0.2.1")
    clock.advance(29 * 86400.0)
    assert not any(door.recipient("192.0.2.1", known=False) for _ in range(100))
    clock.advance(2 * 86400.0)
    assert any(door.recipient("192.0.2.1", known=False) for _ in range(21))


def test_h036_stress_begins_at_four_fifths_of_all_places_and_ends(clock: ManualClock) -> None:
    door = gate(clock, smtp_connections=10)
    for number in range(8):
        door.enter(f"192.0.2.{number}")
    seen = [door.stressed]
    door.enter("192.0.2.9")
    seen.append(door.stressed)
    door.leave("192.0.2.9")
    seen.append(door.stressed)
    assert seen == [False, True, False]


def test_an_account_has_so_many_places_and_its_connections_leave_the_address(clock: ManualClock) -> None:
    door = gate(clock, connections_per_address=1, submission_connections_per_account=2)
    for _ in range(2):
        assert door.enter("192.0.2.1") is None
        assert door.seat("a1", "192.0.2.1")
    assert door.enter("192.0.2.1") is None
    assert not door.seat("a1", "192.0.2.1")
    assert door.seat("a2", "192.0.2.1")
    door.unseat("a1")
    assert door.enter("192.0.2.1") is None
    assert door.seat("a1", "192.0.2.1")


def test_another_login_of_one_session_changes_its_place(clock: ManualClock) -> None:
    door = gate(clock, submission_connections_per_account=1)
    assert door.enter("192.0.2.1") is None
    assert door.seat("a1", "192.0.2.1")
    assert door.seat("a1", "192.0.2.1", instead_of="a1")
    assert door.seat("a2", "192.0.2.1", instead_of="a1")
    assert door.seat("a1", "198.51.100.1", instead_of="a3")
    assert not door.seat("a2", "198.51.100.1", instead_of="a1")


# --- over the wire ---------------------------------------------------------------------------------------------------


async def test_h039_a_harvester_is_cut_and_turned_away_on_every_door_it_tries_next() -> None:
    async with running(service(limits={"errors_soft": 100})) as server:
        for _ in range(3):
            wire = await Wire.connect(server)
            await wire.ehlo()
            await wire.say("MAIL FROM:<a@client.test>")
            answers = [await wire.say(f"RCPT TO:<unknown{number}@mairie.test>") for number in range(7)]
        assert answers[-1].startswith("550 5.1.1")
        assert (await wire.reply()).startswith("421 4.7.0 Too many errors")
        assert await wire.closed()
        wire = await Wire.connect(server, greeting=False)
        assert await wire.reply() == (
            "421 4.7.0 Too many unknown recipients were asked for from your address, try again later"
        )


async def test_a_session_that_logs_in_counts_for_its_account() -> None:
    secret = base64.b64encode(f"\0maire@mairie.test\0{PASSWORD}".encode()).decode()
    what = service(
        Listener.SUBMISSION,
        limits={"connections_per_address": 1, "submission_connections_per_account": 2},
        auth=Auth(plaintext_on_loopback=True),
    )
    async with running(what) as server:
        for _ in range(2):
            wire = await Wire.connect(server)
            await wire.ehlo()
            assert (await wire.say(f"AUTH PLAIN {secret}")).startswith("235")
        third = await Wire.connect(server)
        await third.ehlo()
        assert await third.say(f"AUTH PLAIN {secret}") == "421 4.7.0 Too many connections of this account"
        assert await third.closed()


async def test_h036_a_stranger_under_stress_has_one_error() -> None:
    async with running(service(limits={"smtp_connections": 1})) as server:
        wire = await Wire.connect(server)
        assert (await wire.say("NONSENSE")).startswith("500")
        assert (await wire.reply()).startswith("421 4.7.0 Too many errors")
        assert await wire.closed()
