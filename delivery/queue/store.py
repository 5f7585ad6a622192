"""What the queue asks of a database, and which one a configuration names: a file of its own, or PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")


class QueueStore(Protocol):
    """`read` and `write` take a function of an open connection inside a transaction. `write` returns after the commit.

    Raises `StorageError` when the disk is full or broken, `TemporaryError` when the database is busy or away,
    `ConflictError` for a key that exists, and whatever `MailError` the function raises. Of a database far
    away an outcome may stay unknown: `delivery.queue.postgres.CommitUnknownError`, which is a `TemporaryError`.
    `durable` False: until the next durable write, within a second or so, a power failure, and nothing else, may take it
    back, with all such that came after it. For what tells nobody "kept": a lease, a result, a count.
    """

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def read(self, look: Callable[[Connection], T]) -> T: ...

    def read_now(self, look: Callable[[Connection], T]) -> T:
        """For callers in a thread."""

    async def write(self, run: Callable[[Connection], T], *, durable: bool = True) -> T: ...

    def leave_room(self, octets: int) -> None:
        """Inside of `run`, before so many octets of new mail are written. Raises `StorageError` where they would take
        what is kept free on a disk of ours for what makes room."""

    async def tidy(self) -> None: ...
