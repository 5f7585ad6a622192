"""How a message enters the queue: one transaction for its row, its bytes and its recipients. And how much each
account sent within a day."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from delivery.queue import holds
from delivery.queue.leases import NONE, Lease
from delivery.queue.prepared import Prepared
from delivery.queue.rows import NewMessage, NewRecipient, sender_text
from delivery.queue.schema import CHUNK, Owed, State, chunk, message, recipient, sent
from message.content import blocks

HOUR = 3600
EXPANDED = "250 2.1.5 expanded to its members"
DAY_HOURS = 24

# Built once: to build a statement takes longer than to run it.
_MESSAGE, _CHUNK = Prepared(insert(message)), Prepared(insert(chunk))
_RECIPIENT = Prepared(insert(recipient).returning(recipient.c.id))
_SENT = Prepared(
    select(func.sum(sent.c.recipients)).where(
        sent.c.account_id == bindparam("account"), sent.c.hour.between(bindparam("first"), bindparam("last"))
    )
)
_COUNT_SENT = Prepared(
    update(sent)
    .where(sent.c.account_id == bindparam("account"), sent.c.hour == bindparam("this_hour"))
    .values(recipients=sent.c.recipients + bindparam("more"))
)
_RECIPIENT_OF_ACCOUNT = Prepared(
    insert(recipient).values(holds.of_new(bindparam("of_account"))).returning(recipient.c.id)
)


def enqueue(connection: Connection, new: NewMessage, *, now: float, lease: Lease, home: str = "") -> list[int]:
    """The ids of its recipients, in their order. `home`: the instance that accepts it (`homes`)."""
    if new.account_id:
        holds.entering(connection, new.account_id)
    _MESSAGE.run(
        connection,
        {
            "queue_id": new.queue_id,
            "sender": sender_text(new.sender),
            "account_id": new.account_id,
            "size": new.content.size,
            "head_size": len(new.content.head),
            "created": now,
            "smtputf8": new.smtputf8,
            "body": new.body,
            "ret": new.ret,
            "envid": new.envid,
            "require_tls": new.require_tls,
            "local_prefix": new.local_prefix,
            "release_at": new.schedule.release_at,
            "hold": new.schedule.hold,
            "deliver_by": new.schedule.deliver_by,
            "by_mode": new.schedule.by_mode,
            "by_trace": new.schedule.by_trace,
            "priority": new.schedule.priority,
            "submitter": new.submitter,
        },
    )
    for number, data in enumerate(blocks(new.content, size=CHUNK)):
        _CHUNK.run(connection, {"queue_id": new.queue_id, "number": number, "data": data})
    return [_add(connection, new, item, now=now, lease=lease, home=home) for item in new.recipients]


def _add(connection: Connection, parent: NewMessage, new: NewRecipient, *, now: float, lease: Lease, home: str) -> int:
    values: dict[str, object] = {
        "queue_id": parent.queue_id,
        "address": str(new.address),
        "domain": "" if new.local else new.address.domain,
        "organisation_id": new.organisation_id,
        "forwarded": new.forwarded,
        "folder": new.folder,
        "notify": ",".join(sorted(new.dsn.notify)),
        "orcpt": new.dsn.original,
        "state": _state(new).value,
        "attempts": 0,
        "priority": parent.schedule.priority,
        "next_attempt": max(now + new.wait, parent.schedule.release_at),
        "last_attempt": 0.0,
        "last_status": EXPANDED if new.expanded else "",
        "remote": "",
        "diagnostic": "",
        **(lease if new.leased else NONE).columns(),
        "owed": (Owed.EXPANDED if new.expanded else Owed.NOTHING).value,
        "delay_told": False,
        "home": home,
    }
    if parent.account_id:
        [[key]] = _RECIPIENT_OF_ACCOUNT.rows(connection, {**values, "of_account": parent.account_id})
    else:
        [[key]] = _RECIPIENT.rows(connection, {**values, "held": False, "holds": 0})
    return int(key)


def _state(new: NewRecipient) -> State:
    if new.expanded:
        return State.DELIVERED
    return State.ACTIVE if new.leased else State.WAITING


def sent_recently(connection: Connection, account_id: str, now: float, *, hours: int = DAY_HOURS) -> int:
    """Recipients of the account within the last 24 hours, to the hour. What a clock that ran ahead counted does not:
    it would be recent for years (fault 163)."""
    hour = int(now // HOUR)
    [[total]] = _SENT.rows(connection, {"account": account_id, "first": hour - hours + 1, "last": hour})
    return int(total or 0)


def refund(connection: Connection, account_id: str, recipients: int, now: float) -> None:
    """Take back a charge whose message was not kept: who has to send again must not pay twice."""
    count_sent(connection, account_id, -recipients, now)


def count_sent(connection: Connection, account_id: str, recipients: int, now: float) -> None:
    hour = int(now // HOUR)
    more = {"account": account_id, "this_hour": hour, "more": recipients}
    if _COUNT_SENT.run(connection, more) == 0:
        connection.execute(delete(sent).where(sent.c.account_id == account_id, sent.c.hour <= hour - DAY_HOURS))
        connection.execute(insert(sent).values(account_id=account_id, hour=hour, recipients=recipients))
