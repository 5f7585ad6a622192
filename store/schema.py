"""The index's tables. One SQLite file per account; a cache of the files that may be deleted at any time (promise P5).

`messages.key` is folder number << 32 | UID, so one integer key gives each folder its own stretch of every table in
UID order. What a first synchronisation asks for lies in three tables by how it is asked for: small columns, ENVELOPE
and BODYSTRUCTURE, header fields. Copies of a message share the rows of the latter two, and of `sorting`.
"""

from __future__ import annotations

VERSION = 5  # PRAGMA user_version; older ones are brought up (`store.migrate`), others made again from the files
UID_BITS = 32
UID_MASK = (1 << UID_BITS) - 1
CONTENT_TABLES = ("summaries", "heads", "sorting")  # one row in each for what messages share (`store.contents`)
UNOPENED, UNOPENED_OLD = -2, -3  # in `folders.changed`: it could not be read; its rows are not believed either
LEFT = 1 << 62  # with the time in `folders.changed`: files lie in cur/ that can be no messages as they are
EARLIEST = 1  # in `folders.changed`: 0 is not known, and what tools set before 1970 would be called unreadable
SEEN, DELETED = 1, 8  # bits of `messages.flags` that are counted; plain integers, which cost a tenth of Flag's

SORTING = """CREATE TABLE sorting (
    key INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,            -- message.sorting.SortKeys, column by column
    reply INTEGER NOT NULL,
    sender TEXT NOT NULL,
    recipient TEXT NOT NULL,
    copied TEXT NOT NULL,
    shown_sender TEXT NOT NULL,
    shown_recipient TEXT NOT NULL,
    fields TEXT NOT NULL,
    message INTEGER NOT NULL,
    parents BLOB NOT NULL
) STRICT;
"""
BORROWED = "CREATE INDEX messages_borrowed ON messages (content) WHERE content <> key;\n"
UNSCANNED = "CREATE INDEX messages_unscanned ON messages (folder, key) WHERE email_id = '';\n"
UNREADABLE = "CREATE INDEX messages_unreadable ON messages (folder, key) WHERE email_id = '?';\n"
UNJOINED = "CREATE INDEX messages_unjoined ON messages (save_date, key) WHERE thread_id = '' AND email_id > '?';\n"
NEW_LIFE = "hex(randomblob(8))"

TABLES = f"""
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    account TEXT NOT NULL,
    generation INTEGER NOT NULL,      -- counts commits; the lock file tells the same number
    clean INTEGER NOT NULL,           -- floors are exact and all is synced
    octets INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    life TEXT NOT NULL                -- another one means: UIDs may stand for other messages than before
) STRICT;
CREATE TABLE folders (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,          -- MAILBOXID (RFC 8474)
    name TEXT NOT NULL UNIQUE,
    directory TEXT NOT NULL UNIQUE,
    uidvalidity INTEGER NOT NULL,
    uidnext INTEGER NOT NULL,
    uid_floor INTEGER NOT NULL,       -- what the side file durably holds
    modseq INTEGER NOT NULL,
    modseq_floor INTEGER NOT NULL,
    forgotten INTEGER NOT NULL,       -- up to this mod-sequence, expunged UIDs are not remembered one by one
    special_use TEXT NOT NULL,
    subscribed INTEGER NOT NULL,
    keywords TEXT NOT NULL,           -- JSON list; position is the bit
    messages INTEGER NOT NULL,
    unseen INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    size INTEGER NOT NULL,
    changed INTEGER NOT NULL          -- `cur_time` after our last change: another value is an outside change
) STRICT;
CREATE TABLE messages (
    key INTEGER PRIMARY KEY,
    folder INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    flags INTEGER NOT NULL,           -- store.types.Flag
    keywords INTEGER NOT NULL,        -- bit n: the folder's n-th keyword (signed 64 bits)
    unwritten INTEGER NOT NULL,       -- flags or keywords are newer than the letters of `name` (or than the journal)
    internal_date INTEGER NOT NULL,
    save_date INTEGER NOT NULL,
    sent_date INTEGER NOT NULL,
    size INTEGER NOT NULL,
    email_id TEXT NOT NULL,           -- "": its file is not read yet (`store.unscanned`), "?": it could not be read
    thread_id TEXT NOT NULL,          -- "": not found yet, and told to nobody (`store.joining`)
    name TEXT NOT NULL,               -- the full current file name; its letters are the flags last written to it
    content INTEGER NOT NULL          -- key of its rows in summaries, heads and sorting: a copy has another's
) STRICT;
CREATE INDEX messages_by_modseq ON messages (folder, modseq);
CREATE INDEX messages_unseen ON messages (folder, key) WHERE flags & 1 = 0;
CREATE INDEX messages_unwritten ON messages (folder) WHERE unwritten;
{BORROWED}{UNSCANNED}{UNREADABLE}{UNJOINED}CREATE TABLE summaries (
    key INTEGER PRIMARY KEY,
    envelope BLOB NOT NULL,
    bodystructure BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE heads (
    key INTEGER PRIMARY KEY,
    headers BLOB NOT NULL,
    parts BLOB NOT NULL,
    preview TEXT NOT NULL
) STRICT;
{SORTING}CREATE TABLE expunged (
    key INTEGER PRIMARY KEY,
    folder INTEGER NOT NULL,
    modseq INTEGER NOT NULL
) STRICT;
CREATE INDEX expunged_by_modseq ON expunged (folder, modseq);
CREATE TABLE doomed (                 -- expunged, journalled, the file not yet unlinked
    key INTEGER PRIMARY KEY,
    name TEXT NOT NULL
) STRICT;
CREATE TABLE deliveries (             -- which delivery became which message (fault 145)
    id TEXT PRIMARY KEY,
    folder TEXT NOT NULL,
    uidvalidity INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE threads (                -- hashed Message-ID > thread (RFC 8474)
    message BLOB PRIMARY KEY,
    thread TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""


def key(folder: int, uid: int) -> int:
    return folder << UID_BITS | uid


def cur_time(mtime_ns: int, *, left: bool = False) -> int:
    """For `folders.changed`."""
    return max(EARLIEST, mtime_ns % LEFT) | (LEFT if left else 0)


def signed(bits: int) -> int:
    """Sixty-four keyword bits as SQLite's signed integer."""
    return bits - (1 << 64) if bits >> 63 else bits


def unsigned(value: int) -> int:
    return value & 0xFFFFFFFFFFFFFFFF
