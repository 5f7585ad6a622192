"""What goes in and out as JSON. Unknown members are refused (mass assignment, h123); every text has a bound. Types are
strict: "yes", "on" and 1 are not true, "5" and 5.0 no whole number. A query, which has only texts, is read instead."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from admin_api.faults import fault
from core.address import Address, AddressError, parse
from core.domain import to_unicode
from directory.types import Account, Administrator, Alias, Domain, Grant, Organisation
from dkim_keys.records import DnsRecord
from store.types import Recycled, Restored


def _is_address(text: str) -> str:
    try:
        parse(text)
    except AddressError as error:
        raise fault("address", str(error)) from error
    return text


def _printable(text: str) -> str:
    if any(not character.isprintable() for character in text):
        raise fault("control_characters")
    return text


AddressText = Annotated[str, Field(max_length=320, examples=["mairie@commune.fr"]), AfterValidator(_is_address)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
DomainText = Annotated[str, Field(min_length=1, max_length=253), AfterValidator(_printable)]
Quota = Annotated[int, Field(ge=0, le=2**53, description="Octets; 0 is unlimited.")]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class OrganisationIn(Model):
    name: Name


class OrganisationChange(Model):
    """What is absent stays as it is."""

    quota: Quota | None = Field(
        default=None, description="What all its mailboxes may hold together, in octets; 0 is unlimited."
    )
    state: Literal["active", "suspended"] | None = None


class OrganisationOut(Model):
    id: str
    name: str
    state: str
    quota: int

    @staticmethod
    def of(value: Organisation) -> OrganisationOut:
        return OrganisationOut(id=value.id, name=value.name, state=value.state.value, quota=value.quota)


class OrganisationDetail(OrganisationOut):
    octets: int = Field(description="What its mailboxes hold together, at most 5 s late.")


class DomainIn(Model):
    name: DomainText
    organisation: Name = Field(description="Id or name of the organisation.")


class DnsRecordOut(Model):
    name: str
    type: str
    value: str
    purpose: str
    zone_line: str

    @staticmethod
    def of(record: DnsRecord) -> DnsRecordOut:
        return DnsRecordOut(
            name=record.name, type=record.type, value=record.value, purpose=record.purpose,
            zone_line=record.zone_line(),
        )  # fmt: skip


class DomainOut(Model):
    name: str
    display_name: str
    organisation: str
    state: str

    @staticmethod
    def of(value: Domain) -> DomainOut:
        return DomainOut(
            name=value.name, display_name=to_unicode(value.name), organisation=value.organisation_id,
            state=value.state.value,
        )  # fmt: skip


class DomainCreated(DomainOut):
    records: list[DnsRecordOut]


class RecordCheckOut(Model):
    name: str
    type: str
    status: str
    good: bool
    expected: str
    observed: list[str]


class MailboxIn(Model):
    address: AddressText
    password: SecretStr | None = Field(default=None, max_length=1024)
    quota: Quota = 0
    display_name: Annotated[str, Field(max_length=200), AfterValidator(_printable)] = ""
    shared: bool = Field(default=False, description="Of a function: those it is shared with find it under Shared.")


class MailboxChange(Model):
    """What is absent stays as it is."""

    quota: Quota | None = None
    display_name: Annotated[str, Field(max_length=200), AfterValidator(_printable)] | None = None
    state: Literal["active", "suspended"] | None = None
    shared: bool | None = None


class PasswordIn(Model):
    password: SecretStr = Field(max_length=1024)


class MailboxOut(Model):
    id: str
    address: str
    organisation: str
    display_name: str
    quota: int
    state: str
    shared: bool

    @staticmethod
    def of(value: Account) -> MailboxOut:
        return MailboxOut(
            id=value.id, address=str(value.address), organisation=value.organisation_id,
            display_name=value.display_name, quota=value.quota, state=value.state.value, shared=value.shared,
        )  # fmt: skip


class MailboxDetail(MailboxOut):
    octets: int
    messages: int
    sending_locked: bool = Field(description="A hijack pattern was seen: it may not send until it is unlocked.")


class RecycledOut(Model):
    """A removed mailbox (`folder` empty) or a deleted folder."""

    item: str
    address: str
    folder: str
    removed_at: int = Field(description="Unix seconds.")
    messages: int
    octets: int

    @staticmethod
    def of(value: Recycled) -> RecycledOut:
        return RecycledOut(
            item=value.id, address=value.address, folder=value.folder, removed_at=value.removed_at,
            messages=value.messages, octets=value.octets,
        )  # fmt: skip


class RestoreIn(Model):
    """Without `items`: all that lies in the recycle bin under this address. `in_place`: a removed mailbox becomes this
    new, empty one, as it was."""

    items: Annotated[list[Annotated[str, Field(max_length=400)]], Field(max_length=1000)] = []
    in_place: bool = False


class RestoredOut(Model):
    """`folder`: the one above all that came back; empty when the mailbox is as it was. `left_out`: what of it could not
    be read, and why; it stays where it is."""

    folder: str
    folders: int
    messages: int
    left_out: list[str]

    @staticmethod
    def of(value: Restored) -> RestoredOut:
        return RestoredOut(
            folder=value.folder, folders=value.folders, messages=value.messages, left_out=list(value.left_out)
        )


class AliasIn(Model):
    address: AddressText
    targets: Annotated[list[AddressText], Field(min_length=1, max_length=500)]


class AliasOut(Model):
    address: str
    targets: list[str]
    organisation: str

    @staticmethod
    def of(value: Alias) -> AliasOut:
        targets = [str(target) for target in value.targets]
        return AliasOut(address=str(value.address), targets=targets, organisation=value.organisation_id)


class GrantIn(Model):
    owner: AddressText
    grantee: AddressText


class GrantOut(Model):
    owner: str
    grantee: str

    @staticmethod
    def of(value: Grant) -> GrantOut:
        return GrantOut(owner=str(value.owner), grantee=str(value.grantee))


class PostmasterIn(Model):
    address: AddressText | None


class AdministratorIn(Model):
    name: Name
    role: Literal["operator", "organisation"]
    organisation: Name | None = None


class AdministratorOut(Model):
    name: str
    role: str
    organisation: str | None


class AdministratorDetail(AdministratorOut):
    id: str

    @staticmethod
    def of(value: Administrator) -> AdministratorDetail:
        return AdministratorDetail(
            id=value.id, name=value.name, role=value.role.value, organisation=value.organisation_id
        )


class AdministratorCreated(AdministratorDetail):
    token: str = Field(description="Shown once, kept nowhere.")


class DkimKeyOut(Model):
    selector: str
    algorithm: str
    state: str


def address_of(text: str) -> Address:
    """A validated address text as a value."""
    return parse(text)
