"""The window: bounded over all, small per hop, adaptive, fair (security.md row 141)."""

from __future__ import annotations

from collections import Counter

from delivery.destinations import FIRST, MOST, Destinations
from delivery.next_hop import Routes
from delivery.queue.claims import MAX_RECIPIENTS, Candidate


def page(*domains: str) -> list[Candidate]:
    return [Candidate(n, f"q{n}", domain) for n, domain in enumerate(domains)]


def test_one_hop_gets_its_few_places_and_says_it_is_full() -> None:
    choice = Destinations(100, Routes({}).next_hop).selection()(page(*["dead.test"] * 8, "well.test"))
    assert len(choice.groups) == FIRST + 1
    assert choice.full == frozenset()
    assert choice.full_parts == {("dead.test", "")}, "there is a place left for another commune"


def test_recipients_of_one_message_and_hop_travel_together_up_to_a_hundred() -> None:
    candidates = [Candidate(n, "q1", "a.test" if n % 2 else "b.test") for n in range(300)]
    smart = Destinations(100, Routes({"*": "smart.test:25"}).next_hop).selection()(candidates)
    assert [len(group) for group in smart.groups] == [MAX_RECIPIENTS]
    direct = Destinations(100, Routes({}).next_hop).selection()(candidates)
    assert sorted(len(group) for group in direct.groups) == [MAX_RECIPIENTS, MAX_RECIPIENTS]


def test_the_window_bounds_all_hops_together() -> None:
    destinations = Destinations(3, Routes({}).next_hop)
    for hop in ("a.test", "b.test"):
        destinations.started(hop)
    choice = destinations.selection()(page("c.test", "d.test", "e.test"))
    assert len(choice.groups) == 1
    assert choice.full == frozenset()
    destinations.started("c.test")
    assert destinations.full


def test_success_widens_a_hop_to_its_most_and_failure_narrows_it_to_one() -> None:
    destinations = Destinations(100, Routes({}).next_hop)
    for _ in range(500):
        destinations.started("a.test")
        destinations.ended("a.test", reached=True)
    assert destinations.limit("a.test") == MOST
    for _ in range(10):
        destinations.started("a.test")
        destinations.ended("a.test", reached=False)
    assert destinations.limit("a.test") == 1
    assert destinations.active == 0


def owned(*owners: str) -> list[Candidate]:
    """A recipient for each, every one of another domain."""
    return [Candidate(n, f"q{n}", f"d{n}.test", owner) for n, owner in enumerate(owners)]


def test_h141_one_commune_alone_leaves_room_for_the_next() -> None:
    choice = Destinations(80, Routes({}).next_hop).selection()(owned(*["a"] * 200))
    assert len(choice.groups) == 70
    assert choice.full_owners == {"a"}
    assert choice.full == frozenset()


def test_h141_communes_share_the_window_and_a_part_stays_free() -> None:
    destinations = Destinations(60, Routes({}).next_hop)
    choice = destinations.selection()(owned(*["a"] * 100, *["b"] * 100))
    taken = Counter("a" if group[0] < 100 else "b" for group in choice.groups)
    assert taken == {"a": 53, "b": 7}, "who was alone keeps what it has"
    for number in range(53):
        destinations.started(f"d{number}.test", "a")
    for number in range(100, 107):
        destinations.started(f"d{number}.test", "b")
    for number in range(50):
        destinations.ended(f"d{number}.test", reached=True, owner="a")
    choice = destinations.selection()(owned(*["a"] * 100, *["b"] * 100))
    taken = Counter("a" if group[0] < 100 else "b" for group in choice.groups)
    assert taken == {"a": 17, "b": 13}, "twenty for each, and twenty for the next to come"


def to(hop: str, *owners: str) -> list[Candidate]:
    """A message of each for one hop."""
    return [Candidate(n, f"q{n}", hop, owner) for n, owner in enumerate(owners)]


def test_h141_whoever_has_much_for_one_hop_delays_the_others_letters_to_it_by_one() -> None:
    destinations = Destinations(100, Routes({}).next_hop)
    for _ in range(FIRST):
        destinations.started("big.test", "a")
    waiting = to("big.test", *["a"] * 20, "b", "b", "c")
    choice = destinations.selection()(waiting)
    assert [waiting[ids[0]].organisation_id for ids in choice.groups] == ["b"]
    assert choice.full == {"big.test"}, "one more than its number, for all newcomers together"
    destinations.started("big.test", "b")
    destinations.ended("big.test", reached=False, crowded=True, owner="a")
    assert destinations.limit("big.test") == 2
    assert destinations.selection()(waiting).groups == (), "fewer are wanted now"


def test_h141_of_those_who_wait_for_one_hop_each_gets_an_equal_part() -> None:
    destinations = Destinations(100, Routes({}).next_hop)
    for _ in range(500):
        destinations.started("big.test")
        destinations.ended("big.test", reached=True)
    for _ in range(MOST):
        destinations.started("big.test", "a")
    held = Counter(a=MOST)
    waiting = to("big.test", *["a"] * 100, *["b"] * 100)
    for _ in range(200):
        for ids in destinations.selection()(waiting).groups:
            owner = waiting[ids[0]].organisation_id
            destinations.started("big.test", owner)
            held[owner] += 1
        last = max(sorted(held), key=lambda owner: held[owner])
        destinations.ended("big.test", reached=True, owner=last)
        held[last] -= 1
    assert abs(held["a"] - held["b"]) <= 1
    while held["b"]:
        destinations.ended("big.test", reached=True, owner="b")
        held["b"] -= 1
    alone = destinations.selection()(to("big.test", *["a"] * 100))
    assert len(alone.groups) + held["a"] == MOST, "who is alone has them all"


def failing(destinations: Destinations, hop: str, count: int) -> list[bool]:
    """So many of its running jobs do not reach it; after which of them it counts as away."""
    away = []
    for _ in range(count):
        away.append(destinations.unreached(hop))
        destinations.ended(hop, reached=False)
    return away


def test_h141_one_that_fails_alone_speaks_for_all_that_waits() -> None:
    destinations = Destinations(100, Routes({}).next_hop)
    destinations.started("dead.test")
    assert failing(destinations, "dead.test", 1) == [True]


def test_h141_of_several_at_a_time_as_many_in_a_row_do() -> None:
    """A provider that serves ten connections and answers 421 4.7.0 to the eleventh is not away."""
    destinations = Destinations(100, Routes({}).next_hop)
    for _ in range(5):
        destinations.started("big.test")
    assert failing(destinations, "big.test", 4) == [False] * 4
    destinations.ended("big.test", reached=True)
    for _ in range(2):
        destinations.started("big.test")
    assert failing(destinations, "big.test", 2) == [False, True]
    destinations.started("big.test")
    assert failing(destinations, "big.test", 1) == [True]  # and stays so until it serves somebody
