"""Who the suite runs as: an unprivileged user with CAP_NET_BIND_SERVICE, or root that becomes `user` after binding."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from pathlib import Path

from core.config import Config, ConfigError


def check(config: Config) -> None:
    """Refuse to run as root for good, unless `allow_root` (tests, the demonstration)."""
    if os.geteuid() == 0 and not config.user and not config.allow_root:
        raise ConfigError("refusing to run as root: set `user` in the configuration (or allow_root for a test)")
    check_user(config)


def check_user(config: Config) -> None:
    """Raises `ConfigError` when the system does not know `user`."""
    if config.user:
        _entry(config.user)


def own_name() -> str:
    """Who runs this, for the `user` of a new configuration; "" for root and for whom the system does not know."""
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() != 0 else ""
    return ""


def become(config: Config) -> None:
    """Change to `user` when started as root; else nothing. Raises `ConfigError`, also where `data` is another's."""
    if os.geteuid() != 0 or not config.user:
        return
    entry = _entry(config.user)
    if config.data.exists() and config.data.stat().st_uid != entry.pw_uid:
        raise ConfigError(f"{config.data} does not belong to {config.user}: chown -R {config.user}: {config.data}")
    os.setgroups([group.gr_gid for group in grp.getgrall() if entry.pw_name in group.gr_mem])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.umask(0o077)


def check_owner(config: Config) -> None:
    """Before a file of it is opened, whose error tells less. Raises `ConfigError` where the data directory is another
    user's, whom it serves alone. Not asked whether it can be written: its disk may be read-only."""
    if os.geteuid() == 0:
        if not config.user and not config.allow_root:
            refuse_root(config.data)
        return
    owner = _owner(config.data)
    if owner is not None and owner != os.geteuid() and not os.access(config.data, os.R_OK | os.X_OK):
        name = _name(owner)
        raise ConfigError(f"{config.data} belongs to {name} and is closed to {_name(os.geteuid())}: run as {name}")


def refuse_root(data: Path) -> None:
    """Root could use another user's directory, and would leave files there that the suite cannot open (a queue, locks).
    Raises `ConfigError`."""
    owner = _owner(data)
    if os.geteuid() == 0 and owner:
        name = _name(owner)
        raise ConfigError(f'{data} belongs to {name}: run as {name}, or set user = "{name}" in the configuration')


def _owner(data: Path) -> int | None:
    try:
        return data.stat().st_uid
    except OSError:  # told by whoever needs it
        return None


def _name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user number {number}"


def _entry(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError as error:
        raise ConfigError(f"user: there is no system user {user!r}") from error
