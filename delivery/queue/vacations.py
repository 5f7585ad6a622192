"""Absences: what each account's responder says and when, and whom it told already. Rows only; whether a message is
answered at all is `delivery.vacation`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from hashlib import blake2b

from sqlalchemy import Connection, delete, func, insert, select, update

from delivery.queue.once import insert_once
from delivery.queue.rows import Row
from delivery.queue.schema import vacation, vacation_told
from delivery.types import Vacation

AGAIN = 7 * 86400.0  # seconds until the same sender is told again (RFC 3834 2; security.md row 136)
HOUR = 3600.0
MOST = 200  # addresses that an account tells in an hour; a robot may have a new one for each of its answers


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


def tell_once(connection: Connection, account_id: str, keys: Collection[str], now: float) -> bool:
    """True when under none of these addresses this sender was told lately; all of them count as told from now on."""
    # In one order: two of his messages may be answered side by side, and PostgreSQL lets both write.
    digests = sorted({blake2b(key.encode("utf-8"), digest_size=12).hexdigest() for key in keys})
    mine = vacation_told.c.account_id == account_id
    rows = select(vacation_told.c.digest, vacation_told.c.at).where(mine, vacation_told.c.digest.in_(digests))
    told = {row.digest: row.at for row in connection.execute(rows)}
    if any(now - AGAIN < at <= now for at in told.values()):
        return False
    lately = select(func.count()).select_from(vacation_told).where(mine, vacation_told.c.at.between(now - HOUR, now))
    if connection.execute(lately).scalar_one() >= MOST:
        return False
    # What has no meaning any more goes here: an absence without an end would keep all who ever wrote.
    connection.execute(delete(vacation_told).where(mine, vacation_told.c.at <= now - AGAIN))
    told = {digest: at for digest, at in told.items() if at > now - AGAIN}
    return all(_count(connection, account_id, digest, told.get(digest), now) for digest in digests)


def _count(connection: Connection, account_id: str, digest: str, before: float | None, now: float) -> bool:
    """False: somebody else was first."""
    if before is None:
        return insert_once(connection, vacation_told, {"account_id": account_id, "digest": digest, "at": now})
    mine = (vacation_told.c.account_id == account_id) & (vacation_told.c.digest == digest)
    still = vacation_told.c.at == before
    return connection.execute(update(vacation_told).where(mine, still).values(at=now)).rowcount == 1


def _value(row: Row) -> Vacation:
    return Vacation(row["text"], row["subject"], row["starts"], row["ends"])
