"""Replies that came while messages of their account were not read yet (`store.unscanned`): a message that the reply
names may be among those, and its thread be another one than what the reply alone tells. A thread id must not change
once it was told (RFC 8474 5.2), so such a reply has none until all are read; who asks for it waits for that. Then it is
found as at any delivery, in the order in which they came, and journalled where the octets alone would not tell it.
"""

from __future__ import annotations

from collections import defaultdict

from message.facts import relations
from message.header import split
from store import journal, records
from store.catalog import FolderRow
from store.index import Connection
from store.schema import UID_BITS, UID_MASK, key
from store.transaction import Transaction

TURN = 256  # of one transaction


def must_wait(transaction: Transaction) -> bool:
    """Whether a reply to what is not known may be one to what is not read yet."""
    if not records.some_named(transaction.db):
        return False
    transaction.handle.unscanned = True  # whoever reads them finds its thread, too
    return True


def some(db: Connection) -> bool:
    """Of the whole account."""
    question = "SELECT 1 FROM messages INDEXED BY messages_unjoined WHERE thread_id = '' AND email_id > '?' LIMIT 1"
    return db.value(question) is not None


def within(db: Connection, folder: FolderRow, first: int, last: int) -> bool:
    """Whether any from UID `first` to `last` waits. 3 µs where none does."""
    question = "SELECT 1 FROM messages INDEXED BY messages_unjoined WHERE thread_id = '' AND email_id > '?' "
    span = (key(folder.number, first), key(folder.number, last))
    return db.value(f"{question} AND key BETWEEN ? AND ? LIMIT 1", span) is not None


def join(transaction: Transaction) -> bool:
    """Threads for the first that wait, once all else was read; whether there may be more."""
    waiting = transaction.db.all(
        "SELECT m.key, m.email_id, coalesce(h.headers, x'') FROM messages m INDEXED BY messages_unjoined "
        "LEFT JOIN heads h ON h.key = m.content WHERE m.thread_id = '' AND m.email_id > '?' "
        "ORDER BY m.save_date, m.key LIMIT ?",
        (TURN,),
    )
    rows = {number: _row(transaction, number) for number in {message >> UID_BITS for message, _, _ in waiting}}
    told = {number: _journalled(transaction, row) for number, row in rows.items()}
    lines: dict[int, list[str]] = defaultdict(list)  # by folder
    for message, email, headers in waiting:
        number, uid, names = message >> UID_BITS, message & UID_MASK, relations(split(bytes(headers)))
        known = told[number].get(uid)
        thread = known or records.known_thread(transaction.db, names) or records.derived_thread(names, email)
        records.join(transaction.db, message, names, thread)
        if not known:
            lines[number].append(journal.thread(uid, thread))
    for number, new in lines.items():
        transaction.journal(rows[number], new)
    return len(waiting) == TURN


def _row(transaction: Transaction, number: int) -> FolderRow:
    return transaction.folder(str(transaction.db.value("SELECT id FROM folders WHERE number = ?", (number,))))


def _journalled(transaction: Transaction, row: FolderRow) -> dict[int, str]:
    """What was told before a power loss took the row back to where it waits."""
    with transaction.directory(row) as fd:
        return journal.read(transaction.fs, fd).threads
