"""What a command names, against what the client believes: by turns, because it may be fifty thousand fragments, in the
octets of one command or behind "$" (promise P7)."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence

from imap.session import Selected, Session
from imap.types import TURN, Ranges, SequenceSet, merge, turns
from imap.view import View


async def named(selected: Selected, wanted: SequenceSet, *, uid: bool) -> Ranges:
    """`View.ranges`. Raises `Bad` like it."""
    view = await selected.numbered()
    if len(wanted.pairs) <= TURN:
        return view.ranges(wanted, uid=uid)
    found: list[tuple[int, int]] = []
    for pairs in turns(wanted.pairs):
        found += view.ranges(SequenceSet(tuple(pairs)), uid=uid)
        await asyncio.sleep(0)
    return merge((*found, *view.saved) if wanted.saved else found)


async def known(view: View, ranges: Ranges) -> Sequence[int]:
    """`View.known`."""
    if len(ranges) <= TURN:
        return view.known(ranges)
    found: array[int] = array("I")
    for some in turns(ranges):
        found.extend(view.known(some))
        await asyncio.sleep(0)
    return found


async def how_many(view: View, ranges: Ranges) -> int:
    """How many messages of the view these are."""
    return len(await known(view, ranges))


async def name_of(session: Session, selected: Selected) -> str:
    """What the selected mailbox is called by now: this session or another may have renamed it, and a new mailbox may
    have its old name."""
    folder_id = selected.mailbox.folder_id
    place = await session.store.find(selected.name)
    if place is not None and place.folder.id == folder_id:
        return selected.name
    named = (folder.name for folder in await session.store.folders() if folder.id == folder_id)
    return next(named, selected.name)
