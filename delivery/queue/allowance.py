"""What an account may still send today, whom it wrote to before, and whether its sending is locked. One transaction a
question, so that two front processes cannot both give the last place away.

Knows numbers and digests of addresses, no messages. The rules' numbers are the caller's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from delivery.queue.entering import HOUR, count_sent, sent_recently
from delivery.queue.holds import Hold, alone, free_accounts, hold_accounts, know
from delivery.queue.prepared import Prepared
from delivery.queue.schema import correspondent, message, sending, sent

DAY = 86400.0
REMEMBERED = 400 * DAY  # a correspondent not written to for so long is new again
WARN_SHARE = 0.8
HIJACK_MESSAGES = 20  # within an hour; below that even many new recipients are one person's newsletter
HIJACK_SHARE = 0.8  # of the hour's recipients that are new


@dataclass(frozen=True, slots=True)
class Rules:
    """Recipients and new recipients in 24 hours; new ones within an hour that look like somebody else's hand."""

    recipients: int
    new_recipients: int
    hijack: int


class Answer(Enum):
    GRANTED = "granted"
    DAILY = "daily-limit"
    NEW = "new-recipients"
    LOCKED = "sending-locked"


@dataclass(frozen=True, slots=True)
class Charge:
    """`warn`: four fifths of a day's allowance are used, for the first time in 24 hours. `locked`: just now. `total`:
    recipients within 24 hours, with these; where it was granted."""

    answer: Answer
    warn: bool = False
    locked: bool = False
    total: int = 0


def charge(connection: Connection, account_id: str, keys: Collection[str], rules: Rules, now: float) -> Charge:
    """Count a message to these recipients (address keys), unless that is refused. Alone for the account, and before any
    row, as everybody takes it: PostgreSQL would let two give the last place away, or fail at counting the same hour."""
    alone(connection, [account_id])
    locked_at, warned_at = _SENDING.one(connection, {"account": account_id}) or (0.0, 0.0)
    if locked_at:
        return Charge(Answer.LOCKED)
    total = sent_recently(connection, account_id, now) + len(keys)
    if total > rules.recipients:
        return Charge(Answer.DAILY)
    digests = {_digest(key) for key in keys}
    known = _known(connection, account_id, digests, now)
    fresh = digests - known.keys()
    new = _new_since(connection, account_id, now - DAY, now)[0] + len(fresh)
    # Within an hour there are no more than within the day: most often the hour need not be asked for.
    if new > rules.hijack and _hijacked(connection, account_id, len(fresh), len(keys), rules, now):
        hold_accounts(connection, [account_id], Hold.LOCK)  # what a stranger's hand has put into the queue already
        _set(connection, account_id, locked_at=now)
        return Charge(Answer.LOCKED, locked=True)
    if new > rules.new_recipients:
        return Charge(Answer.NEW)
    count_sent(connection, account_id, len(keys), now)
    _remember(connection, account_id, fresh, known, now)
    near = total > WARN_SHARE * rules.recipients or new > WARN_SHARE * rules.new_recipients
    warn = near and _first_warning(connection, account_id, warned_at, now)
    return Charge(Answer.GRANTED, warn=warn, total=total)


def locked(connection: Connection, account_id: str) -> bool:
    locked_at, _ = _SENDING.one(connection, {"account": account_id}) or (0.0, 0.0)
    return bool(locked_at)


def unlock(connection: Connection, account_id: str) -> bool:
    """False when it was not locked. What led there is forgiven: those it wrote to are known now, and what was held with
    it goes, unless something else holds it."""
    if not locked(connection, account_id):
        return False
    free_accounts(connection, [account_id], Hold.LOCK)  # first: who holds its row must not wait for its lock
    _set(connection, account_id, locked_at=0.0)
    connection.execute(update(correspondent).where(correspondent.c.account_id == account_id).values(since=0.0))
    return True


def forget(connection: Connection, account_id: str) -> None:
    """Of an account that is gone: whom it wrote to, and how much. What holds its mail stays."""
    for table in (correspondent, sent):
        connection.execute(delete(table).where(table.c.account_id == account_id))


def remembered(connection: Connection) -> set[str]:
    """The accounts of which `forget` would forget something."""
    found = (connection.execute(select(table.c.account_id).distinct()).scalars() for table in (correspondent, sent))
    return {account_id for ids in found for account_id in ids}


def kept_back(connection: Connection, account_id: str, now: float) -> int:
    """How many messages of the account wait for a time that it chose (RFC 4865)."""
    mine = (message.c.account_id == account_id) & (message.c.release_at > now)
    return connection.execute(select(func.count()).select_from(message).where(mine)).scalar() or 0


# Built once: to build a statement takes longer than to run it.
_SENDING = Prepared(
    select(sending.c.locked_at, sending.c.warned_at).where(sending.c.account_id == bindparam("account"))
)
_NEW_SINCE = Prepared(
    select(func.count(), func.count(correspondent.c.since.distinct())).where(
        correspondent.c.account_id == bindparam("account"),
        correspondent.c.since > bindparam("after"),
        correspondent.c.since <= bindparam("now"),
    )
)
_KNOWN_ONE = Prepared(
    select(correspondent.c.digest, correspondent.c.last).where(
        correspondent.c.account_id == bindparam("account"),
        correspondent.c.digest == bindparam("digest"),
        correspondent.c.last > bindparam("after"),
    )
)
_KNOWN = select(correspondent.c.digest, correspondent.c.last).where(
    correspondent.c.account_id == bindparam("account"),
    correspondent.c.digest.in_(bindparam("digests", expanding=True)),
    correspondent.c.last > bindparam("after"),
)
_WRITTEN_AGAIN = update(correspondent).where(
    correspondent.c.account_id == bindparam("account"), correspondent.c.digest.in_(bindparam("digests", expanding=True))
)
_CORRESPONDENT = insert(correspondent)


def _hijacked(connection: Connection, account_id: str, fresh: int, asked: int, rules: Rules, now: float) -> bool:
    new, messages = _new_since(connection, account_id, now - HOUR, now)
    if new + fresh <= rules.hijack or messages + 1 < HIJACK_MESSAGES:
        return False
    return new + fresh > HIJACK_SHARE * (sent_recently(connection, account_id, now, hours=2) + asked)


def _new_since(connection: Connection, account_id: str, since: float, now: float) -> tuple[int, int]:
    """New correspondents after `since`, and the number of messages that made them. What a clock that ran ahead wrote
    does not count (fault 163)."""
    [[recipients, messages]] = _NEW_SINCE.rows(connection, {"account": account_id, "after": since, "now": now})
    return int(recipients), int(messages)


def _known(connection: Connection, account_id: str, digests: Collection[str], now: float) -> dict[str, float]:
    """Those that the account wrote to before, and when last."""
    after = now - REMEMBERED
    if len(digests) == 1:  # most messages have one recipient
        [digest] = digests
        asked_one = {"account": account_id, "digest": digest, "after": after}
        return {str(found): float(last) for found, last in _KNOWN_ONE.rows(connection, asked_one)}
    asked = {"account": account_id, "digests": sorted(digests), "after": after}
    return {row.digest: row.last for row in connection.execute(_KNOWN, asked)}


def _remember(
    connection: Connection, account_id: str, fresh: Collection[str], known: Mapping[str, float], now: float
) -> None:
    """That somebody was written to again is written down once a day."""
    mine = correspondent.c.account_id == account_id
    if fresh:
        connection.execute(delete(correspondent).where(mine, correspondent.c.last <= now - REMEMBERED))
        rows = [{"account_id": account_id, "digest": item, "since": now, "last": now} for item in sorted(fresh)]
        connection.execute(_CORRESPONDENT, rows)
    again = sorted(digest for digest, last in known.items() if not now - DAY < last <= now)
    if again:
        connection.execute(_WRITTEN_AGAIN, {"account": account_id, "digests": again, "last": now})


def _first_warning(connection: Connection, account_id: str, warned: float, now: float) -> bool:
    if now - DAY < warned <= now:
        return False
    _set(connection, account_id, warned_at=now)
    return True


def _set(connection: Connection, account_id: str, **values: float) -> None:
    know(connection, account_id)
    connection.execute(update(sending).where(sending.c.account_id == account_id).values(**values))


def _digest(key: str) -> str:
    return blake2b(key.encode("utf-8"), digest_size=12).hexdigest()
