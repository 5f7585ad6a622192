"""What a report to a sender says and where it goes. Whether there is one at all is decided in `delivery.outcome`.

RFC 3464 (through `message.dsn`), RFC 3461 6. Pure but for reading the original's bytes.
"""

from __future__ import annotations

from core import address as addresses
from core.address import Address
from core.envelope import Schedule
from core.ids import Ids
from core.status import Status, deferred, refused
from delivery.queue.reports import Debt
from delivery.queue.rows import NewMessage, NewRecipient, StoredRecipient
from delivery.queue.schema import Owed
from message import dsn
from message.content import BytesContent, Content
from message.trace import received_from, return_path

ACTIONS = {
    Owed.FAILED: dsn.Action.FAILED,
    Owed.DELAYED: dsn.Action.DELAYED,
    Owed.DELIVERED: dsn.Action.DELIVERED,
    Owed.RELAYED: dsn.Action.RELAYED,
    Owed.EXPANDED: dsn.Action.EXPANDED,
}


def compose(
    debt: Debt, original: Content, *, hostname: str, ours: bool, lifetime: float, ids: Ids, now: float
) -> NewMessage:
    """The report, ready for the queue. `ours`: the sender's domain is hosted here, so the report is a local delivery.

    Raises `ValueError` for a debt without a sender: a report never causes another one (RFC 5321 4.5.5).
    """
    message = debt.message
    if message.sender is None:
        raise ValueError("nobody to report to")
    schedule, until = message.schedule, message.begins + lifetime
    if schedule.by_mode == "R":
        until = min(until, schedule.deliver_by)
    notice = dsn.Notice(
        hostname=hostname,
        postmaster=Address("postmaster", message.sender.domain if ours else hostname),
        to=message.sender,
        queue_id=message.queue_id,
        arrived=message.created,
        recipients=[_report(item, ACTIONS[debt.owed], until) for item in debt.recipients],
        envid=message.envid,
        ret="HDRS" if message.require_tls else message.ret,  # RFC 8689 5: RET=FULL does not count then
        deliver_by=schedule.deliver_by or None,
        held=schedule.hold,
        source=received_from(original.head, hostname),
    )
    report = dsn.write(notice, original, ids=ids, now=now)
    return NewMessage(
        queue_id=ids.queue_id(),
        sender=None,
        content=BytesContent(report),
        recipients=(NewRecipient(message.sender, debt.recipients[0].organisation_id, local=ours),),
        smtputf8=not message.sender.ascii,
        body="7BIT" if report.isascii() else "8BITMIME",  # it returns what it got (RFC 6152 3)
        require_tls=message.require_tls,  # RFC 8689 5
        schedule=Schedule(priority=schedule.priority),  # RFC 6710 4.6
        local_prefix=return_path(None),
    )


def _report(item: StoredRecipient, action: dsn.Action, retry_until: float) -> dsn.RecipientReport:
    return dsn.RecipientReport(
        address=reported_address(item),
        action=action,
        status=read_status(item.last_status),
        remote=item.remote,
        diagnostic=item.diagnostic,
        original=item.dsn.original.replace("+", "+2B"),  # kept decoded; the report takes xtext (RFC 3461 4)
        last_attempt=item.last_attempt or None,  # nobody tried to deliver to a list, or before time was up
        retry_until=retry_until,
    )


def reported_address(item: StoredRecipient) -> Address:
    """Where one of our aliases leads is its owner's business: its sender is told the address he wrote, when we know it
    (RFC 3461 5.2.7.4, confidential forwarding addresses)."""
    if not item.forwarded:
        return item.address
    _, _, text = item.dsn.original.partition(";")
    try:
        return addresses.parse(text)
    except addresses.AddressError:
        return item.address


def read_status(text: str) -> Status:
    """A `Status` from its own written form ("550 5.1.1 no such user"), as the queue keeps it."""
    code, _, rest = text.partition(" ")
    enhanced, _, words = rest.partition(" ")
    try:
        return Status(int(code), enhanced, words, "stored")
    except ValueError:
        kind = deferred if code.startswith("4") else refused
        return kind(text or "unknown", "stored", "4.0.0" if code.startswith("4") else "5.0.0")
