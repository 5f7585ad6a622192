"""What one client believes about its selected mailbox: sequence numbers, their UIDs, and what is still to be told.

Pure: no store, no socket. The belief starts as a `Snapshot` (RFC 9051 6.3.2) and moves only when `apply` says what was
told, so sequence numbers never shift under a client. Invariants: `_uids` is ascending; a UID in `_gone` is still in
`_uids` (its EXPUNGE is owed) or in `_coming`; what is in `_coming` or at or above `uidnext` is not known to the client.

The map from numbers to UIDs is built lazily: until something needs it, the view only counts.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import cast

from core.frozen import dataclass
from imap.errors import Bad
from imap.removal import Removal, removed
from imap.types import STAR, TURN, FlagSet, Ranges, SeqNum, SequenceSet, clip, contains, merge
from store.types import Changes, Message, ModSeq, Snapshot, Uid


@dataclass(frozen=True, slots=True)
class FlagUpdate:
    """A FETCH response that nobody asked for."""

    number: SeqNum
    uid: Uid
    have: FlagSet
    modseq: ModSeq


@dataclass(frozen=True, slots=True)
class Updates:
    """What `apply` found to tell, in the order of telling: EXPUNGE (numbers as they are at that moment, highest first),
    VANISHED instead when QRESYNC is on (`vanished`, the same messages), EXISTS and RECENT (None: unchanged), then
    flags: made one by one, so that a hundred thousand of them can be told with pauses; the view must stay as it is
    until then."""

    expunged: tuple[SeqNum, ...] = ()
    vanished: tuple[Uid, ...] = ()
    exists: int | None = None
    recent: int | None = None
    flags: Iterable[FlagUpdate] = ()


NOTHING = Updates()
MOST_RECENT = 1000  # ranges of UIDs that are recent: two sessions that are told in turns leave one for each message


class View:
    """`modseq` and `uidnext` are where the next `Mailbox.changes` starts. `settled`: up to this mod-sequence the client
    was told everything; it stays behind while an EXPUNGE is owed (RFC 7162 3.2). `saved`: UIDs of the last search that
    was to be kept, "$" (RFC 5182 2.1)."""

    __slots__ = (
        "_coming",
        "_count",
        "_flags",
        "_gone",
        "_judged",
        "_removal",
        "_tail",
        "_told",
        "_told_count",
        "_told_recent",
        "_uids",
        "modseq",
        "recent",
        "saved",
        "settled",
        "snapshot",
        "touched",
        "uidnext",
    )

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.modseq = self.settled = snapshot.modseq
        self.uidnext = snapshot.uidnext
        self.saved: Ranges = ()
        # UIDs that something happened to (True: they are new), while anybody keeps up with them
        self.touched: dict[int, bool] | None = None
        self._uids: array[int] | None = None
        self._tail: array[int] = array("I")  # arrived since the snapshot, while there is no map
        self._coming: array[int] = array("I")  # arrived, and nobody was about to tell it: not one of the messages yet
        self._count = snapshot.messages
        self._told_count = snapshot.messages  # the EXISTS the client believes, less what was expunged since
        # \Recent in this session, as ranges of UIDs: whether a UID below `_judged` is recent is known
        self.recent: Ranges = merge(((snapshot.recent_from, snapshot.uidnext - 1),)) if snapshot.recent else ()
        self._judged = snapshot.uidnext
        self._told_recent = snapshot.recent
        self._gone: set[int] | frozenset[int] = frozenset()  # shared by all in which nothing went
        self._removal: Removal | None = None  # begun, for the next `apply`
        self._flags: dict[int, Message] = {}
        self._told: dict[int, int] = {}

    # --- the map ---------------------------------------------------------------------------------------------------

    @property
    def mapped(self) -> bool:
        return self._uids is not None

    def build(self, uids: Sequence[int]) -> None:
        """Take `Mailbox.uids(snapshot)`; a second call changes nothing."""
        if self._uids is None:
            self._uids = array("I", uids)
            self._uids.extend(self._tail)
            self._tail = array("I")
            self._count = len(self._uids)

    def forget_gone(self, gone: Sequence[int]) -> None:
        """Before anything is told: these of the map went meanwhile, and the snapshot is as if they had before it was
        taken. The next changes name them again, which tells nothing."""
        snapshot = self.snapshot
        removal = removed(self._map, sorted(gone))
        places, self._uids = removal.places, removal.kept
        first = snapshot.first_unseen - 1
        self.snapshot = replace(
            snapshot,
            messages=snapshot.messages - len(places),
            # whether another is unseen is not known here, and UNSEEN need not be told (RFC 3501 7.1)
            first_unseen=0 if first in places else snapshot.first_unseen - bisect_left(places, first),
            recent=snapshot.recent - sum(map(self.is_recent, gone)),
        )
        self._count = self._told_count = len(self._uids)
        self._told_recent = self.recent_count()

    @property
    def exists(self) -> int:
        """How many messages the client believes in (owed EXPUNGEs included)."""
        return self._count

    @property
    def _map(self) -> array[int]:
        if self._uids is None:
            raise RuntimeError("the view has no map yet: await Selected.numbered() first")
        return self._uids

    @property
    def uids(self) -> Sequence[int]:
        """All UIDs in sequence order; do not change it."""
        return self._map

    def number_of(self, uid: int) -> SeqNum | None:
        """The sequence number of a UID, None when the client does not know it."""
        uids = self._map
        index = bisect_left(uids, uid)
        return SeqNum(index + 1) if index < len(uids) and uids[index] == uid else None

    @property
    def owes_expunge(self) -> bool:
        return bool(self._gone)

    def is_gone(self, uid: int) -> bool:
        """Expunged, but the client was not told yet (RFC 2180 4.1)."""
        return uid in self._gone

    # --- sets ------------------------------------------------------------------------------------------------------

    def from_numbers(self, wanted: SequenceSet, *, strict: bool = True) -> Ranges:
        """Sequence numbers as UID ranges (for `Mailbox.rows` and friends): what lies between two neighbours of the
        view is unknown to the client and absent from the folder.

        `strict`: a number beyond the last message is BAD wherever it stands, in "2:9" and in "9:*", too (RFC 9051 9,
        seq-number: "a message sequence number greater than the number of messages"), as Dovecot has it; for SEARCH,
        which is not strict, ranges are cut there. In an empty mailbox "*" and "1:*" mean nothing, because every client
        sends them; numbers alone are BAD there, too.
        """
        uids = self._map
        numbers = wanted.resolve(len(uids))
        beyond = numbers[-1][1] > len(uids) if uids and numbers else any(STAR not in pair for pair in wanted.pairs)
        if strict and beyond:
            raise Bad("no such message number")
        return merge((uids[low - 1], uids[high - 1]) for low, high in clip(numbers, len(uids)))

    def from_uids(self, wanted: SequenceSet) -> Ranges:
        """UIDs as ranges that hold nothing the client does not know; absent UIDs are no error (RFC 9051 6.4.9)."""
        uids = self._map
        if not uids:
            return ()
        return clip(wanted.resolve(uids[-1]), uids[-1])

    def ranges(self, wanted: SequenceSet, *, uid: bool, strict: bool = True) -> Ranges:
        """Either of the two, for commands that have both forms; "$" means the same messages in both."""
        if not wanted.pairs:
            return self.saved if wanted.saved else ()
        found = self.from_uids(wanted) if uid else self.from_numbers(wanted, strict=strict)
        return merge((*found, *self.saved)) if wanted.saved else found

    def known(self, ranges: Iterable[tuple[int, int]]) -> Sequence[int]:
        """The UIDs of the view inside `ranges`, ascending."""
        uids = self._map
        found: array[int] = array("I")
        for low, high in ranges:
            found.extend(uids[bisect_left(uids, low) : bisect_right(uids, high)])
        return found

    # --- \Recent (RFC 3501 2.3.2) ----------------------------------------------------------------------------------

    @property
    def judged(self) -> int:
        """Below this UID the client was told of everything that came."""
        return self._judged

    def judge(self, recent_from: int) -> None:
        """What has come since the last time is recent from this UID on."""
        first = max(recent_from, self._judged)
        if first < self.uidnext:
            self.recent = self._few(merge((*self.recent, (first, self.uidnext - 1))))
        self._judged = self.uidnext

    def _few(self, recent: Ranges) -> Ranges:
        """At most `MOST_RECENT` ranges: those with nothing between them become one, then the oldest lose the flag, but
        for the first, which holds what was there when the mailbox was selected."""
        if len(recent) > MOST_RECENT and self._uids is not None:
            recent = self._bridged(recent)
        return recent if len(recent) <= MOST_RECENT else recent[:1] + recent[1 - MOST_RECENT :]

    def _bridged(self, recent: Ranges) -> Ranges:
        """What was expunged between two ranges keeps them apart no longer."""
        uids, joined, end = self._map, list[tuple[int, int]](), -1
        for low, high in recent:
            start, stop = bisect_left(uids, low), bisect_right(uids, high)
            if start == stop:
                continue  # nothing of it is left
            if start == end:
                joined[-1] = (joined[-1][0], high)
            else:
                joined.append((low, high))
            end = stop
        return tuple(joined)

    def forget_recent(self) -> None:
        """IMAP4rev2 has no such flag (RFC 9051 appendix E)."""
        self.recent, self._told_recent = (), 0

    def is_recent(self, uid: int) -> bool:
        recent = self.recent
        return bool(recent) and contains(recent, uid)

    def recent_count(self) -> int:
        """How many of the messages the client believes in are recent in this session."""
        if not self.recent:
            return 0
        if self._uids is None:
            return self.snapshot.recent + sum(map(self.is_recent, self._tail))
        uids = self._uids
        return sum(bisect_right(uids, high) - bisect_left(uids, low) for low, high in self.recent)

    # --- changes ---------------------------------------------------------------------------------------------------

    def absorb(self, changes: Changes) -> None:
        """Take in what happened after `modseq`; nothing is told yet."""
        if self.touched is not None:
            for message in changes.messages:
                self.touched.setdefault(message.uid, message.uid >= self.uidnext)
            self.touched.update(dict.fromkeys(changes.vanished, False))
        for message in changes.messages:
            if message.uid >= self.uidnext:
                self._coming.append(message.uid)
            elif self._told.get(message.uid, 0) < message.modseq:
                self._flags[message.uid] = message
        known = changes.vanished
        if known and known[-1] >= self.uidnext:  # ascending
            known = known[: bisect_left(known, self.uidnext)]
        if known:
            self._gone = self._gone if isinstance(self._gone, set) else set()
            self._gone.update(known)
        self.uidnext = max(self.uidnext, changes.uidnext)
        if changes.modseq > self.modseq:
            self.modseq = changes.modseq
            self._told = {uid: modseq for uid, modseq in self._told.items() if modseq > self.modseq}

    def next_is(self, modseq: int) -> bool:
        """Each change takes one mod-sequence (`store.transaction`): nobody else did anything since the last look when
        the one this client just made has the next."""
        return modseq == self.modseq + 1

    def changed_by_me(self, modseq: int) -> None:
        """This client's change of flags has `modseq`, 0 if it changed nothing. Where it is the next one nothing is left
        to look for; what keeps up with the mailbox, and what is owed of older flags, learns of it by a look."""
        if self.next_is(modseq) and self.touched is None and not self._flags:
            self.modseq = modseq

    def touch_owed(self) -> None:
        """Somebody begins to keep up with the mailbox: what came and what went and is still to be told is news to him,
        too, though it was taken in before."""
        owed = dict.fromkeys(self._coming, True) | dict.fromkeys(self._gone, False)
        self.touched = owed | (self.touched or {})

    def admit(self) -> None:
        """What has arrived is one of the messages from now on: EXISTS will be told."""
        if self._coming:
            (self._tail if self._uids is None else self._uids).extend(self._coming)
            self._count += len(self._coming)
            self._coming = array("I")

    def told(self, messages: Iterable[Message]) -> None:
        """The client has these flags already (its own STORE, a FETCH that set \\Seen): no update repeats them."""
        for message in messages:
            if message.modseq > self.modseq:
                self._told[message.uid] = message.modseq
            pending = self._flags.get(message.uid)
            if pending is not None and pending.modseq <= message.modseq:
                del self._flags[message.uid]

    def owes_flags(self, uid: int) -> bool:
        """Somebody else changed this message, and the client was not told yet."""
        return uid in self._flags

    @property
    def needs_map(self) -> bool:
        """Something is owed that has a sequence number in it."""
        return bool(self._gone or self._flags)

    def begin_expunge(self) -> Iterator[None]:
        """What `apply` has to do for very many removals, some milliseconds at a time; it does the rest, or all."""
        if len(self._gone) > TURN:
            removal = Removal(self._map, sorted(self._gone))
            yield from removal.steps()
            self._removal = removal

    def apply(self, *, expunge: bool, flags: bool = True) -> Updates:
        """All that is owed, now considered told. Without `expunge` removals stay owed and the messages keep their
        numbers (RFC 9051 7.5.1: never during FETCH, STORE, SEARCH); without `flags` these stay owed."""
        self.admit()
        if not (self._gone or self._flags) and self._count == self._told_count:
            self.settled = self.modseq
            return NOTHING
        numbers, gone = self._expunge() if expunge and self._gone else ((), ())
        if not self._gone and (flags or not self._flags):
            self.settled = self.modseq
        changed = self._count != self._told_count
        self._told_count = self._count
        recent = self.recent_count()
        told, self._told_recent = self._told_recent, recent
        return Updates(
            numbers,
            gone,
            self._count if changed else None,
            recent if recent != told else None,
            self._flag_updates() if flags else (),
        )

    def _expunge(self) -> tuple[tuple[SeqNum, ...], tuple[Uid, ...]]:
        uids, gone, removal, self._removal = self._map, self._gone, self._removal, None
        if removal is None or not removal.fits(uids, gone):
            removal = removed(uids, sorted(gone))
        places, self._uids = removal.places, removal.kept
        # Only what an EXISTS has counted is taken back; a message that came and went in between is never mentioned.
        heard = places[: bisect_left(places, self._told_count)]
        self._flags = {uid: row for uid, row in self._flags.items() if uid not in gone} if self._flags else {}
        self._gone = frozenset()
        self._count = len(self._uids)
        self._told_count -= len(heard)
        told = tuple([place + 1 for place in reversed(heard)]), tuple(map(uids.__getitem__, heard))
        return cast(tuple[tuple[SeqNum, ...], tuple[Uid, ...]], told)  # fifty thousand calls of NewType take their time

    def _flag_updates(self) -> Iterable[FlagUpdate]:
        pending, self._flags = self._flags, {}
        return self._each_update(pending) if pending else ()

    def _each_update(self, pending: dict[int, Message]) -> Iterator[FlagUpdate]:
        for uid in sorted(pending):
            number = self.number_of(uid)
            if number is not None and uid not in self._gone:
                row = pending[uid]
                have = FlagSet(row.flags, row.keywords, recent=self.is_recent(uid))
                yield FlagUpdate(number, row.uid, have, row.modseq)
