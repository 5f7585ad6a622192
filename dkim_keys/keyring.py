"""The keys of hosted domains: made, opened for signing, rotated (published > active > retired).

The directory keeps the rows, sealed; this is the only opener. A new domain's keys sign at once (there is nothing older
that could); a rotated key signs only after its record was seen in the DNS, because a signature without record is worse
than an old one. Every change of states is one commit, so a kill leaves either the old or the new set (fault 147).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key

from core.clock import Clock
from core.errors import TemporaryError
from core.ids import Ids
from core.log import get
from core.resolver import Resolver
from directory.directory import Directory
from directory.types import Actor, DkimKey, KeyState
from dkim_keys.check import Status, check_domain
from dkim_keys.generate import ALGORITHMS, KeyPair, generate
from dkim_keys.records import dkim_records
from dkim_keys.sealing import MasterKey, SealError
from dkim_keys.sign import Signer

CACHE_SECONDS = 30.0
CACHE_DOMAINS = 2000
# A resolver that asked just before the record was published may remember its absence that long (RFC 2308 5).
PUBLISHED_SECONDS = 2 * 3600

_log = get(__name__)


class Keyring:
    """One per process. Methods raise `TemporaryError` when the directory is away or a key does not open."""

    def __init__(self, directory: Directory, master: MasterKey, clock: Clock, ids: Ids) -> None:
        self._directory = directory
        self._master = master
        self._clock = clock
        self._ids = ids
        self._kept: OrderedDict[str, tuple[float, tuple[Signer, ...]]] = OrderedDict()

    async def create(self, domain: str) -> list[DkimKey]:
        """The first keys of a hosted domain, one per algorithm, signing at once. With keys already there: those."""
        existing = await self._directory.dkim_keys(domain)
        if existing:
            return list(existing)
        return await self._add(domain, KeyState.ACTIVE, ())

    async def rotate(self, domain: str) -> list[DkimKey]:
        """New keys, published and not yet signing; asked again before they sign, the same ones."""
        existing = await self._directory.dkim_keys(domain)
        pending = [key for key in existing if key.state is KeyState.PUBLISHED]
        if pending:
            return pending
        state = KeyState.PUBLISHED if existing else KeyState.ACTIVE
        return await self._add(domain, state, [key.selector for key in existing])

    async def activate_due(self, resolver: Resolver) -> list[DkimKey]:
        """Let published keys sign whose records have been due for two hours and are seen in the DNS; the keys they
        replace retire in the same commit. Returns the keys that sign now. For a background job, hourly or so."""
        done: list[DkimKey] = []
        for domain in await self._directory.domains(Actor.console()):
            done += await self._activate(domain.name, resolver)
        return done

    async def signers(self, domain: str) -> tuple[Signer, ...]:
        """The keys that sign for `domain`, RSA first; none for a domain that is not hosted. Kept for 30 s."""
        kept = self._kept.get(domain)
        if kept is not None and kept[0] > self._clock.monotonic():
            return kept[1]
        keys = [key for key in await self._directory.dkim_keys(domain) if key.state is KeyState.ACTIVE]
        keys.sort(key=lambda key: ALGORITHMS.index(key.algorithm))
        signers = tuple(self._open(key) for key in keys)
        self._kept[domain] = (self._clock.monotonic() + CACHE_SECONDS, signers)
        self._kept.move_to_end(domain)
        while len(self._kept) > CACHE_DOMAINS:
            self._kept.popitem(last=False)
        return signers

    async def _add(self, domain: str, state: KeyState, taken: Sequence[str]) -> list[DkimKey]:
        pairs = [await asyncio.to_thread(generate, algorithm) for algorithm in ALGORITHMS]
        keys = [self._row(domain, pair, state, taken) for pair in pairs]
        await self._directory.add_dkim_keys(keys)
        self._kept.pop(domain, None)
        _log.info("dkim-keys-made", domain=domain, selectors=[key.selector for key in keys], state=state.value)
        return keys

    def _row(self, domain: str, pair: KeyPair, state: KeyState, taken: Sequence[str]) -> DkimKey:
        key_id = self._ids.object_id()
        now = self._clock.now()
        return DkimKey(
            id=key_id,
            domain=domain,
            selector=choose_selector(pair.algorithm, now, taken),
            algorithm=pair.algorithm,
            state=state,
            public_key=pair.public_key,
            sealed_private_key=self._master.seal(key_id, pair.private_key),
            created_at=int(now),
        )

    async def _activate(self, domain: str, resolver: Resolver) -> list[DkimKey]:
        keys = await self._directory.dkim_keys(domain)
        due = [key for key in keys if key.state is KeyState.PUBLISHED]
        if not due or max(key.created_at for key in due) + PUBLISHED_SECONDS > self._clock.now():
            return []
        checks = await check_domain(resolver, dkim_records(due))
        if any(check.status is not Status.CORRECT for check in checks):
            _log.info("dkim-rotation-waits", domain=domain, seen=[check.status.value for check in checks])
            return []
        states = {key.id: KeyState.RETIRED for key in keys if key.state is KeyState.ACTIVE}
        await self._directory.set_dkim_key_states({**states, **{key.id: KeyState.ACTIVE for key in due}})
        self._kept.pop(domain, None)
        _log.info("dkim-rotated", domain=domain, selectors=[key.selector for key in due])
        return due

    def _open(self, key: DkimKey) -> Signer:
        try:
            data = self._master.open(key.id, key.sealed_private_key)
            # GCM vouched for the octets: no need to prove the primes again for every message
            private = load_der_private_key(data, None, unsafe_skip_rsa_key_validation=True)
        except (SealError, ValueError) as error:
            _log.error("dkim-key-does-not-open", domain=key.domain, selector=key.selector, cause=str(error))
            raise TemporaryError("signing is not possible now", code="dkim-key") from None
        if not isinstance(private, RSAPrivateKey | Ed25519PrivateKey):
            raise TemporaryError("signing is not possible now", code="dkim-key")
        return Signer(key.domain, key.selector, f"{key.algorithm}-sha256", private)


def choose_selector(algorithm: str, now: float, taken: Sequence[str]) -> str:
    """Short enough to copy by hand: bf202611rsa, then bf202611rsa-2. `now` in Unix seconds."""
    base = f"bf{datetime.fromtimestamp(now, UTC):%Y%m}{algorithm}"
    number = 1
    while (name := base if number == 1 else f"{base}-{number}") in taken:
        number += 1
    return name
