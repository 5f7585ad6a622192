"""A new installation on disk, and what `serve` demands of one before it opens a door."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

from beffroi.certificate import write_self_signed
from beffroi.supervisor.privileges import check_owner
from core.config import Config, ConfigError, load
from core.domain import DomainError, to_ascii
from core.errors import MailError

MARKER = "store.beffroi"  # of the store, `store.layout`

# Keys of the outside contract whose service comes with a later version: a value is refused, never ignored.
TEMPLATE = """\
# Beffroi. Every key: docs/operations.md. Each can also be set as BEFFROI_SECTION__KEY in the environment.
hostname = "{hostname}"
data = "."
workers = 2
user = ""

[listen]
mx = ["0.0.0.0:25"]
submission = ["0.0.0.0:587"]
submissions = ["0.0.0.0:465"]
imap = ["0.0.0.0:143"]
imaps = ["0.0.0.0:993"]
api = ["127.0.0.1:8080"]
metrics = ["127.0.0.1:9090"]

[tls]
certificate = "tls/certificate.pem"
key = "tls/key.pem"

[dns]
resolvers = ["127.0.0.1:53"]

[antispam]
rspamd = ""
"""


def initialise(data: Path, hostname: str) -> Path:
    """Make `data` an installation and return its configuration file. What exists stays as it is, so a second run is
    harmless. Raises `ConfigError`, `MailError`, OSError."""
    from dkim_keys.sealing import initialise as make_master_key
    from migrations.runner import upgrade
    from store.service import initialise as make_store

    try:
        name = to_ascii(hostname)
    except DomainError as error:
        raise ConfigError(f"hostname: {error}") from error
    data = data.absolute()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = data / "beffroi.toml"
    if not path.exists():
        path.write_text(TEMPLATE.format(hostname=name), encoding="utf-8")
        path.chmod(0o600)
    config = load(path)
    for directory in (config.run_dir, config.keys_dir, config.spool_dir, config.queue_file.parent):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_self_signed(name, config.certificate_file, config.key_file, now=datetime.datetime.now(datetime.UTC))
    make_master_key(config.keys_dir)
    make_store(config.data)
    upgrade(config.database_url)
    return path


def check_data(config: Config) -> None:
    """The data directory is there, and was made by `init`. Raises `ConfigError`.

    A missing one is never created, and nothing is put into an empty one: it may be an unmounted disk (fault 170)."""
    check_owner(config)
    hint = "is the disk mounted? a new installation: beffroi init"
    if not config.data.is_dir():
        raise ConfigError(f"{config.data}: no such directory ({hint})")
    try:
        (config.data / MARKER).stat()
    except OSError as error:
        raise ConfigError(f"{config.data / MARKER}: {error.strerror} ({hint})") from error


def check_installation(config: Config) -> None:
    """Everything `serve` needs is there and readable. Raises `ConfigError` naming what is missing and what makes it."""
    from migrations.runner import current, head

    check_data(config)
    check_certificate(config)
    try:
        present = current(config.database_url)
    except MailError as error:
        raise ConfigError(f"database: {error.public}") from error
    if present != head():
        raise ConfigError(f"the database schema is {present or 'empty'}, this version needs {head()}: beffroi migrate")


def check_certificate(config: Config) -> None:
    """What a start and a reload both need: raises `ConfigError` when the two files are no certificate and key that
    belong together, or a route is none."""
    check_routes(config)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(config.certificate_file, config.key_file)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"tls.certificate {config.certificate_file}, tls.key {config.key_file}: {reason}") from error


def check_routes(config: Config) -> None:
    from delivery.next_hop import Routes

    for name, hop in config.delivery.routes.items():
        try:
            Routes({name: hop})
        except ValueError as error:
            raise ConfigError(f'delivery.routes "{name}": {error}') from error
    try:
        Routes(config.delivery.routes)
    except ValueError as error:
        raise ConfigError(f"delivery.routes: {error}") from error


def warnings(config: Config) -> list[str]:
    """What is allowed but unwise; for `check-config`."""
    notes = []
    if not config.antispam.rspamd:
        notes.append("antispam.rspamd is empty: only the built-in checks look at mail")
    if config.auth.plaintext_on_loopback:
        notes.append("auth.plaintext_on_loopback: passwords are accepted without TLS from this machine")
    if config.delivery.allow_private:
        notes.append("delivery.allow_private: mail may be sent to hosts on private networks (tests only)")
    if any(not endpoint.startswith(("127.", "[::1]")) for endpoint in config.listen.lmtp):
        notes.append("listen.lmtp: whoever reaches it puts mail into mailboxes here unchecked; keep strangers away")
    if config.allow_root and not config.user:
        notes.append("allow_root: the suite may run as root (tests only)")
    if config.antispam.clamd:
        notes.append("antispam.clamd: has no effect in this version")
    if not all(resolver.startswith(("127.", "[::1]")) for resolver in config.dns.resolvers):
        notes.append("dns.resolvers: DNSSEC answers are believed from a resolver on loopback only")
    return notes
