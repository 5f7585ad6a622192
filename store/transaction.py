"""One batch of changes to one account, under its lock: what is linked, synced, committed and undone together.

The order of design.md section 5 lives here: allocate UIDs > link > sync each folder once > commit rows. Floors are
raised, durably, before a UID or mod-sequence above them can leave (promise P4). An operation that fails is undone
alone; a sync or commit that fails undoes the batch.

Longer than its neighbours, because order is all it is about: what comes before what, and how each step is taken back,
must be seen on one page.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import core.log
from core.errors import InvalidError, StorageError
from store import catalog, contents, journal, records, sidefile, stage, sums
from store.catalog import FolderRow
from store.faults import IndexDamagedError, translated
from store.handle import Handle, folder_directory
from store.index import Connection
from store.layout import MODSEQ_BLOCK, UID_BLOCK
from store.lockfile import ALL, State, Word
from store.records import Record
from store.schema import DELETED, LEFT, SEEN, UID_MASK, cur_time, key
from store.stage import TemporaryFile
from store.types import Hint

log = core.log.get(__name__)

KEYWORD_BITS = 64
APART = 256  # links that are worth a thread of their own


class NeedsThreadError(Exception):
    """The event loop would have to wait for the disk: the batch is begun again in a worker thread."""


class UndoFailedError(Exception):
    """The disk failed twice, in an operation and in undoing it: the whole batch is given up."""


def _attempted(undo: Callable[[], object], *, may_be_gone: bool = True) -> OSError | None:
    """What kept it from being undone; what is gone already is, where it `may_be_gone`."""
    try:
        undo()
    except OSError as error:
        return None if may_be_gone and isinstance(error, FileNotFoundError) else error
    return None


class _Step(NamedTuple):
    """How a change is taken back. `links`: how many names were made before it; `synced`: the directory that is synced
    then; `line`: it is in a journal."""

    undo: Callable[[], object]
    links: int
    synced: int | None = None
    line: bool = False


class _Before(NamedTuple):
    """Where a batch stands when an operation begins: how many names, steps to take back and things to do later."""

    links: int
    steps: int
    hints: dict[str, Hint]
    octets: int
    messages: int
    later: int


class _Whole:
    """Around an operation. A class, because each message comes through one."""

    __slots__ = ("_alone", "_before", "_transaction")

    def __init__(self, transaction: Transaction, alone: bool) -> None:
        self._transaction, self._alone = transaction, alone

    def __enter__(self) -> None:
        self._before = self._transaction.started(alone=self._alone)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            try:
                self._transaction.done(alone=self._alone)
            except BaseException:
                self._transaction.failed(self._before, alone=self._alone)
                raise
        else:
            self._transaction.failed(self._before, alone=self._alone)


class Transaction:
    """Between `begin` and `commit`. Rows of folders are kept while an operation runs and written after it."""

    def __init__(
        self,
        handle: Handle,
        *,
        quiet: bool = False,
        light: bool = False,
        placed: Callable[[int], None] | None = None,
    ) -> None:
        """`quiet`: leave the lock's word alone (recovery, which begins again when it is cut off). `light`: on the event
        loop, where `may_wait` and every sync inside an operation raise `NeedsThreadError` (`store.light`). `placed` is
        told of each folder's directory as soon as it has a new name, and has it synced; without, that is asked for at
        the end."""
        self.handle = handle
        self._quiet = quiet
        self._light = light
        self._unsynced: set[int] = set()
        self._on_placed = placed or self._unsynced.add
        self.fs = handle.fs
        self.db: Connection = handle.writer
        self.tools = handle.tools
        self.now = int(handle.tools.clock.now())
        self.unfinished = False  # the flusher has more to do here
        self.removes = False  # what an operation of the batch doomed is not to be unlinked before the commit
        self.hints: dict[str, Hint] = {}
        self._generation = 0
        self._published = b""  # what the account holds, once `seal` told it
        self.octets = self.messages = 0  # what the account gains; written with the commit
        self._counted: tuple[int, int] | None = None  # what it had before, once somebody asked
        self._folders: dict[str, FolderRow] = {}
        self._linked: list[tuple[int, str]] = []
        self._undoing: list[_Step] = []
        self._uncut: OSError | None = None  # why a line stays in its journal, and all that came before it
        self._taken_back: set[int] = set()  # directories whose undone names no sync has covered yet
        self._later: list[Callable[[], None]] = []
        self._unsaved = False  # rows of folders wait for the commit
        self._lost: OSError | None = None  # the first sync that failed
        self._touched: list[str] = []
        self._foreign: set[str] = set()  # of these, what somebody else changed before

    # -- life ----------------------------------------------------------------------------------------------------------

    def begin(self, generation: int, held: tuple[int, int] | None = None) -> None:
        """The lock is held, and the index is known to be the one the last writer left, at `generation`, and since then
        to hold so many octets and messages, where that was asked (`store.recover`)."""
        self.handle.writing.trim()
        self._begin()
        self._generation, self._counted = generation, held

    def _begin(self) -> None:
        """Our writers have the account lock, so only somebody else's program can hold the index: it is waited for
        neither on the event loop nor with the turn in hand, which other accounts want (promise P7)."""
        if self.db.begin_at_once():
            return
        self.may_wait()
        with self.fs.turn.given():
            self.db.begin()

    def commit(self) -> None:
        """Sync what was linked, then commit. On failure call `abort`: nothing of the batch is acknowledged."""
        self.sync_links()
        self.finish()

    def finish(self) -> None:
        """The commit alone, when all that was linked is synced."""
        self.seal()
        self.keep()
        self.settle()

    def seal(self) -> None:
        """All that comes before the commit."""
        if self._lost is not None:  # final, though another operation met it: never retried and trusted (promise P3)
            raise self._lost
        self._remember_times()
        if self._unsaved:
            self._save_folders()
        if not self._touched:
            self._tell(State.BUSY, self._generation)
        self._published = sums.packed(self.used())
        self.db.run(
            "UPDATE state SET generation = generation + 1, octets = octets + ?, messages = messages + ?",
            (self.octets, self.messages),
        )

    def keep(self) -> None:
        """The commit. Where the index is synced with it, this waits for the disk."""
        self.db.run("COMMIT")

    def settle(self) -> None:
        """What was kept is not taken back any more."""
        self._linked.clear()
        self._undoing.clear()
        self._taken_back.clear()
        again = self._own() if self._later else []
        self._touched.clear()
        self._foreign.clear()
        self.committed()
        self._note_times(again)
        try:
            self._tell(State.IDLE, self._generation + 1, self._published)
        except OSError as error:  # what is visible is not refused (promise P2); the next writer looks where we were
            self.handle.tell_once("store-word-failed", str(error), cause=str(error))

    def abort(self) -> None:
        """Undo every line, link and row, durably: what is refused now is not there after a power loss (promise P2).
        What cannot be undone is found by the next writer, whom the word tells where to look."""
        whole = self.take_back()
        for directory in self.take_undone():
            try:
                self.fs.sync(directory)
            except OSError as error:
                log.error("store-undo-failed", account=self.handle.ref.id, cause=str(error))
                whole = False
        self.left(whole=whole, again=False)

    def left(self, *, whole: bool, again: bool) -> None:
        """What the word says after `take_back` and the sync of `take_undone`: the next writer need not look where that
        was possible and it is us, who begin `again`."""
        with contextlib.suppress(OSError):
            if not (whole and again):
                self._tell(State.BUSY, self._generation)
            elif self._touched:
                self._note_times(self._own())
                self._touched.clear()
                self._foreign.clear()
                self._tell(State.IDLE, self._generation)

    def take_back(self) -> bool:
        """Undo everything, all but the syncs of `take_undone`. False: some of it stays."""
        try:
            self._undo(0, 0)
            undone = True
        except UndoFailedError as error:
            log.error("store-undo-failed", account=self.handle.ref.id, cause=str(error))
            undone = False
        if self.db.in_transaction:
            self.db.run("ROLLBACK")
        self._folders.clear()
        self._later.clear()
        return undone

    def take_undone(self) -> tuple[int, ...]:
        """The directories that are to be synced before anybody is answered, because names in them were taken back: a
        sync, or the disk by itself, may have made them durable before."""
        undone = tuple(self._taken_back)
        self._taken_back.clear()
        return undone

    def operation(self, *, alone: bool = False) -> _Whole:
        """One operation of the batch: all of it or nothing. `alone`: there is no other, and no savepoint is needed."""
        return _Whole(self, alone)

    def started(self, *, alone: bool) -> _Before:
        """An operation begins; where all stands before it."""
        before = _Before(
            len(self._linked), len(self._undoing), dict(self.hints), self.octets, self.messages, len(self._later)
        )
        if not alone:
            self.db.run("SAVEPOINT operation")
        return before

    def done(self, *, alone: bool) -> None:
        """It went well."""
        if alone:
            self._unsaved = True  # the commit saves them, once
        else:
            self._save_folders()
            self.db.run("RELEASE operation")

    def failed(self, before: _Before, *, alone: bool) -> None:
        """All is again as it was `before`."""
        self._undo(before.links, before.steps)
        for directory in self._taken_back:  # with those of the batch; and again, where that comes to nothing
            self._on_placed(directory)
        self.db.run("ROLLBACK" if alone else "ROLLBACK TO operation; RELEASE operation")
        self._folders.clear()
        del self._later[before.later :]
        self.hints, self.octets, self.messages = before.hints, before.octets, before.messages
        if alone:
            self._begin()

    def _undo(self, links: int, steps: int) -> None:
        """The last first: a journal lies where it was written once its folder has its name back. A removal that stays
        written must keep the new names of what it removed (a move), and the folder that these are in: where a line
        cannot be cut off any more all that came before it stays too, whoever else gives up, and the next writer
        completes what the journal tells."""
        failed: OSError | None = self._uncut
        while len(self._undoing) > steps and self._uncut is None:
            step = self._undoing.pop()
            failed = self._unlink(step.links) or failed
            error = _attempted(step.undo, may_be_gone=not step.line)
            if step.line:
                self._uncut = error
            failed = error or failed
            if step.synced is not None:
                self._taken_back.add(step.synced)
        if self._uncut is None:
            failed = self._unlink(links) or failed
        if failed is not None:  # the next writer must look: a folder left behind would be in everybody's way
            raise UndoFailedError(str(failed)) from failed

    def _unlink(self, links: int) -> OSError | None:
        """The names made after the first `links`."""
        failed: OSError | None = None
        while len(self._linked) > links:
            where, name = self._linked.pop()
            failed = _attempted(partial(self.fs.unlink, where, name)) or failed
            self._taken_back.add(where)
        return failed

    def pause(self) -> None:
        """Commit what a rebuild has so far; it is found again if the rest is cut off."""
        self._save_folders()
        self.db.run("COMMIT")
        self.committed()
        self.db.run("BEGIN IMMEDIATE")

    def after_commit(self, work: Callable[[], None]) -> None:
        """What must not happen before the commit, because nothing could take it back."""
        self._later.append(work)

    def committed(self) -> None:
        """Do what waited for the commit; what fails then is found again by a later look at the files."""
        while self._later:
            with contextlib.suppress(OSError):
                self._later.pop()()

    def _tell(self, state: State, generation: int, published: bytes = b"") -> None:
        if not self._quiet:
            word = Word(self.tools.boot, generation, state, tuple(self._touched))
            self.handle.lock.write(word, published=published)

    # -- folders -------------------------------------------------------------------------------------------------------

    def folder(self, folder_id: str) -> FolderRow:
        """Raises NotFoundError when it is gone."""
        row = self._folders.get(folder_id)
        if row is None:
            row = self._folders[folder_id] = catalog.known(self.db, folder_id)
        return row

    def named(self, name: str) -> FolderRow | None:
        """By name, through the index; the same object while the operation runs."""
        row = catalog.by_name(self.db, name)
        return None if row is None else self._folders.setdefault(row.id, row)

    def refuse_unopened(self, row: FolderRow) -> None:
        """What the files of a folder tell that could not be read is not known: no UID or mod-sequence is given there
        before somebody has looked (`store.structure`). Raises StorageError."""
        if row.changed < -1 and not self._quiet:
            seen = self.handle.structure
            seen.again = 0.0 if seen.again == math.inf else seen.again  # another process may have been the one
            raise StorageError("the folder cannot be read for now", code="storage-folder")

    def touch(self, row: FolderRow) -> None:
        """Say, before anything on disk changes, which folder the next writer must look at if we die. What somebody else
        changed there before us stays to be found."""
        self.refuse_unopened(row)
        number = str(row.number)
        known = self._quiet or number in self._touched or not row.changed
        if not known and self._time(row.id, row.directory, row.changed) != row.changed:
            self._foreign.add(number)
        self._touch(number)

    def looked_at(self, row: FolderRow) -> None:
        """Its files and the index agree."""
        self._foreign.discard(str(row.number))
        row.changed = self._time(row.id, row.directory, LEFT if self.handle.left_in_cur.get(row.id) else 0)

    def touch_structure(self) -> None:
        self.may_wait()
        self._touch(ALL)

    def _touch(self, what: str) -> None:
        if what not in self._touched:
            self._touched.append(what)
            self._tell(State.BUSY, self._generation)

    def forget(self, row: FolderRow) -> None:
        """The folder is gone."""
        self._folders.pop(row.id, None)

    def forget_rows(self) -> None:
        """After statements that changed folder rows behind our back."""
        self._folders.clear()

    def cur(self, row: FolderRow) -> int:
        return self.handle.writing.cur(row.id, row.directory)

    @contextlib.contextmanager
    def directory(self, row: FolderRow) -> Iterator[int]:
        with folder_directory(self.fs, self.handle.root, row.directory) as fd:
            yield fd

    def _save_folders(self) -> None:
        for row in self._folders.values():
            catalog.update(self.db, row)

    def _remember_times(self) -> None:
        """The time of each cur/ we changed: another value later is somebody else's change. Where there was one already
        the old time stays, so that the next look at it finds that."""
        unsaved = {str(row.number): row for row in self._folders.values()} if self._unsaved else {}
        for number in self._own():
            if number in unsaved:
                row = unsaved[number]
                row.changed = self._time(row.id, row.directory, row.changed)
            else:
                self._remember_time(int(number))

    def _own(self) -> list[str]:
        """Folders we changed that nobody else had."""
        return [number for number in self._touched if number != ALL and number not in self._foreign]

    def _note_times(self, numbers: Sequence[str]) -> None:
        """In a transaction of its own: names taken back, or removed behind the commit, are nobody else's change. Where
        that cannot be noted the folder is looked at once for nothing."""
        if not numbers:
            return
        with contextlib.suppress(StorageError, IndexDamagedError), translated():
            if not self.db.begin_at_once():
                return
            try:
                for number in numbers:
                    self._remember_time(int(number))
                self.db.run("COMMIT")
            finally:
                if self.db.in_transaction:
                    self.db.run("ROLLBACK")

    def _time(self, folder_id: str, directory: str, before: int) -> int:
        """What was left alone in cur/ `before` still is: only who looks knows better."""
        cur = self.handle.writing.cur(folder_id, directory)
        return cur_time(self.fs.status(cur).st_mtime_ns, left=before >= LEFT)

    def _remember_time(self, number: int) -> None:
        row = self.db.one("SELECT id, directory, changed FROM folders WHERE number = ?", (number,))
        if row is not None:
            self.db.run("UPDATE folders SET changed = ? WHERE number = ?", (self._time(*row), number))

    def hint(self, row: FolderRow) -> None:
        self.hints[row.id] = Hint(self.handle.ref.id, row.id, row.modseq)

    # -- numbers -------------------------------------------------------------------------------------------------------

    def allocate(self, row: FolderRow, count: int) -> int:
        """The first of `count` new UIDs."""
        self.refuse_unopened(row)
        first = row.uidnext
        if first + count > UID_MASK:
            raise InvalidError("the folder has no UIDs left", code="uids-exhausted")
        if first + count > row.uid_floor:
            self._raise_floors(row, uid_floor=first + count + UID_BLOCK, modseq_floor=row.modseq_floor)
        row.uidnext = first + count
        return first

    def cover(self, row: FolderRow) -> None:
        """UIDNEXT is told before anything is allocated: no UID below it is given again (promise P4)."""
        if row.uidnext > row.uid_floor:
            self._raise_floors(row, uid_floor=row.uidnext + UID_BLOCK, modseq_floor=row.modseq_floor)

    def next_modseq(self, row: FolderRow) -> int:
        """One higher than any before in this folder."""
        self.refuse_unopened(row)
        if row.modseq + 1 >= row.modseq_floor:  # strictly below: what recovery tells must be news to everybody
            self._raise_floors(row, uid_floor=row.uid_floor, modseq_floor=row.modseq + MODSEQ_BLOCK)
        row.modseq += 1
        self.hint(row)
        return row.modseq

    def _raise_floors(self, row: FolderRow, *, uid_floor: int, modseq_floor: int) -> None:
        """Durable before the first use. A folder's first block raises both, for one sync instead of two."""
        self.may_wait()
        if row.uid_floor == row.uidnext:
            uid_floor = max(uid_floor, row.uidnext + UID_BLOCK)
        if row.modseq_floor == row.modseq:
            modseq_floor = max(modseq_floor, row.modseq + MODSEQ_BLOCK)
        with self.directory(row) as fd:
            sidefile.update_folder(self.fs, fd, row.side(), uid_floor=uid_floor, modseq_floor=modseq_floor)
        row.uid_floor, row.modseq_floor = uid_floor, modseq_floor

    def keyword_bits(self, row: FolderRow, words: Sequence[str]) -> int:
        """Bits of these keywords; unknown ones get the next letters, durably. Keywords compare without case."""
        known = {word.casefold(): bit for bit, word in enumerate(row.keywords)}
        fresh = tuple(dict.fromkeys(word for word in words if word.casefold() not in known))
        wanted = [known[word.casefold()] for word in words if word.casefold() in known]
        if fresh:
            wanted += range(len(row.keywords), len(row.keywords) + len(fresh))
            self._add_keywords(row, fresh)
        return sum(1 << bit for bit in set(wanted))

    def _add_keywords(self, row: FolderRow, fresh: tuple[str, ...]) -> None:
        words = row.keywords + fresh
        if len(words) > min(self.tools.limits.keywords, KEYWORD_BITS):
            raise InvalidError("too many keywords in this folder", code="too-many-keywords")
        self.may_wait()
        self.tell(row, keywords=words)
        row.keywords = words

    def tell(self, row: FolderRow, **changes: object) -> None:
        """Keywords, special use or subscription, in the side file: durable when it returns; told back when the
        operation or the batch fails."""
        self.touch(row)
        with self.directory(row) as fd:
            file = sidefile.read_folder(self.fs, fd)
            if file is not None:
                self.on_failure(
                    partial(self._tell_back, row.directory, {name: getattr(file, name) for name in changes})
                )
            sidefile.update_folder(self.fs, fd, row.side(), **changes)

    def _tell_back(self, directory: str, changes: Mapping[str, object]) -> None:
        with folder_directory(self.fs, self.handle.root, directory) as fd:
            sidefile.update_folder(self.fs, fd, None, **changes)

    # -- files ---------------------------------------------------------------------------------------------------------

    def place(self, file: TemporaryFile, row: FolderRow, new: str) -> None:
        """Give a synced file its name in a folder. Visible to nobody who asks the index until the commit."""
        self.touch(row)
        directory = self.cur(row)
        try:
            stage.link(self.fs, file, directory, new)
        except FileNotFoundError:  # what lost its only name, in an attempt undone, gets no other (linkat(2), O_TMPFILE)
            self._place_copy(file, directory, new)
        self._placed(directory, new)

    def _place_copy(self, file: TemporaryFile, directory: int, new: str) -> None:
        self.may_wait()
        copied = stage.copy(self.tools, file, self.handle.root, file.prepared.internal_date, held=True)
        try:
            stage.link(self.fs, copied, directory, new)
        finally:
            stage.discard(self.fs, copied)

    def link(self, source: int, name: str, row: FolderRow, new: str) -> None:
        """A further name of a message's file, in a folder."""
        self.touch(row)
        directory = self.cur(row)
        self.fs.link(source, name, directory, new)
        self._placed(directory, new)

    def link_all(
        self, source: int, row: FolderRow, names: Sequence[tuple[str, str]], meanwhile: Callable[[], None]
    ) -> int:
        """`link` for many (old, new) names of one folder; how many were made before the first that could not be, whose
        error the caller meets by `link`. `meanwhile` is for the index alone: while SQLite works and the kernel links,
        neither has the interpreter."""
        self.touch(row)
        directory = self.cur(row)
        self._unsynced.add(directory)
        if len(names) < APART:
            count = self._link_names(source, directory, names)
            meanwhile()
            return count
        with ThreadPoolExecutor(1, thread_name_prefix="link") as pool:  # which is waited for, whatever happens
            linking = pool.submit(self._link_names, source, directory, names)
            meanwhile()
        return linking.result()

    def _link_names(self, source: int, directory: int, names: Sequence[tuple[str, str]]) -> int:
        link, linked = self.fs.link, self._linked
        for count, (name, new) in enumerate(names):
            try:
                link(source, name, directory, new)
            except OSError:
                return count
            linked.append((directory, new))
        return len(names)

    def rename(self, row: FolderRow, name: str, new: str) -> None:
        """Another name of a message in its folder."""
        self.touch(row)
        directory = self.cur(row)
        self.fs.rename(directory, name, directory, new)
        self.on_failure(partial(self.fs.rename, directory, new, directory, name), directory)
        self._on_placed(directory)

    def _placed(self, directory: int, name: str) -> None:
        self._linked.append((directory, name))
        self._on_placed(directory)

    def on_failure(self, undo: Callable[[], object], directory: int | None = None) -> None:
        """What takes a change of the folder structure back, when the operation or the batch fails; `directory` is
        synced then, before the refusal."""
        self._undoing.append(_Step(undo, len(self._linked), directory))

    def sync_links(self) -> None:
        """Once per folder and batch."""
        while self._unsynced:
            self.sync(self._unsynced.pop())

    def take_unsynced(self) -> list[int]:
        """The folders with new links, for a caller who syncs them now."""
        unsynced = list(self._unsynced)
        self._unsynced.clear()
        return unsynced

    def may_wait(self) -> None:
        """Said before anything that a message's way on the event loop must not wait for."""
        if self._light:
            raise NeedsThreadError

    def sync(self, directory: int) -> None:
        """The names in a directory. The kernel tells a failure once, and they may be another operation's: the whole
        batch is lost with it."""
        self.may_wait()
        try:
            self.fs.sync(directory)
        except OSError as error:
            self._lost = error
            raise

    def journal(self, row: FolderRow, lines: list[str]) -> None:
        """Durable when it returns; cut off again when the operation or the batch fails."""
        self.may_wait()
        self.touch(row)
        self.handle.grown.add(row.id)
        with self.directory(row) as fd:
            undo = partial(self._cut_off, row.directory, journal.size(self.fs, fd))
            self._undoing.append(_Step(undo, len(self._linked), line=True))
            journal.append(self.fs, fd, lines)

    def _cut_off(self, directory: str, size: int) -> None:
        with folder_directory(self.fs, self.handle.root, directory) as fd:
            journal.cut(self.fs, fd, size)

    @property
    def has_journalled(self) -> bool:
        return any(step.line for step in self._undoing)

    # -- rows ----------------------------------------------------------------------------------------------------------

    def insert(self, row: FolderRow, record: Record) -> None:
        if not record.prepared.email_id:  # it came with many others
            self.insert_all(row, [record])
            return
        records.insert(self.db, row, record)
        self.count(row, record.flags, record.prepared.size, 1)

    def insert_all(self, row: FolderRow, found: Sequence[Record]) -> None:
        if records.insert_all(self.db, row, found):
            self.handle.unscanned = True  # somebody reads them behind
        for record in found:
            self.count(row, record.flags, record.prepared.size, 1)

    def count(self, row: FolderRow, flags: int, size: int, sign: int) -> None:
        """Counters of the folder and the account for one message that comes (+1) or goes (-1)."""
        row.messages += sign
        row.size += sign * size
        row.unseen += 0 if flags & SEEN else sign
        row.deleted += sign if flags & DELETED else 0
        self.octets += sign * size
        self.messages += sign

    def used(self) -> int:
        """Octets of the account, with what this transaction did."""
        return self._before()[0] + self.octets

    def held(self) -> int:
        """Messages of the account, with what this transaction did."""
        return self._before()[1] + self.messages

    def _before(self) -> tuple[int, int]:
        """Octets and messages of the account when it began: nobody else changes them under our lock, and we do in
        `seal`."""
        if self._counted is None:
            octets, messages = self.db.one("SELECT octets, messages FROM state") or (0, 0)
            self._counted = int(octets), int(messages)
        return self._counted

    def expunge_row(self, row: FolderRow, uid: int, name: str, flags: int, size: int, modseq: int) -> None:
        """The message leaves the index; its file, when `name` is given, is unlinked behind."""
        row_key = key(row.number, uid)
        told = contents.within(self.db, row_key, row_key)
        self.db.run("DELETE FROM messages WHERE key = ?", (row_key,))
        contents.release(self.db, told)
        self.db.run("INSERT OR REPLACE INTO expunged VALUES (?,?,?)", (row_key, row.number, modseq))
        if name:
            self.db.run("INSERT OR REPLACE INTO doomed VALUES (?,?)", (row_key, name))
        self.count(row, flags, size, -1)
