"""`mailbox import`: many accounts at once, each line judged by itself, committed in batches.

Clear passwords are hashed on all cores (argon2 releases the GIL), outside any transaction, and never stored clear;
argon2id hashes are taken as they are. Results come after the commit of their batch.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from core.address import Address, AddressError, parse
from core.config import Limits, parse_size
from core.errors import ConflictError, NotFoundError, RefusedError
from directory import policy, rules, scope
from directory.boundary import Boundary
from directory.codes import refusal
from directory.passwords import hasher, prepared, valid_hash
from directory.repositories.accounts import NewAccount
from directory.repositories.credentials import NewCredential
from directory.types import Account, Actor, Domain, ImportResult, ImportRow, State
from directory.work import Work

BATCH = 250  # rows of one commit
RACES = 3  # times that a batch is tried again when somebody else adds the same addresses meanwhile
_HASHED = re.compile(r"\{[A-Za-z0-9.-]+\}|\$[a-z0-9-]+\$")
_OUR_SCHEME = "{ARGON2ID}"  # Dovecot's prefix


@dataclass(frozen=True, slots=True)
class Candidate:
    """A line that can become an account: exactly one of `clear` and `secret_hash` is set until it was hashed."""

    row: ImportRow
    address: Address
    quota: int
    display_name: str
    clear: str
    secret_hash: str
    warning: str


class Importer:
    """One import: remembers the domains asked for and the addresses seen."""

    def __init__(self, boundary: Boundary, actor: Actor, limits: Limits, *, dry_run: bool) -> None:
        self._boundary = boundary
        self._actor = actor
        self._limit = limits.password
        self._dry_run = dry_run
        self._domains: dict[str, Domain | None] = {}
        self._seen: set[str] = set()

    async def run(self, rows: Sequence[ImportRow]) -> AsyncIterator[ImportResult]:
        """One result per row, in order, as batches are committed."""
        pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="import")
        try:
            for start in range(0, len(rows), BATCH):
                for result in await self._batch(rows[start : start + BATCH], pool):
                    yield result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    async def _batch(self, rows: Sequence[ImportRow], pool: ThreadPoolExecutor) -> list[ImportResult]:
        results: dict[int, ImportResult] = {}
        candidates = []
        for index, row in enumerate(rows):
            judged = self._judge(row)
            if isinstance(judged, Candidate):
                candidates.append((index, judged))
            else:
                results[index] = judged
        accepted = await self._accepted(candidates, results)
        taken: set[str] = set()
        if accepted and not self._dry_run:
            taken = await self._store(await _hashed(accepted, pool))
        for index, candidate in accepted:
            code = "address-taken" if candidate.address.key in taken else ""
            results[index] = ImportResult(candidate.row.line, candidate.row.address, code, candidate.warning)
        return [results[index] for index in range(len(rows))]

    def _judge(self, row: ImportRow) -> Candidate | ImportResult:
        """What can be said of a line by itself."""
        try:
            address = rules.account_address(parse(row.address))
            clear, secret_hash = self._password(row)
            weak = bool(clear) and bool(policy.weakness(clear, address))
            return Candidate(
                row=row,
                address=address,
                quota=rules.quota(_quota(row.quota)),
                display_name=rules.display_name(row.display_name),
                clear=clear,
                secret_hash=secret_hash,
                warning="weak-password" if weak else "",
            )
        except AddressError:
            return _refused(row, "invalid-address")
        except RefusedError as error:
            return _refused(row, error.code)

    def _password(self, row: ImportRow) -> tuple[str, str]:
        """(clear, "") or ("", hash)."""
        text = row.password.reveal()
        if not text:
            raise refusal("missing-password")
        if _HASHED.match(text):
            bare = text.strip().removeprefix(_OUR_SCHEME)
            if not valid_hash(bare):
                raise refusal("invalid-hash")
            return "", bare
        return prepared(row.password, self._limit), ""

    async def _accepted(
        self, candidates: Sequence[tuple[int, Candidate]], results: dict[int, ImportResult]
    ) -> list[tuple[int, Candidate]]:
        """Those whose domain is the actor's and whose address is free; the others get their result."""
        await self._learn_domains({candidate.address.domain for _, candidate in candidates})
        keys = {candidate.address.key for _, candidate in candidates}
        taken = await self._boundary.read(self._actor, lambda work: work.accounts.taken(keys))
        accepted = []
        for index, candidate in candidates:
            key = candidate.address.key
            if self._domains[candidate.address.domain] is None:
                results[index] = _refused(candidate.row, "unknown-domain")
            elif key in taken or key in self._seen:
                results[index] = _refused(candidate.row, "address-taken")
            else:
                self._seen.add(key)
                accepted.append((index, candidate))
        return accepted

    async def _learn_domains(self, names: set[str]) -> None:
        for name in sorted(names - set(self._domains)):
            try:
                self._domains[name] = await self._boundary.read(
                    self._actor, partial(scope.domain, actor=self._actor, name=name)
                )
            except NotFoundError:
                self._domains[name] = None

    async def _store(self, candidates: Sequence[Candidate]) -> set[str]:
        """One commit; the keys that somebody else took meanwhile."""
        for last in (*[False] * (RACES - 1), True):
            try:
                return await self._boundary.write(self._actor, lambda work: self._insert(work, candidates))
            except ConflictError:
                if last:
                    raise
        raise AssertionError("unreachable")

    async def _insert(self, work: Work, candidates: Sequence[Candidate]) -> set[str]:
        taken = await work.accounts.taken([candidate.address.key for candidate in candidates])
        accounts, credentials = [], []
        for candidate in candidates:
            domain = self._domains[candidate.address.domain]
            if candidate.address.key in taken or domain is None:
                continue
            account = Account(
                id=work.new_id(),
                address=candidate.address,
                organisation_id=domain.organisation_id,
                display_name=candidate.display_name,
                quota=candidate.quota,
                state=State.ACTIVE,
            )
            accounts.append(NewAccount(account, domain.id, work.new_id(), work.now_ms()))
            credentials.append(NewCredential(work.new_id(), account.id, candidate.secret_hash, work.now_ms()))
            work.tell("mailbox-imported", str(account.address), account.organisation_id)
        if accounts:
            await work.accounts.add(accounts)
            await work.credentials.add(credentials)
        return taken


async def _hashed(candidates: Sequence[tuple[int, Candidate]], pool: ThreadPoolExecutor) -> list[Candidate]:
    """With every clear password replaced by its hash, in the same order."""
    loop, make = asyncio.get_running_loop(), hasher().hash

    async def one(candidate: Candidate) -> Candidate:
        if candidate.secret_hash:
            return candidate
        return replace(candidate, clear="", secret_hash=await loop.run_in_executor(pool, make, candidate.clear))

    return list(await asyncio.gather(*(one(candidate) for _, candidate in candidates)))


def _quota(text: str) -> int:
    try:
        return parse_size(text) if text else 0
    except ValueError as error:
        raise refusal("invalid-quota") from error


def _refused(row: ImportRow, code: str) -> ImportResult:
    return ImportResult(row.line, row.address, code)
