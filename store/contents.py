"""What the octets of a message tell (ENVELOPE, BODYSTRUCTURE, header fields, sort keys) lies in tables of its own, and
copies of a message share it: `messages.content` is the key it lies under, which is the key of the message that came
first. It stays while any message of the account tells of it, be the first one gone.

Measured: a copy of its own was half of what a COPY cost. Statements only; files and locks are not known here.
"""

from __future__ import annotations

from collections.abc import Iterable

from store import pieces
from store.index import Connection
from store.journal import ranges
from store.schema import CONTENT_TABLES

# Messages whose content came with another have an index of their own: deliveries, who bring theirs, pay nothing.
_HELD = (
    "SELECT key FROM messages WHERE content = key AND key {0} "
    "UNION ALL SELECT content FROM messages INDEXED BY messages_borrowed WHERE content <> key AND content {0}"
)
_TOLD = "SELECT count(*) FROM (SELECT DISTINCT content FROM messages WHERE email_id <> '') JOIN {} ON key = content"
_HEIR = "SELECT min(key) FROM messages INDEXED BY messages_borrowed WHERE content = ? AND content <> key"


def release(db: Connection, contents: Iterable[int]) -> None:
    """Forget those of `contents` that no message tells of any more, now that the messages they were known by are
    gone."""
    freed = set(contents)
    for which, values in list(pieces.of(ranges(sorted(freed)))):
        freed.difference_update(row[0] for row in db.all(_HELD.format(which), (*values, *values)))
    for which, values in pieces.of(ranges(sorted(freed))):
        for table in CONTENT_TABLES:
            db.run(f"DELETE FROM {table} WHERE key {which}", values)  # noqa: S608 - constants


def within(db: Connection, first: int, last: int) -> list[int]:
    """The contents of the messages with these keys."""
    return [row[0] for row in db.all("SELECT content FROM messages WHERE key BETWEEN ? AND ?", (first, last))]


def make_way(db: Connection, key: int) -> None:
    """A message is about to come under `key` with content of its own. Copies of one that had that key before keep what
    they have, under the key of one of them."""
    heir = db.value(_HEIR, (key,))
    if heir is not None:
        for table in CONTENT_TABLES:
            db.run(f"UPDATE {table} SET key = ? WHERE key = ?", (heir, key))  # noqa: S608 - constants
        told = "UPDATE messages INDEXED BY messages_borrowed SET content = ? WHERE content = ? AND content <> key"
        db.run(told, (heir, key))


def counts(db: Connection) -> list[int]:
    """How many contents messages that are read tell of; for each table of contents how many of those it has, and how
    many rows in all. In a sound index they are all equal."""
    found = [db.value("SELECT count(DISTINCT content) FROM messages WHERE email_id <> ''")]
    for table in CONTENT_TABLES:
        found.append(db.value(_TOLD.format(table)))
        found.append(db.value(f"SELECT count(*) FROM {table}"))  # noqa: S608 - constants
    return [int(count) for count in found]


def mend(db: Connection) -> None:
    """After a power loss an index of SQLite's and its table may be of different times, which its quick check does not
    see: what is held by copies would be taken from there, messages that are not read yet would be missed wherever their
    octets are asked for, and letters that wait for their names would be forgotten."""
    db.run("REINDEX messages")
