"""The configuration: TOML file, overridden by environment, read once, checked, frozen (pydantic is touched here only).

Every key is also `BEFFROI_SECTION__KEY` (lists and tables as JSON there). The keys are an outside contract: they are
added to, never renamed. The bounds of section `limits` are listed with their reasons in docs/limits.md.

One file, though a long one: it is the contract, and who writes a configuration or reviews a change reads it whole.
"""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from core.domain import DomainError, to_ascii

KIB, MIB = 1024, 1024 * 1024
_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+)\s*([smhdw]?)")
_UNITS = {"": 1, "K": KIB, "M": MIB, "G": 1024**3, "T": 1024**4}
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key and what is wrong with it."""


@lru_cache(maxsize=16)
def _networks(items: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(item, strict=False) for item in items)


@lru_cache(maxsize=64)  # a message asks for its limit several times
def parse_size(text: str | int) -> int:
    """ "60M" > 62914560 octets; binary multiples. Raises ValueError."""
    match = _SIZE.fullmatch(str(text).strip())
    if not match:
        raise ValueError(f"not a size: {text!r} (write 500K, 60M or 5G)")
    return int(match[1]) * _UNITS[match[2].upper()]


def parse_duration(text: str | int) -> int:
    """ "15m" > 900 seconds. Raises ValueError."""
    match = _DURATION.fullmatch(str(text).strip())
    if not match:
        raise ValueError(f"not a duration: {text!r} (write 30s, 15m, 4h or 5d)")
    return int(match[1]) * _SECONDS[match[2]]


def parse_endpoint(text: str) -> tuple[str, int]:
    """ "127.0.0.1:25" or "[::1]:25" > (address, port). Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"not an address and port: {text!r} (write 0.0.0.0:25 or [::]:25)")
    return host.strip("[]"), int(port)


def _one_level(value: str) -> str:
    odd = not value.isprintable() or value != value.strip() or set("/%*") & set(value)
    if odd or value.upper() in ("", "INBOX", ".", ".."):
        raise ValueError("this is one level of a folder name, without wildcards")
    return value


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
            parse_endpoint(item)
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

    @field_validator("queue")
    @classmethod
    def _postgres(cls, value: str) -> str:
        if value and not value.startswith(("postgresql://", "postgres://")):
            raise ValueError("postgresql://…, or empty for the file of its own")
        return value


class Dns(Section):
    resolvers: list[str] = ["127.0.0.1:53"]
    timeout: float = 5.0


class Delivery(Section):
    port: int = 25
    mta_sts_port: int = 443
    routes: dict[str, str] = {}
    allow_private: bool = False
    ca_file: str = ""
    bind: list[str] = []
    retry: str = "5m, 15m, 30m, 1h, 2h, 4h"
    lifetime: str = "5d"
    delay_notice: str = "4h"
    trace: str = "180d"

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


class Limits(Section):
    """Every bound of the suite (security.md section 2). Sizes in octets, times in seconds."""

    exempt: list[str] = []
    message_size: str = "60M"
    account_recipients_per_day: int = 500
    account_new_recipients_per_day: int = 150
    account_hijack_per_hour: int = 100
    # SMTP sessions
    command_line: int = 2048  # RFC 5321 4.5.3.1.4 asks 512 and more for extensions
    auth_line: int = 12288  # RFC 4954 4
    data_line: int = 64 * KIB
    recipients_mx: int = 500
    recipients_submission: int = 200
    errors_soft: int = 10
    errors_hard: int = 20
    junk_commands: int = 100
    idle_before_mail: float = 60.0
    idle_command: float = 300.0
    data_stall: float = 300.0
    submission_stall: float = 60.0
    transaction: float = 600.0
    minimum_rate: int = 500
    minimum_rate_submission: int = 2 * KIB
    tls_handshake: float = 10.0
    connections_per_address: int = 50
    connections_per_network: int = 200  # /24 or /56
    connections_per_region: int = 600  # /20 or /48
    connection_rate_address: int = 1200  # a minute
    connection_rate_network: int = 2400
    connection_rate_region: int = 4800
    smtp_connections: int = 2000  # of strangers, at all doors of SMTP
    submission_connections_per_account: int = 40
    future_release: int = Field(default=30 * 86400, ge=1, le=366 * 86400)  # the longest a sender may hold mail back
    future_release_messages: int = Field(default=100, ge=1)  # of one account, kept back at a time
    deliver_by_minimum: int = Field(default=60, ge=1, le=86400)  # the shortest time after which mail is returned
    priority: int = Field(default=4, ge=0, le=9)  # the highest that senders get
    harvest_ban: float = 3600.0
    greylist_entries: int = Field(default=200_000, ge=1000)
    # messages
    header_field: int = 64 * KIB
    header_block: int = 256 * KIB
    header_fields: int = 1000
    mime_depth: int = 50
    mime_parts: int = 2000
    addresses_per_field: int = 1000
    mime_parameters: int = 100
    hops: int = 50
    alias_depth: int = 10
    # IMAP
    imap_line: int = 64 * KIB
    imap_line_before_login: int = 8 * KIB
    imap_literals: int = 1 * MIB
    imap_bad_before_login: int = 3
    imap_bad_after_login: int = 20
    imap_idle: float = 1800.0  # RFC 9051 5.4: at least 30 minutes
    imap_login_timeout: float = 60.0
    imap_stall: float = 60.0  # a peer that neither reads our answer nor sends its literal on
    imap_connections_per_account: int = 40
    imap_messages: int = Field(default=0, ge=0)  # RFC 9738 3: SHOULD NOT be lower than 1000
    imap_saved_messages: int = Field(default=0, ge=0)
    # accounts
    folders: int = 1000
    account_messages: int = 1_000_000  # 0: no limit
    keywords: int = 64
    keyword_length: int = 128
    recycle_days: int = 30
    metadata_value: int = 16 * KIB  # RFC 5464 4.1: at least 1,024
    metadata_entries: int = 100  # of one folder, and again of each of its readers; RFC 5464 4.1: at least 10
    metadata_octets: int = 1 * MIB  # of one account
    postmaster_mailbox: int = 100 * MIB  # what is kept for postmaster@ until the operator says who reads it
    password: int = 256
    concurrent_hashes: int = 4
    # evidence
    dkim_signatures: int = 10
    spf_timeout: float = 20.0
    helo_timeout: float = 5.0
    evidence_timeout: float = 30.0
    # REST
    api_body: int = 1 * MIB

    @field_validator("message_size")
    @classmethod
    def _size(cls, value: str) -> str:
        parse_size(value)
        return value

    @field_validator("exempt")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for item in value:
            ip_network(item, strict=False)
        return value

    @property
    def message_octets(self) -> int:
        return parse_size(self.message_size)

    @property
    def exempt_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return _networks(tuple(self.exempt))


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
        if value and not re.fullmatch(r"https?://[!-~]+", value):
            raise ValueError("not an address of the web: write https://…")
        return value

    @field_validator("client_certificates")
    @classmethod
    def _fingerprints(cls, value: dict[str, str]) -> dict[str, str]:
        found = {fingerprint.replace(":", "").lower(): address for fingerprint, address in value.items()}
        if not all(re.fullmatch("[0-9a-f]{64}", fingerprint) for fingerprint in found):
            raise ValueError("not a SHA-256 fingerprint: 64 hexadecimal digits")
        return found


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


class Config(BaseSettings):
    """The whole, frozen. Paths inside `data` are properties, so that no one else composes them."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="BEFFROI_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    hostname: str
    data: Path
    workers: int = Field(default=2, ge=1, le=64)
    user: str = ""
    allow_root: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    listen: Listen = Listen()
    tls: TlsFiles = TlsFiles()
    mta_sts: MtaSts = MtaSts()
    database: Database = Database()
    dns: Dns = Dns()
    delivery: Delivery = Delivery()
    antispam: Antispam = Antispam()
    limits: Limits = Limits()
    auth: Auth = Auth()
    search: Search = Search()
    imap: Imap = Imap()

    @field_validator("hostname")
    @classmethod
    def _hostname(cls, value: str) -> str:
        try:
            return to_ascii(value)
        except DomainError as error:
            raise ValueError(str(error)) from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment stands over the file (whose values arrive as init arguments)."""
        return env_settings, init_settings

    @property
    def domains_dir(self) -> Path:
        return self.data / "domains"

    @property
    def recycle_dir(self) -> Path:
        return self.data / "recycle"

    @property
    def run_dir(self) -> Path:
        return self.data / "run"

    @property
    def keys_dir(self) -> Path:
        return self.data / "keys"

    @property
    def queue_file(self) -> Path:
        return self.data / "queue" / "queue.db"

    @property
    def sts_dir(self) -> Path:
        """MTA-STS policies of other domains: what is lost here is fetched again."""
        return self.data / "queue" / "mta-sts"

    @property
    def spool_dir(self) -> Path:
        return self.data / "spool"

    @property
    def pid_file(self) -> Path:
        return self.run_dir / "beffroi.pid"

    @property
    def certificate_file(self) -> Path:
        return self._inside(self.tls.certificate, "tls/certificate.pem")

    @property
    def key_file(self) -> Path:
        return self._inside(self.tls.key, "tls/key.pem")

    @property
    def sites_dir(self) -> Path | None:
        return self.data / self.tls.sites if self.tls.sites else None

    @property
    def client_ca_file(self) -> Path | None:
        return self.data / self.auth.client_ca if self.auth.client_ca else None

    @property
    def database_url(self) -> str:
        return self.database.url or f"sqlite:///{self.data / 'directory.db'}"

    def _inside(self, value: str, default: str) -> Path:
        return self.data / (value or default)


def load(path: Path) -> Config:
    """Read and check `path`. Raises `ConfigError` with one line per fault."""
    try:
        with path.open("rb") as file:
            values: dict[str, Any] = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    if "data" in values:
        values["data"] = str((path.resolve().parent / str(values["data"])).resolve())
    try:
        return Config(**values)
    except ValidationError as error:
        raise ConfigError("\n".join(_fault(path, item) for item in error.errors())) from error


def _fault(path: Path, item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"])
    return f"{path}: {key or 'file'}: {item['msg']}"
