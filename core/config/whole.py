"""The whole configuration: a TOML file, overridden by environment, read once, checked, frozen."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from core.config.limits import Limits
from core.config.sections import Antispam, Auth, Database, Delivery, Dns, Imap, Listen, MtaSts, Search, TlsFiles
from core.domain import DomainError, to_ascii

PREFIX = "BEFFROI_"
OTHER_VARIABLES = frozenset({"BEFFROI_CONFIG", "BEFFROI_WORKER", "BEFFROI_DEMO"})  # no keys


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key and what is wrong with it."""


class Config(BaseSettings):
    """The whole, frozen. Paths inside `data` are properties, so that no one else composes them."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
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
        away = f" (a link to {path.readlink()}: is the disk mounted?)" if path.is_symlink() else ""
        raise ConfigError(f"{path}: {error.strerror}{away}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        told = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise ConfigError(f"{path}: {told}") from error
    if "data" in values:
        values["data"] = str((path.resolve().parent / str(values["data"])).resolve())
    try:
        return Config(**values)
    except ValidationError as error:
        raise ConfigError("\n".join(_fault(path, item) for item in error.errors())) from error
    except SettingsError as error:  # pydantic tells the key of the first level alone
        names = [name for name in sorted(os.environ) if name.startswith(PREFIX) and "__" in name]
        told = f"{', '.join(names)}: one of them is no JSON: lists and tables are written so there"
        raise ConfigError(f"environment: {told}") from error


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables that look like keys of ours and are none: a misspelt one would be passed over in silence."""
    known = {f"{PREFIX}{key.upper()}" for key in Config.model_fields} | OTHER_VARIABLES
    return sorted(
        name for name in environment if name.startswith(PREFIX) and name.partition("__")[0].upper() not in known
    )


def _fault(path: Path, item: Any) -> str:
    keys = [str(part) for part in item["loc"]]
    variable = PREFIX + "__".join(keys).upper()
    where = variable if variable in os.environ else path
    return f"{where}: {'.'.join(keys) or 'file'}: {_told(keys, item['type'], item['msg'])}"


def _told(keys: Sequence[str], kind: str, message: str) -> str:
    """pydantic's sentence, but for what operators mistype most."""
    if kind == "missing":
        return "is missing"
    if kind != "extra_forbidden":
        return message.removeprefix("Value error, ")
    *sections, name = keys
    if sections and name in Config.model_fields:
        return f"there is no such key; {name} belongs before the first [section]"
    near = difflib.get_close_matches(name, _keys(sections), 1)
    return f"there is no such key; did you mean {near[0]}?" if near else "there is no such key"


def _keys(sections: Sequence[str]) -> list[str]:
    model: type[BaseModel] = Config
    for name in sections:
        field = model.model_fields.get(name)
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        model = field.annotation
    return list(model.model_fields)
