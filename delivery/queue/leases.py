"""Leases: who has a recipient in hand, and how others learn that he has it no more. No wall clock is asked.

A holder renews what it holds, which changes the mark of each lease. Whoever looks counts, by its own monotonic clock,
for how long a mark stayed as it was; past the lease's term its holder is silent, and what it held goes to others. So a
clock that jumps, on this machine or another, on the database's, ends no lease of a holder that lives and prolongs none
of a dead one's (fault 163). What a process of this machine held that is certainly gone is free at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, select, update

from delivery.queue.owners import is_dead
from delivery.queue.schema import State, recipient


@dataclass(frozen=True, slots=True)
class Lease:
    """`mark`: another one at each claim and renewal of its owner; for people it is the Unix time at which the lease
    would be over. `term`: seconds that it may stay the same."""

    owner: str
    mark: float
    term: float

    def columns(self) -> dict[str, object]:
        return {"lease_owner": self.owner, "lease_until": self.mark, "lease_term": self.term}


NONE = Lease("", 0.0, 0.0)
_ACTIVE = recipient.c.state == State.ACTIVE.value


@dataclass(frozen=True, slots=True)
class Looks:
    """What was seen of others' leases: how long each stayed the same, in seconds of the looks' own clock. `at`: of the
    last look (monotonic)."""

    at: float
    silent: Mapping[Lease, float]

    def next(self, found: Collection[Lease], at: float, most: float) -> Looks:
        """After another look. It counts `most` seconds at most: whoever did not look for an hour, because its machine
        stood still, knows nothing of the others in that hour, who stood still perhaps, too."""
        passed = min(max(at - self.at, 0.0), most)
        return Looks(at, {lease: self.silent[lease] + passed if lease in self.silent else 0.0 for lease in found})

    def over(self) -> list[Lease]:
        return [lease for lease, silent in self.silent.items() if silent >= lease.term]


def of_others(connection: Connection, owner: str) -> list[Lease]:
    columns = (recipient.c.lease_owner, recipient.c.lease_until, recipient.c.lease_term)
    found = connection.execute(select(*columns).where(_ACTIVE, recipient.c.lease_owner != owner).distinct())
    return [Lease(str(holder), float(mark), float(term)) for holder, mark, term in found]


def renew(connection: Connection, lease: Lease, *, but: Collection[float]) -> int:
    """Prolong all leases of a living worker; how many it holds. Those marked as one of `but` stay as they are: their
    claim is not committed for certain."""
    held = _mine(lease.owner) & recipient.c.lease_until.not_in(but)
    return connection.execute(update(recipient).where(held).values(lease.columns())).rowcount


def free(connection: Connection, leases: Collection[Lease], now: float) -> None:
    """What was held by them waits again, at once."""
    for lease in leases:
        let_go(connection, owner=lease.owner, marks=(lease.mark,), now=now)


def free_dead(connection: Connection, leases: Collection[Lease], now: float, *, one_machine: bool) -> None:
    """What processes of this host held that are gone waits again without its lease having to run out."""
    dead = {lease.owner for lease in leases if is_dead(lease.owner, one_machine=one_machine)}
    for owner in sorted(dead):
        give_back(connection, owner=owner, now=now)


def let_go(connection: Connection, *, owner: str, marks: Collection[float], now: float) -> int:
    """Undo claims whose commit may have happened although its answer was lost: their marks tell them apart."""
    lost = _mine(owner) & recipient.c.lease_until.in_(marks)
    return connection.execute(update(recipient).where(lost).values(_free(now))).rowcount


def give_back(connection: Connection, *, owner: str, now: float) -> int:
    """A worker that ends in order leaves nothing leased."""
    return connection.execute(update(recipient).where(_mine(owner)).values(_free(now))).rowcount


def put_back(connection: Connection, ids: Collection[int], *, owner: str, due: float) -> int:
    """What a worker holds and cannot bring to an end is tried again at `due`."""
    mine = recipient.c.id.in_(ids) & _mine(owner)
    return connection.execute(update(recipient).where(mine).values(_free(due))).rowcount


def _mine(owner: str) -> ColumnElement[bool]:
    return _ACTIVE & (recipient.c.lease_owner == owner)


def _free(due: float) -> dict[str, object]:
    return {"state": State.WAITING.value, **NONE.columns(), "next_attempt": due}
