"""Messages as the index knows them: what is inserted, and how rows come back as `Message` values.

Refuses to know files and locks; statements only. Longer than its neighbours: who writes a row and who reads it must
agree on its columns, so both stand here.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from operator import itemgetter

from core.frozen import dataclass
from core.ids import twenty
from message.facts import Facts, Relations
from store import pieces
from store.catalog import Extent, FolderRow
from store.index import Connection, Row
from store.keys import SORT_ROW, sort_row
from store.pieces import Which
from store.schema import CONTENT_TABLES, UID_MASK, key, signed, unsigned
from store.types import Column, Flag, Message, Table, Uid

BATCH = 512  # rows read at once
_UNASKED = tuple(Message(Uid(0), Flag(0)))[4:]  # the fields that `Column.NONE` does not bring
_FLAGS = tuple(Flag(bits) for bits in range(32))
_KEYWORDS = itemgetter(2)  # of a row
MAX_LOOKUPS = 10
_FEW = 1000  # messages counted one by one: some 20 µs
_TOGETHER = 500  # threads asked for in one question


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message whose file is written and synced: what the index will hold of it. Without email id it is not read yet
    (`store.unscanned`), and `facts` tell at most what it is related to."""

    size: int
    email_id: str
    internal_date: int
    facts: Facts


@dataclass(frozen=True, slots=True)
class Record:
    """One message to insert: `flags` and `keywords` are bits, `name` its file name in cur/."""

    uid: int
    name: str
    flags: int
    keywords: int
    modseq: int
    save_date: int
    thread_id: str
    prepared: Prepared
    unwritten: bool = False


WAITING = "?"  # the thread of a message that is not read yet, and has to wait for others once it is (`store.joining`)
_MESSAGE = "INSERT INTO messages VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?1)"
_TELL = "SET sent_date = ?1, email_id = ?2, thread_id = ?3 WHERE"
_SUMMARY = "INSERT INTO summaries VALUES (?,?,?,?)"
_HEAD = "INSERT INTO heads VALUES (?,?,?,?)"
_THREAD = "INSERT OR IGNORE INTO threads VALUES (?,?)"


def insert(db: Connection, folder: FolderRow, record: Record) -> None:
    """All rows of one message; the folder's counters are the caller's."""
    row_key, facts = key(folder.number, record.uid), record.prepared.facts
    db.run(_MESSAGE, _message_row(row_key, folder.number, record))
    db.run(_SUMMARY, (row_key, facts.envelope, facts.bodystructure, facts.body))
    db.run(_HEAD, (row_key, facts.headers, facts.parts, _text(facts.preview)))
    db.run(SORT_ROW, (row_key, *sort_row(facts.keys)))
    if facts.message_id and record.thread_id:
        db.run(_THREAD, (_hashed(facts.message_id), record.thread_id))


def insert_all(db: Connection, folder: FolderRow, found: Sequence[Record]) -> bool:
    """The same for many messages, a statement a table: it takes half as long. Whether some of them are not read yet
    (`store.unscanned`): then there is what their names tell, and their threads."""
    keyed = [(key(folder.number, record.uid), record) for record in found]
    db.many(_MESSAGE, [_message_row(row_key, folder.number, record) for row_key, record in keyed])
    told = [(row_key, record.prepared.facts) for row_key, record in keyed if record.prepared.email_id]
    _insert_contents(db, told)
    _insert_threads(db, [(record.thread_id, record.prepared.facts) for record in found])
    return len(told) < len(found)


def some_named(db: Connection) -> bool:
    """Whether there are such messages in the account. 3 µs."""
    return db.value("SELECT 1 FROM messages INDEXED BY messages_unscanned WHERE email_id = '' LIMIT 1") is not None


def complete(db: Connection, read: Mapping[int, tuple[str, Prepared]]) -> None:
    """The rest of their rows, by content (`store.contents`): thread or "", and what the file told. Copies that were
    made before it was read tell of the same content."""
    told = [
        (made.facts.sent_date or 0, made.email_id, _thread_of(thread, made), content)
        for content, (thread, made) in read.items()
    ]
    db.many(f"UPDATE messages {_TELL} key = ?4 AND content = key", told)
    db.many(f"UPDATE messages INDEXED BY messages_borrowed {_TELL} content = ?4 AND content <> key", told)
    _insert_contents(db, [(content, made.facts) for content, (_, made) in read.items()])
    _insert_threads(db, [(thread, read[content][1].facts) for _, _, thread, content in told])


def _thread_of(told: str, made: Prepared) -> str:
    return "" if told == WAITING else told or derived_thread(made.facts, made.email_id)


def mark(db: Connection, contents: Sequence[int], told: Facts) -> None:
    """Messages whose files cannot be read (`store.unreadable`), by content: `told` stands for what nobody knows."""
    db.many("UPDATE messages SET email_id = '?' WHERE key = ?1 AND content = key", [(each,) for each in contents])
    borrowed = "UPDATE messages INDEXED BY messages_borrowed SET email_id = '?' WHERE content = ? AND content <> key"
    db.many(borrowed, [(each,) for each in contents])
    _insert_contents(db, [(each, told) for each in contents])


def unmark(db: Connection, contents: Sequence[int]) -> None:
    """The files of these can be read after all; `complete` follows."""
    for table in CONTENT_TABLES:
        db.many(f"DELETE FROM {table} WHERE key = ?", [(each,) for each in contents])  # noqa: S608 - constants


def join(db: Connection, message: int, told: Relations, thread: str) -> None:
    """A thread for a message, by key, that waited for it (`store.joining`)."""
    db.run("UPDATE messages SET thread_id = ? WHERE key = ?", (thread, message))
    if told.message_id:
        db.run(_THREAD, (_hashed(told.message_id), thread))


def _insert_contents(db: Connection, keyed: Sequence[tuple[int, Facts]]) -> None:
    db.many(_SUMMARY, [(row_key, facts.envelope, facts.bodystructure, facts.body) for row_key, facts in keyed])
    db.many(_HEAD, [(row_key, facts.headers, facts.parts, _text(facts.preview)) for row_key, facts in keyed])
    db.many(SORT_ROW, [(row_key, *sort_row(facts.keys)) for row_key, facts in keyed])


def _insert_threads(db: Connection, found: Sequence[tuple[str, Facts]]) -> None:
    """Those that are known, of messages that others can name."""
    known = [(thread, facts) for thread, facts in found if facts.message_id and thread not in ("", WAITING)]
    db.many(_THREAD, [(_hashed(facts.message_id), thread) for thread, facts in known])


def _message_row(row_key: int, folder: int, record: Record) -> tuple[object, ...]:
    made = record.prepared
    return (
        row_key,
        folder,
        record.modseq,
        record.flags,
        signed(record.keywords),
        record.unwritten,
        made.internal_date,
        record.save_date,
        made.facts.sent_date or 0,
        made.size,
        made.email_id,
        record.thread_id,
        record.name,
    )


def _text(value: str) -> str:
    """What SQLite can hold: lone surrogates of undecodable input become question marks."""
    return value.encode("utf-8", "replace").decode("utf-8")


@lru_cache(64)  # of one message its own is asked for three times
def _digest(message_id: str) -> bytes:
    return hashlib.sha256(message_id.encode("utf-8", "surrogatepass")).digest()


def _hashed(message_id: str) -> bytes:
    return _digest(message_id)[:12]


# -- object ids (RFC 8474) -----------------------------------------------------------------------------------------


def email_id(digest: bytes) -> str:
    """EMAILID: the first 100 bits of the SHA-256 of the message's octets."""
    return "M" + _first_bits(digest)


def _first_bits(digest: bytes) -> str:
    """The first 100."""
    return twenty(int.from_bytes(digest[:13]) >> 4)


def derived_thread(facts: Facts | Relations, email: str) -> str:
    """THREADID as the octets alone tell it: by the root of References, else by Message-ID, else by itself.

    `references` is In-Reply-To before References, so the root is second when both are there. "" without a root and
    without `email`, which is not known of what is not read yet.
    """
    root = facts.references[:2][-1] if facts.references else facts.message_id
    if not root:
        return email and "T" + email[1:]
    return "T" + _first_bits(_digest(root))


def known_thread(db: Connection, facts: Facts | Relations) -> str | None:
    """The thread of the first message among this one, its parents and its root that the account has seen."""
    for message in _relatives(facts):
        row = db.one("SELECT thread FROM threads WHERE message = ?", (message,))
        if row is not None:
            return str(row[0])
    return None


def _relatives(facts: Facts | Relations) -> Iterator[bytes]:
    ids = [facts.message_id, *facts.references[:MAX_LOOKUPS], *facts.references[-MAX_LOOKUPS:]]
    return map(_hashed, dict.fromkeys(filter(None, ids)))


class Threads:
    """`known_thread` for messages that are not inserted yet: what the account had seen before them, and each other."""

    def __init__(self, known: dict[bytes, str]) -> None:
        self._known = known

    def of(self, facts: Facts) -> str | None:
        return next((self._known[message] for message in _relatives(facts) if message in self._known), None)

    def learn(self, facts: Facts, thread: str) -> None:
        if facts.message_id:
            self._known.setdefault(_hashed(facts.message_id), thread)


def known_threads(db: Connection, found: Sequence[Facts]) -> Threads:
    """What `known_thread` needs for all of them, in few questions."""
    messages = list({message for facts in found for message in _relatives(facts)})
    known: dict[bytes, str] = {}
    for start in range(0, len(messages), _TOGETHER):
        some = messages[start : start + _TOGETHER]
        marks = ",".join("?" * len(some))
        known.update(db.all(f"SELECT message, thread FROM threads WHERE message IN ({marks})", some))  # noqa: S608 - marks
    return Threads(known)


# -- reading -------------------------------------------------------------------------------------------------------

# What each column flag brings: the `Message` fields, in the order their table's columns are selected.
_COLUMNS: dict[Column, tuple[str, tuple[str, ...]]] = {
    Column.DATES: ("m", ("internal_date", "save_date", "size")),
    Column.IDS: ("m", ("email_id", "thread_id")),
    Column.SENT: ("m", ("sent_date",)),
    Column.ENVELOPE: ("s", ("envelope",)),
    Column.STRUCTURE: ("s", ("bodystructure", "body")),
    Column.PARTS: ("h", ("parts",)),
    Column.HEADERS: ("h", ("headers",)),
    Column.PREVIEW: ("h", ("preview",)),
}
_JOINS = {"s": " JOIN summaries s ON s.key = m.content", "h": " JOIN heads h ON h.key = m.content"}
_ORDER = (
    "internal_date",
    "save_date",
    "size",
    "email_id",
    "thread_id",
    "envelope",
    "bodystructure",
    "body",
    "parts",
    "headers",
    "preview",
    "sent_date",
)
_EMPTY = {"preview": "''", "email_id": "''", "thread_id": "''"}
_EMPTY |= dict.fromkeys(("internal_date", "save_date", "size", "sent_date"), "0")
_PLACES = {name: (flag, table) for flag, (table, names) in _COLUMNS.items() for name in names}


def between(folder: FolderRow, first: int, last: int) -> Which:
    """UIDs `first` to `last`."""
    return pieces.between(key(folder.number, first), key(folder.number, last))


def among(folder: FolderRow, uids: Iterable[int]) -> Which:
    """At most `BATCH` UIDs. A question for each took 60 µs."""
    return pieces.among(key(folder.number, uid) for uid in uids)


@cache
def _statement(columns: Column, which: str) -> str:
    """SELECT whose row is exactly a `Message`'s fields, what was not asked for is a constant; without columns its first
    four fields only."""
    asked = {name: table for name, (flag, table) in _PLACES.items() if columns & flag}
    chosen = [f"{asked[name]}.{name}" if name in asked else _EMPTY.get(name, "x''") for name in _ORDER]
    return _select("m.flags, m.keywords", chosen if columns else (), asked.values(), which)


@lru_cache(256)
def _narrow_statement(names: tuple[str, ...], which: str) -> str:
    """SELECT of a `Message`'s first four fields and these; without keywords there is NULL."""
    chosen = [f"{_PLACES[name][1]}.{name}" for name in names]
    return _select("m.flags & 31, nullif(m.keywords, 0)", chosen, [_PLACES[name][1] for name in names], which)


def _select(told: str, chosen: Sequence[str], tables: Collection[str], which: str) -> str:
    joins = "".join(_JOINS[table] for table in sorted(set(tables)) if table in _JOINS)
    return (
        f"SELECT m.key & {UID_MASK}, {', '.join((told, 'm.modseq', *chosen))} FROM messages m{joins} "  # noqa: S608 - constants
        f"WHERE m.key {which} ORDER BY m.key LIMIT {BATCH}"
    )


def batch(db: Connection, folder: FolderRow, which: Which, columns: Column) -> list[Message]:
    """At most `BATCH` messages, ascending."""
    question, values = which
    rows = db.all(_statement(columns, question), values)
    words, made, flags = _Words(folder), tuple.__new__, _FLAGS  # `Message._make` without its checks
    if not columns:
        return [made(Message, (uid, flags[f & 31], words[bits], seq, *_UNASKED)) for uid, f, bits, seq in rows]
    return [made(Message, (uid, flags[f & 31], words[bits], *rest)) for uid, f, bits, *rest in rows]


def narrow(db: Connection, folder: FolderRow, which: Which, names: tuple[str, ...]) -> list[Row]:
    """The same messages with what goes into a `Table` alone: flags are bits, keywords None where there are none, then
    the fields of these names."""
    question, values = which
    rows = db.all(_narrow_statement(names, question), values)
    if any(map(_KEYWORDS, rows)):
        words = _Words(folder)
        return [(uid, flags, bits and words[bits], *rest) for uid, flags, bits, *rest in rows]
    return rows


def table(rows: Sequence[Row], names: tuple[str, ...]) -> Table:
    """Of one `narrow` message at least."""
    return dict(zip((*Message._fields[:4], *names), zip(*rows, strict=True), strict=True))


def columns_of(names: Iterable[str]) -> Column:
    """Which bring these fields."""
    found = Column.NONE
    for name in names:
        found |= _PLACES[name][0]
    return found


class _Words(dict[int, tuple[str, ...]]):
    """Keyword bits as SQLite holds them > the words; few different ones come in one batch."""

    def __init__(self, folder: FolderRow) -> None:
        super().__init__({0: ()})
        self._folder = folder

    def __missing__(self, bits: int) -> tuple[str, ...]:
        words = self[bits] = self._folder.words(unsigned(bits))
        return words


def message(folder: FolderRow, row: Row) -> Message:
    """`row`: uid, flags, keywords, modseq, then any further `Message` fields in their order."""
    uid, flags, bits, *rest = row
    words = folder.words(unsigned(bits)) if bits else ()
    return Message(uid, _FLAGS[flags & 31], words, *rest)


def told_flags(folder: FolderRow, flags: int, bits: int) -> tuple[Flag, tuple[str, ...]]:
    """Flags and keywords as a `Message` has them."""
    return _FLAGS[flags & 31], folder.words(bits) if bits else ()


def brief(uid: int, told: tuple[Flag, tuple[str, ...]], modseq: int) -> Message:
    """A message as a flag change tells it."""
    return tuple.__new__(Message, (uid, *told, modseq, *_UNASKED))


def changed_since(db: Connection, folder: FolderRow, modseq: int) -> list[Message]:
    rows = db.all(
        f"SELECT key & {UID_MASK}, flags, keywords, modseq FROM messages WHERE folder = ? AND modseq > ? ORDER BY key",  # noqa: S608 - constants
        (folder.number, modseq),
    )
    return [message(folder, row) for row in rows]


def vanished_since(db: Connection, folder: FolderRow, modseq: int, uidnext: int) -> tuple[Uid, ...]:
    """UIDs below `uidnext` expunged after `modseq`; before what is remembered, every absent UID (design.md 5)."""
    if modseq < folder.forgotten:
        present = set(uids_below(db, folder, uidnext))
        return tuple(Uid(uid) for uid in range(1, min(uidnext, folder.uidnext)) if uid not in present)
    rows = db.all(
        f"SELECT key & {UID_MASK} FROM expunged WHERE folder = ? AND modseq > ? AND key < ? ORDER BY key",  # noqa: S608 - constants
        (folder.number, modseq, key(folder.number, uidnext)),
    )
    return tuple(row[0] for row in rows)


def changes_to_read(db: Connection, folder: FolderRow, modseq: int) -> int:
    """How many rows `changed_since` and `vanished_since` read, counted as far as it matters."""
    if modseq >= folder.modseq:
        return 0
    if modseq < folder.forgotten:
        return max(folder.messages, folder.uidnext)  # every UID is looked at
    tables = ("messages INDEXED BY messages_by_modseq", "expunged")
    count = "SELECT count(*) FROM (SELECT 1 FROM {} WHERE folder = ? AND modseq > ? LIMIT 10000)"
    return sum(int(db.value(count.format(table), (folder.number, modseq))) for table in tables)


def gaps_to_read(db: Connection, folder: FolderRow) -> int:
    """How many rows `uids_below` reads."""
    highest, gone = _gaps(db, folder)
    return gone if folder.messages + gone == highest else folder.messages


def _gaps(db: Connection, folder: FolderRow) -> tuple[int, int]:
    """The highest UID that is present, and how many below it are remembered as expunged. Above it there may be UIDs
    that nobody ever had: a recovery begins at the floor."""
    first, last = key(folder.number, 0), key(folder.number, UID_MASK)
    highest = db.value("SELECT max(key) FROM messages WHERE key BETWEEN ? AND ?", (first, last)) or first
    gone = db.value("SELECT count(*) FROM expunged WHERE key BETWEEN ? AND ?", (first, highest))
    return int(highest) & UID_MASK, int(gone)


def uids_below(db: Connection, folder: FolderRow, uidnext: int) -> array[int]:
    """Ascending. Where every UID up to the highest is present or remembered as expunged, the gaps tell it all; else it
    is read from the narrow index rather than from the table."""
    highest, gone = _gaps(db, folder)
    if folder.messages + gone == highest:
        return _without(range(1, min(uidnext, highest + 1)), _expunged(db, folder) if gone else [])
    rows = db.all(
        f"SELECT key & {UID_MASK} FROM messages INDEXED BY messages_by_modseq WHERE folder = ? AND key < ?",  # noqa: S608 - constants
        (folder.number, key(folder.number, uidnext)),
    )
    return array("I", sorted(row[0] for row in rows))


def _expunged(db: Connection, folder: FolderRow) -> list[int]:
    first, last = key(folder.number, 0), key(folder.number, UID_MASK)
    rows = db.all(f"SELECT key & {UID_MASK} FROM expunged WHERE key BETWEEN ? AND ? ORDER BY key", (first, last))  # noqa: S608 - constants
    return [row[0] for row in rows]


def _without(numbers: range, gaps: Sequence[int]) -> array[int]:
    """`gaps` ascending; the stretches between them are copied at once."""
    found: array[int] = array("I")
    start = numbers.start
    for gap in gaps:
        if gap >= numbers.stop:
            break
        found += _COUNTED.stretch(start, gap)
        start = gap + 1
    return found + _COUNTED.stretch(start, max(start, numbers.stop))


class _Counted:
    """0 1 2 3 …, as far as a folder needed it, to be cut from; a longer one replaces it whole: threads may share it."""

    most = 1 << 20  # four MiB

    def __init__(self) -> None:
        self.numbers: array[int] = array("I")

    def stretch(self, start: int, stop: int) -> array[int]:
        if stop > self.most:
            return array("I", range(start, stop))
        numbers = self.numbers
        if stop > len(numbers):
            numbers = self.numbers = array("I", range(min(2 * stop, self.most)))
        return numbers[start:stop]


_COUNTED = _Counted()


def first_unseen(db: Connection, folder: FolderRow) -> int:
    """Sequence number of the first unseen message, 0 if none. Counts towards the nearer end."""
    first = db.value("SELECT min(key) FROM messages WHERE folder = ? AND flags & 1 = 0", (folder.number,))
    if first is None:
        return 0
    if (first & UID_MASK) * 2 < folder.uidnext:
        below = "SELECT count(*) FROM messages WHERE key BETWEEN ? AND ?"
        return int(db.value(below, (key(folder.number, 1), first)))
    above = db.value("SELECT count(*) FROM messages WHERE key BETWEEN ? AND ?", (first, key(folder.number, UID_MASK)))
    return folder.messages - int(above) + 1


def recent(db: Connection, folder: Extent, first: int) -> int:
    """How many messages have a UID from `first` on. The whole of a mailbox, and one that has kept account of every UID,
    are counted without a look at its messages; else it is counted towards the nearer end."""
    if first >= folder.uidnext:
        return 0
    if first <= 1:
        return folder.messages
    count, last = "SELECT count(*) FROM messages WHERE key BETWEEN ? AND ?", key(folder.number, UID_MASK)
    if folder.uidnext - first <= _FEW:
        return int(db.value(count, (key(folder.number, first), last)))
    gone = int(db.value("SELECT count(*) FROM expunged WHERE folder = ?", (folder.number,)))
    if folder.messages + gone == folder.uidnext - 1:
        above = "SELECT count(*) FROM expunged WHERE key BETWEEN ? AND ?"
        return folder.uidnext - first - int(db.value(above, (key(folder.number, first), last)))
    if 2 * first > folder.uidnext:
        return int(db.value(count, (key(folder.number, first), last)))
    return folder.messages - int(db.value(count, (key(folder.number, 1), key(folder.number, first - 1))))


def counted(db: Connection, folder: FolderRow) -> tuple[int, int, int, int, int]:
    """(messages, unseen, deleted, octets, highest UID) as the rows themselves tell."""
    row = db.one(
        f"SELECT count(*), coalesce(sum(flags & 1 = 0), 0), coalesce(sum(flags & 8 <> 0), 0), "  # noqa: S608 - constants
        f"coalesce(sum(size), 0), coalesce(max(key) & {UID_MASK}, 0) FROM messages WHERE folder = ?",
        (folder.number,),
    )
    return row if row is not None else (0, 0, 0, 0, 0)
