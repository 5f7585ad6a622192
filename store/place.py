"""A staged message put into a folder: delivery and APPEND. Runs inside a transaction, in the order of design.md 5."""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.errors import InvalidError, NotFoundError, QuotaError
from store import catalog, folders, joining, journal, records
from store.catalog import FolderRow
from store.layout import STANDARD
from store.names import KEYWORD_LETTERS, delivery_unique, file_name, folder_name, fresh_unique, letters
from store.records import Record
from store.stage import TemporaryFile
from store.transaction import Transaction
from store.types import INBOX, Appended, ModSeq, Placement, Room, Uid

MANY = 8  # messages of one command
# RFC 9051 9: flag-keyword = atom; atom-specials and controls are out. "\" starts a system flag.
_KEYWORD = re.compile(r"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")


class Delivery:
    """The work of one message for one folder; a delivery known already answers what it became (fault 145)."""

    __slots__ = ("_before", "_file", "_looked", "_placement", "_room", "_row", "_thread", "_unique")

    def __init__(self, file: TemporaryFile, placement: Placement, room: Room) -> None:
        self._file, self._placement, self._room = file, placement, room
        self._unique = delivery_unique(placement.delivery_id) if placement.delivery_id else ""
        self._looked: Transaction | None = None

    def look(self, transaction: Transaction) -> None:
        """What the index alone tells, and nothing is changed by: it can be asked before the file is synced."""
        self._before = delivered(transaction, self._unique) if self._unique else None
        self._looked, self._row = transaction, None
        if self._before is None:
            self._row = transaction.named(INBOX) if self._placement.folder == INBOX else None
            self._thread = records.known_thread(transaction.db, self._file.prepared.facts)

    def __call__(self, transaction: Transaction) -> Appended:
        if self._looked is not transaction:
            self.look(transaction)
        if self._before is not None:
            return self._before
        check_room(transaction, self._room, self._file.prepared.size)
        row = self._row or target(transaction, self._placement.folder)
        made = _placed(transaction, row, self._file, self._placement, self._unique, self._thread)
        transaction.insert(row, made)
        appended = Appended(row.id, row.uidvalidity, Uid(made.uid), ModSeq(made.modseq))
        if self._unique:
            remember(transaction, row, self._unique, appended.uid, appended.modseq)
        return appended


def remember(transaction: Transaction, row: FolderRow, unique: str, uid: int, modseq: int) -> None:
    """A delivery, to recognise it when it is told again."""
    transaction.db.run(
        "INSERT INTO deliveries VALUES (?,?,?,?,?,?)", (unique, row.id, row.uidvalidity, uid, modseq, transaction.now)
    )


def append(
    transaction: Transaction, items: Sequence[tuple[TemporaryFile, Placement]], room: Room
) -> tuple[Appended, ...]:
    """All into one folder, in order (RFC 3502). Rows of many are inserted together: it takes half as long."""
    check_room(transaction, room, sum(file.prepared.size for file, _ in items), len(items))
    if len(items) < MANY or len({placement.folder for _, placement in items}) > 1:
        return tuple(put(transaction, file, placement) for file, placement in items)
    row = target(transaction, items[0][1].folder)
    threads = records.known_threads(transaction.db, [file.prepared.facts for file, _ in items])
    placed = [
        _placed(transaction, row, file, placement, "", threads.of(file.prepared.facts), threads)
        for file, placement in items
    ]
    transaction.insert_all(row, placed)
    return tuple(Appended(row.id, row.uidvalidity, Uid(made.uid), ModSeq(made.modseq)) for made in placed)


def put(transaction: Transaction, file: TemporaryFile, placement: Placement) -> Appended:
    """One message that is nobody's delivery; its room was found (`check_room`)."""
    return _put(transaction, target(transaction, placement.folder), file, placement, "")


def delivered(transaction: Transaction, unique: str) -> Appended | None:
    """What a delivery became, if it was made before."""
    row = transaction.db.one("SELECT folder, uidvalidity, uid, modseq FROM deliveries WHERE id = ?", (unique,))
    return None if row is None else Appended(row[0], row[1], Uid(row[2]), ModSeq(row[3]))


def check_room(transaction: Transaction, room: Room, size: int, messages: int = 1) -> None:
    """For `messages` more of `size` octets together. Raises QuotaError."""
    most = transaction.tools.limits.account_messages
    if messages and most and transaction.held() + messages > most:
        raise QuotaError("mailbox holds too many messages", code="too-many-messages")
    if room.quota and transaction.used() + size > room.quota:
        raise QuotaError("mailbox is over quota")
    if room.spare is not None and size > room.spare:
        raise QuotaError("the organisation is over quota", code="organisation-over-quota")


def target(transaction: Transaction, name: str) -> FolderRow:
    """A folder by name; by a standard one, the folder of that special use, whatever it is called, made if missing."""
    wanted = folder_name(name)
    row = transaction.named(wanted)
    if row is None and wanted in STANDARD:
        row = _standard(transaction, STANDARD[wanted])
    if row is None:
        raise NotFoundError("no such folder", code="no-folder")
    return row


def _standard(transaction: Transaction, use: str) -> FolderRow:
    rows = [row for row in catalog.everything(transaction.db) if row.special_use == use]
    if rows:
        return transaction.folder(rows[0].id)
    name = next(name for name, theirs in transaction.tools.standard.items() if theirs == use)
    return transaction.named(name) or folders.create(transaction, name, use)


def _put(transaction: Transaction, row: FolderRow, file: TemporaryFile, placement: Placement, unique: str) -> Appended:
    known = records.known_thread(transaction.db, file.prepared.facts)
    made = _placed(transaction, row, file, placement, unique, known)
    transaction.insert(row, made)
    return Appended(row.id, row.uidvalidity, Uid(made.uid), ModSeq(made.modseq))


def _placed(
    transaction: Transaction,
    row: FolderRow,
    file: TemporaryFile,
    placement: Placement,
    unique: str,
    known: str | None,
    threads: records.Threads | None = None,
) -> Record:
    """The file under its name, and the row that is to be inserted. `known`: its thread, where one is; `threads` learn
    of it."""
    prepared = file.prepared
    bits = keyword_bits(transaction, row, placement.keywords) if placement.keywords else 0
    uid = transaction.allocate(row, 1)
    unique = unique or fresh_unique(transaction.tools.ids.object_id())
    modseq = transaction.next_modseq(row)
    thread = _thread(transaction, row, uid, bits, file, known, threads)
    flags = int(placement.flags)
    name = file_name(transaction.now, unique, uid, prepared.size, letters(flags, bits))
    transaction.place(file, row, name)
    return Record(uid, name, flags, bits, modseq, transaction.now, thread, prepared)


def _thread(
    transaction: Transaction,
    row: FolderRow,
    uid: int,
    bits: int,
    file: TemporaryFile,
    known: str | None,
    threads: records.Threads | None,
) -> str:
    """The thread's id; journalled with the keywords past 26 where the file cannot tell them. "" when it has to wait
    (`store.joining`), or where only the octets of a message that is not read yet can tell it."""
    facts = file.prepared.facts
    derived = records.derived_thread(facts, file.prepared.email_id)
    if not known and facts.references and joining.must_wait(transaction):
        thread, told = "" if file.prepared.email_id else records.WAITING, False
    else:
        thread = known or derived
        told = bool(thread)
    if threads is not None and told:
        threads.learn(facts, thread)
    lines = [journal.thread(uid, thread)] if told and thread != derived else []
    if bits >> KEYWORD_LETTERS:
        lines.append(journal.keywords(uid, bits))
    if lines:
        transaction.touch(row)
        transaction.journal(row, lines)
    return thread


def keyword_bits(transaction: Transaction, row: FolderRow, words: Sequence[str]) -> int:
    """Raises InvalidError for what is no keyword or too long (h098)."""
    for word in words:
        if not _KEYWORD.fullmatch(word) or len(word) > transaction.tools.limits.keyword_length:
            raise InvalidError("keyword is not allowed", code="invalid-keyword")
    return transaction.keyword_bits(row, list(words))
