"""App passwords and shares as JSON. A password goes out once, in the answer that makes it, and never comes in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from admin_api.faults import fault
from admin_api.schemas import Model, Name
from core.errors import InvalidError
from directory import app_passwords, rights
from directory.types import AppPassword, Share


def _is_network(text: str) -> str:
    try:
        app_passwords.networks([text])
    except InvalidError as error:
        raise fault("network") from error
    return text


def _are_rights(text: str) -> str:
    try:
        rights.bundle(text)
    except ValueError as error:
        raise fault("rights") from error
    return text


Network = Annotated[str, Field(max_length=50, examples=["192.0.2.0/24"]), AfterValidator(_is_network)]
Rights = Annotated[
    str,
    Field(max_length=20, description="read, write, manage, or letters of lrswipkxtea (RFC 4314).", examples=["write"]),
    AfterValidator(_are_rights),
]


class AppPasswordIn(Model):
    label: Name = Field(description="What it is for, as the holder will recognise it.")
    scope: Literal["mail", "imap", "submission", "send-only"] = "mail"
    networks: Annotated[list[Network], Field(max_length=app_passwords.MAX_NETWORKS)] = Field(
        default=[], description="Where it may come from; empty is everywhere."
    )
    expires_at: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        default=None, description="Unix seconds; null is never."
    )
    bare_lines: bool = Field(default=False, description="For send-only: the device's bare line ends are mended.")


class AppPasswordOut(Model):
    id: str
    label: str
    scope: str
    networks: list[str]
    expires_at: float | None
    bare_lines: bool
    created_at: float

    @staticmethod
    def of(value: AppPassword) -> AppPasswordOut:
        return AppPasswordOut(
            id=value.id, label=value.label, scope=value.scope.value, networks=list(value.networks),
            expires_at=value.expires_at, bare_lines=value.bare_lines, created_at=value.created_at,
        )  # fmt: skip


class AppPasswordCreated(AppPasswordOut):
    password: str = Field(description="Shown once, kept nowhere.")


class ShareIn(Model):
    rights: Rights
    send_as: bool = Field(default=False, description="May they also send in its name?")
    set_quota: bool = Field(
        default=False,
        description="May they also set its quota from a mail program (RFC 9208 SETQUOTA), up to what the organisation "
        "has? Needs the right a, as manage has it.",
    )


class ShareOut(Model):
    owner: str
    grantee: str = Field(description='An address, or "anyone": everybody of the organisation.')
    rights: str
    send_as: bool
    set_quota: bool

    @staticmethod
    def of(value: Share) -> ShareOut:
        return ShareOut(
            owner=str(value.owner), grantee=str(value.grantee or "anyone"), rights=rights.letters(value.rights),
            send_as=value.send_as, set_quota=value.set_quota,
        )  # fmt: skip
