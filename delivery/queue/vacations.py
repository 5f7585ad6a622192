"""Absences: what each account's responder says and when, and whom it told already. Rows only; whether a message is
answered at all is `delivery.vacation`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from sqlalchemy import Connection, delete, insert, select, update

from delivery.queue.once import insert_once
from delivery.queue.rows import Row
from delivery.queue.schema import vacation, vacation_told
from delivery.types import Vacation

AGAIN = 7 * 86400.0  # seconds until the same sender is told again (RFC 3834 2; security.md row 136)


def load(connection: Connection) -> Mapping[str, Vacation]:
    """All of them, by account id."""
    return {row["account_id"]: _value(row) for row in connection.execute(select(vacation)).mappings()}


def get(connection: Connection, account_id: str) -> Vacation | None:
    row = connection.execute(select(vacation).where(vacation.c.account_id == account_id)).mappings().one_or_none()
    return None if row is None else _value(row)


def put(connection: Connection, account_id: str, new: Vacation | None) -> None:
    """None: none any more. A new absence tells everybody anew."""
    for table in (vacation, vacation_told):
        connection.execute(delete(table).where(table.c.account_id == account_id))
    if new is not None:
        connection.execute(
            insert(vacation).values(
                account_id=account_id, text=new.text, subject=new.subject, starts=new.starts, ends=new.ends
            )
        )


def tell_once(connection: Connection, account_id: str, sender_key: str, now: float) -> bool:
    """True when this sender was not told lately; it counts as told from now on."""
    digest = blake2b(sender_key.encode("utf-8"), digest_size=12).hexdigest()
    mine = (vacation_told.c.account_id == account_id) & (vacation_told.c.digest == digest)
    at = connection.execute(select(vacation_told.c.at).where(mine)).scalar()
    if at is not None and now - AGAIN < at <= now:
        return False
    if at is None:  # two of his messages may be answered side by side
        return insert_once(connection, vacation_told, {"account_id": account_id, "digest": digest, "at": now})
    still = vacation_told.c.at == at
    return connection.execute(update(vacation_told).where(mine, still).values(at=now)).rowcount == 1


def _value(row: Row) -> Vacation:
    return Vacation(row["text"], row["subject"], row["starts"], row["ends"])
