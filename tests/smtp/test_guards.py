"""Counters and rules, pure."""

import pytest

from core.config import Limits
from smtp.guards import Budget, LocalGate, RateMeter, foreign_protocol, plain_address


def test_h057_one_peer_has_one_name() -> None:
    assert plain_address("::ffff:127.0.0.1") == "127.0.0.1"
    assert plain_address("fe80::1%eth0") == "fe80::1"


def test_h035_the_gate_counts_addresses_and_networks() -> None:
    gate = LocalGate(Limits(connections_per_address=2, connections_per_network=3))
    assert [gate.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert gate.enter("192.0.2.2")
    assert not gate.enter("192.0.2.3")
    assert gate.enter("198.51.100.1")
    gate.leave("192.0.2.1")
    assert gate.enter("192.0.2.3")


def test_the_gate_takes_a_64_for_one_ipv6_address_and_forgets_who_left() -> None:
    gate = LocalGate(Limits(connections_per_address=1))
    assert gate.enter("2001:db8::1")
    assert not gate.enter("2001:db8::2")
    assert gate.enter("2001:db8:0:1::1")
    gate.leave("2001:db8::1")
    gate.leave("2001:db8:0:1::1")
    assert not gate._open


def test_exempt_networks_are_not_counted_out() -> None:
    gate = LocalGate(Limits(connections_per_address=1, exempt=["192.0.2.0/24"]))
    assert all(gate.enter("192.0.2.1") for _ in range(5))


def test_errors_slow_down_then_end() -> None:
    budget = Budget(Limits(errors_soft=2, errors_hard=4))
    assert [budget.error() for _ in range(4)] == [(0.0, False), (0.0, False), (1.0, False), (1.0, True)]


def test_h039_the_wait_for_unknown_recipients_grows() -> None:
    budget = Budget(Limits())
    outcomes = [budget.recipient_refused() for _ in range(21)]
    assert [wait for wait, _ in outcomes[:12]] == [0.0] * 10 + [1.0, 2.0]
    assert max(wait for wait, _ in outcomes) == 10.0
    assert [over for _, over in outcomes].index(True) == 20


def test_the_rate_counts_waiting_only_and_has_a_grace() -> None:
    meter = RateMeter(500)
    meter.add(29.0, 10)
    assert not meter.too_slow
    meter.add(2.0, 10)
    assert meter.too_slow
    meter.add(0.1, 100_000)
    assert not meter.too_slow


@pytest.mark.parametrize("first", [b"EHLO x\r\n", b"HELO GET\r\n", b"NOOP\r\n", b"POSTMASTER\r\n", b"GETTER\r\n", b""])
def test_mail_is_not_taken_for_another_protocol(first: bytes) -> None:
    assert not foreign_protocol(first)
