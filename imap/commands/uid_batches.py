"""UIDBATCHES (RFC 10022): UID ranges that cut the selected mailbox into equal parts, the newest messages first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from imap import responses
from imap.command import WHEN_SELECTED, Command
from imap.errors import Bad, Code, No
from imap.responses import Ok
from imap.session import Session
from imap.types import Ranges
from imap.wire.scanner import Scanner

SMALLEST = 500  # messages of one batch; with fewer a client would count messages after all (RFC 10022 3.1.5)
MOST = 100_000  # messages of the batches asked for by number
_RANGE = re.compile(rb"([1-9][0-9]{0,9}):([1-9][0-9]{0,9})")


@dataclass(frozen=True, slots=True)
class Batches:
    """`first`, `last`: numbers of batches, counted from 1; `last` None for all."""

    size: int
    first: int = 1
    last: int | None = None


def _parse(scanner: Scanner) -> Batches:
    """uidbatches = "UIDBATCHES" SP nz-number [SP nz-number ":" nz-number]"""
    scanner.space()
    size = scanner.nz_number()
    if not scanner.try_space():
        scanner.end()
        return Batches(size)
    match = scanner.match(_RANGE, "range of batches")
    scanner.end()
    return Batches(size, int(match[1]), int(match[2]))


async def _handle(session: Session, asked: Batches) -> Ok:
    if asked.last is not None and asked.last < asked.first:
        raise Bad("the range of batches is the wrong way round")
    view = await session.selected.numbered()
    beyond = (asked.first - 1) * asked.size >= view.exists  # nothing is to be told, of whatever size
    if asked.size < SMALLEST and not (beyond and view.exists):
        raise No(f"a batch has at least {SMALLEST} messages", Code.TOOFEW)
    if asked.last is not None and not beyond and (asked.last - asked.first + 1) * asked.size > MOST:
        raise No(f"batches of more than {MOST} messages together", Code.TOOMANY)
    found = () if beyond else batches(view.uids, asked)
    session.writer.write(responses.uid_batches(session.tag, found))
    return Ok("UIDBATCHES completed")


def batches(uids: Sequence[int], asked: Batches) -> Ranges:
    """(highest, lowest) UID of each batch. They leave no gap, and the last one reaches down to 1, so that a batch keeps
    its messages whatever is expunged."""
    tops = uids[::-1][:: asked.size]
    bottoms = [top + 1 for top in tops[1:]] + [1] if tops else []
    return tuple(zip(tops, bottoms, strict=True))[asked.first - 1 : asked.last]


UIDBATCHES = Command("UIDBATCHES", WHEN_SELECTED, _parse, _handle)
