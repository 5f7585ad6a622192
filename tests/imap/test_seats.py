"""Who may connect how often (security.md section 2, row 35)."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.clock import ManualClock
from core.config import Limits
from core.tally import Tally
from imap.seats import Admission, TallySeats


def seats(*exempt: str) -> TallySeats:
    return TallySeats(
        Limits(
            connections_per_address=2, connections_per_network=3, imap_connections_per_account=2, exempt=list(exempt)
        )
    )


@pytest.mark.parametrize(
    ("same_host", "same_network", "elsewhere"),
    [
        (["192.0.2.1", "192.0.2.1"], ["192.0.2.2", "192.0.2.3"], "192.0.3.1"),
        (["2001:db8::1", "2001:db8::2"], ["2001:db8:0:1::1", "2001:db8:0:2::1"], "2001:db8:0:100::1"),
    ],
)
def test_h035_hosts_and_networks_are_counted(same_host: list[str], same_network: list[str], elsewhere: str) -> None:
    counted = seats()
    first = [Admission(counted, address) for address in same_host]
    assert all(admission.granted for admission in first)
    assert not Admission(counted, same_host[0]).granted
    assert Admission(counted, same_network[0]).granted
    assert not Admission(counted, same_network[1]).granted
    assert Admission(counted, elsewhere).granted
    first[0].leave()
    assert Admission(counted, same_network[1]).granted


def test_h035_whoever_was_turned_away_holds_nothing() -> None:
    counted = seats()
    held = [Admission(counted, f"192.0.2.{number}") for number in range(3)]
    turned_away = [Admission(counted, "192.0.2.9") for _ in range(5)]
    for admission in (*turned_away, *held):
        admission.leave()
        admission.leave()
    assert Admission(counted, "192.0.2.9").granted
    assert Admission(counted, "192.0.2.9").granted


def test_after_login_the_account_is_counted_and_the_address_is_not() -> None:
    counted = seats()
    for _ in range(2):
        assert Admission(counted, "192.0.2.1").log_in("anne")
    third = Admission(counted, "192.0.2.1")
    assert third.granted
    assert not third.log_in("anne")
    assert third.log_in("paul")


def test_exempt_networks_are_never_turned_away() -> None:
    counted = seats("192.0.2.0/24")
    assert all(Admission(counted, "192.0.2.1").log_in("anne") for _ in range(9))


def test_a_reload_brings_new_bounds_and_takes_no_seat() -> None:
    counted = seats()
    held = [Admission(counted, "192.0.2.1") for _ in range(2)]
    assert not Admission(counted, "192.0.2.1").granted
    counted.use(Limits(connections_per_address=3))
    third = Admission(counted, "192.0.2.1")
    assert third.granted
    assert not Admission(counted, "192.0.2.1").granted
    for admission in (*held, third):
        admission.leave()
    assert Admission(counted, "192.0.2.1").granted


def test_h035_two_processes_share_one_count(tmp_path: Path) -> None:
    limits, clock = Limits(connections_per_address=2, imap_connections_per_account=1), ManualClock()
    first, second = (Tally.shared(tmp_path, clock) for _ in range(2))
    one, other = TallySeats(limits, first), TallySeats(limits, second)
    here, there = Admission(one, "192.0.2.1"), Admission(other, "192.0.2.1")
    assert here.granted
    assert there.granted
    assert not Admission(one, "192.0.2.1").granted
    assert here.log_in("anne")
    assert not there.log_in("anne")
    here.leave()
    assert there.log_in("anne")
    for tally in (first, second):
        tally.close()
