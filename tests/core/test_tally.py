"""Counts of a whole machine: several processes, their ends, their bounds, their clock."""

from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest

from core import tally_file
from core.clock import ManualClock, SystemClock
from core.networks import circles, plain_address, within
from core.tally import SETS, WAYS, Tally

# A process that goes in twice, counts one event, remembers one name, says so, and waits to be told what to do.
CHILD = """
import sys
from pathlib import Path
from core.clock import SystemClock
from core.tally import Tally
tally = Tally.shared(Path(sys.argv[1]), SystemClock())
tally.enter("192.0.2.1"); tally.enter("192.0.2.1")
tally.add("tries", 600.0)
tally.remember("banned", 600.0)
print("in", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def child(directory: Path) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    return process


def test_h035_what_another_process_counts_counts_here_and_ends_with_it(tmp_path: Path) -> None:
    ours = Tally.shared(tmp_path, SystemClock())
    ours.enter("192.0.2.1")
    other = child(tmp_path)
    try:
        assert ours.inside("192.0.2.1") == 3
        assert ours.seen("tries", 600.0) == 1
        assert ours.recalls("banned")
    finally:
        other.kill()
        other.communicate()
    third = Tally.shared(tmp_path, SystemClock())  # whoever comes next clears what the dead one held
    assert ours.inside("192.0.2.1") == third.inside("192.0.2.1") == 1
    assert third.seen("tries", 600.0) == 1  # what happened has happened
    assert third.recalls("banned")
    third.close()
    ours.close()


def test_a_new_process_remembers_what_the_last_one_knew_but_nobody_is_inside(
    tmp_path: Path, clock: ManualClock
) -> None:
    first = Tally.shared(tmp_path, clock)
    first.enter("a")
    first.remember("good", 30 * 86400.0)
    first.close()
    second = Tally.shared(tmp_path, clock)
    assert second.inside("a") == 0
    assert second.recalls("good")
    second.close()


def test_gauges_count_up_and_down_and_never_below_nothing(clock: ManualClock) -> None:
    tally = Tally.private(clock)
    tally.leave("a")
    assert tally.inside("a") == 0
    tally.enter("a")
    tally.enter("a")
    tally.enter("b")
    tally.leave("a")
    assert (tally.inside("a"), tally.inside("b")) == (1, 1)


def test_what_is_counted_without_looking_is_seen_by_others_and_its_slot_given_back(
    tmp_path: Path, clock: ManualClock
) -> None:
    ours, other = (Tally.shared(tmp_path, clock) for _ in range(2))
    seen = []
    for step in (ours.enter, ours.enter, other.enter, ours.enter, ours.leave, ours.leave, ours.leave, ours.leave):
        step("a")
        seen.append((ours.inside("a"), other.inside("a")))
    assert seen == [(count, count) for count in (1, 2, 3, 4, 3, 2, 1, 1)]
    ours.enter("a")
    assert other.inside("a") == 2
    for tally in (ours, other):
        tally.close()


def test_a_slot_at_which_nobody_is_any_more_is_anothers_and_what_others_knew_of_it_too(
    tmp_path: Path, clock: ManualClock
) -> None:
    ours, other = (Tally.shared(tmp_path, clock) for _ in range(2))
    ours.enter("stays")
    for crowd in (*range(2 * WAYS), 0):  # hardly one in ten million has nine of these in one set
        names = [f"peer {crowd} {number}" for number in range(SETS[0] // 4)]
        for name in names:
            ours.enter(name)
        assert not ours._beyond
        assert all(other.inside(name) == 1 for name in names)
        for name in names:
            ours.leave(name)
        assert not any(other.inside(name) for name in names)
    assert (ours.inside("stays"), other.inside("stays")) == (1, 1)
    for tally in (ours, other):
        tally.close()


def test_who_looked_for_a_name_in_vain_finds_it_once_another_has_it(tmp_path: Path, clock: ManualClock) -> None:
    ours, other = (Tally.shared(tmp_path, clock) for _ in range(2))
    assert (ours.inside("a"), ours.seen("a", 60.0), ours.recalls("a")) == (0, 0, False)
    other.enter("a")
    other.add("a", 60.0)
    other.remember("a", 600.0)
    assert (ours.inside("a"), ours.seen("a", 60.0), ours.recalls("a")) == (1, 1, True)
    ours.forget("a")
    assert (other.seen("a", 60.0), other.recalls("a")) == (0, False)
    other.add("a", 60.0)
    other.remember("a", 600.0)
    assert (ours.add("a", 60.0), other.add("a", 60.0), ours.recalls("a")) == (2, 3, True)
    third = Tally.shared(tmp_path, clock)
    third.enter("a")
    assert ours.inside("a") == other.inside("a") == 2
    third.close()
    assert ours.inside("a") == 1
    for tally in (ours, other):
        tally.close()


def test_whoever_keeps_a_key_sees_the_slot_that_its_name_got_by_another_one(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.tally.HELD", 1)
    tally = Tally.private(clock)
    kept = tally.key("a")
    assert tally.insides((kept,)) == [0]
    tally.enter("b")  # and the key of "a" is not remembered any more
    tally.enter("a")
    tally.step((kept,), 1)
    assert tally.insides((kept,)) == [tally.inside("a")] == [2]


def test_what_a_process_of_an_earlier_version_counts_is_looked_for_each_time(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tells nobody when a name gets a slot."""
    monkeypatch.setattr(tally_file.Mapped, "tell", lambda *_: None)
    other = Tally.shared(tmp_path, clock)
    monkeypatch.undo()
    ours = Tally.shared(tmp_path, clock)
    assert ours.inside("a") == 0
    monkeypatch.setattr(tally_file.Mapped, "tell", lambda *_: None)
    other.enter("a")
    assert ours.inside("a") == 1
    for tally in (ours, other):
        tally.close()


def test_an_event_that_is_counted_unasked_counts(clock: ManualClock) -> None:
    tally = Tally.private(clock)
    tally.count("a", 60.0)
    assert tally.add("a", 60.0) == 2


def test_more_gauges_than_slots_are_still_all_counted(clock: ManualClock) -> None:
    tally = Tally.private(clock)
    names = [f"peer {number}" for number in range(2 * SETS[0] * WAYS)]
    for name in names:
        tally.enter(name)
    assert all(tally.inside(name) == 1 for name in names)
    for name in names:
        tally.leave(name)
    assert not any(tally.inside(name) for name in names)
    assert not tally._beyond


def test_a_gauge_without_a_slot_is_counted_in_its_process_alone_and_told_to_no_other(
    tmp_path: Path, clock: ManualClock
) -> None:
    """What docs/limits.md says of very many who are inside at a time."""
    ours, other = (Tally.shared(tmp_path, clock) for _ in range(2))
    names = [f"peer {number}" for number in range(10_000)]
    for name in names:
        ours.enter(name)
    hidden = [name for name in names if not other.inside(name)]
    assert set(hidden) == set(ours._beyond)
    assert 0 < len(hidden) < 0.04 * len(names)
    other.enter(hidden[0])
    assert (ours.inside(hidden[0]), other.inside(hidden[0])) == (2, 1)
    for tally in (ours, other):
        tally.close()


def test_events_are_counted_over_a_sliding_window(clock: ManualClock) -> None:
    clock.at = 1_790_000_040.0  # a whole number of windows
    tally = Tally.private(clock)
    assert [tally.add("a", 60.0) for _ in range(4)] == [1, 2, 3, 4]
    clock.advance(59.0)
    assert tally.seen("a", 60.0) == 4
    clock.advance(31.0)  # half of the next window
    assert tally.seen("a", 60.0) == 2
    assert tally.add("a", 60.0) == 3
    assert tally.last("a") == clock.now()
    clock.advance(120.0)
    assert tally.seen("a", 60.0) == 0


def test_an_event_that_was_forgotten_or_lost_its_slot_counts_anew_and_in_no_other_ones(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.tally.HELD", 1 << 20)
    tally = Tally.private(clock)
    assert [tally.add("a", 600.0) for _ in range(3)] == [1, 2, 3]
    tally.forget("a")
    assert [tally.add("a", 600.0), tally.seen("a", 600.0)] == [1, 1]
    clock.advance(1.0)
    others = [f"peer {number}" for number in range(2 * SETS[1] * WAYS)]
    for name in others:
        tally.add(name, 600.0)
    assert tally.seen("a", 600.0) == 0
    known = [name for name in others if tally.seen(name, 600.0)]
    assert [tally.add("a", 600.0), tally.seen("a", 600.0)] == [1, 1]
    assert sum(tally.seen(name, 600.0) == 1 for name in known) >= len(known) - 1  # whose slot it took


@pytest.mark.parametrize("here", [True, False])
def test_what_was_forgotten_is_not_taken_for_what_others_remember_and_count_in_its_place(
    tmp_path: Path, clock: ManualClock, here: bool
) -> None:
    """The mark of a breaker that closed again was read as that of an address vouched for: Rspamd was left alone for 30
    days."""
    ours, other = (Tally.shared(tmp_path, clock) for _ in range(2))
    ours.remember("breaker", 10.0)
    ours.add("breaker", 600.0)
    (ours if here else other).forget("breaker")
    for number in range(4 * SETS[1]):  # some of these share its set, and there is room
        ours.remember(f"peer {number}", 600.0)
        ours.add(f"peer {number}", 600.0)
        assert not ours.recalls("breaker")
        assert ours.seen("breaker", 600.0) == 0
    assert [tally.recalls("breaker") for tally in (ours, other)] == [False, False]
    assert [tally.add("breaker", 600.0) for tally in (ours, other)] == [1, 2]
    for tally in (ours, other):
        tally.close()


def test_marks_end_and_can_be_taken_back(clock: ManualClock) -> None:
    tally = Tally.private(clock)
    tally.remember("a", 600.0)
    tally.add("a", 600.0)
    assert tally.recalls("a")
    clock.advance(600.0)
    assert not tally.recalls("a")
    tally.remember("a", 600.0)
    tally.forget("a")
    assert not tally.recalls("a")
    assert tally.seen("a", 600.0) == 0


def test_f163_a_clock_that_ran_ahead_bans_nobody_for_years(clock: ManualClock) -> None:
    tally = Tally.private(clock)
    clock.advance(10 * 365 * 86400.0)
    tally.remember("a", 600.0)
    tally.add("a", 600.0)
    clock.advance(-10 * 365 * 86400.0)
    assert not tally.recalls("a")
    assert tally.seen("a", 600.0) == 0
    assert tally.last("a") == 0.0


def test_memory_stays_the_same_whatever_comes(clock: ManualClock) -> None:
    tally = Tally.private(clock)
    tally.add("steady", 60.0)
    before = len(tally._memory)
    for number in range(50_000):
        tally.add(f"event {number}", 60.0)
        tally.remember(f"mark {number}", 60.0)
    assert len(tally._memory) == before
    assert tally.add("event 49999", 60.0) == 2


def test_a_directory_that_cannot_hold_the_file_is_an_error(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(OSError):
        Tally.shared(tmp_path / "file", clock)


def test_f149_a_full_disk_is_an_error_at_the_start_and_not_a_crash_later(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int, _offset: int, _length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        Tally.shared(tmp_path, clock)


def test_a_file_of_nonsense_is_made_anew(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / tally_file.NAME).write_bytes(b"nonsense")
    tally = Tally.shared(tmp_path, clock)
    tally.enter("a")
    assert tally.inside("a") == 1
    tally.close()


def test_f162_counts_that_were_lost_are_missed_by_nobody(tmp_path: Path, clock: ManualClock) -> None:
    """Where others keep limits in Redis, ours lie in this file: who has it goes on in memory, who comes later begins
    anew, and nothing durable is in it."""
    first, second = (Tally.shared(tmp_path, clock) for _ in range(2))
    first.enter("a")
    (tmp_path / tally_file.NAME).unlink()
    second.enter("a")
    assert first.inside("a") == second.inside("a") == 2
    third = Tally.shared(tmp_path, clock)
    third.enter("a")
    assert third.inside("a") == 1
    assert first.inside("a") == 2
    for tally in (first, second, third):
        tally.close()


def test_circles_around_a_peer() -> None:
    assert circles("192.0.2.77") == ("192.0.2.77/32", "192.0.2.0/24", "192.0.0.0/20")
    assert circles("2001:db8:1:2::3") == ("2001:db8:1:2::/64", "2001:db8:1::/56", "2001:db8:1::/48")
    assert circles("::ffff:192.0.2.77") == circles("192.0.2.77")
    assert plain_address("fe80::1%eth0") == "fe80::1"


def test_within_networks_of_either_version() -> None:
    networks = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
    assert within("192.0.2.9", networks)
    assert within("::ffff:192.0.2.9", networks)
    assert within("2001:db8::1", networks)
    assert not within("198.51.100.1", networks)
    assert not within("no address", networks)
