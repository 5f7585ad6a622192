"""Which messages of a view match a criterion: stage after stage, each seeing only what the cheaper ones left open.

Between two stages the messages are grouped by what is still open for them (a reduced criterion), so no question is
asked twice. Knows the store's face; refuses to know the wire. Gives way to other sessions as it works.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import chain

from core.errors import NotFoundError, UnreadableError
from imap.commands.search.criteria import (
    FALSE,
    TRUE,
    HasFlag,
    HasKeyword,
    HeaderHas,
    Key,
    Leaf,
    Stage,
    TextHas,
    leaves,
    reduce,
    stages,
)
from imap.commands.search.evidence import ByHeader, ByIndex, ByNumber, ByOctets, Fold, fold, mapped
from imap.commands.search.grouping import Groups, columns, narrowed, split, waits_for
from imap.types import spans
from message.content import head_length
from store.store import Mailbox
from store.types import Column, Message, Uid

TURN = 4000  # leaves judged between two turns of the loop: some 25 ms, however long the criterion is (promise P7)
BRIDGE = 16  # messages that are read along rather than asking the store for one more range
FIRST_READ = 16 * 1024  # nearly every header block is shorter
MAX_HEAD = 256 * 1024  # octets of a message file in which its header is looked for


def folding(*, exact: bool) -> Fold:
    """`exact`: i;unicode-casemap (RFC 5255 4.2)."""
    return mapped if exact else fold


Step = Callable[[Key, list[int], Groups], Awaitable[None]]


class _Pace:
    """Counts what was judged, and gives way."""

    __slots__ = ("_each", "_spent")

    def __init__(self, key: Key) -> None:
        self._each = sum(1 for _ in leaves(key))
        self._spent = 0

    async def judged(self) -> None:
        self._spent += self._each
        if self._spent >= TURN:
            self._spent = 0
            await asyncio.sleep(0)


class Search:
    """One search: `uids` is the whole view, ascending; `mailbox` brings the evidence; `among`: only these of them;
    `fold`: the form in which header fields are compared that the store does not search."""

    def __init__(
        self, mailbox: Mailbox, uids: Sequence[int], among: Sequence[int] | None = None, *, fold: Fold = fold
    ) -> None:
        self._fold = fold
        self._mailbox = mailbox
        self._uids = uids
        self._among = uids if among is None else among
        self._done = 0  # messages that are known to match, or not to

    def progress(self) -> tuple[int, int]:
        """Messages decided, messages there are (RFC 9585 4)."""
        return self._done, len(self._among)

    async def run(self, key: Key) -> tuple[int, ...]:
        """The matching UIDs, ascending. `key` holds no sequence sets any more (`grouping.resolved`). A message that
        is expunged meanwhile drops out where its evidence is missing."""
        groups: Groups = {reduce(key, lambda leaf: None): list(self._among)}
        groups.pop(FALSE, None)
        for stage, step in self._steps():
            groups = await self._stage(stage, step, groups)
            still = sum(len(uids) for key, uids in groups.items() if key is not TRUE)
            self._done = max(self._done, len(self._among) - still)
            await asyncio.sleep(0)
        return tuple(groups.get(TRUE, ()))

    def _steps(self) -> tuple[tuple[Stage, Step], ...]:
        """The stages in the order of their price."""
        return (
            (Stage.VIEW, self._by_number),
            (Stage.INDEX, self._by_index),
            (Stage.OCTETS, self._by_octets),
            (Stage.FIELDS, self._by_fields),
            (Stage.HEADERS, self._by_headers),
            (Stage.FILE, self._by_file),
            (Stage.TEXT, self._by_text),
        )

    async def _stage(self, stage: Stage, step: Step, groups: Groups) -> Groups:
        if not any(key is not TRUE and waits_for(key, stage) for key in groups):
            return groups
        after: Groups = {}
        for key, uids in groups.items():
            if key is not TRUE and waits_for(key, stage):
                await step(key, uids, after)
            else:
                after.setdefault(key, []).extend(uids)
        after.pop(FALSE, None)
        return {key: sorted(uids) for key, uids in after.items()}

    async def _by_number(self, key: Key, uids: list[int], after: Groups) -> None:
        key, uids = narrowed(key, uids)
        await asyncio.sleep(0)
        if not waits_for(key, Stage.VIEW):
            after.setdefault(key, []).extend(uids)
            return
        evidence, pace = ByNumber(), _Pace(key)
        for uid in uids:
            evidence.uid = uid
            after.setdefault(reduce(key, evidence.known), []).append(uid)
            await pace.judged()

    async def _by_index(self, key: Key, uids: list[int], after: Groups) -> None:
        evidence, pace = ByIndex(), _Pace(key)
        if all(isinstance(leaf, HasFlag | HasKeyword) for leaf in leaves(key) if Stage.INDEX in stages(leaf)):
            await self._by_flags(key, uids, after)
            return
        async for row in self._rows(uids, columns(key, Stage.INDEX)):
            evidence.row = row
            after.setdefault(reduce(key, evidence.known), []).append(row.uid)
            await pace.judged()

    async def _by_octets(self, key: Key, uids: list[int], after: Groups) -> None:
        evidence, pace = ByOctets(), _Pace(key)
        async for row in self._rows(uids, columns(key, Stage.OCTETS)):
            evidence.row = row
            after.setdefault(reduce(key, evidence.known), []).append(row.uid)
            await pace.judged()

    async def _by_flags(self, key: Key, uids: list[int], after: Groups) -> None:
        """Messages with the same flags and keywords, of which a mailbox has few kinds, are judged together."""
        evidence, pace = ByIndex(), _Pace(key)
        alike: dict[tuple[int, tuple[str, ...]], list[int]] = {}
        async for row in self._rows(uids, Column.NONE):
            kind = int(row.flags), row.keywords
            members = alike.get(kind)
            if members is None:
                evidence.row = row
                members = alike[kind] = after.setdefault(reduce(key, evidence.known), [])
                await pace.judged()
            members.append(row.uid)

    async def _by_headers(self, key: Key, uids: list[int], after: Groups) -> None:
        pace = _Pace(key)
        async for row in self._rows(uids, Column.HEADERS):
            evidence = ByHeader(row.headers, whole=False, form=self._fold)
            after.setdefault(reduce(key, evidence.known), []).append(row.uid)
            await pace.judged()

    async def _by_file(self, key: Key, uids: list[int], after: Groups) -> None:
        """Fields that the index does not keep: the message's own header, from its file."""
        for count, uid in enumerate(uids, len(self._among) - len(uids)):
            self._done = max(self._done, count)
            head = await self._head(Uid(uid))
            if head is not None:
                after.setdefault(reduce(key, ByHeader(head, whole=True, form=self._fold).known), []).append(uid)
            await asyncio.sleep(0)

    async def _by_text(self, key: Key, uids: list[int], after: Groups) -> None:
        await self._by_store(key, uids, after, Stage.TEXT)

    async def _by_fields(self, key: Key, uids: list[int], after: Groups) -> None:
        await self._by_store(key, uids, after, Stage.FIELDS)

    async def _by_store(self, key: Key, uids: list[int], after: Groups, stage: Stage) -> None:
        """One question to the store per leaf, about the messages it can still decide."""
        groups: Groups = {key: uids}
        for leaf in [leaf for leaf in dict.fromkeys(leaves(key)) if stage in stages(leaf)]:
            asking = [members for still, members in groups.items() if leaf in leaves(still)]
            asked = uids if asking and asking[0] is uids else sorted(chain.from_iterable(asking))
            groups = split(groups, leaf, await self._hits(leaf, asked))
            await asyncio.sleep(0)
        for still, members in groups.items():
            after.setdefault(still, []).extend(members)

    async def _hits(self, leaf: Leaf, uids: list[int]) -> frozenset[int]:
        if not uids:
            return frozenset()
        ranges = spans(uids, self._uids, bridge=0)
        await asyncio.sleep(0)
        if isinstance(leaf, HeaderHas):
            return frozenset(await self._mailbox.search_field(ranges, leaf.field.decode("ascii"), leaf.pattern))
        if isinstance(leaf, TextHas):
            return frozenset(await self._mailbox.search_text(ranges, leaf.pattern, body_only=leaf.body_only))
        return frozenset()

    async def _rows(self, uids: list[int], needed: Column) -> AsyncIterator[Message]:
        """The rows of exactly these UIDs."""
        wanted, ranges = frozenset(uids), spans(uids, self._uids, bridge=BRIDGE)
        await asyncio.sleep(0)
        async for batch in self._mailbox.rows(ranges, needed, blank=True):
            for row in batch:
                if row.uid in wanted:
                    yield row
            await asyncio.sleep(0)

    async def _head(self, uid: Uid) -> bytes | None:
        """None: it is gone. One that cannot be read has no field, as everywhere in a search."""
        try:
            file = await self._mailbox.open(uid)
        except NotFoundError:
            return None
        except UnreadableError:
            return b""
        try:
            head = await file.read(0, min(FIRST_READ, file.size))
            if len(head) < file.size and head_length(head) == len(head):
                head += await file.read(len(head), min(MAX_HEAD, file.size))
            return head[: head_length(head)]
        except UnreadableError:
            return b""
        finally:
            file.close()
