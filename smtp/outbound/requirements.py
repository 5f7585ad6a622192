"""What a message needs of a server before it may be offered (RFC 1870, RFC 2852, RFC 6152, RFC 6531,
RFC 8689). Pure."""

from __future__ import annotations

from typing import Protocol

from core.status import Status, refused
from delivery.types import Job, JobRecipient
from message.content import Content, blocks
from smtp.schedule import left

TOO_BIG = refused("Message is larger than the next server accepts", "too-big-for-next-hop", "5.3.4", 552)
NO_8BIT = refused("Message is 8-bit and the next server takes 7-bit only", "no-8bitmime", "5.6.3", 554)
NO_BINARY = refused("Message is binary and we send none", "no-binarymime", "5.6.1", 554)
NO_UTF8 = refused("Message is internationalized and the next server is not", "no-smtputf8", "5.6.7", 553)
NO_REQUIRETLS = refused("Next server does not support REQUIRETLS", "no-requiretls", "5.7.30", 550)


NO_DELIVERBY = refused("Next server cannot keep the time limit of the message", "no-deliverby", "5.4.7", 554)


class Offered(Protocol):
    """What EHLO announced: keywords, and the size limit (0: none)."""

    def __contains__(self, keyword: str, /) -> bool: ...

    @property
    def size(self) -> int: ...

    @property
    def shortest_by(self) -> int: ...


def unmet(
    job: Job, recipients: tuple[JobRecipient, ...], offered: Offered, eight_bit: bool, size: int, now: float
) -> Status | None:
    """The first requirement that the server's EHLO leaves open, None when the message may go. `eight_bit`: the content
    has octets beyond ASCII (need only be known when 8BITMIME is not offered). `size`: octets that will be sent (when
    SIZE is)."""
    if offered.size and size > offered.size:
        return TOO_BIG
    if "SMTPUTF8" not in offered and needs_utf8(job, recipients):
        return NO_UTF8
    if job.body == "BINARYMIME":
        return NO_BINARY  # RFC 3030 3: BDAT alone may carry it, and we send DATA
    if "8BITMIME" not in offered and eight_bit:
        return NO_8BIT  # RFC 6152 3: convert or bounce; converting would break every signature
    # RFC 8689 4.2.1: a message that requires TLS goes only where the requirement is carried on. One with a null sender
    # is a notice to that RFC, whoever wrote it: it is not thrown away for the lack alone (5): nobody would hear.
    # Verified TLS is asked for all the same (`tls_policies`), and the word is said where the server knows it.
    if job.require_tls and job.sender is not None and "REQUIRETLS" not in offered:
        return NO_REQUIRETLS
    # RFC 2852 4.1.4: by-mode R goes only to who knows it, and has enough time.
    if job.schedule.by_mode == "R":
        able = "DELIVERBY" in offered and left(job.schedule, now) >= offered.shortest_by
        return None if able else NO_DELIVERBY
    return None


def is_eight_bit(content: Content) -> bool:
    """Reads the whole content: call it in a thread."""
    return not all(block.isascii() for block in blocks(content))


def needs_utf8(job: Job, recipients: tuple[JobRecipient, ...]) -> bool:
    """RFC 6531 3.2: addresses or header fields beyond ASCII, whatever the submitter announced."""
    addresses = [recipient.address for recipient in recipients] + ([job.sender] if job.sender else [])
    return any(not address.ascii for address in addresses) or (job.smtputf8 and not job.content.head.isascii())
