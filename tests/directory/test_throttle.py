"""The bookkeeping of failures (security.md row 113)."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.tally import Tally
from directory.throttle import Throttle, network_of


def test_delays_grow_to_fifteen_seconds_and_run_out() -> None:
    clock = ManualClock()
    desk = Throttle(clock)
    waits = []
    for _ in range(5):
        waits.append(desk.wait("192.0.2.1", "a"))
        desk.failed("192.0.2.1", "a")
    assert waits == [0.0, 2.0, 4.0, 8.0, 15.0]
    clock.advance(14.0)
    assert desk.wait("192.0.2.1", "a") == 1.0
    clock.advance(2.0)
    assert desk.wait("192.0.2.1", "a") == 0.0


def test_failures_are_forgotten_after_a_quarter_of_an_hour() -> None:
    clock = ManualClock()
    desk = Throttle(clock)
    for _ in range(4):
        desk.failed("192.0.2.1", "a")
    clock.advance(901)
    desk.failed("192.0.2.1", "a")
    assert desk.wait("192.0.2.1", "a") == 2.0


def test_one_account_does_not_slow_another_nor_one_remote_another() -> None:
    desk = Throttle(ManualClock())
    desk.failed("192.0.2.1", "a")
    assert desk.wait("192.0.2.1", "b") == 0.0
    assert desk.wait("192.0.2.2", "a") == 0.0


def test_one_password_on_many_accounts_slows_the_remote() -> None:
    desk = Throttle(ManualClock())
    for number in range(20):
        assert desk.failed("192.0.2.1", f"a{number}") == number + 1
    assert desk.wait("192.0.2.1", "fresh") == 0.0
    desk.failed("192.0.2.1", "a20")
    assert desk.wait("192.0.2.1", "fresh") == 2.0


def test_a_mairies_address_has_tenfold_patience() -> None:
    desk = Throttle(ManualClock())
    desk.succeeded("192.0.2.1", "anne")
    for number in range(200):
        desk.failed("192.0.2.1", f"a{number}")
    assert desk.wait("192.0.2.1", "fresh") == 0.0
    desk.failed("192.0.2.1", "a200")
    assert desk.wait("192.0.2.1", "fresh") == 2.0


def test_many_remotes_on_one_account_are_slowed_but_never_the_known_one() -> None:
    clock = ManualClock()
    desk = Throttle(clock)
    desk.succeeded("192.0.2.1", "a")
    for number in range(60):
        clock.advance(50)
        desk.failed(f"198.51.100.{number}", "a")
    assert desk.wait("203.0.113.9", "a") == 15.0
    assert desk.wait("192.0.2.1", "a") == 0.0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("unix:", "unix:", True),
    ],
)
def test_what_counts_as_one_remote(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same


def test_exempt_networks_also_when_mapped_into_ipv6() -> None:
    desk = Throttle(ManualClock(), [ip_network("192.0.2.0/24")])
    for remote in ("192.0.2.1", "::ffff:192.0.2.1"):
        desk.failed(remote, "a")
        assert desk.wait(remote, "a") == 0.0


def test_all_processes_of_a_machine_count_together_and_a_restart_forgets_nothing(tmp_path: Path) -> None:
    """Two fronts: what one saw, the other knows; what both knew, the next one knows. Memory is `core.tally`'s."""
    clock = ManualClock(1_790_000_000.0)
    tallies = [Tally.shared(tmp_path, clock) for _ in range(2)]
    one, other = (Throttle(clock, tally=tally) for tally in tallies)
    one.failed("192.0.2.1", "a")
    other.failed("192.0.2.1", "a")
    assert one.wait("192.0.2.1", "a") == other.wait("192.0.2.1", "a") == 4.0
    other.succeeded("198.51.100.1", "a")
    for tally in tallies:
        tally.close()
    again = Tally.shared(tmp_path, clock)
    later = Throttle(clock, tally=again)
    assert later.wait("192.0.2.1", "a") == 4.0
    for number in range(60):
        later.failed(f"203.0.113.{number}", "a")
    assert later.wait("203.0.113.99", "a") == 15.0
    assert later.wait("198.51.100.1", "a") == 0.0
    later.succeeded("192.0.2.1", "a")
    assert later.wait("192.0.2.1", "a") == 0.0
    again.close()
