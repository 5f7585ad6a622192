"""The part of the directory that DKIM keys live in, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from core.errors import ConflictError, NotFoundError, TemporaryError
from directory.types import Actor, DkimKey, Domain, KeyState, State


class KeyDirectory:
    """Implements `domains`, `add_domain`, `remove_domain` and the key operations of `directory.directory.Directory`.
    `away` makes everything fail; `commits` lists every change of states as one commit."""

    def __init__(self, *names: str) -> None:
        self.hosted = {name: Domain(f"d{n}", name, "o1", State.ACTIVE) for n, name in enumerate(names)}
        self.keys: list[DkimKey] = []
        self.away = False
        self.refuse_keys = False
        self.commits: list[dict[str, KeyState]] = []
        self.reads = 0

    async def domains(self, actor: Actor) -> Sequence[Domain]:
        self._check()
        return list(self.hosted.values())

    async def add_domain(self, actor: Actor, name: str, organisation: str) -> Domain:
        self._check()
        if name in self.hosted:
            raise ConflictError("exists")
        self.hosted[name] = Domain(f"d{len(self.hosted)}", name, organisation, State.ACTIVE)
        return self.hosted[name]

    async def remove_domain(self, actor: Actor, name: str) -> None:
        del self.hosted[name]

    async def dkim_keys(self, domain: str) -> Sequence[DkimKey]:
        self._check()
        self.reads += 1
        return [key for key in self.keys if key.domain == domain]

    async def add_dkim_keys(self, keys: Sequence[DkimKey]) -> None:
        self._check()
        if self.refuse_keys:
            raise TemporaryError("away")
        for key in keys:
            if key.domain not in self.hosted:
                raise NotFoundError("no such domain")
            if any(other.domain == key.domain and other.selector == key.selector for other in self.keys):
                raise ConflictError("selector taken")
        self.keys += keys

    async def set_dkim_key_states(self, states: Mapping[str, KeyState]) -> None:
        self._check()
        self.commits.append(dict(states))
        self.keys = [replace(key, state=states.get(key.id, key.state)) for key in self.keys]

    def _check(self) -> None:
        if self.away:
            raise TemporaryError("away")
