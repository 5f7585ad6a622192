"""A whole installation copied into another directory while it serves: databases first, then files.

In this order a message is in the copy even if its mailbox was added after the databases were copied; `store verify`
tells then, and `--repair` puts it where it can be restored. The copy has the shape of a data directory: copied back, or
moved to another machine, it is one.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from pathlib import Path

from core.config import Config, ConfigError
from core.errors import StorageError
from core.sqlite import backup as copy_database
from delivery.queue.backup import copy as copy_queue
from store.backup import Backup, Copied
from store.fsops import FileSystem

MARKER = "backup.beffroi"


def run(config: Config, config_path: Path, target: Path) -> Copied:
    """Raises `ConfigError` when `target` is something else than an earlier backup, `StorageError`. What the disk does
    not give is told in the result, and all else is copied."""
    _prepare(config, target)
    try:
        _databases(config, target)
        _small_files(config, config_path, target)
        copied = _mail(config, target)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"the backup is not complete: {error}", code="backup") from error
    state = "without what could not be read, " if copied.left_out else ""
    (target / MARKER).write_text(f"backup of {config.hostname}, {state}{time.strftime('%Y-%m-%dT%H:%M:%S%z')}\n")
    return copied


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL; None for a server's database, which has tools of its own."""
    head, _, path = url.partition(":///")
    return Path(path) if head.startswith("sqlite") and path else None


def _prepare(config: Config, target: Path) -> None:
    if target.resolve().is_relative_to(config.data.resolve()):
        raise ConfigError(f"{target}: inside the data directory")
    if target.exists() and any(target.iterdir()) and not (target / MARKER).exists():
        raise ConfigError(f"{target}: neither empty nor an earlier backup")
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    (target / MARKER).write_text("not finished\n")


def _databases(config: Config, target: Path) -> None:
    directory = sqlite_file(config.database_url)
    if directory is not None:
        copy_database(directory, target / "directory.db")
    if config.queue_file.exists():
        (target / "queue").mkdir(mode=0o700, exist_ok=True)
        copy_queue(config.queue_file, target / "queue" / config.queue_file.name)


def _small_files(config: Config, config_path: Path, target: Path) -> None:
    """The configuration, the master key that opens DKIM keys, the certificate."""
    _copy(config_path, target / "beffroi.toml")
    for source in (config.keys_dir, config.certificate_file.parent, config.key_file.parent):
        if source.resolve().is_relative_to(config.data.resolve()):
            (target / source.name).mkdir(mode=0o700, exist_ok=True)
            for path in source.iterdir():
                if path.is_file():
                    _copy(path, target / source.name / path.name)


def _copy(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(source.read_bytes())
    shutil.copystat(source, temporary)
    temporary.rename(target)


def _mail(config: Config, target: Path) -> Copied:
    fs = FileSystem()
    source = fs.open_root(str(config.data))
    try:
        copy = fs.open_root(str(target))
        try:
            return Backup(fs, source, copy).run()
        finally:
            fs.close(copy)
    finally:
        fs.close(source)
