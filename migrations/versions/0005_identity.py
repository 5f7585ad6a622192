"""0005: the name by which a directory is known again. Frozen: it says what was made then, whatever the models become.

One with a commune in it is called after the first of them, so that a backup from before is brought up to the same name;
an empty one by chance.
"""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("directory_state", sa.Column("identity", sa.Text(), nullable=False, server_default=sa.text("''")))
    connection = op.get_bind()
    first = connection.scalar(sa.text("SELECT id FROM organisation ORDER BY created_ms, id LIMIT 1"))
    connection.execute(
        sa.text("UPDATE directory_state SET identity = :identity"), {"identity": first or secrets.token_hex(16)}
    )
