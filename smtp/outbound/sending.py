"""One message over one connection: in one transaction, or in as many as the server turns out to need; and what is
remembered of servers that are not as they say."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

from core.clock import Clock
from delivery.types import Job, JobRecipient
from message.content import Content
from smtp.outbound.arguments import Capabilities
from smtp.outbound.connection import Broken, Connection, manner, read
from smtp.outbound.dialogue import Answers, Gone, transaction
from smtp.outbound.pool import spent
from smtp.outbound.reply_parser import RemoteReply
from smtp.outbound.requirements import is_eight_bit

REMEMBERED = 1000  # servers that do not pipeline though they say so, or cannot read who submitted


class Sender:
    """Raises `Broken` and `BareLineEnd`, as the connection does. `answers` grows as they come."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stepwise: OrderedDict[str, None] = OrderedDict()  # addresses whose PIPELINING is none
        self._unnamed: OrderedDict[str, None] = OrderedDict()  # and those that cannot read who submitted

    async def send(
        self, job: Job, recipients: tuple[JobRecipient, ...], connection: Connection, answers: Answers
    ) -> tuple[bool, tuple[JobRecipient, ...]]:
        """In one transaction, or in as many as the server's RCPTMAX asks for, as long as its MAILMAX and RCPTDOMAINMAX
        let them go on this connection (RFC 9422 4), or as its 452 asks for. Whether the connection is good for more,
        and whom to offer it on another."""
        most = connection.capabilities.limit("RCPTMAX") or len(recipients)
        connection.cancelled = False  # who was, had it before
        good, waiting = True, recipients
        while good and waiting and not connection.cancelled and (waiting is recipients or not spent(connection)):
            part = _fitting(waiting, most, connection)
            if not part:
                break
            try:
                good = await self._send_part(job, part, connection, answers)
            except Gone:
                return False, waiting
            except Broken:
                if connection.proven or connection.uses == 1:
                    raise
                return False, waiting
            asked = {recipient.id for recipient in part}
            waiting = (*_left_over(part, answers), *(each for each in waiting if each.id not in asked))
        return good, waiting if good else ()

    async def _send_part(
        self, job: Job, recipients: tuple[JobRecipient, ...], connection: Connection, answers: Answers
    ) -> bool:
        again, connection.uses = connection.uses > 0, connection.uses + 1
        offered: Capabilities = connection.capabilities
        address = connection.target.address
        if address in self._stepwise:
            offered = offered.without("PIPELINING")
        eight_bit = "8BITMIME" not in offered and await asyncio.to_thread(is_eight_bit, job.content)
        size = await _size(job.content) if "SIZE" in offered else 0
        ways = manner(connection.target.route)
        talk = transaction(
            job, recipients, offered, answers, eight_bit=eight_bit, lmtp=ways.lmtp, now=self._clock.now(), again=again,
            known=bool(ways.user) and address not in self._unnamed, size=size,
            once_more=lambda: self._once_more(connection),
        )  # fmt: skip
        try:
            return await connection.drive(talk, job.content)
        except Broken as error:
            if "PIPELINING" in offered and error.reason in ("timeout-rcpt", "timeout-data"):
                # It answered MAIL and nothing of what came in the same packet: firewalls repeat a server's PIPELINING
                # and let one command at a time pass. The next attempt waits for each answer.
                _remember(self._stepwise, address)
            raise

    def _once_more(self, connection: Connection) -> bool:
        """Who submitted could not be read: the next MAIL does not say so, and counts like any other (RFC 9422 3)."""
        _remember(self._unnamed, connection.target.address)
        if spent(connection):
            return False
        connection.uses += 1
        return True


def _fitting(waiting: Sequence[JobRecipient], most: int, connection: Connection) -> tuple[JobRecipient, ...]:
    """Whom the next transaction is for: so many, of no more domains than this session may have."""
    part: list[JobRecipient] = []
    for recipient in waiting:
        if len(part) < most and connection.takes(recipient.address.domain):
            connection.domains.add(recipient.address.domain)
            part.append(recipient)
    return tuple(part)


async def _size(content: Content) -> int:
    """RFC 1870 5: the octets that will be sent, without stuffed dots and the final one. What came in chunks (RFC 3030)
    may end without the line end that stands before the dot."""
    ended = content.size == 0 or await read(content, max(content.size - 2, 0), content.size) == b"\r\n"
    return content.size if ended else content.size + 2


def _remember(addresses: OrderedDict[str, None], address: str) -> None:
    """What a server turned out to be; the oldest are forgotten."""
    addresses[address] = None
    while len(addresses) > REMEMBERED:
        addresses.popitem(last=False)


def _left_over(part: Sequence[JobRecipient], answers: Answers) -> tuple[JobRecipient, ...]:
    """RFC 5321 4.5.3.1.10: whom a server had no room for beside others it takes in the next transaction. It takes one
    at least each time, or there is no next."""
    replies = [(recipient, answers.get(recipient.id)) for recipient in part]
    if not any(isinstance(reply, RemoteReply) and reply.ok for _, reply in replies):
        return ()
    return tuple(
        recipient
        for recipient, reply in replies
        if isinstance(reply, RemoteReply) and reply.code == 452 and reply.enhanced in ("", "4.5.3")
    )
