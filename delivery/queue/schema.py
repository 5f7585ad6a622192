"""The tables of the queue. Portable SQL: what only SQLite or only PostgreSQL knows lives in `database`.

A message and its bytes, its recipients and what is still owed to its sender are rows of one database, so that one
commit covers them: no file without a row, no bounce twice, no recipient forgotten (promises P1, P2; fault 147).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.schema import CreateColumn, CreateIndex

from core.errors import StorageError

VERSION = 6

# One row of bytes: what a front may hold the interpreter for (design.md section 6), so that a read is one row.
CHUNK = 256 * 1024


class State(Enum):
    """Of one recipient. WAITING: for its next attempt; ACTIVE: leased to a worker; the others are final."""

    WAITING = "waiting"
    ACTIVE = "active"
    DELIVERED = "delivered"
    FAILED = "failed"


class Owed(Enum):
    """What the sender of a message has still to be told about one recipient (RFC 3464 2.3.3, the Action field)."""

    NOTHING = ""
    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


# Of earlier versions, replaced by others of another name.
FORMER_INDEXES = ("queue_due", "queue_due_of")

metadata = MetaData()

about = Table(
    "queue_about",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)

# `sender` "" is the null reverse-path. `local_prefix`: header lines that only a final delivery here puts before the
# bytes (Return-Path, RFC 5321 4.4); what leaves never carries them. From `release_at` to `priority` it is
# `core.envelope.Schedule`; these and `submitter` (RFC 4954 5) have defaults of the database's own, because earlier
# versions did not know them.
message = Table(
    "queue_message",
    metadata,
    Column("queue_id", String(64), primary_key=True),
    Column("sender", Text, nullable=False),
    Column("account_id", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("head_size", BigInteger, nullable=False),
    Column("created", Double, nullable=False),
    Column("smtputf8", Boolean, nullable=False),
    Column("body", String(16), nullable=False),
    Column("ret", String(8), nullable=False),
    Column("envid", Text, nullable=False),
    Column("require_tls", Boolean, nullable=False),
    Column("local_prefix", LargeBinary, nullable=False),
    Column("release_at", Double, nullable=False, server_default="0"),
    Column("hold", String(64), nullable=False, server_default=""),
    Column("deliver_by", Double, nullable=False, server_default="0"),
    Column("by_mode", String(1), nullable=False, server_default=""),
    Column("by_trace", Boolean, nullable=False, server_default=false()),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("submitter", Text, nullable=False, server_default=""),
)

chunk = Table(
    "queue_chunk",
    metadata,
    Column("queue_id", String(64), ForeignKey("queue_message.queue_id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)

# `organisation_id`: whose administrators may see and handle this recipient (promise P8). `domain`: of the address,
# what fairness and static routes go by; "" for a recipient whose mailbox is here. `folder`: where a local delivery
# goes, "" is the inbox. `owed`: see `Owed`. `priority`: its message's, again, for who claims. `held` tells that `holds`
# has a reason (`delivery.queue.holds`). `lease_until` and `lease_term`: `delivery.queue.leases.Lease`. `home`: which of
# several instances accepted it, "" for any (`delivery.queue.homes`).
recipient = Table(
    "queue_recipient",
    metadata,
    # SQLite counts only in columns that are exactly INTEGER.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("queue_id", String(64), ForeignKey("queue_message.queue_id"), nullable=False, index=True),
    Column("address", Text, nullable=False),
    Column("domain", String(255), nullable=False),
    Column("organisation_id", String(64), nullable=False),
    Column("forwarded", Boolean, nullable=False),
    Column("folder", Text, nullable=False),
    Column("notify", String(64), nullable=False),
    Column("orcpt", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("held", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt", Double, nullable=False),
    Column("last_attempt", Double, nullable=False),
    Column("last_status", Text, nullable=False),
    Column("remote", Text, nullable=False),
    Column("diagnostic", Text, nullable=False),
    Column("lease_owner", String(64), nullable=False),
    Column("lease_until", Double, nullable=False),
    Column("owed", String(16), nullable=False),
    Column("delay_told", Boolean, nullable=False),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("holds", Integer, nullable=False, server_default="0"),
    Column("lease_term", Double, nullable=False, server_default="60"),
    Column("home", String(255), nullable=False, server_default=""),
)

# Due recipients in their order, covering: past 50,000 of one dead domain, or of one commune, the look stays in the
# index (row 141).
Index(
    "queue_due_next",
    recipient.c.state,
    recipient.c.held,
    recipient.c.next_attempt,
    recipient.c.domain,
    recipient.c.organisation_id,
    recipient.c.queue_id,
    recipient.c.priority,
)
# Those with a priority of their own, in the order of `RANK`; the others cost it nothing.
RANK = "(next_attempt - 900 * priority)"
RANKED = "priority != 0"
Index(
    "queue_ranked",
    recipient.c.state,
    recipient.c.held,
    text(RANK),
    sqlite_where=text(RANKED),
    postgresql_where=text(RANKED),
)
Index("queue_of_domain", recipient.c.domain, recipient.c.state)
OWING = "owed != ''"  # as it stands in the index: SQLite does not use it for a parameter
Index("queue_owed", recipient.c.owed, sqlite_where=text(OWING), postgresql_where=text(OWING))

# What was accepted and what became of it, for people who ask (`tracing`). Kept for `delivery.trace`.
trace = Table(
    "queue_trace",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False, index=True),
    Column("queue_id", String(64), nullable=False, index=True),
    Column("organisation_id", String(64), nullable=False),
    Column("event", String(16), nullable=False),
    Column("sender", Text, nullable=False, index=True),
    Column("recipient", Text, nullable=False, index=True),
    Column("message_id", Text, nullable=False, index=True),
    Column("status", Text, nullable=False),
    Column("remote", Text, nullable=False),
)

# What became of TLS with other servers, by day (since the epoch, UTC) and by domain of the recipients, until the day's
# report is made (RFC 8460). `key` is a digest of everything but the count; `policy` is JSON.
tls = Table(
    "queue_tls",
    metadata,
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    Column("domain", String(255), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("policy", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("address", String(64), nullable=False),
    Column("source", String(64), nullable=False),
    Column("failure", String(64), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("sessions", BigInteger, nullable=False),
)

# What each account sent, by the hour: the daily limit is a sliding one of 24 buckets.
sent = Table(
    "queue_sent",
    metadata,
    Column("account_id", String(64), primary_key=True),
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("recipients", Integer, nullable=False),
)

# Whom each account wrote to, by a digest of the address: when first, when last. For `delivery.queue.allowance`.
correspondent = Table(
    "queue_correspondent",
    metadata,
    Column("account_id", String(64), primary_key=True),
    Column("digest", String(32), primary_key=True),
    Column("since", Double, nullable=False),
    Column("last", Double, nullable=False),
)
Index("queue_new_correspondents", correspondent.c.account_id, correspondent.c.since)

# Accounts whose sending was locked (0 is not), when they were last warned, and what holds their mail (`holds`).
sending = Table(
    "queue_sending",
    metadata,
    Column("account_id", String(64), primary_key=True),
    Column("locked_at", Double, nullable=False),
    Column("warned_at", Double, nullable=False),
    Column("holds", Integer, nullable=False, server_default="0"),
)

# Absence notices of accounts, and whom they told (by a digest of the address). For `delivery.queue.vacations`.
vacation = Table(
    "queue_vacation",
    metadata,
    Column("account_id", String(64), primary_key=True),
    Column("text", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("starts", Double, nullable=False),
    Column("ends", Double, nullable=False),
)
vacation_told = Table(
    "queue_vacation_told",
    metadata,
    Column("account_id", String(64), primary_key=True),
    Column("digest", String(32), primary_key=True),
    Column("at", Double, nullable=False),
)


# What `delivery.queue.greylist` remembers of senders that nobody vouches for, by a digest.
greylist = Table(
    "queue_greylist",
    metadata,
    Column("digest", String(32), primary_key=True),
    Column("first", Double, nullable=False),
    Column("last", Double, nullable=False, index=True),
    Column("returned", Boolean, nullable=False),
)


def check_version(connection: Connection) -> None:
    """Make what is missing; bring an older version up to this one, in the same transaction. Raises `StorageError` for
    tables of a newer version, which stay as they are."""
    about.create(connection, checkfirst=True)
    found = connection.execute(select(about.c.value).where(about.c.key == "version")).scalar()
    version = VERSION if found is None else int(found)
    if version > VERSION or version < 1:
        raise StorageError(
            f"the queue has version {found}, this program knows {VERSION}; install the newer program",
            code="queue-version",
        )
    for step in UPGRADES[version - 1 :]:
        step(connection)
    metadata.create_all(connection)
    for name in FORMER_INDEXES:
        connection.execute(text(f"DROP INDEX IF EXISTS {name}"))
    for table in metadata.tables.values():
        for index in table.indexes:
            connection.execute(CreateIndex(index, if_not_exists=True))
    if found is None:
        connection.execute(insert(about).values(key="version", value=str(VERSION)))
    elif version < VERSION:
        connection.execute(update(about).where(about.c.key == "version").values(value=str(VERSION)))


def _version_2(connection: Connection) -> None:
    """The schedule of a message."""
    _add_columns(connection, message, recipient)


def _version_3(connection: Connection) -> None:
    """Why something is held. What a locked account has there was held with its lock, by all that is known."""
    _add_columns(connection, recipient, sending)
    held = "UPDATE queue_recipient SET holds = 1 WHERE held"
    locked = (
        "UPDATE queue_recipient SET holds = 2 WHERE held AND queue_id IN (SELECT queue_id FROM queue_message "
        "WHERE account_id IN (SELECT account_id FROM queue_sending WHERE locked_at != 0))"
    )
    for statement in (held, locked, "UPDATE queue_sending SET holds = 2 WHERE locked_at != 0"):
        connection.execute(text(statement))


def _version_4(connection: Connection) -> None:
    """Who submitted a message: of those that wait nobody is named."""
    _add_columns(connection, message)


def _version_5(connection: Connection) -> None:
    """How long a lease may stay the same. Those of earlier versions: as long as a delivery worker's, which renews."""
    _add_columns(connection, recipient)


def _version_6(connection: Connection) -> None:
    """Which instance accepted it: of what waits any."""
    _add_columns(connection, recipient)


def _add_columns(connection: Connection, *tables: Table) -> None:
    """SQLite and PostgreSQL add columns with a default without rewriting a row."""
    for table in tables:
        table.create(connection, checkfirst=True)  # which version 1 need not have had
        present = {column["name"] for column in inspect(connection).get_columns(table.name)}
        for column in table.columns:
            if column.name not in present:
                definition = CreateColumn(column).compile(dialect=connection.dialect)
                connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN {definition}"))


# One for each step from a version to the next.
UPGRADES: tuple[Callable[[Connection], None], ...] = (_version_2, _version_3, _version_4, _version_5, _version_6)
