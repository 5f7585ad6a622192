"""0003: the ceiling of an organisation. Frozen: it says what was made then, whatever the models become."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("organisation", sa.Column("quota", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
