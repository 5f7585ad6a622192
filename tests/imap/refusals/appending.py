"""Refusals of new messages: APPEND, CATENATE, REPLACE."""

from __future__ import annotations

from core.config import Limits
from tests.imap.refusals.row import LIMITED, MANY, Row, Table, after, bug, expunged, read


async def _compressed(table: Table) -> None:
    """The handler's own view of the connection is what it asks."""
    table.patch.setattr("imap.connection.Connection.compressed", property(lambda _: True))


async def _small(table: Table) -> None:
    table.patch.setattr("imap.commands.incoming.MOST_SMALL", 5)


async def _known_gone(table: Table) -> None:
    """Known to be gone, but not told yet: it is withheld during a FETCH by number."""
    await expunged(table)
    await table.client.ok(b"FETCH 2 UID")


APPENDING = (
    Row(b"APPEND nowhere {1+}\r\nx", b"NO [TRYCREATE] no such mailbox"),
    Row(b"COMPRESS DEFLATE", b"NO [COMPRESSIONACTIVE] compression is on already", _compressed),
    Row(b"APPEND INBOX {0+}\r\n", b"NO [CANNOT] message is empty"),
    Row(
        b"APPEND INBOX" + b" {1+}\r\nx" * 4,
        b"NO [MESSAGELIMIT 3] too many messages in one command",
        world=LIMITED,
        title="APPEND of more than MESSAGELIMIT",
    ),
    Row(
        b"APPEND INBOX" + b" {1+}\r\nx" * 1001,
        b"NO [LIMIT] too many messages in one command",
        title="APPEND of 1001 messages",
    ),
    Row(b"APPEND INBOX UTF8 (~{1+}\r\nx)", b"NO [CANNOT] ENABLE UTF8=ACCEPT first"),
    Row(b"APPEND INBOX UTF8 ({1+}\r\nx)", bug(b"literal8 expected"), after(b"ENABLE UTF8=ACCEPT")),
    Row(
        b"APPEND INBOX {1025+}\r\n" + b"x" * 1025,
        b"NO [TOOBIG] message too large",
        world={"limits": Limits(message_size="1K")},
    ),
    Row(b"APPEND INBOX {30+}\r\n" + b"x" * 30, b"NO [OVERQUOTA] mailbox is full", world={"quota": 20}),
    Row(
        b"APPEND INBOX" + b" {2+}\r\nxx" * 3,
        b"NO [LIMIT] too many messages in one command",
        _small,
        title="APPEND of more than may be held at once",
    ),
    Row(b"APPEND INBOX {1+}\r\n\0", b"NO [CANNOT] a message must not contain NUL octets", title="APPEND of NUL"),
    Row(
        b"APPEND INBOX ~{1+}\r\n\0", b"NO [UNKNOWN-CTE] a message must not contain NUL octets", title="literal8 of NUL"
    ),
    Row(b"APPEND INBOX CATENATE (TEXT {0+}\r\n)", b"NO [CANNOT] message is empty"),
    Row(b'APPEND INBOX CATENATE (URL "/nowhere;UID=1")', b"NO [BADURL /nowhere;UID=1] this URL names nothing here"),
    Row(b"APPEND INBOX CATENATE (URL {3000+}\r\n", b"NO [TOOBIG] URL too long"),
    read(b"APPEND INBOX (%b) {1+}\r\nx" % MANY, b"NO [LIMIT] too many keywords, or one too long", title="65 keywords"),
    read(b"REPLACE 1:2 INBOX {1+}\r\nx", bug(b"one message is replaced at a time")),
    read(b"REPLACE 1 nowhere {1+}\r\nx", b"NO [TRYCREATE] no such mailbox"),
    read(b"UID REPLACE 99 INBOX {1+}\r\nx", b"NO [NONEXISTENT] the message to replace is not there"),
    read(
        b"REPLACE 1 INBOX {1+}\r\nx",
        b"NO [EXPUNGEISSUED] the message to replace was expunged",
        _known_gone,
    ),
)
