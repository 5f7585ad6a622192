"""What happened in the selected mailbox after a mod-sequence, as a client that comes back asks for it (RFC 7162).

One question to the store serves FETCH's CHANGEDSINCE and VANISHED and SELECT's QRESYNC; no message is looked at that
did not change. Refuses to know how the answer is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from imap.session import Selected
from imap.types import MAX_NUMBER, Ranges, contains, ranges_of, turns
from imap.view import View
from store.types import Changes, Message

EVERY_UID: Ranges = ((1, MAX_NUMBER),)

Match = tuple[tuple[int, int], ...]  # (message number, UID) as the client last knew them


@dataclass(frozen=True, slots=True)
class Since:
    """`messages` are in the view (flags and mod-sequences only, ascending); `vanished` is what neither the view nor the
    mailbox holds any more, so that telling it moves no message number (VANISHED (EARLIER), RFC 7162 3.2.10.1)."""

    messages: tuple[Message, ...] = ()
    vanished: Ranges = ()


async def since(selected: Selected, modseq: int, wanted: Ranges, match: Match = (), *, untold: bool = False) -> Since:
    """Among the UIDs `wanted` (None of them need exist), what changed and what went after `modseq`. `untold`: the
    client was told nothing of the view yet, and what went since it was taken leaves it."""
    view = selected.view
    changes = await selected.mailbox.changes(modseq, view.uidnext)
    if changes.gone or not (changes.messages or changes.vanished):
        return Since()
    await selected.numbered()
    if untold and changes.modseq > view.modseq:
        await _forget_gone(view, changes)
    above = _settled_below(view, match)
    everything = wanted == EVERY_UID
    messages: list[Message] = []
    for some in turns(changes.messages):
        messages += [m for m in some if (everything or contains(wanted, m.uid)) and view.number_of(m.uid) is not None]
        await asyncio.sleep(0)
    gone: list[int] = []
    for uids in turns(changes.vanished):
        gone += [u for u in uids if u > above and (everything or contains(wanted, u)) and view.number_of(u) is None]
        await asyncio.sleep(0)
    return Since(tuple(messages), ranges_of(gone))


async def _forget_gone(view: View, changes: Changes) -> None:
    """Else a message that came and went while the client was away would be counted and never named: it could not tell
    which of its numbers that is (RFC 7162 3.2.5: it puts its UIDs to numbers by what it is told here)."""
    gone: list[int] = []
    for uids in turns(changes.vanished):
        gone += [uid for uid in uids if view.number_of(uid) is not None]
        await asyncio.sleep(0)
    view.forget_gone(gone)


def _settled_below(view: View, match: Match) -> int:
    """The highest UID that still has the number at which the client knew it: nothing went below (RFC 7162 3.2.5.2)."""
    highest = 0
    for number, uid in match:
        if view.number_of(uid) != number:
            break
        highest = uid
    return highest


def pairs(numbers: Sequence[tuple[int, int]], uids: Sequence[tuple[int, int]], most: int) -> Match | None:
    """Two sets of equal size as pairs, at most `most` of them; None when the sizes differ."""
    if _size(numbers) != _size(uids):
        return None
    if _size(numbers) > most:
        return ()
    return tuple(zip(_each(numbers), _each(uids), strict=True))


def _size(ranges: Sequence[tuple[int, int]]) -> int:
    return sum(high - low + 1 for low, high in ranges)


def _each(ranges: Sequence[tuple[int, int]]) -> list[int]:
    return [number for low, high in ranges for number in range(low, high + 1)]
