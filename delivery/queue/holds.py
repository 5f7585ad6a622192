"""Why a recipient is held. Several reasons may hold one at a time, and each takes back only what it set: an account
that is unlocked does not send what an administrator keeps, nor the other way round.

`held` is what claims and their index go by; it is true while any reason is left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import IntFlag

from sqlalchemy import BindParameter, ColumnElement, Connection, case, func, select, text, update

from delivery.queue.schema import Owed, State, message, recipient, sending
from delivery.types import HoldName


class Hold(IntFlag):
    """As it stands in the column `holds`."""

    NONE = 0
    ADMINISTRATOR = 1
    LOCK = 2  # the account's sending is locked (`allowance`)
    SUSPENSION = 4  # the account is suspended, or its domain or organisation
    REMOVAL = 8  # the account is gone, with what a lock or a suspension holds of it (`orphans`)


_ALL = ~Hold.NONE
_NAMES: Mapping[Hold, HoldName] = {
    Hold.ADMINISTRATOR: "administrator",
    Hold.LOCK: "lock",
    Hold.SUSPENSION: "suspension",
    Hold.REMOVAL: "removal",
}
# What a reason can hold: who waits, and the notice of a list, which is told when the members may have the message.
OPEN = recipient.c.state.in_((State.WAITING.value, State.ACTIVE.value)) | (recipient.c.owed == Owed.EXPANDED.value)


def held_by(reason: Hold) -> dict[str, object]:
    """Values for an update of recipients."""
    return {"held": True, "holds": recipient.c.holds.bitwise_or(reason.value)}


def freed_of(reason: Hold = _ALL) -> dict[str, object]:
    """Values for an update of recipients; by default nothing holds them any more."""
    left = recipient.c.holds.bitwise_and((_ALL & ~reason).value)
    return {"held": left != 0, "holds": left}


def hold_accounts(connection: Connection, account_ids: Collection[str], reason: Hold) -> None:
    """What the accounts have in the queue, for now or for later (RFC 4865), does not leave; nor what still comes: a
    message that was being accepted this moment is held as it enters (`of_new`). One whose delivery runs may still
    leave, but is not tried again. Who is held for this reason already stays as he is: somebody may have released a
    message of his."""
    alone(connection, account_ids)
    for account_id in account_ids:
        know(connection, account_id)
    new = _those(connection, account_ids, sending.c.holds.bitwise_and(reason.value) == 0)
    _set(connection, new, sending.c.holds.bitwise_or(reason.value))
    connection.execute(update(recipient).where(of_accounts(new), OPEN).values(held_by(reason)))


def free_accounts(connection: Connection, account_ids: Collection[str], reason: Hold) -> None:
    """What enters this moment has read the holds: it is waited for, or nobody would free it."""
    alone(connection, account_ids)
    held = _those(connection, account_ids, sending.c.holds.bitwise_and(reason.value) != 0)
    _set(connection, held, sending.c.holds.bitwise_and((_ALL & ~reason).value))
    mine = of_accounts(held) & recipient.c.held.is_(True) & (recipient.c.holds.bitwise_and(reason.value) != 0)
    connection.execute(update(recipient).where(mine, OPEN).values(freed_of(reason)))


def _those(connection: Connection, account_ids: Collection[str], which: ColumnElement[bool]) -> list[str]:
    found = select(sending.c.account_id).where(sending.c.account_id.in_(account_ids), which)
    return list(connection.execute(found).scalars())


def concerned(connection: Connection) -> set[str]:
    """Accounts that have something here, or of which something would be held: those whose standing counts."""
    queued = connection.execute(select(message.c.account_id).where(message.c.account_id != "").distinct())
    held = connection.execute(
        select(sending.c.account_id).where(sending.c.holds.bitwise_and(Hold.SUSPENSION.value) != 0)
    )
    return {*queued.scalars(), *held.scalars()}


def entering(connection: Connection, account_id: str) -> None:
    """Before a message of the account enters. PostgreSQL lets the two run side by side: the message would not see the
    hold, nor the hold the message. SQLite has one writer."""
    if connection.dialect.name == "postgresql":
        connection.execute(_BESIDE, {"account": account_id})


def know(connection: Connection, account_id: str) -> None:
    """The account has its row in `queue_sending` afterwards; another transaction may be making the same one."""
    connection.execute(_KNOW, {"account": account_id})


def alone(connection: Connection, account_ids: Collection[str]) -> None:
    """In one order, so that two who want several do not wait for each other."""
    if connection.dialect.name == "postgresql":
        for account_id in sorted(account_ids):
            connection.execute(_ALONE, {"account": account_id})


_KNOW = text(
    "INSERT INTO queue_sending (account_id, locked_at, warned_at, holds) VALUES (:account, 0, 0, 0) "
    "ON CONFLICT (account_id) DO NOTHING"
)
_ALONE = text("SELECT pg_advisory_xact_lock(hashtext('queue_sending'), hashtext(:account))")
_BESIDE = text("SELECT pg_advisory_xact_lock_shared(hashtext('queue_sending'), hashtext(:account))")


def of_new(account_id: BindParameter[str]) -> dict[str, object]:
    """Values for the insertion of a recipient of this account's message."""
    found = select(sending.c.holds).where(sending.c.account_id == account_id).scalar_subquery()
    return {"held": case((func.coalesce(found, 0) != 0, True), else_=False), "holds": func.coalesce(found, 0)}


def names(holds: int) -> tuple[HoldName, ...]:
    """For people."""
    return tuple(_NAMES[item] for item in Hold(holds))


def of_accounts(account_ids: Collection[str]) -> ColumnElement[bool]:
    return recipient.c.queue_id.in_(select(message.c.queue_id).where(message.c.account_id.in_(account_ids)))


def _set(connection: Connection, account_ids: Collection[str], value: ColumnElement[int]) -> None:
    connection.execute(update(sending).where(sending.c.account_id.in_(account_ids)).values(holds=value))
