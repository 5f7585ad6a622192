"""Statements that go to SQLite's driver: the same answers and the same errors as by way of SQLAlchemy."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from delivery.queue import claims
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


async def test_an_error_at_a_later_row_is_sqlalchemys_too(queue: Queue) -> None:
    """As of a page that the disk does not give: the statement has begun, and the row is a step of its own."""
    read = Prepared(select(func.json(greylist.c.digest).label("parsed")).order_by(greylist.c.digest))

    def act(connection: Connection) -> None:
        for digest in ("1", "{"):
            INSERT.run(connection, {**ROW, "digest": digest})
        for ask in (read.rows, read.mappings):
            with pytest.raises(OperationalError):
                ask(connection, {})

    await queue._database.write(act)


async def test_what_is_bound_is_in_no_error(queue: Queue) -> None:
    def act(connection: Connection) -> None:
        INSERT.run(connection, {**ROW, "digest": "secret"})
        with pytest.raises(IntegrityError) as told:
            INSERT.run(connection, {**ROW, "digest": "secret"})
        assert "secret" not in str(told.value)

    await queue._database.write(act)


LISTED = Prepared(select(greylist).where(greylist.c.digest.in_(bindparam("some", expanding=True))))
CHANGED = Prepared(update(greylist).where(greylist.c.digest.in_(bindparam("some", expanding=True))))
REMOVED = Prepared(delete(greylist).where(greylist.c.digest.in_(bindparam("some", expanding=True))))


async def test_any_number_of_values_is_one_text(queue: Queue) -> None:
    odd = ["d", "é'\"\\", ""]

    def act(connection: Connection) -> None:
        for digest in odd:
            INSERT.run(connection, {**ROW, "digest": digest})
        for some in ([], odd[:1], odd, [*odd, "none"]):
            found = LISTED.mappings(connection, {"some": some})
            assert sorted(row["digest"] for row in found) == sorted(set(some) & set(odd))
            assert all(row["returned"] is True and row["first"] == 1.5 for row in found)
        assert CHANGED.run(connection, {"some": odd[1:], "last": 9.0, "returned": False}) == 2
        assert {row["returned"] for row in LISTED.mappings(connection, {"some": odd[1:]})} == {False}
        assert REMOVED.run(connection, {"some": odd}) == 3

    await queue._database.write(act)


async def test_what_is_due_is_found_in_its_index_however_many_domains_are_full(queue: Queue) -> None:
    """Row 141: 50,000 of a dead domain are passed over without a look at the table."""
    asked = {"now": 1.0, "closed": ["dead.test", "gone.test"], "owners": ["o1"], "parts": ["big.test o2"]}

    def act(connection: Connection) -> list[str]:
        claims._PAGES_OF_ALL[1].rows(connection, asked)
        plan = driven(
            connection,
            f"EXPLAIN QUERY PLAN {vars(claims._PAGES_OF_ALL[1])['_text']}",
            [None] * len(vars(claims._PAGES_OF_ALL[1])["_names"]),
        )
        return [str(row[3]) for row in plan]

    plan = await queue._database.write(act)
    assert any("USING COVERING INDEX queue_due_next" in line for line in plan), plan
    assert not any("TEMP B-TREE" in line for line in plan), plan
