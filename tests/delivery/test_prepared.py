"""Statements that go to SQLite's driver: the same answers and the same errors as by way of SQLAlchemy."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from delivery.queue.prepared import Prepared, driven
from delivery.queue.queue import Queue
from delivery.queue.schema import greylist

ROW = {"digest": "d", "first": 1.5, "last": 2.0, "returned": True}
INSERT = Prepared(insert(greylist))
RETURNING = Prepared(insert(greylist).returning(greylist.c.digest))
SELECT = Prepared(select(greylist.c.first, greylist.c.returned).where(greylist.c.digest == bindparam("of")))
UPDATE = Prepared(update(greylist).where(greylist.c.digest == bindparam("of")).values(last=greylist.c.last + 1))


async def test_values_go_by_their_names_and_constants_stay(queue: Queue) -> None:
    def act(connection: Connection) -> None:
        assert INSERT.run(connection, ROW) == 1
        assert RETURNING.rows(connection, {**ROW, "digest": "e"}) == [("e",)]
        assert SELECT.one(connection, {"of": "d"}) == (1.5, 1)
        assert SELECT.one(connection, {"of": "none"}) is None
        assert UPDATE.run(connection, {"of": "d"}) == 1
        assert connection.execute(select(greylist.c.last).where(greylist.c.digest == "d")).scalar() == 3.0

    await queue._database.write(act)


async def test_errors_are_those_of_sqlalchemy(queue: Queue) -> None:
    def act(connection: Connection) -> None:
        INSERT.run(connection, ROW)
        with pytest.raises(IntegrityError):
            INSERT.run(connection, ROW)
        with pytest.raises(OperationalError) as told:
            driven(connection, "SELECT x FROM nowhere")
        assert "no such table" in str(told.value)
        with pytest.raises(KeyError):
            SELECT.rows(connection, {"by": "d"})

    await queue._database.write(act)


async def test_what_is_bound_is_in_no_error(queue: Queue) -> None:
    def act(connection: Connection) -> None:
        INSERT.run(connection, {**ROW, "digest": "secret"})
        with pytest.raises(IntegrityError) as told:
            INSERT.run(connection, {**ROW, "digest": "secret"})
        assert "secret" not in str(told.value)

    await queue._database.write(act)
