"""DNS as the house asks it: a Protocol whose answers are values. `core.dns` implements it over a real resolver.

Knows no transport: everything that asks DNS takes a `Resolver` and is tested with a table.
"""

from __future__ import annotations

from dataclasses import field
from enum import Enum
from typing import Generic, Protocol, TypeVar

from core.frozen import dataclass

T = TypeVar("T")


class Outcome(Enum):
    """OK: records. EMPTY: the name exists, not this type. NXDOMAIN: no such name. FAILED: SERVFAIL, bogus, timeout."""

    OK = "ok"
    EMPTY = "empty"
    NXDOMAIN = "nxdomain"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Mx:
    preference: int
    host: str  # lower case, no final dot; "" is the null MX (RFC 7505)


@dataclass(frozen=True, slots=True)
class Srv:
    priority: int
    weight: int
    port: int
    host: str  # as in `Mx`; "" says that the service is not offered (RFC 2782)


@dataclass(frozen=True, slots=True)
class Tlsa:
    usage: int
    selector: int
    matching: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """`secure`: the AD bit of a configured resolver on loopback. `records` in the order received. `canonical`: the name
    at the end of the aliases that led to the answer, "" when there were none. `until`: the monotonic time up to which
    nobody need ask again; 0.0, where only the resolver knows."""

    outcome: Outcome
    records: tuple[T, ...] = ()
    secure: bool = False
    canonical: str = ""
    until: float = field(default=0.0, compare=False)


class Resolver(Protocol):
    """Names are A-labels without final dot. Never raises: a failed question is an `Outcome.FAILED` answer."""

    @property
    def crowded(self) -> bool:
        """So many questions are under way that nobody asks one whose answer he may not need."""

    async def txt(self, name: str) -> Answer[bytes]:
        """One element per record, its strings joined without a space (RFC 7208 3.3)."""

    async def a(self, name: str) -> Answer[str]: ...

    async def aaaa(self, name: str) -> Answer[str]: ...

    async def mx(self, name: str) -> Answer[Mx]: ...

    async def ptr(self, address: str) -> Answer[str]: ...

    async def tlsa(self, name: str) -> Answer[Tlsa]: ...

    async def srv(self, name: str) -> Answer[Srv]: ...

    async def cname(self, name: str) -> Answer[str]:
        """The alias record itself, not followed: whether it is validated decides about DANE (RFC 7672 2.2.2)."""
