"""Argon2id (RFC 9106), the only place that touches argon2-cffi.

Parameters m=19456 KiB, t=2, p=1 (OWASP's set; security.md "Decided"). argon2 releases the GIL, so it runs in a small
thread pool: at most `limits.concurrent_hashes` at once bound memory, a bounded line before them bounds the wait
(security.md rows 115, 116). Refuses to know whose password it is.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from core.config import Limits
from core.errors import TemporaryError
from core.log import Secret
from directory import opaque
from directory.codes import refusal

T = TypeVar("T")

MEMORY_KIB, PASSES, LANES = 19456, 2, 1
MAX_MEMORY_KIB, MAX_PASSES, MAX_LANES = 256 * 1024, 10, 8  # of hashes brought from elsewhere
WAITING_PER_THREAD = 64  # hashes in line for each thread: about 2 s of work
PATIENCE = 10.0  # seconds a login waits for its turn and its hash

# Verified for unknown users, so that they take the time of known ones. Of 256 random bits that were never kept.
DUMMY = "$argon2id$v=19$m=19456,t=2,p=1$vcHxS4FsPGmPbSJJuqQNCA$dM2uZtmIOWp3vQbea1peZC3S1rW/bpaZRuuDL9wu+IE"

_HASH = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,171}"
)


def normalise(password: Secret, limit: int) -> str:
    """The form that is hashed (RFC 8265 4.2.2), of 1 to `limit` octets of UTF-8, no NUL and no unpaired surrogate (row
    115); else InvalidError."""
    clear = password.reveal()
    if not clear or len(clear) > limit or "\0" in clear:
        raise refusal("invalid-password")
    text = opaque.enforced(clear)
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise refusal("invalid-password") from None  # the cause would quote the password
    if size > limit:
        raise refusal("invalid-password")
    return text


def prepared(password: Secret, limit: int) -> str:
    """The same of a password to be stored, which may have fewer characters (RFC 8265 4.2.1) than one to be compared:
    what was stored before opens its mailbox all the same."""
    text = normalise(password, limit)
    if not opaque.allowed(text):
        raise refusal("invalid-password")
    return text


def composed(password: Secret) -> str:
    """How passwords were hashed until spaces became one: NFC alone. Of a password that `normalise` takes."""
    return unicodedata.normalize("NFC", password.reveal())


def valid_hash(text: str) -> bool:
    """An argon2id hash whose verification costs neither next to nothing nor the machine."""
    match = _HASH.fullmatch(text)
    if not match:
        return False
    memory, passes, lanes = (int(part) for part in match.groups())
    return 8 * lanes <= memory <= MAX_MEMORY_KIB and 1 <= passes <= MAX_PASSES and 1 <= lanes <= MAX_LANES


def hasher() -> PasswordHasher:
    return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES, hash_len=32, salt_len=16)


class Passwords:
    """The bounded pool. `close` waits for the hashes that run (tens of milliseconds) and drops those in line."""

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.password
        self._threads = limits.concurrent_hashes
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="argon2")
        self._hasher = hasher()
        self._waiting = 0

    def normalise(self, password: Secret) -> str:
        return normalise(password, self._limit)

    def prepared(self, password: Secret) -> str:
        return prepared(password, self._limit)

    async def hash(self, text: str) -> str:
        """Of a normalised password. Raises `TemporaryError` when the line is full."""
        return await self._run(lambda: self._hasher.hash(text))

    async def verify(self, stored: str, text: str) -> bool:
        """Raises `TemporaryError` when the line is full or the wait too long."""
        return await self._run(lambda: self._matches(stored, text))

    def outdated(self, stored: str) -> bool:
        """Made with other parameters than ours: to be made again at the next login."""
        try:
            return self._hasher.check_needs_rehash(stored)
        except InvalidHashError:
            return False

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _matches(self, stored: str, text: str) -> bool:
        try:
            return self._hasher.verify(stored, text)
        except (Argon2Error, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= self._threads * WAITING_PER_THREAD:
            raise TemporaryError("busy", code="busy")
        self._waiting += 1
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except TimeoutError as error:
            raise TemporaryError("busy", code="busy") from error
        finally:
            self._waiting -= 1
