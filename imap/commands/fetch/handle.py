"""FETCH and UID FETCH as a story: plan, \\Seen, rows in batches, responses (RFC 9051 6.4.5, 6.4.9)."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import compress
from typing import TypeVar

from core import log
from core.errors import ForbiddenError, NotFoundError, StorageError, UnreadableError, unreadable
from imap import responses
from imap.command import WHEN_SELECTED, Command
from imap.commands.fetch import small, stretches
from imap.commands.fetch.answer import Answer
from imap.commands.fetch.binary import UnknownEncodingError
from imap.commands.fetch.items import FLAGS, MOD_SEQ, RECENT_FLAGS, UID, Attribute
from imap.commands.fetch.lines import UNASKED, Lines, pieces
from imap.commands.fetch.parse import NO_MODIFIERS, FetchArgs, parse
from imap.commands.fetch.plan import Plan, plan
from imap.commands.fetch.source import Source
from imap.commands.share import Share, check_asked, partly, share, tell_partly
from imap.errors import Bad, Code, No
from imap.named import how_many, known, named
from imap.progress import Counts, working
from imap.responses import Ok
from imap.resync import since
from imap.session import Selected, Session
from imap.types import Feature, Ranges, contains, merge, ranges_of, spans
from imap.updates import announce_keywords
from imap.view import View
from store.types import Column, Flag, Message, Table

B = TypeVar("B")
_log = log.get(__name__)

MOST_UNREADABLE = 100  # messages that cannot be read before a FETCH gives up
TURN = 16  # messages read from their files between two turns of the loop
TURN_LINES = 512  # messages answered from the index between two turns: some 5 ms

Signs = Callable[[Counts | None], AbstractContextManager[object]]  # of life, while the store works (RFC 9585)


async def fetch(session: Session, args: FetchArgs) -> Ok:
    """By sequence number. A message that another session expunged has no answer and the command ends with NO, so that
    the client looks again (RFC 2180 4.1.2, RFC 5530 EXPUNGEISSUED)."""
    missing, code = await _fetch(session, args, by_uid=False)
    if missing:
        tell_partly(session, code)
        raise No("some of the messages no longer exist", Code.EXPUNGEISSUED)
    return partly(session, Ok("FETCH completed"), code)


async def uid_fetch(session: Session, args: FetchArgs) -> Ok:
    """By UID: absent ones are passed over without an error (RFC 9051 6.4.9)."""
    missing, code = await _fetch(session, args, by_uid=True)
    return partly(session, Ok("FETCH completed", Code.EXPUNGEISSUED if missing else Code.NONE), code)


async def fetch_unasked(session: Session, args: FetchArgs) -> None:
    """What NOTIFY promised (RFC 5465 5.2): all of it, however much came, with its mod-sequence for clients that follow
    them (RFC 7162 3.1)."""
    await _fetch(session, args, by_uid=True, unasked=True)


async def _fetch(session: Session, args: FetchArgs, *, by_uid: bool, unasked: bool = False) -> tuple[int, str]:
    """Answers all messages that are still there; the number of those that are not, and MESSAGELIMIT when older ones
    were left out."""
    selected, modifiers = session.selected, args.modifiers
    if modifiers.vanished and not (by_uid and session.qresync):
        raise Bad("VANISHED is for UID FETCH once QRESYNC is enabled")  # RFC 7162 3.2.6
    if modifiers.window and not by_uid:
        raise Bad("PARTIAL is for UID FETCH")  # RFC 9394 3.3
    if modifiers.window:
        check_asked(session, modifiers.window.size)  # RFC 9738 3.1
    ranges = await named(selected, args.numbers, uid=by_uid)
    view = selected.view
    if modifiers.changed_since is not None or MOD_SEQ in args.items:
        session.enable(Feature.CONDSTORE)
    todo = plan(
        args.items,
        by_uid=by_uid and not session.uid_only,  # the number is the UID (RFC 9586 3)
        read_only=selected.read_only,
        with_modseq=modifiers.changed_since is not None or (unasked and session.condstore),
        rev2=session.rev2,
    )
    if modifiers.window:  # before CHANGEDSINCE, which chooses among what lies in the window (RFC 9394 3.4)
        ranges = spans(modifiers.window.cut(await known(view, ranges)), view.uids, bridge=0)
    if modifiers.changed_since is not None:
        ranges = await _changed(session, args, modifiers.changed_since, ranges)
    part = Share(ranges) if unasked else share(session, view, ranges)
    ranges = part.ranges
    wanted = await how_many(view, ranges)
    if not wanted:
        return 0, part.code
    signs: Signs = nullcontext if unasked else partial(working, session)
    with signs(None):
        seen = await _mark_seen(selected, ranges) if todo.marks_seen else frozenset()
    run = _Run(session, selected, view, todo, seen, wanted, signs)
    if args.items == (UID,) and not by_uid and modifiers == NO_MODIFIERS:
        # The view knows the UIDs, also of what is gone and was not told yet (RFC 2180 4.1.1).
        await run.uids(await known(view, ranges))
        return 0, part.code
    try:
        await (run.flags(ranges) if stretches.fits(todo) else run.rows(ranges))
    finally:
        if run.unreadable and seen:
            await _unmark(selected, sorted(seen - run.shown))
    if run.unreadable and not unasked:
        tell_partly(session, part.code)
        raise No(unreadable(run.unreadable), Code.UNAVAILABLE)
    if run.unknown:
        tell_partly(session, part.code)
        raise No("a part has an unknown encoding", Code.UNKNOWN_CTE)  # RFC 3516 4.3; the others were answered
    return wanted - run.answered, part.code


async def _changed(session: Session, args: FetchArgs, modseq: int, ranges: Ranges) -> Ranges:
    """What of `ranges` changed after `modseq`; what vanished is told at once, before any FETCH (RFC 7162 3.2.6)."""
    view, asked = session.selected.view, ranges
    if args.modifiers.vanished:
        # UIDs the view does not hold may be asked about
        uids = args.numbers.resolve(view.uidnext - 1)
        asked = merge((*uids, *view.saved)) if args.numbers.saved else uids
    missed = await since(session.selected, modseq, asked)
    if args.modifiers.vanished and missed.vanished:
        session.writer.write(responses.vanished(missed.vanished, earlier=True))
    return spans([row.uid for row in missed.messages if contains(ranges, row.uid)], view.uids, bridge=0)


async def _mark_seen(selected: Selected, ranges: Ranges) -> frozenset[int]:
    """Set \\Seen where it is not, in one write, before anything is answered (RFC 9051 6.4.5); the UIDs concerned.

    A store that cannot write still lets people read: their mail stays unseen."""
    unseen: list[int] = []
    async for batch in selected.mailbox.rows(ranges, Column.NONE):
        unseen += [row.uid for row in batch if Flag.SEEN not in row.flags]
    if not unseen:
        return frozenset()
    try:
        await selected.mailbox.store_flags(ranges_of(unseen), add=Flag.SEEN)
    except ForbiddenError:  # RFC 4314 4: without the right it stays unseen
        return frozenset()
    except StorageError as error:
        _log.warning("seen-not-stored", code=error.code, **error.fields)
        return frozenset()
    return frozenset(unseen)


async def _unmark(selected: Selected, uids: Sequence[int]) -> None:
    """Nobody has seen what could not be read; what is gone meanwhile does not matter."""
    try:
        await selected.mailbox.store_flags(ranges_of(uids), remove=Flag.SEEN)
    except (ForbiddenError, StorageError) as error:
        _log.warning("seen-not-taken-back", code=error.code, messages=len(uids), **error.fields)


class _Run:
    """One FETCH on its way through the rows."""

    def __init__(
        self,
        session: Session,
        selected: Selected,
        view: View,
        todo: Plan,
        seen: frozenset[int],
        wanted: int,
        signs: Signs,
    ) -> None:
        """`seen`: messages that this command made \\Seen, of the `wanted` ones."""
        self.answered, self._wanted = 0, wanted
        self.shown = set[int]()  # of those that this command made \\Seen
        self.unreadable = 0  # messages whose file the disk does not give
        self.unknown = False  # a part was asked for decoded whose encoding nobody knows
        self._answer = Answer(session.writer, uid_only=session.uid_only)
        self._selected = selected
        self._writer = session.writer
        self._view = view
        self._todo = todo
        self._seen = seen
        self._condstore, self._uid_only = session.condstore, session.uid_only
        self._lines: Lines | None = None
        self._signs, self._columns = signs, todo.columns
        self._together = small.fits(todo, wanted, seen)
        if self._together:
            self._columns |= small.COLUMNS
        if self._together or Lines.fits(todo):
            self._lines = Lines(todo, view.uids, uid_only=session.uid_only, recent=view.recent)

    async def flags(self, ranges: Ranges) -> None:
        """Flags of messages that are neighbours in the view; where they are not what it believes, row by row."""
        uids, made = self._view.uids, stretches.FlagLines(self._todo, uid_only=self._uid_only, recent=self._view.recent)
        few: list[tuple[int, int]] = []  # ranges that are as quick message by message
        for low, high in ranges:
            start, stop = bisect_left(uids, low), bisect_right(uids, high)
            if stop - start < stretches.LEAST:
                few.append((low, high))
                if len(few) == stretches.MOST:
                    await self.rows(few)
                    few.clear()
                continue
            await self.rows(few)
            few.clear()
            for first in range(start, stop, stretches.MOST):
                some = uids[first : min(first + stretches.MOST, stop)]
                if not await self._stretch(made, first + 1, some):
                    await self.rows([(some[0], some[-1])])
                await asyncio.sleep(0)
        await self.rows(few)

    async def _stretch(self, made: stretches.FlagLines, number: int, uids: Sequence[int]) -> bool:
        """Whether it could be answered as a whole: as many are there as the view holds, and none is newer than it."""
        found = await self._selected.mailbox.stretch(uids[0], uids[-1])
        if found.messages != len(uids) or found.modseq > self._view.modseq:
            return False
        lines = made.of(number, uids, found)
        if lines is None:
            return False
        self._announce(found.keywords or ())
        self.answered += found.messages
        await self._answer.pieces(lines)
        return True

    async def rows(self, ranges: Sequence[tuple[int, int]]) -> None:
        mailbox, lines = self._selected.mailbox, self._lines
        try:
            if lines is None or self._together:
                rows = mailbox.rows(ranges, self._columns)
                while (batch := await self._next(rows)) is not None:
                    await self.batch(batch)
            else:
                tables = mailbox.tables(ranges, lines.fields)
                while (table := await self._next(tables)) is not None:
                    await self._at_once(lines, table)
        except UnreadableError as error:
            self.unreadable += error.messages

    async def _next(self, batches: AsyncIterator[B]) -> B | None:
        """None at the end. What the index knows by names alone is read first, which may take long."""
        try:
            with self._signs(lambda: (self.answered, self._wanted)):
                return await anext(batches)  # with a default value it fails under Python 3.11
        except StopAsyncIteration:
            return None

    async def uids(self, uids: Sequence[int]) -> None:
        for start in range(0, len(uids), TURN_LINES):
            some = uids[start : start + TURN_LINES]
            first = bisect_left(self._view.uids, some[0])
            near = len(some) == bisect_left(self._view.uids, some[-1]) - first + 1
            numbers = (
                range(first + 1, first + len(some) + 1) if near else [self._view.number_of(uid) or 0 for uid in some]
            )
            await self._answer.pieces(pieces(b"* %d FETCH (UID %d)\r\n", numbers, [some]))
            await asyncio.sleep(0)

    async def batch(self, rows: Sequence[Message]) -> None:
        if self._lines is None:
            await self._alone(rows)
        else:
            await self._small(self._lines, rows)
        # Rows may come without suspending; other sessions of this process get their turn here (promise P7).
        await asyncio.sleep(0)

    async def _alone(self, rows: Sequence[Message]) -> None:
        for row in rows:
            if await self._row(row):
                self.answered += 1
            if self._todo.opens_file and self.answered % TURN == 0:
                await asyncio.sleep(0)

    async def _small(self, lines: Lines, rows: Sequence[Message]) -> None:
        """Whole small messages; what is none, or cannot be read with the others, is opened alone."""
        numbers, known = lines.numbered([row.uid for row in rows])
        rows = rows if known is None else list(compress(rows, known))
        for start, stop in small.runs(rows):
            done = start
            if stop - start >= small.LEAST and (texts := await self._texts(rows[start:stop])):
                done += len(texts)
                table = small.table(rows[start:done], texts)
                self._all_flags_told(table)
                self.answered += len(texts)
                await self._answer.pieces(lines.filled(numbers[start:done], table))
            await self._alone(rows[done:stop])

    async def _texts(self, rows: Sequence[Message]) -> Sequence[bytes]:
        try:
            return await self._selected.mailbox.small([row.uid for row in rows])
        except NotFoundError:  # the folder is gone, and every message with it
            return ()

    def _all_flags_told(self, table: Table) -> None:
        if FLAGS not in self._todo.attributes:
            return
        if any(table["keywords"]) or max(table["modseq"]) > self._view.modseq:
            for uid, flags, words, modseq in zip(*(table[name] for name in UNASKED), strict=True):
                row = Message(uid, Flag(flags), words or (), modseq)
                self._flags_told(row, with_modseq=MOD_SEQ in self._todo.attributes)

    async def _at_once(self, lines: Lines, table: Table) -> None:
        self._all_flags_told(table)
        count, made = lines.of(table)
        self.answered += count
        await self._answer.pieces(made)
        # Rows may come without suspending; other sessions of this process get their turn here (promise P7).
        await asyncio.sleep(0)

    async def _row(self, row: Message) -> bool:
        known = self._view.number_of(row.uid)
        if known is None:
            return False
        number = row.uid if self._uid_only else known
        attributes = self._attributes(row)
        with_flags = FLAGS in attributes
        if with_flags:
            self._announce(row.keywords)
            if self._view.is_recent(row.uid):
                attributes = tuple(RECENT_FLAGS if item is FLAGS else item for item in attributes)
        if not await self._answered(number, row, attributes):
            return False
        if with_flags:
            self._flags_told(row, with_modseq=MOD_SEQ in attributes)
        if row.uid in self._seen:
            self.shown.add(row.uid)
        return True

    async def _answered(self, number: int, row: Message, attributes: tuple[Attribute, ...]) -> bool:
        """False: nothing was written of it, for it is gone or cannot be read."""
        if not self._todo.opens_file:
            await self._answer.message(number, row, attributes, self._todo.bodies, Source(row, None))
            return True
        try:
            file = await self._selected.mailbox.open(row.uid)
        except NotFoundError:  # expunged since the row was read
            return False
        except UnreadableError:
            return self._passed_over()
        try:
            await self._answer.message(number, row, attributes, self._todo.bodies, Source(row, file))
        except UnreadableError:
            return self._passed_over()
        except UnknownEncodingError:
            self.unknown = True
            # RFC 9051 9, msg-att: at least one item
            await self._answer.message(number, row, attributes or (UID,), (), Source(row, None))
        finally:
            file.close()
        return True

    def _passed_over(self) -> bool:
        """One message that cannot be read keeps nobody from the others; a disk that gives none of them is told."""
        self.unreadable += 1
        if self.unreadable > MOST_UNREADABLE:
            raise No(f"more than {MOST_UNREADABLE} messages are unreadable on the server for now", Code.UNAVAILABLE)
        return False

    def _attributes(self, row: Message) -> tuple[Attribute, ...]:
        """With FLAGS for a message this command made \\Seen (RFC 9051 6.4.5: "the flags SHOULD be included"), and its
        UID and mod-sequence for clients that follow them (RFC 7162 3.1)."""
        chosen = self._todo.attributes
        if row.uid not in self._seen:
            return chosen
        extra = (FLAGS, MOD_SEQ) if self._condstore else (FLAGS,)
        if self._condstore and not self._uid_only:
            extra = (UID, *extra)
        return chosen + tuple(item for item in extra if item not in chosen)

    def _flags_told(self, row: Message, *, with_modseq: bool) -> None:
        """No update repeats what this answer tells, unless the client is still owed the mod-sequence."""
        if row.modseq > self._view.modseq and (with_modseq or not self._condstore):
            self._view.told((row,))
        self._announce(row.keywords)

    def _announce(self, keywords: tuple[str, ...]) -> None:
        if not self._selected.keywords.issuperset(keywords):
            announce_keywords(self._writer, self._selected, keywords)


FETCH = Command(
    name="FETCH", states=WHEN_SELECTED, parse=parse, handle=fetch, by_number=True, uses_sequence_numbers=True
)
UID_FETCH = Command(name="UID FETCH", states=WHEN_SELECTED, parse=parse, handle=uid_fetch)
