"""A queued message as `message.content.Content`: its head in memory, the rest read row by row."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select

from core.errors import ConflictError, MailError, StorageError
from delivery.queue.schema import CHUNK, chunk, message
from delivery.queue.store import QueueStore
from message.content import BytesContent, Content

IN_MEMORY = 256 * 1024  # what a job may hold; the window of active jobs bounds how many


class QueuedContent:
    """Reads touch the database: use it in a thread for anything past the head. Keeps the last row it read."""

    def __init__(self, database: QueueStore, queue_id: str, size: int, head: bytes) -> None:
        self._database = database
        self._queue_id = queue_id
        self.size = size
        self.head = head
        self._kept: tuple[int, bytes] = (-1, b"")

    def read(self, start: int, stop: int) -> bytes:
        stop = min(stop, self.size)
        if stop <= len(self.head):
            return self.head[start:stop]
        pieces = []
        while start < stop:
            number, offset = divmod(start, CHUNK)
            piece = self._row(number)[offset : offset + stop - start]
            if not piece:
                raise StorageError("a queued message is damaged", code="queue-damaged", of=self._queue_id)
            pieces.append(piece)
            start += len(piece)
        return b"".join(pieces)

    def _row(self, number: int) -> bytes:
        if self._kept[0] != number:
            self._kept = number, self._database.read_now(lambda c: _rows(c, self._queue_id, number, number + 1))
        return self._kept[1]


def load(connection: Connection, database: QueueStore, queue_id: str, size: int, head_size: int) -> Content:
    """The content of one message: whole when it is small, else its head and the way to the rest."""
    if size <= IN_MEMORY:
        return BytesContent(_rows(connection, queue_id, 0, 1 + size // CHUNK))
    head = _rows(connection, queue_id, 0, 1 + head_size // CHUNK)[:head_size]
    return QueuedContent(database, queue_id, size, head)


# Built once: to build a statement takes longer than to run it.
_ROWS = (
    select(chunk.c.data)
    .where(chunk.c.queue_id == bindparam("of"), chunk.c.number >= bindparam("first"), chunk.c.number < bindparam("end"))
    .order_by(chunk.c.number)
)


def _rows(connection: Connection, queue_id: str, first: int, end: int) -> bytes:
    rows = connection.execute(_ROWS, {"of": queue_id, "first": first, "end": end}).scalars()
    data = b"".join(rows)
    if not data:
        raise _nothing(connection, queue_id)
    return data


def _nothing(connection: Connection, queue_id: str) -> MailError:
    """Another worker brought it to its end, or an administrator did; or its bytes alone are lost."""
    if connection.execute(select(message.c.queue_id).where(message.c.queue_id == queue_id)).first() is None:
        return ConflictError("the message is no longer in the queue", code="queue-gone", of=queue_id)
    return StorageError("a queued message is damaged", code="queue-damaged", of=queue_id)
