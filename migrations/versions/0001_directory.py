"""0001: the whole directory: organisations, domains, addresses, accounts, aliases, grants, credentials, administrators,
DKIM keys, audit, state. Frozen: it says what was made then, whatever the models become.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    for make in TABLES:
        make()
    op.execute("INSERT INTO directory_state (id, version) VALUES (1, 0)")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _organisation() -> None:
    op.create_table(
        "organisation",
        _text("id"),
        _text("name"),
        _text("name_key"),
        _text("state"),
        _integer("created_ms"),
        sa.CheckConstraint("state IN ('active', 'suspended')", name="ck_organisation_state"),
        sa.PrimaryKeyConstraint("id", name="pk_organisation"),
        sa.UniqueConstraint("name_key", name="uq_organisation_name_key"),
    )


def _domain() -> None:
    op.create_table(
        "domain",
        _text("id"),
        _text("name"),
        _text("organisation_id"),
        _text("state"),
        sa.Column("catch_all", sa.Text(), nullable=True),
        _integer("created_ms"),
        sa.CheckConstraint("state IN ('active', 'suspended')", name="ck_domain_state"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_domain_organisation_id", ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_domain"),
        sa.UniqueConstraint("name", name="uq_domain_name"),
    )
    op.create_index("ix_domain_organisation_id", "domain", ["organisation_id"])


def _address() -> None:
    op.create_table(
        "address",
        _text("id"),
        _text("key"),
        _text("local"),
        _text("domain_id"),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name="fk_address_domain_id", ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name="pk_address"),
        sa.UniqueConstraint("key", name="uq_address_key"),
    )
    op.create_index("ix_address_domain_id", "address", ["domain_id"])


def _account() -> None:
    op.create_table(
        "account",
        _text("id"),
        _text("address_id"),
        _text("organisation_id"),
        _text("display_name"),
        _integer("quota"),
        _text("state"),
        _integer("created_ms"),
        sa.CheckConstraint("state IN ('active', 'suspended')", name="ck_account_state"),
        sa.CheckConstraint("quota >= 0", name="ck_account_quota"),
        sa.ForeignKeyConstraint(["address_id"], ["address.id"], name="fk_account_address_id", ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_account_organisation_id", ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_account"),
        sa.UniqueConstraint("address_id", name="uq_account_address_id"),
    )
    op.create_index("ix_account_organisation_id", "account", ["organisation_id"])


def _alias() -> None:
    op.create_table(
        "alias",
        _text("id"),
        _text("address_id"),
        _text("organisation_id"),
        _integer("created_ms"),
        sa.ForeignKeyConstraint(["address_id"], ["address.id"], name="fk_alias_address_id", ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_alias_organisation_id", ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_alias"),
        sa.UniqueConstraint("address_id", name="uq_alias_address_id"),
    )
    op.create_index("ix_alias_organisation_id", "alias", ["organisation_id"])


def _alias_target() -> None:
    op.create_table(
        "alias_target",
        _text("alias_id"),
        sa.Column("position", sa.Integer(), nullable=False),
        _text("local"),
        _text("domain"),
        _text("key"),
        sa.ForeignKeyConstraint(["alias_id"], ["alias.id"], name="fk_alias_target_alias_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("alias_id", "position", name="pk_alias_target"),
    )
    op.create_index("ix_alias_target_key", "alias_target", ["key"])


def _send_grant() -> None:
    op.create_table(
        "send_grant",
        _text("owner_id"),
        _text("grantee_id"),
        _text("kind"),
        _integer("created_ms"),
        sa.ForeignKeyConstraint(["grantee_id"], ["account.id"], name="fk_send_grant_grantee_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["owner_id"], ["account.id"], name="fk_send_grant_owner_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner_id", "grantee_id", "kind", name="pk_send_grant"),
    )
    op.create_index("ix_send_grant_grantee_id", "send_grant", ["grantee_id"])


def _credential() -> None:
    op.create_table(
        "credential",
        _text("id"),
        _text("account_id"),
        _text("kind"),
        _text("secret_hash"),
        _text("label"),
        _text("protocols"),
        _text("network"),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        _integer("created_ms"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_credential_account_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_credential"),
    )
    op.create_index("ix_credential_account_id", "credential", ["account_id"])
    op.create_index(
        "uq_credential_one_password",
        "credential",
        ["account_id"],
        unique=True,
        sqlite_where=sa.text("kind = 'password'"),
        postgresql_where=sa.text("kind = 'password'"),
    )


def _administrator() -> None:
    op.create_table(
        "administrator",
        _text("id"),
        _text("name"),
        _text("name_key"),
        _text("role"),
        _text("scope"),
        sa.Column("organisation_id", sa.Text(), nullable=True),
        _integer("created_ms"),
        sa.CheckConstraint("(role = 'operator') = (organisation_id IS NULL)", name="ck_administrator_bound"),
        sa.CheckConstraint("role IN ('operator', 'organisation')", name="ck_administrator_role"),
        sa.ForeignKeyConstraint(
            ["organisation_id"], ["organisation.id"], name="fk_administrator_organisation_id", ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_administrator"),
        sa.UniqueConstraint("scope", "name_key", name="uq_administrator_scope_name_key"),
    )
    op.create_index("ix_administrator_organisation_id", "administrator", ["organisation_id"])


def _administrator_token() -> None:
    op.create_table(
        "administrator_token",
        _text("id"),
        _text("administrator_id"),
        _text("token_hash"),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        _integer("created_ms"),
        sa.ForeignKeyConstraint(
            ["administrator_id"],
            ["administrator.id"],
            name="fk_administrator_token_administrator_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_administrator_token"),
        sa.UniqueConstraint("token_hash", name="uq_administrator_token_token_hash"),
    )
    op.create_index("ix_administrator_token_administrator_id", "administrator_token", ["administrator_id"])


def _dkim_key() -> None:
    op.create_table(
        "dkim_key",
        _text("id"),
        _text("domain_id"),
        _text("selector"),
        _text("algorithm"),
        _text("state"),
        _text("public_key"),
        sa.Column("sealed_private_key", sa.LargeBinary(), nullable=False),
        _integer("created_at"),
        sa.CheckConstraint("state IN ('published', 'active', 'retired')", name="ck_dkim_key_state"),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name="fk_dkim_key_domain_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_dkim_key"),
        sa.UniqueConstraint("domain_id", "selector", name="uq_dkim_key_domain_id_selector"),
    )


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        _integer("at_ms"),
        _text("operation"),
        _text("actor"),
        _text("role"),
        sa.Column("organisation_id", sa.Text(), nullable=True),
        _text("action"),
        _text("target"),
        _text("outcome"),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_at_ms", "audit", ["at_ms"])
    op.create_index("ix_audit_operation", "audit", ["operation"])
    op.create_index("ix_audit_organisation_id", "audit", ["organisation_id"])


def _directory_state() -> None:
    op.create_table(
        "directory_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        _integer("version"),
        sa.Column("operator_postmaster", sa.Text(), nullable=True),
        sa.CheckConstraint("id = 1", name="ck_directory_state_single"),
        sa.PrimaryKeyConstraint("id", name="pk_directory_state"),
    )


TABLES = (
    _organisation,
    _domain,
    _address,
    _account,
    _alias,
    _alias_target,
    _send_grant,
    _credential,
    _administrator,
    _administrator_token,
    _dkim_key,
    _audit,
    _directory_state,
)
