"""What an organisation's accounts hold together, against its ceiling: sums of what each account published last.

Every account's lock file tells its octets behind the lock's word, each commit writes them, so a sum costs one short
read an account and is as late as it is old (`KEPT`, at most 5 s). Asked only where there is a ceiling.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Executor

from core.errors import MailError
from store import sidefile
from store.faults import whole
from store.fsops import FileSystem
from store.lockfile import LOCK_FILE, WIDTH, WORD_SIZE
from store.names import account_local
from store.types import AccountRef, Room

KEPT = 2.0  # seconds a sum is believed

Place = tuple[str, str]  # domain, directory of the account


def packed(octets: int) -> bytes:
    """As it stands behind the lock's word."""
    return b"%d\n" % octets


class Sums:
    """One per process. `measure` counts an account that never published (blocking)."""

    def __init__(
        self, fs: FileSystem, domains: int, pool: Executor, measure: Callable[[AccountRef], int], kept: float = KEPT
    ) -> None:
        self._fs, self._domains, self._pool, self._measure, self._kept = fs, domains, pool, measure, kept
        self._owners: dict[Place, AccountRef] = {}
        self._sums: dict[str, int] = {}
        self._until = 0.0
        self._adding: asyncio.Future[dict[str, int]] | None = None

    async def used(self, organisation_id: str) -> int:
        """Octets of all its accounts. Raises StorageError."""
        loop = asyncio.get_running_loop()
        if loop.time() >= self._until:
            if self._adding is None:
                self._adding = asyncio.ensure_future(loop.run_in_executor(self._pool, self._add))
                self._adding.add_done_callback(self._added)
            await asyncio.shield(self._adding)
        return self._sums.get(organisation_id, 0)

    async def room(self, ref: AccountRef) -> Room:
        """Does not suspend without a ceiling."""
        if not ref.organisation_quota:
            return Room(ref.quota)
        return Room(ref.quota, ref.organisation_quota - await self.used(ref.organisation_id))

    def _added(self, adding: asyncio.Future[dict[str, int]]) -> None:
        self._adding = None
        if not adding.cancelled() and adding.exception() is None:
            self._sums = adding.result()
            self._until = asyncio.get_running_loop().time() + self._kept

    # -- in a worker thread ----------------------------------------------------------------------------------------

    def _add(self) -> dict[str, int]:
        sums: dict[str, int] = {}
        with whole():
            for ref, place in self._accounts():
                sums[ref.organisation_id] = sums.get(ref.organisation_id, 0) + self._octets(ref, place)
        return sums

    def _accounts(self) -> list[tuple[AccountRef, Place]]:
        """Every account directory; side files of new ones are read, the others' owners are known."""
        present: list[tuple[AccountRef, Place]] = []
        for domain in self._fs.names(self._domains):
            with contextlib.suppress(OSError):
                fd = self._fs.open_directory(self._domains, domain)
                try:
                    for entry in self._fs.names(fd):
                        ref = None if entry.startswith(".") else self._owner(fd, (domain, entry))
                        if ref is not None:
                            present.append((ref, (domain, entry)))
                finally:
                    self._fs.close(fd)
        self._owners = {place: ref for ref, place in present}
        return present

    def _owner(self, domain: int, place: Place) -> AccountRef | None:
        if place in self._owners:
            return self._owners[place]
        with contextlib.suppress(OSError, ValueError):
            root = self._fs.open_directory(domain, place[1])
            try:
                file = sidefile.read_account(self._fs, root)
            finally:
                self._fs.close(root)
            if file is not None:
                return AccountRef(file.id, file.organisation, place[0], account_local(place[1]))
        return None

    def _octets(self, ref: AccountRef, place: Place) -> int:
        path = f"{place[0]}/{place[1]}/{LOCK_FILE}"
        try:
            told = self._fs.read_file(self._domains, path, WORD_SIZE + WIDTH)[WORD_SIZE:]
        except OSError:
            told = b""
        text = told.strip(b"\0 \n")
        if text.isdigit():
            return int(text)
        try:
            return self._measure(ref)
        except MailError:  # removed just now, or failing: its own affair
            return 0
