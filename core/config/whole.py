"""The whole configuration: a TOML file, overridden by environment, read once, checked, frozen."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from core.config.limits import Limits
from core.config.sections import Antispam, Auth, Database, Delivery, Dns, Imap, Listen, MtaSts, Search, TlsFiles
from core.domain import DomainError, to_ascii


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key and what is wrong with it."""


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
