"""Messages carried from one account's folder to another's: COPY and MOVE across the borders of stores.

In batches, so that neither memory nor descriptors grow with the number; a failure takes back what was put before, so
that it is all or nothing to everybody but a crash in the middle, which was not acknowledged (RFC 9051 6.4.7).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

from core.errors import MailError, NotFoundError
from core.log import get
from imap.permits import Place
from imap.types import ranges_of
from message.content import BLOCK, Content
from store.store import Mailbox, Spool, UidRanges
from store.types import Column, Copied, Message, Placement, Uid

log = get(__name__)

MOST_MESSAGES = 100  # of one batch
MOST_OCTETS = 16 * 1024 * 1024  # of one batch, unless a single message is larger


class Carrier(Protocol):
    def spool(self, *, limit: int, declared: int) -> Spool: ...

    def fitted(self, place: Place, placement: Placement) -> Placement:
        """With the owner's name of the folder and the flags one may set there."""


@dataclass(slots=True)
class _Put:
    uidvalidity: int
    pairs: list[tuple[Uid, Uid]]


async def carry(carrier: Carrier, source: Mailbox, ranges: UidRanges, target: Place) -> Copied:
    """Copy; raises what the stores raise, and then nothing is left at the target."""
    put = _Put(target.folder.uidvalidity, [])
    try:
        async for batch in _batches(source, ranges):
            await _carry_batch(carrier, source, batch, target, put)
    except BaseException:
        await asyncio.shield(_take_back(target, put))
        raise
    return Copied(put.uidvalidity, tuple(put.pairs))


async def _batches(source: Mailbox, ranges: UidRanges) -> AsyncIterator[Sequence[Message]]:
    batch: list[Message] = []
    octets = 0
    async for rows in source.rows(ranges, Column.DATES):
        for row in rows:
            if batch and (len(batch) >= MOST_MESSAGES or octets + row.size > MOST_OCTETS):
                yield batch
                batch, octets = [], 0
            batch.append(row)
            octets += row.size
    if batch:
        yield batch


async def _carry_batch(carrier: Carrier, source: Mailbox, batch: Sequence[Message], target: Place, put: _Put) -> None:
    async with AsyncExitStack() as stack:
        items: list[tuple[Content, Placement]] = []
        carried: list[Uid] = []
        for row in batch:
            spool = carrier.spool(limit=row.size, declared=row.size)
            stack.push_async_callback(spool.close)
            try:
                await _fill(spool, source, row.uid)
            except NotFoundError:  # expunged meanwhile: as if it had been before
                continue
            placement = Placement(target.name, row.flags, row.keywords, row.internal_date)
            items.append((spool.content(), carrier.fitted(target, placement)))
            carried.append(row.uid)
        if items:
            appended = await target.store.append(items)
            put.uidvalidity = appended[0].uidvalidity
            put.pairs += zip(carried, (item.uid for item in appended), strict=True)


async def _fill(spool: Spool, source: Mailbox, uid: Uid) -> None:
    file = await source.open(uid)
    try:
        for start in range(0, file.size, BLOCK):
            await spool.write(await file.read(start, min(start + BLOCK, file.size)))
    finally:
        file.close()


async def _take_back(target: Place, put: _Put) -> None:
    if not put.pairs:
        return
    try:
        mailbox = target.store.opened(target.folder)
        await mailbox.expunge(ranges_of(sorted(uid for _, uid in put.pairs)), only_deleted=False)
    except MailError as error:
        log.error("copy-not-taken-back", folder=target.folder.id, messages=len(put.pairs), reason=error.code)
