"""A resolver that answers from tables: what the world's DNS says in one test."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from core.resolver import Answer, Mx, Outcome, Srv, Tlsa

Zone = Mapping[str, Mapping[str, Sequence[Any]]]  # as `FakeResolver` says


class FakeResolver:
    """`zone`: name > {"TXT": [...], "A": [...], "AAAA": [...], "MX": [(10, "host")], "PTR": […], "TLSA": [Tlsa],
    "SRV": [(0, 1, 993, "host")], "CNAME": [name]}.

    PTR records stand under the address itself ("192.0.2.1"). `failing` names answer FAILED, `secure` names carry AD,
    `slow` names wait that many seconds first. A name with records of another type, or above one, is EMPTY.
    `questions` counts what was asked as (type, name).
    """

    def __init__(
        self,
        zone: Zone | None = None,
        *,
        failing: Sequence[str] = (),
        secure: Sequence[str] = (),
        slow: Mapping[str, float] | None = None,
    ) -> None:
        self.zone: dict[str, dict[str, list[Any]]] = {}
        for name, records in (zone or {}).items():
            for kind, values in records.items():
                self.add(name, kind, *values)
        self.failing = set(failing)
        self.secure = set(secure)
        self.slow = dict(slow or {})
        self.questions: Counter[tuple[str, str]] = Counter()
        self.crowded = False

    def add(self, name: str, kind: str, *values: Any) -> None:
        self.zone.setdefault(name.lower(), {}).setdefault(kind, []).extend(values)

    async def txt(self, name: str) -> Answer[bytes]:
        return await self._answer(name, "TXT", lambda v: v if isinstance(v, bytes) else str(v).encode())

    async def a(self, name: str) -> Answer[str]:
        return await self._answer(name, "A", str)

    async def aaaa(self, name: str) -> Answer[str]:
        return await self._answer(name, "AAAA", str)

    async def mx(self, name: str) -> Answer[Mx]:
        return await self._answer(name, "MX", lambda v: v if isinstance(v, Mx) else Mx(*v))

    async def ptr(self, address: str) -> Answer[str]:
        return await self._answer(address, "PTR", str)

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        return await self._answer(name, "TLSA", lambda v: v)

    async def srv(self, name: str) -> Answer[Srv]:
        return await self._answer(name, "SRV", lambda v: Srv(*v))

    async def cname(self, name: str) -> Answer[str]:
        return await self._answer(name, "CNAME", str)

    async def _answer(self, name: str, kind: str, convert: Any) -> Answer[Any]:
        key = name.lower().removesuffix(".")
        self.questions[(kind, key)] += 1
        if key in self.slow:
            await asyncio.sleep(self.slow[key])
        if key in self.failing:
            return Answer(Outcome.FAILED)
        labels = key.split(".")
        if len(key) > 253 or not all(0 < len(label) <= 63 for label in labels):
            return Answer(Outcome.NXDOMAIN)
        node = self.zone.get(key)
        secure = key in self.secure
        if node and kind != "CNAME" and (alias := node.get("CNAME")):
            answer = await self._answer(alias[0], kind, convert)
            return Answer(answer.outcome, answer.records, secure and answer.secure, answer.canonical or alias[0])
        if node and node.get(kind):
            return Answer(Outcome.OK, tuple(convert(value) for value in node[kind]), secure)
        exists = node is not None or any(other.endswith("." + key) for other in self.zone)
        return Answer(Outcome.EMPTY if exists else Outcome.NXDOMAIN, (), secure)
