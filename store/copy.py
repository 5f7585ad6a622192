"""COPY and MOVE between folders of one account: all or nothing, flags, keywords and dates kept (RFC 9051 6.4.7, 6.4.8).

A copy is another name of the same file. A move links and syncs the new names, then journals the old ones, then commits
both in one transaction (RFC 6851 3.3).
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from core.errors import NotFoundError
from store import expunge, folders, journal, pieces, place, stage
from store.catalog import FolderRow
from store.names import KEYWORD_LETTERS, file_name, fresh_unique, letters, unique_of
from store.schema import DELETED, SEEN, UID_MASK, key, signed, unsigned
from store.transaction import Transaction
from store.types import Changes, Copied, Room, Uid

TOGETHER = 2000  # rows of one statement, some 200 KB of names


class _Source(NamedTuple):
    """One message to copy, as its row tells it: `keywords` as SQLite keeps them (signed)."""

    uid: int
    name: str
    flags: int
    keywords: int
    size: int
    internal_date: int
    thread_id: str
    content: int


class _Made(NamedTuple):
    """What it becomes in the target folder; `keywords` in that folder's bits."""

    uid: int
    name: str
    keywords: int


# Rows `?5` and on become rows `?1` and on; `?6` tells of each how far it is from `?5`, and what is not the same in the
# target: keyword bits and name.
_ROWS = (
    "INSERT INTO messages SELECT ?1 + n.key, ?2, ?3, m.flags, CAST(substr(n.value, 11, 20) AS INTEGER), 0, "
    "m.internal_date, ?4, m.sent_date, m.size, m.email_id, m.thread_id, substr(n.value, 31), m.content "
    "FROM json_each(?6) n CROSS JOIN messages m ON m.key = ?5 + CAST(n.value AS INTEGER)"
)


def copy(
    transaction: Transaction, folder_id: str, ranges: Sequence[tuple[int, int]], target: str, room: Room
) -> Copied:
    """Raises NotFoundError without the target folder, QuotaError."""
    source = transaction.folder(folder_id)
    row = folders.existing(transaction, target)
    found = _sources(transaction, source, ranges)
    place.check_room(transaction, room, sum(item.size for item in found), len(found))
    return _copy(transaction, source, row, found, keep_unique=False)


def move(transaction: Transaction, folder_id: str, ranges: Sequence[tuple[int, int]], target: str) -> Copied:
    """Like copy; the sources go in the same commit."""
    source = transaction.folder(folder_id)
    row = folders.existing(transaction, target)
    found = _sources(transaction, source, ranges)
    copied = _copy(transaction, source, row, found, keep_unique=True)
    if found:
        transaction.sync_links()  # the new names are durable before the journal removes the old ones
        gone = [(item.uid, item.name, item.flags, item.size, item.content) for item in found]
        expunge.remove(transaction, source, gone, moved=True)
        removed = Changes(source.modseq, source.uidnext, vanished=tuple(old for old, _ in copied.pairs))
        copied = replace(copied, removed=removed)
    return copied


def _sources(transaction: Transaction, row: FolderRow, ranges: Sequence[tuple[int, int]]) -> list[_Source]:
    found, new = list[_Source](), tuple.__new__  # `_Source._make` without its checks
    for which, values in pieces.of(pieces.within(row.number, ranges)):
        rows = transaction.db.all(
            f"SELECT key & {UID_MASK}, name, flags, keywords, size, internal_date, thread_id, content "  # noqa: S608 - constants
            f"FROM messages WHERE key {which} ORDER BY key",
            values,
        )
        found += [new(_Source, each) for each in rows]
    return found


def _copy(
    transaction: Transaction, source: FolderRow, row: FolderRow, found: Sequence[_Source], *, keep_unique: bool
) -> Copied:
    if not found:
        return Copied(row.uidvalidity, ())
    first = transaction.allocate(row, len(found))
    modseq = transaction.next_modseq(row)
    made = _named(transaction, found, _translated(transaction, source, row, found), first, keep_unique=keep_unique)
    _link_all(
        transaction, source, row, found, made, partial(_insert_rows, transaction, source, row, found, made, modseq)
    )
    _journal(transaction, source, row, found, made)
    return Copied(row.uidvalidity, tuple((Uid(item.uid), Uid(new.uid)) for new, item in zip(made, found, strict=True)))


def _named(
    transaction: Transaction, found: Sequence[_Source], words: dict[int, int], first: int, *, keep_unique: bool
) -> list[_Made]:
    """A moved message keeps its unique part, so that its redelivery is still recognised; a copy gets its own."""
    fresh, now = fresh_unique(transaction.tools.ids.object_id()), transaction.now
    made, new = list[_Made](), tuple.__new__
    for uid, item in enumerate(found, first):
        bits = words[item.keywords]
        unique = unique_of(item.name) if keep_unique else f"{fresh}{uid:x}"
        name = file_name(now, unique, uid, item.size, letters(item.flags, bits))
        made.append(new(_Made, (uid, name, bits)))
    return made


def _translated(
    transaction: Transaction, source: FolderRow, row: FolderRow, found: Sequence[_Source]
) -> dict[int, int]:
    """Sets of keywords as the source's rows have them > bits of the same words in the target folder."""
    sets = {bits: unsigned(bits) for bits in {item.keywords for item in found}}
    if source.id == row.id:
        return sets
    return {told: transaction.keyword_bits(row, source.words(bits)) if bits else 0 for told, bits in sets.items()}


def _link_all(
    transaction: Transaction,
    source: FolderRow,
    row: FolderRow,
    found: Sequence[_Source],
    made: Sequence[_Made],
    meanwhile: Callable[[], None],
) -> None:
    names = [(item.name, new.name) for item, new in zip(found, made, strict=True)]
    done = 0
    while done < len(names):
        done += transaction.link_all(transaction.cur(source), row, names[done:], meanwhile)
        meanwhile = _nothing
        if done < len(names):
            _link(transaction, source, row, found[done], names[done][1])
            done += 1


def _nothing() -> None:
    """The rows are there already."""


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
        file = stage.write(tools, transaction.handle.root, b"", content, 0, item.internal_date, held=True)
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
    made: Sequence[_Made],
    modseq: int,
) -> None:
    """Rows copied inside SQLite, as many at once as may hold the interpreter (design.md section 6). What the octets
    tell is shared (`store.contents`)."""
    for start in range(0, len(found), TOGETHER):
        old, new = found[start : start + TOGETHER], made[start : start + TOGETHER]
        first = old[0].uid
        # Numbers in columns of ten and of twenty, so that SQLite need not look for where they end.
        pairs = zip(old, new, strict=True)
        told = json.dumps([f"{item.uid - first:10}{signed(each.keywords):20}{each.name}" for item, each in pairs])
        at = key(row.number, new[0].uid), row.number, modseq, transaction.now, key(source.number, first)
        transaction.db.run(_ROWS, (*at, told))
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
    transaction: Transaction, source: FolderRow, row: FolderRow, found: Sequence[_Source], made: Sequence[_Made]
) -> None:
    """What the new file names cannot tell: keywords past 26, and threads that the octets alone do not give, which are
    exactly those that the source's journal tells."""
    lines = [journal.keywords(new.uid, new.keywords) for new in made if new.keywords >> KEYWORD_LETTERS]
    with transaction.directory(source) as fd:
        told = journal.read(transaction.fs, fd).threads
    lines += [
        journal.thread(new.uid, item.thread_id) for new, item in zip(made, found, strict=True) if item.uid in told
    ]
    if lines:
        transaction.journal(row, lines)
