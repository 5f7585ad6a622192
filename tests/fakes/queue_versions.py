"""Tables of the queue as earlier versions made them, frozen: what an upgrade meets."""

from __future__ import annotations

from sqlalchemy import Connection

_TYPES = {
    "sqlite": {"id": "INTEGER NOT NULL PRIMARY KEY", "bytes": "BLOB", "double": "DOUBLE"},
    "postgresql": {"id": "BIGSERIAL PRIMARY KEY", "bytes": "BYTEA", "double": "DOUBLE PRECISION"},
}
_VERSION_1 = """
CREATE TABLE queue_about (key VARCHAR(32) NOT NULL PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE queue_message (queue_id VARCHAR(64) NOT NULL PRIMARY KEY, sender TEXT NOT NULL,
  account_id VARCHAR(64) NOT NULL, size BIGINT NOT NULL, head_size BIGINT NOT NULL, created {double} NOT NULL,
  smtputf8 BOOLEAN NOT NULL, body VARCHAR(16) NOT NULL, ret VARCHAR(8) NOT NULL, envid TEXT NOT NULL,
  require_tls BOOLEAN NOT NULL, local_prefix {bytes} NOT NULL);
CREATE TABLE queue_chunk (queue_id VARCHAR(64) NOT NULL REFERENCES queue_message (queue_id), number INTEGER NOT NULL,
  data {bytes} NOT NULL, PRIMARY KEY (queue_id, number));
CREATE TABLE queue_recipient (id {id}, queue_id VARCHAR(64) NOT NULL REFERENCES queue_message (queue_id),
  address TEXT NOT NULL, domain VARCHAR(255) NOT NULL, organisation_id VARCHAR(64) NOT NULL, forwarded BOOLEAN NOT NULL,
  folder TEXT NOT NULL, notify VARCHAR(64) NOT NULL, orcpt TEXT NOT NULL, state VARCHAR(16) NOT NULL,
  held BOOLEAN NOT NULL, attempts INTEGER NOT NULL, next_attempt {double} NOT NULL, last_attempt {double} NOT NULL,
  last_status TEXT NOT NULL, remote TEXT NOT NULL, diagnostic TEXT NOT NULL, lease_owner VARCHAR(64) NOT NULL,
  lease_until {double} NOT NULL, owed VARCHAR(16) NOT NULL, delay_told BOOLEAN NOT NULL);
CREATE INDEX queue_due_of ON queue_recipient (state, held, next_attempt, domain, organisation_id, queue_id);
CREATE INDEX queue_owed ON queue_recipient (owed) WHERE owed != '';
INSERT INTO queue_about VALUES ('version', '1');
INSERT INTO queue_message VALUES ('old', 'a@one.test', 'acc', 25, 20, 1790000000.0, FALSE, '7BIT', '', '', FALSE,
  {head});
INSERT INTO queue_chunk VALUES ('old', 0, {data});
INSERT INTO queue_recipient (queue_id, address, domain, organisation_id, forwarded, folder, notify, orcpt, state, held,
  attempts, next_attempt, last_attempt, last_status, remote, diagnostic, lease_owner, lease_until, owed, delay_told)
  VALUES ('old', 'b@two.test', 'two.test', 'o1', FALSE, '', 'FAILURE', '', 'waiting', FALSE, 3, 1790000000.0,
  1789999000.0, '451 4.4.1 away', '', '', '', 0, '', TRUE)
"""
# What each later version added to the tables that version 1 had.
_STEPS = (
    """
ALTER TABLE queue_message ADD COLUMN release_at {double} NOT NULL DEFAULT 0;
ALTER TABLE queue_message ADD COLUMN hold VARCHAR(64) NOT NULL DEFAULT '';
ALTER TABLE queue_message ADD COLUMN deliver_by {double} NOT NULL DEFAULT 0;
ALTER TABLE queue_message ADD COLUMN by_mode VARCHAR(1) NOT NULL DEFAULT '';
ALTER TABLE queue_message ADD COLUMN by_trace BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE queue_message ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE queue_recipient ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
CREATE TABLE queue_sending (account_id VARCHAR(64) NOT NULL PRIMARY KEY, locked_at {double} NOT NULL,
  warned_at {double} NOT NULL)
""",
    """
ALTER TABLE queue_recipient ADD COLUMN holds INTEGER NOT NULL DEFAULT 0;
ALTER TABLE queue_sending ADD COLUMN holds INTEGER NOT NULL DEFAULT 0
""",
    "ALTER TABLE queue_message ADD COLUMN submitter TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE queue_recipient ADD COLUMN lease_term {double} NOT NULL DEFAULT 60",
)
BYTES = b"From: a@one.test\r\n\r\nold\r\n"


def make_version_1(connection: Connection) -> None:
    """With one message in it that has been tried three times."""
    dialect = connection.dialect.name
    quoted = "x'{}'" if dialect == "sqlite" else r"'\x{}'::bytea"
    values = {**_TYPES[dialect], "head": quoted.format(b"X: y\r\n".hex()), "data": quoted.format(BYTES.hex())}
    for statement in _VERSION_1.format(**values).split(";"):
        connection.exec_driver_sql(statement)


def make_version(connection: Connection, version: int) -> None:
    """The same in the tables of a later version."""
    make_version_1(connection)
    for statements in _STEPS[: version - 1]:
        for statement in statements.format(**_TYPES[connection.dialect.name]).split(";"):
            connection.exec_driver_sql(statement)
    connection.exec_driver_sql(f"UPDATE queue_about SET value = '{version}' WHERE key = 'version'")


def multiply(connection: Connection, count: int) -> None:
    """So many more of that message in a SQLite queue, `old1`, `old2`, …"""
    numbers = f"WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {count})"
    for table in ("queue_message", "queue_chunk", "queue_recipient"):
        columns = [row[1] for row in connection.exec_driver_sql(f"PRAGMA table_info({table})") if row[1] != "id"]
        values = ", ".join("queue_id || x" if name == "queue_id" else name for name in columns)
        made = f"{numbers} SELECT {values} FROM {table}, n WHERE queue_id = 'old'"
        connection.exec_driver_sql(f"INSERT INTO {table} ({', '.join(columns)}) {made}")
