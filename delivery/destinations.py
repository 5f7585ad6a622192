"""How many jobs run where: a bounded window over all, a small adaptive number for each next hop.

Fairness: a hop that is slow or dead holds few places and soon only one, so the others' mail is not delayed by it
(security.md row 141); and a commune that has much for one hop holds no more of its places than the others who wait for
it. Numbers only; refuses to know time, database and network.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Sequence
from copy import copy
from typing import TypeVar

from delivery.next_hop import NextHop
from delivery.queue.claims import MAX_RECIPIENTS, Candidate, Choice

Key = TypeVar("Key")

FIRST = 5  # jobs at a time for a hop we know nothing of
MOST = 20
RESERVE = 8  # the part of the window that one commune alone leaves free
NEWCOMER = 1  # place of a hop beyond its number, for a commune that has none there; not where one is all it takes
REMEMBERED = 10_000  # hops whose last number is kept
TURNS = 1000  # communes at hops whose last turn is kept


class Destinations:
    """`places` jobs at most at a time; per hop `FIRST`, one more for each full round of successes up to `MOST`, half
    as many after a failure to reach it, or when it says that it has too much of us, never less than one."""

    def __init__(self, places: int, next_hop: Callable[[str], NextHop]) -> None:
        self._places = places
        self.next_hop = next_hop  # of the selections that are asked for from now on
        self._active: Counter[str] = Counter()
        self._owners: Counter[str] = Counter()
        self._parts: Counter[tuple[str, str]] = Counter()  # of hops and communes
        self._turns: OrderedDict[tuple[str, str], int] = OrderedDict()  # in the order in which they had a place last
        self._turn = 0
        self._limits: OrderedDict[str, float] = OrderedDict()
        self._failed: OrderedDict[str, tuple[int, int]] = OrderedDict()  # in a row; of how many at a time at the first

    @property
    def active(self) -> int:
        return self._active.total()

    @property
    def full(self) -> bool:
        return self.active >= self._places

    def limit(self, hop: str) -> int:
        return int(self._limits.get(hop, FIRST))

    def started(self, hop: str, owner: str = "") -> None:
        self._active[hop] += 1
        self._owners[owner] += 1
        self._parts[hop, owner] += 1
        self._turn += 1
        self._turns[hop, owner] = self._turn
        self._turns.move_to_end((hop, owner))
        if len(self._turns) > TURNS:
            self._turns.popitem(last=False)

    def unreached(self, hop: str) -> bool:
        """A running job of this hop did not reach it. Whether that speaks for all that wait for it: as many in a row
        did not as were under way when the first failed. A server that serves some connections and turns the others away
        has too many of ours, and is not away."""
        count, cohort = self._failed.get(hop, (0, self._active[hop]))
        self._failed[hop] = count + 1, cohort
        if len(self._failed) > REMEMBERED:
            self._failed.popitem(last=False)
        return count + 1 >= cohort

    def ended(self, hop: str, *, reached: bool, crowded: bool = False, owner: str = "") -> None:
        _less(self._active, hop)
        _less(self._owners, owner)
        _less(self._parts, (hop, owner))
        if reached:
            self._failed.pop(hop, None)
        limit = self._limits.pop(hop, float(FIRST))
        self._limits[hop] = min(limit + 1 / limit, MOST) if reached and not crowded else max(limit / 2, 1.0)
        if len(self._limits) > REMEMBERED:
            self._limits.popitem(last=False)

    def selection(self) -> Selection:
        """What may be taken now; a copy, because the queue asks it in its own thread."""
        share = Shares(self._places, Counter(self._owners))
        hops = Hops(Counter(self._active), Counter(self._parts), dict(self._limits), dict(self._turns))
        return Selection(self._places - self.active, hops, self.next_hop, share)


class Shares:
    """The window's places between communes: one that is alone gets nearly all of them, several get equal parts, with
    one part more than there are holders: so there is always a place for the next to come (row 141)."""

    def __init__(self, places: int, holders: Counter[str]) -> None:
        self._places = places
        self._holders = holders

    def __copy__(self) -> Shares:
        return Shares(self._places, Counter(self._holders))

    def take(self, owner: str) -> bool:
        others = len(self._holders) - (owner in self._holders)
        most = self._places // (others + 2) if others else self._places - self._places // RESERVE
        if self._holders[owner] >= max(most, 1):
            if not self._holders[owner]:
                del self._holders[owner]
            return False
        self._holders[owner] += 1
        return True


class Hops:
    """A hop's places between communes: one that is alone gets them all. To one that has none there a place more than
    these is given, and from then on nobody who has more than an equal part gets another. So somebody who wrote to
    thousands of one provider's people delays the other communes' letters to it by one message, not by thousands. Where
    there are more communes than places they take turns: the last place is for who had none the longest."""

    def __init__(
        self,
        active: Counter[str],
        parts: Counter[tuple[str, str]],
        limits: dict[str, float],
        turns: dict[tuple[str, str], int],
    ) -> None:
        self._active = active
        self._parts = parts
        self._limits = limits
        self._turns = turns
        self._holders = Counter(hop for hop, _ in parts)

    def __copy__(self) -> Hops:
        return Hops(Counter(self._active), Counter(self._parts), self._limits, self._turns)

    def free(self, hop: str) -> bool:
        """For somebody, if not for everybody."""
        return self._active[hop] < self._with_newcomer(hop)

    def free_for(self, hop: str, owner: str) -> bool:
        part = self._parts[hop, owner]
        if not part:
            return self.free(hop)
        return self._active[hop] < self._most(hop) and part * self._holders[hop] < self._most(hop)

    def turn(self, hop: str, owner: str) -> int:
        """Before whose turn others come who want this place; 0: nobody."""
        last = self._active[hop] + 1 >= self._with_newcomer(hop)
        return self._turns.get((hop, owner), 0) if last and not self._parts[hop, owner] else 0

    def take(self, hop: str, owner: str) -> None:
        self._holders[hop] += not self._parts[hop, owner]
        self._active[hop] += 1
        self._parts[hop, owner] += 1

    def _most(self, hop: str) -> int:
        return int(self._limits.get(hop, FIRST))

    def _with_newcomer(self, hop: str) -> int:
        most = self._most(hop)
        return most + NEWCOMER if most > 1 else most


class Selection:
    """Chooses from pages of due recipients (`delivery.queue.claims.Choose`), counting what it took so far. An empty
    page is the end of the look: who was passed over lest he have his turn before others, and met none, has it then.
    For a look that is begun again, because its transaction was lost, it is copied before each."""

    def __init__(
        self,
        places: int,
        hops: Hops,
        next_hop: Callable[[str], NextHop],
        shares: Shares,
    ) -> None:
        self._shares = shares
        self._places = places
        self._hops = hops
        self._next_hop = next_hop
        self._later: dict[tuple[str, str], list[Candidate]] = {}  # of hops and communes: one message's recipients

    def __copy__(self) -> Selection:
        """One that has chosen nothing yet, where we have not."""
        return Selection(self._places, copy(self._hops), self._next_hop, copy(self._shares))

    def __call__(self, page: Sequence[Candidate]) -> Choice:
        groups: dict[tuple[str, str], list[int]] = {}
        full: set[str] = set()
        owners: set[str] = set()
        parts: set[tuple[str, str]] = set()
        for item in page:
            hop, owner = self._next_hop(item.domain).name, item.organisation_id
            group = groups.get((item.queue_id, hop))
            if group is None and self._places <= 0:
                return _choice(groups)  # nothing more fits, whatever the next page holds
            if group is None and not self._hops.free(hop):
                full.add(item.domain)
            elif group is None and not self._hops.free_for(hop, owner):
                parts.add((item.domain, owner))
            elif group is None and self._hops.turn(hop, owner):
                parts.add((item.domain, owner))
                self._pass_over(hop, item)
            elif group is None and not self._take(hop, owner):
                owners.add(owner)
            elif group is None:
                groups[item.queue_id, hop] = [item.id]
            elif len(group) < MAX_RECIPIENTS:
                group.append(item.id)
        return _choice(groups, full, owners, parts) if page else self._rest()

    def _pass_over(self, hop: str, item: Candidate) -> None:
        group = self._later.setdefault((hop, item.organisation_id), [item])
        if group[0] is not item and group[0].queue_id == item.queue_id and len(group) < MAX_RECIPIENTS:
            group.append(item)

    def _rest(self) -> Choice:
        taken = []
        for (hop, owner), items in sorted(self._later.items(), key=lambda entry: self._hops.turn(*entry[0])):
            if self._places > 0 and self._hops.free_for(hop, owner) and self._take(hop, owner):
                taken.append(tuple(item.id for item in items))
        self._later = {}
        return Choice(tuple(taken), frozenset())

    def _take(self, hop: str, owner: str) -> bool:
        if not self._shares.take(owner):
            return False
        self._hops.take(hop, owner)
        self._places -= 1
        return True


def _choice(
    groups: dict[tuple[str, str], list[int]],
    full: Collection[str] = (),
    owners: Collection[str] = (),
    parts: Collection[tuple[str, str]] = (),
) -> Choice:
    taken = tuple(tuple(ids) for ids in groups.values())
    return Choice(taken, frozenset(full), frozenset(owners), frozenset(parts))


def _less(counter: Counter[Key], key: Key) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
