"""0004: a domain's column that nothing ever read or wrote: a catch-all is an alias whose local part is "*". Frozen: it
says what was made then, whatever the models become."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.drop_column("domain", "catch_all")
