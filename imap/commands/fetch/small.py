"""Whole small messages, many in one answer: what a client asks for that keeps a mailbox on its own disk, or carries it
elsewhere. Most messages are small, and opening, reading and answering each alone took ten times as long as its octets.

Decides what is answered so; `handle` does it, and opens one by one what is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imap.commands.fetch.items import Body
from imap.commands.fetch.lines import TEXT
from imap.commands.fetch.plan import Plan
from imap.commands.fetch.section import Text
from imap.wire import encode
from message.content import BLOCK
from store.store import LARGEST_SMALL
from store.types import Column, Message, Table

COLUMNS = Column.DATES  # sizes
LEAST = 8  # fewer are as quick one by one
MOST = 100  # messages in one go
TOGETHER = BLOCK - LARGEST_SMALL  # and their octets, past the last one's


def fits(plan: Plan, messages: int, seen: frozenset[int]) -> bool:
    """The whole message as it is, once, and what the index tells, of several. `seen`: those with more in their
    answers."""
    return len(plan.bodies) == 1 and messages >= LEAST and not seen and _whole(plan)


def _whole(plan: Plan) -> bool:
    (body,) = plan.bodies
    if not isinstance(body, Body) or body.size_only or body.partial is not None:
        return False
    return not body.section.path and body.section.text is Text.WHOLE


def runs(rows: Sequence[Message]) -> Iterator[tuple[int, int]]:
    """`rows` (with their sizes) in stretches, start and stop: small messages together, a large one alone."""
    start = octets = 0
    for at, row in enumerate(rows):
        large = row.size > LARGEST_SMALL
        if start < at and (large or octets >= TOGETHER or at - start == MOST):
            yield start, at
            start, octets = at, 0
        octets += TOGETHER if large else row.size
    if start < len(rows):
        yield start, len(rows)


def table(rows: Sequence[Message], texts: Sequence[bytes]) -> Table:
    """Of messages, one at least, and all their octets."""
    columns = zip(Message._fields, zip(*rows, strict=True), strict=True)
    return dict(columns) | {TEXT: [encode.literal(text) for text in texts]}
