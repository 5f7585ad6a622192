"""0002: shared mailboxes (kind of an account, access lists, annotations) and what app passwords need beside their hash.
Frozen: it says what was made then, whatever the models become.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # Not by alembic's copy of the table: dropping the old one would cascade to every credential.
    op.execute(
        "ALTER TABLE account ADD COLUMN kind TEXT DEFAULT 'person' NOT NULL "
        "CONSTRAINT ck_account_kind CHECK (kind IN ('person', 'shared'))"
    )
    op.add_column("credential", sa.Column("bare_lines", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.add_column("credential", sa.Column("scram", sa.Text(), nullable=False, server_default=sa.text("''")))
    _acl()
    _annotation()


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _acl() -> None:
    op.create_table(
        "acl",
        _text("id"),
        _text("account_id"),
        _text("folder_id"),
        _text("subject"),
        sa.Column("grantee_id", sa.Text(), nullable=True),
        _text("rights"),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_acl_account_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["grantee_id"], ["account.id"], name="fk_acl_grantee_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_acl"),
        sa.UniqueConstraint("account_id", "folder_id", "subject", name="uq_acl_account_id_folder_id_subject"),
    )
    op.create_index("ix_acl_subject", "acl", ["subject"])
    op.create_index("ix_acl_grantee_id", "acl", ["grantee_id"])


def _annotation() -> None:
    op.create_table(
        "annotation",
        _text("id"),
        _text("account_id"),
        _text("folder_id"),
        _text("reader"),
        sa.Column("reader_id", sa.Text(), nullable=True),
        _text("entry"),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_annotation_account_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["reader_id"], ["account.id"], name="fk_annotation_reader_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_annotation"),
        sa.UniqueConstraint(
            "account_id", "folder_id", "reader", "entry", name="uq_annotation_account_id_folder_id_reader_entry"
        ),
    )
    op.create_index("ix_annotation_reader_id", "annotation", ["reader_id"])
