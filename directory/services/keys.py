"""Operations on DKIM keys, for `dkim_keys`; the keys' life is decided there, kept here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from directory.codes import refusal
from directory.types import DkimKey, KeyState
from directory.work import Work


async def add(work: Work, keys: Sequence[DkimKey]) -> None:
    """All or none. ConflictError when a selector of the domain is used again."""
    domain_ids: dict[str, str] = {}
    for name in {key.domain for key in keys}:
        domain = await work.domains.by_name(name)
        if domain is None:
            raise refusal("unknown-domain")
        domain_ids[name] = domain.id
        wanted = [key.selector for key in keys if key.domain == name]
        if len(wanted) > len(set(wanted)) or {key.selector for key in await work.keys.of(name)} & set(wanted):
            raise refusal("selector-taken")
    if keys:
        await work.keys.add(keys, domain_ids)
    for key in keys:
        work.tell("dkim-key-added", f"{key.selector}._domainkey.{key.domain}", None)


async def set_states(work: Work, states: Mapping[str, KeyState]) -> None:
    if await work.keys.present(states) != set(states):
        raise refusal("unknown-key")
    for key_id, state in states.items():
        await work.keys.set_state(key_id, state)
        work.tell(f"dkim-key-{state.value}", key_id, None)
