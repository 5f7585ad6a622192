"""COPY and MOVE between folders of one account: all or nothing, flags, keywords and dates kept (RFC 9051 6.4.7, 6.4.8).

A copy is another name of the same file. A move links and syncs the new names, then journals the old ones, then commits
both in one transaction (RFC 6851 3.3).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import NotFoundError
from store import expunge, folders, journal, place, stage
from store.catalog import FolderRow
from store.names import KEYWORD_LETTERS, FileName, fresh_unique, parse
from store.records import keys_within
from store.schema import DELETED, SEEN, UID_MASK, key, signed, unsigned
from store.transaction import Transaction
from store.types import Copied, Uid


@dataclass(frozen=True, slots=True)
class _Source:
    """One message to copy, as its row tells it."""

    uid: int
    name: str
    flags: int
    keywords: int
    size: int
    internal_date: int
    thread_id: str


def copy(
    transaction: Transaction, folder_id: str, ranges: Sequence[tuple[int, int]], target: str, quota: int
) -> Copied:
    """Raises NotFoundError without the target folder, QuotaError."""
    source = transaction.folder(folder_id)
    row = folders.existing(transaction, target)
    found = _sources(transaction, source, ranges)
    place.check_quota(transaction, quota, sum(item.size for item in found))
    return _copy(transaction, source, row, found, keep_unique=False)


def move(transaction: Transaction, folder_id: str, ranges: Sequence[tuple[int, int]], target: str) -> Copied:
    """Like copy; the sources go in the same commit."""
    source = transaction.folder(folder_id)
    row = folders.existing(transaction, target)
    found = _sources(transaction, source, ranges)
    copied = _copy(transaction, source, row, found, keep_unique=True)
    if found:
        transaction.sync_links()  # the new names are durable before the journal removes the old ones
        expunge.remove(transaction, source, [(item.uid, item.name, item.flags, item.size) for item in found])
    return copied


def _sources(transaction: Transaction, row: FolderRow, ranges: Sequence[tuple[int, int]]) -> list[_Source]:
    found: list[_Source] = []
    for first, last in keys_within(row, ranges):
        rows = transaction.db.all(
            f"SELECT key & {UID_MASK}, name, flags, keywords, size, internal_date, thread_id FROM messages "  # noqa: S608
            "WHERE key BETWEEN ? AND ? ORDER BY key",
            (first, last),
        )
        found += [_Source(uid, name, flags, unsigned(bits), *rest) for uid, name, flags, bits, *rest in rows]
    return found


def _copy(
    transaction: Transaction, source: FolderRow, row: FolderRow, found: Sequence[_Source], *, keep_unique: bool
) -> Copied:
    if not found:
        return Copied(row.uidvalidity, ())
    words = _translated(transaction, source, row, found)
    first = transaction.allocate(row, len(found))
    modseq = transaction.next_modseq(row)
    fresh = fresh_unique(transaction.tools.ids.object_id())
    made = [
        FileName(transaction.now, _unique(item, keep_unique, fresh, uid), uid, item.size, item.flags, words[item.uid])
        for uid, item in enumerate(found, first)
    ]
    for name, item in zip(made, found, strict=True):
        _link(transaction, source, row, item, str(name))
    _insert_rows(transaction, source, row, found, made, modseq)
    _journal(transaction, source, row, found, made)
    return Copied(
        row.uidvalidity, tuple((Uid(item.uid), Uid(name.uid)) for name, item in zip(made, found, strict=True))
    )


def _unique(item: _Source, keep: bool, fresh: str, uid: int) -> str:
    """A moved message keeps its unique part, so that its redelivery is still recognised; a copy gets its own."""
    name = parse(item.name) if keep else None
    return name.unique if name else f"{fresh}{uid:x}"


def _translated(
    transaction: Transaction, source: FolderRow, row: FolderRow, found: Sequence[_Source]
) -> dict[int, int]:
    """Keyword bits by source UID, in the target folder's letters."""
    if source.id == row.id:
        return {item.uid: item.keywords for item in found}
    masks = {0: 0}
    for bits in {item.keywords for item in found} - {0}:
        masks[bits] = transaction.keyword_bits(row, source.words(bits))
    return {item.uid: masks[item.keywords] for item in found}


def _link(transaction: Transaction, source: FolderRow, row: FolderRow, item: _Source, name: str) -> None:
    directory = transaction.cur(source)
    try:
        transaction.link(directory, item.name, row, name)
    except FileNotFoundError:
        raise NotFoundError("a message is gone", code="no-message") from None
    except OSError as error:
        if error.errno != errno.EMLINK:
            raise
        _link_anew(transaction, directory, row, item, name)


def _link_anew(transaction: Transaction, directory: int, row: FolderRow, item: _Source, name: str) -> None:
    """The file has as many names as the file system allows: a file of its own."""
    fd = transaction.fs.open_to_read(directory, item.name)
    try:
        content = stage.file_content(transaction.fs, fd, item.size)
        tools = stage.with_facts(transaction.tools, stage.NO_FACTS)  # the rows are copied, not made
        file = stage.write(tools, transaction.handle.root, b"", content, 0, item.internal_date)
    finally:
        os.close(fd)
    try:
        transaction.place(file, row, name)
    finally:
        stage.discard(transaction.fs, file)


def _insert_rows(
    transaction: Transaction,
    source: FolderRow,
    row: FolderRow,
    found: Sequence[_Source],
    made: Sequence[FileName],
    modseq: int,
) -> None:
    """Rows copied inside SQLite: one statement a table for each run of consecutive UIDs."""
    transaction.db.many(
        "INSERT INTO messages SELECT ?, ?, ?, flags, ?, 0, internal_date, ?, sent_date, size, email_id, thread_id, ? "
        "FROM messages WHERE key = ?",
        [
            (
                key(row.number, name.uid),
                row.number,
                modseq,
                signed(name.keywords),
                name.saved,
                str(name),
                key(source.number, item.uid),
            )
            for name, item in zip(made, found, strict=True)
        ],
    )
    offset = made[0].uid
    for first, last in journal.ranges(item.uid for item in found):
        shift = key(row.number, offset) - key(source.number, first)
        span = (key(source.number, first), key(source.number, last))
        transaction.db.run(
            "INSERT INTO summaries SELECT key + ?, envelope, bodystructure, body FROM summaries "
            "WHERE key BETWEEN ? AND ?",
            (shift, *span),
        )
        transaction.db.run(
            "INSERT INTO heads SELECT key + ?, headers, parts, preview FROM heads WHERE key BETWEEN ? AND ?",
            (shift, *span),
        )
        transaction.db.run(
            "INSERT INTO sorting SELECT key + ?, subject, reply, sender, recipient, copied, shown_sender, "
            "shown_recipient, fields, message, parents FROM sorting WHERE key BETWEEN ? AND ?",
            (shift, *span),
        )
        offset += last - first + 1
    _count(transaction, row, found)


def _count(transaction: Transaction, row: FolderRow, found: Sequence[_Source]) -> None:
    size = sum(item.size for item in found)
    row.messages += len(found)
    row.size += size
    row.unseen += sum(1 for item in found if not item.flags & SEEN)
    row.deleted += sum(1 for item in found if item.flags & DELETED)
    transaction.octets += size
    transaction.messages += len(found)


def _journal(
    transaction: Transaction, source: FolderRow, row: FolderRow, found: Sequence[_Source], made: Sequence[FileName]
) -> None:
    """What the new file names cannot tell: keywords past 26, and threads that the octets alone do not give, which are
    exactly those that the source's journal tells."""
    lines = [journal.keywords(name.uid, name.keywords) for name in made if name.keywords >> KEYWORD_LETTERS]
    with transaction.directory(source) as fd:
        told = journal.read(transaction.fs, fd).threads
    lines += [
        journal.thread(name.uid, item.thread_id) for name, item in zip(made, found, strict=True) if item.uid in told
    ]
    if lines:
        transaction.journal(row, lines)
