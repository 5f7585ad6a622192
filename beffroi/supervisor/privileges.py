"""Who the suite runs as: an unprivileged user with CAP_NET_BIND_SERVICE, or root that becomes `user` after binding."""

from __future__ import annotations

import grp
import os
import pwd

from core.config import Config, ConfigError


def check(config: Config) -> None:
    """Refuse to run as root for good, unless `allow_root` (tests, the demonstration)."""
    if os.geteuid() == 0 and not config.user and not config.allow_root:
        raise ConfigError("refusing to run as root: set `user` in the configuration (or allow_root for a test)")
    if config.user:
        _entry(config.user)


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


def _entry(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError as error:
        raise ConfigError(f"user: there is no system user {user!r}") from error
