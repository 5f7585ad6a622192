"""The tables of the directory, as SQLAlchemy models.

Knows columns, keys and what may not be removed; refuses to know rules (services) and queries (repositories).
Account and alias addresses share one table, so that the database itself refuses one address twice whoever races
(security.md row 130). Where a removal would orphan mail, the foreign key restricts it. Times are Unix milliseconds
(`*_ms`) or seconds. Relationships raise on lazy load: a query says all that it needs.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, LargeBinary, MetaData, Text, text
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
# SQLite numbers rows by itself only where the primary key is spelt INTEGER.
Serial = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)


def _id() -> Mapped[str]:
    return mapped_column(Text, primary_key=True)


def _to(column: str, *, on_delete: str, index: bool = True) -> Mapped[str]:
    return mapped_column(Text, ForeignKey(column, ondelete=on_delete), index=index)


class OrganisationRow(Base):
    """A commune. `name_key` is the folded name by which two spellings are one."""

    __tablename__ = "organisation"
    __table_args__ = (CheckConstraint("state IN ('active', 'suspended')", name="state"),)

    id: Mapped[str] = _id()
    name: Mapped[str] = mapped_column(Text)
    name_key: Mapped[str] = mapped_column(Text, unique=True)
    state: Mapped[str] = mapped_column(Text)
    quota: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    created_ms: Mapped[int] = mapped_column(BigInteger)


class DomainRow(Base):
    """Its catch-all is an alias whose local part is "*"."""

    __tablename__ = "domain"
    __table_args__ = (CheckConstraint("state IN ('active', 'suspended')", name="state"),)

    id: Mapped[str] = _id()
    name: Mapped[str] = mapped_column(Text, unique=True)
    organisation_id: Mapped[str] = _to("organisation.id", on_delete="RESTRICT")
    state: Mapped[str] = mapped_column(Text)
    created_ms: Mapped[int] = mapped_column(BigInteger)


class AddressRow(Base):
    """One local address, of an account or an alias. `key` is `core.address.Address.key`."""

    __tablename__ = "address"

    id: Mapped[str] = _id()
    key: Mapped[str] = mapped_column(Text, unique=True)
    local: Mapped[str] = mapped_column(Text)
    domain_id: Mapped[str] = _to("domain.id", on_delete="RESTRICT")


class AccountRow(Base):
    __tablename__ = "account"
    __table_args__ = (
        CheckConstraint("state IN ('active', 'suspended')", name="state"),
        CheckConstraint("quota >= 0", name="quota"),
        CheckConstraint("kind IN ('person', 'shared')", name="kind"),
    )

    id: Mapped[str] = _id()
    address_id: Mapped[str] = mapped_column(Text, ForeignKey("address.id", ondelete="RESTRICT"), unique=True)
    organisation_id: Mapped[str] = _to("organisation.id", on_delete="RESTRICT")
    display_name: Mapped[str] = mapped_column(Text)
    quota: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(Text)
    created_ms: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(Text, server_default=text("'person'"))


class AliasRow(Base):
    __tablename__ = "alias"

    id: Mapped[str] = _id()
    address_id: Mapped[str] = mapped_column(Text, ForeignKey("address.id", ondelete="RESTRICT"), unique=True)
    organisation_id: Mapped[str] = _to("organisation.id", on_delete="RESTRICT")
    created_ms: Mapped[int] = mapped_column(BigInteger)
    targets: Mapped[list[AliasTargetRow]] = relationship(
        lazy="raise", order_by="AliasTargetRow.position", cascade="all, delete-orphan", passive_deletes=True
    )


class AliasTargetRow(Base):
    """A target may lie outside, so it is text and no key to `address`; `key` finds what leads to an account."""

    __tablename__ = "alias_target"

    alias_id: Mapped[str] = mapped_column(Text, ForeignKey("alias.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    local: Mapped[str] = mapped_column(Text)
    domain: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text, index=True)


class GrantRow(Base):
    """`grantee` may send in the name of `owner` (`kind` "send-as"), or set its quota ("set-quota"); both of one
    organisation (checked by the service)."""

    __tablename__ = "send_grant"

    owner_id: Mapped[str] = mapped_column(Text, ForeignKey("account.id", ondelete="CASCADE"), primary_key=True)
    grantee_id: Mapped[str] = mapped_column(
        Text, ForeignKey("account.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    created_ms: Mapped[int] = mapped_column(BigInteger)


class CredentialRow(Base):
    """What opens an account. Kind "password" is the one of its holder; kind "app" the passwords made for one program
    or device, with the columns after `secret_hash`: `protocols` is their scope (a word of `directory.types.Scope`),
    `network` the networks they may come from (space-separated, "" is all), their end, whether the device's bare line
    ends are forgiven, and the SCRAM keys (`directory.scram`), "" without."""

    __tablename__ = "credential"
    __table_args__ = (
        Index(
            "uq_credential_one_password",
            "account_id",
            unique=True,
            sqlite_where=text("kind = 'password'"),
            postgresql_where=text("kind = 'password'"),
        ),
    )

    id: Mapped[str] = _id()
    account_id: Mapped[str] = _to("account.id", on_delete="CASCADE")
    kind: Mapped[str] = mapped_column(Text)
    secret_hash: Mapped[str] = mapped_column(Text)
    label: Mapped[str] = mapped_column(Text)
    protocols: Mapped[str] = mapped_column(Text)
    network: Mapped[str] = mapped_column(Text)
    expires_ms: Mapped[int | None] = mapped_column(BigInteger)
    created_ms: Mapped[int] = mapped_column(BigInteger)
    bare_lines: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    scram: Mapped[str] = mapped_column(Text, server_default=text("''"))


class AclRow(Base):
    """What `subject` (an account's id, or "anyone" of the owner's organisation) may do in a folder of `account_id`, or
    with "-" before it may not (RFC 4314). `folder_id` is the store's id, so that a rename changes nothing; "" is the
    whole account, for which an entry of the folder itself stands in, even one without rights."""

    __tablename__ = "acl"
    __table_args__ = (Unique("account_id", "folder_id", "subject"),)

    id: Mapped[str] = _id()
    account_id: Mapped[str] = _to("account.id", on_delete="CASCADE", index=False)
    folder_id: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text, index=True)
    grantee_id: Mapped[str | None] = mapped_column(Text, ForeignKey("account.id", ondelete="CASCADE"), index=True)
    rights: Mapped[str] = mapped_column(Text)
    created_ms: Mapped[int] = mapped_column(BigInteger)


class AnnotationRow(Base):
    """One METADATA entry (RFC 5464) of a folder of `account_id`, or with `folder_id` "" of the server as that account
    sees it. `reader` is the account's id whose private entry it is, "" for a shared one."""

    __tablename__ = "annotation"
    __table_args__ = (Unique("account_id", "folder_id", "reader", "entry"),)

    id: Mapped[str] = _id()
    account_id: Mapped[str] = _to("account.id", on_delete="CASCADE", index=False)
    folder_id: Mapped[str] = mapped_column(Text)
    reader: Mapped[str] = mapped_column(Text)
    reader_id: Mapped[str | None] = mapped_column(Text, ForeignKey("account.id", ondelete="CASCADE"), index=True)
    entry: Mapped[str] = mapped_column(Text)
    value: Mapped[bytes] = mapped_column(LargeBinary)


class AdministratorRow(Base):
    """`scope` is the organisation's id or "" for operators: names are unique within it, so that a taken name tells
    nothing of another commune (promise P8)."""

    __tablename__ = "administrator"
    __table_args__ = (
        Unique("scope", "name_key"),
        CheckConstraint("role IN ('operator', 'organisation')", name="role"),
        CheckConstraint("(role = 'operator') = (organisation_id IS NULL)", name="bound"),
    )

    id: Mapped[str] = _id()
    name: Mapped[str] = mapped_column(Text)
    name_key: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    scope: Mapped[str] = mapped_column(Text)
    organisation_id: Mapped[str | None] = mapped_column(
        Text, ForeignKey("organisation.id", ondelete="RESTRICT"), index=True
    )
    created_ms: Mapped[int] = mapped_column(BigInteger)


class TokenRow(Base):
    """A bearer token, known by the hash of its 256 random bits only."""

    __tablename__ = "administrator_token"

    id: Mapped[str] = _id()
    administrator_id: Mapped[str] = _to("administrator.id", on_delete="CASCADE")
    token_hash: Mapped[str] = mapped_column(Text, unique=True)
    expires_ms: Mapped[int | None] = mapped_column(BigInteger)
    created_ms: Mapped[int] = mapped_column(BigInteger)


class DkimKeyRow(Base):
    __tablename__ = "dkim_key"
    __table_args__ = (
        Unique("domain_id", "selector"),
        CheckConstraint("state IN ('published', 'active', 'retired')", name="state"),
    )

    id: Mapped[str] = _id()
    domain_id: Mapped[str] = mapped_column(Text, ForeignKey("domain.id", ondelete="CASCADE"))
    selector: Mapped[str] = mapped_column(Text)
    algorithm: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    public_key: Mapped[str] = mapped_column(Text)
    sealed_private_key: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[int] = mapped_column(BigInteger)


class AuditRow(Base):
    """Who did what to what, when. Only ever appended to; it outlives what it names, so it refers by text.
    `operation` names the transaction: finding it again proves that a commit of unknown outcome took place."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(Serial, primary_key=True, autoincrement=True)
    at_ms: Mapped[int] = mapped_column(BigInteger, index=True)
    operation: Mapped[str] = mapped_column(Text, index=True)
    actor: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    organisation_id: Mapped[str | None] = mapped_column(Text, index=True)
    action: Mapped[str] = mapped_column(Text)
    target: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)


class StateRow(Base):
    """The one row of facts about the directory as a whole. `version` rises with every administrative commit; `identity`
    stays, in copies and backups, too."""

    __tablename__ = "directory_state"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(BigInteger)
    operator_postmaster: Mapped[str | None] = mapped_column(Text)
    identity: Mapped[str] = mapped_column(Text, server_default=text("''"))
