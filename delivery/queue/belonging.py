"""Whose queue one on PostgreSQL is: the directory's whose instance opened it first. An instance with another directory
would take the accounts of all others for removed ones, and forget their absences and limits (`delivery.standing`)."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from core.errors import RefusedError
from delivery.queue.once import insert_once
from delivery.queue.schema import about

KEY = "directory"


def belong_to(connection: Connection, directory: str) -> None:
    """Raises `RefusedError` when it is another directory's. Those who open a new one at the same moment wait for each
    other."""
    insert_once(connection, about, {"key": KEY, "value": directory})
    is_not_of_another(connection, directory)


def is_not_of_another(connection: Connection, directory: str) -> None:
    """Raises `RefusedError`, too; nobody's is good."""
    owner = connection.execute(select(about.c.value).where(about.c.key == KEY)).scalar()
    if owner not in (None, directory):
        raise RefusedError(
            "database.queue is the queue of another directory: give all its instances the same database.url, or this "
            "installation a queue of its own; if its directory was made anew: beffroi queue assign",
            code="queue-of-another",
        )


def assign(connection: Connection, directory: str) -> None:
    connection.execute(delete(about).where(about.c.key == KEY))
    connection.execute(insert(about).values(key=KEY, value=directory))
