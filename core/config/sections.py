"""The sections of the configuration but `limits`: doors, other machines, logins, mailboxes."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal

from pydantic import Field, field_validator, model_validator

from core.config.quantities import parse_address, parse_duration, parse_place, parse_web_address
from core.config.section import Section
from core.domain import DomainError, to_ascii


class Listen(Section):
    """Where the doors are: lists of "address:port"; an empty list closes one."""

    mx: list[str] = ["0.0.0.0:25"]
    submission: list[str] = ["0.0.0.0:587"]
    submissions: list[str] = ["0.0.0.0:465"]
    lmtp: list[str] = []
    imap: list[str] = ["0.0.0.0:143"]
    imaps: list[str] = ["0.0.0.0:993"]
    api: list[str] = ["127.0.0.1:8080"]
    https: list[str] = []
    metrics: list[str] = ["127.0.0.1:9090"]
    proxy_from: list[str] = []

    @field_validator("proxy_from")
    @classmethod
    def _balancers(cls, value: list[str]) -> list[str]:
        for item in value:
            ip_network(item, strict=False)
        return value

    @property
    def proxy_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(ip_network(item, strict=False) for item in self.proxy_from)

    @field_validator("mx", "submission", "submissions", "lmtp", "imap", "imaps", "api", "https", "metrics")
    @classmethod
    def _endpoints(cls, value: list[str]) -> list[str]:
        for item in value:
            parse_place(item, names=("localhost",))
        return value


class TlsFiles(Section):
    """`sites`: a folder of `NAME.pem` (chain and key) for names of the https door."""

    certificate: str = ""
    key: str = ""
    sites: str = ""


class MtaSts(Section):
    """The policy published for hosted domains once `listen.https` is open (RFC 8461)."""

    mode: Literal["off", "none", "testing", "enforce"] = "testing"
    max_age: str = "7d"

    @field_validator("max_age")
    @classmethod
    def _duration(cls, value: str) -> str:
        if not 0 < parse_duration(value) <= 31_557_600:
            raise ValueError("between 1s and a year")
        return value

    @property
    def max_age_seconds(self) -> int:
        return parse_duration(self.max_age)


class Database(Section):
    """`url` empty means the SQLite file directory.db inside `data`; `queue` empty queue/queue.db there."""

    url: str = ""
    queue: str = ""

    @field_validator("url")
    @classmethod
    def _known(cls, value: str) -> str:
        if value and not value.startswith(("sqlite:", "postgresql:", "postgresql+asyncpg:", "postgres:")):
            raise ValueError("sqlite:///FILE or postgresql://…, or empty for the file of its own")
        return value

    @field_validator("queue")
    @classmethod
    def _postgres(cls, value: str) -> str:
        if value and not value.startswith(("postgresql://", "postgres://")):
            raise ValueError("postgresql://…, or empty for the file of its own")
        return value


class Dns(Section):
    resolvers: list[str] = ["127.0.0.1:53"]
    timeout: float = Field(default=5.0, gt=0, allow_inf_nan=False)

    @field_validator("resolvers")
    @classmethod
    def _places(cls, value: list[str]) -> list[str]:
        for item in value:
            parse_place(item)
        return value


class Delivery(Section):
    port: int = Field(default=25, ge=1, le=65535)
    mta_sts_port: int = Field(default=443, ge=1, le=65535)
    routes: dict[str, str] = {}
    allow_private: bool = False
    ca_file: str = ""
    bind: list[str] = []
    retry: str = "5m, 15m, 30m, 1h, 2h, 4h"
    lifetime: str = "5d"
    delay_notice: str = "4h"
    trace: str = "180d"

    @field_validator("bind")
    @classmethod
    def _sources(cls, value: list[str]) -> list[str]:
        return [parse_address(item) for item in value]

    @field_validator("retry")
    @classmethod
    def _retry(cls, value: str) -> str:
        if not [parse_duration(part) for part in value.split(",")]:
            raise ValueError("at least one interval is needed")
        return value

    @field_validator("lifetime", "delay_notice", "trace")
    @classmethod
    def _duration(cls, value: str) -> str:
        parse_duration(value)
        return value

    @property
    def retry_seconds(self) -> tuple[int, ...]:
        return tuple(parse_duration(part) for part in self.retry.split(","))

    @property
    def lifetime_seconds(self) -> int:
        return parse_duration(self.lifetime)

    @property
    def trace_seconds(self) -> int:
        return parse_duration(self.trace)

    @property
    def delay_notice_seconds(self) -> int:
        return parse_duration(self.delay_notice)


class Antispam(Section):
    rspamd: str = ""
    rspamd_controller: str = ""
    rspamd_password: str = ""
    when_unavailable: Literal["defer", "accept"] = "defer"
    clamd: str = ""
    greylist: bool = False
    greylist_wait: str = "5m"
    greylist_window: str = "2d"
    greylist_keep: str = "36d"
    arc_trusted: list[str] = []

    @field_validator("rspamd", "rspamd_controller")
    @classmethod
    def _url(cls, value: str) -> str:
        return parse_web_address(value) if value else value

    @field_validator("arc_trusted")
    @classmethod
    def _domains(cls, value: list[str]) -> list[str]:
        try:
            return [to_ascii(item) for item in value]
        except DomainError as error:
            raise ValueError(str(error)) from error

    @field_validator("greylist_wait", "greylist_window", "greylist_keep")
    @classmethod
    def _duration(cls, value: str) -> str:
        parse_duration(value)
        return value

    @property
    def greylist_wait_seconds(self) -> int:
        return parse_duration(self.greylist_wait)

    @property
    def greylist_window_seconds(self) -> int:
        return parse_duration(self.greylist_window)

    @property
    def greylist_keep_seconds(self) -> int:
        return parse_duration(self.greylist_keep)


class Auth(Section):
    """`scram`: SCRAM-SHA-256 with app passwords. `introspection`: where access tokens are checked (RFC 7662), "" none.
    `client_ca`: who signs client certificates (PEM; inside `data`, or absolute), "" none; `client_certificates`:
    SHA-256 fingerprint (hexadecimal) > address, for certificates that name no address themselves."""

    plaintext_on_loopback: bool = False
    scram: bool = False
    introspection: str = ""
    introspection_client: str = ""
    introspection_secret: str = ""
    introspection_claim: str = "email"
    introspection_scope: str = ""
    client_ca: str = ""
    client_certificates: dict[str, str] = {}

    @field_validator("introspection")
    @classmethod
    def _url(cls, value: str) -> str:
        return parse_web_address(value) if value else value

    @field_validator("client_certificates")
    @classmethod
    def _fingerprints(cls, value: dict[str, str]) -> dict[str, str]:
        found = {fingerprint.replace(":", "").lower(): address for fingerprint, address in value.items()}
        if not all(re.fullmatch("[0-9a-f]{64}", fingerprint) for fingerprint in found):
            raise ValueError("not a SHA-256 fingerprint: 64 hexadecimal digits")
        return found


def _one_level(value: str) -> str:
    odd = not value.isprintable() or value != value.strip() or set("/%*") & set(value)
    if odd or value.upper() in ("", "INBOX", ".", ".."):
        raise ValueError("this is one level of a folder name, without wildcards")
    return value


class Folders(Section):
    """What the standard folders of new accounts are called; accounts that exist keep theirs."""

    drafts: str = "Brouillons"
    sent: str = "Envoyés"
    junk: str = "Indésirables"
    trash: str = "Corbeille"
    archive: str = "Archives"

    _level = field_validator("drafts", "sent", "junk", "trash", "archive")(_one_level)

    @model_validator(mode="after")
    def _distinct(self) -> Folders:
        if len({name.casefold() for name in self.uses}) < len(type(self).model_fields):
            raise ValueError("two standard folders have one name")
        return self

    @property
    def uses(self) -> dict[str, str]:
        """Folder name > special use (RFC 6154 2), in the order of making."""
        return {name: f"\\{use.capitalize()}" for use, name in self}


class Imap(Section):
    """`other_users`, `shared`: what the namespaces of shared mailboxes are called in mail programs. `literal_minus`:
    literals over 4096 octets wait for our word. `without`: capabilities that nobody is offered; `without_for`: by
    address of the account, or by the name a client gives of itself in ID."""

    other_users: str = "Other Users"
    shared: str = "Shared"
    folders: Folders = Folders()
    literal_minus: bool = False
    without: list[str] = []
    without_for: dict[str, list[str]] = {}

    _level = field_validator("other_users", "shared")(_one_level)


class Search(Section):
    """`fold_accents`: "helene" finds "Hélène", in texts, addresses and subjects."""

    fold_accents: bool = True
