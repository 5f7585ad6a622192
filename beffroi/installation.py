"""A new installation on disk, and what `serve` demands of one before it opens a door."""

from __future__ import annotations

import datetime
import os
import ssl
from pathlib import Path

from beffroi.certificate import certificate_notes, write_self_signed
from beffroi.supervisor.privileges import check_owner, check_user, own_name, refuse_root
from core.config import Config, ConfigError, load, unknown_variables
from core.domain import DomainError, to_ascii
from core.errors import MailError, TemporaryError

MARKER = "store.beffroi"  # of the store, `store.layout`

# Keys of the outside contract whose service comes with a later version: a value is refused, never ignored.
TEMPLATE = """\
# Beffroi. Every key: docs/operations.md. Each can also be set as BEFFROI_SECTION__KEY in the environment.
hostname = "{hostname}"
data = "."
workers = 2
user = "{user}"

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
    refuse_root(data)
    path = data / "beffroi.toml"
    if not path.exists():
        path.write_text(TEMPLATE.format(hostname=name, user=own_name()), encoding="utf-8")
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
    """Everything `serve` needs is there and readable. Raises `ConfigError` naming what is missing and what makes it,
    `TemporaryError` when the database does not answer."""
    from migrations.runner import check_known, current, head

    check_data(config)
    check_certificate(config)
    try:
        present = current(config.database_url)
        check_known(present)  # `migrate` would be the wrong advice
    except TemporaryError:
        raise
    except MailError as error:
        raise ConfigError(f"database: {error.public}") from error
    if present != head():
        raise ConfigError(f"the database schema is {present or 'empty'}, this version needs {head()}: beffroi migrate")


def check_certificate(config: Config) -> None:
    """What a start and a reload both need: raises `ConfigError` when the two files are no certificate and key that
    belong together, a file of authorities cannot be used, a route is none, or an address of a database is none."""
    check_routes(config)
    check_databases(config)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(config.certificate_file, config.key_file)
    except (OSError, ssl.SSLError) as error:
        told = f"tls.certificate {config.certificate_file}, tls.key {config.key_file}"
        raise ConfigError(f"{told}: {_reason(error)}") from error
    authorities = Path(config.delivery.ca_file) if config.delivery.ca_file else None
    for key, file in (("delivery.ca_file", authorities), ("auth.client_ca", config.client_ca_file)):
        try:
            if file is not None:
                context.load_verify_locations(file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"{key} {file}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    """In words: what OpenSSL says of a file is its own function's name."""
    if not isinstance(error, ssl.SSLError):
        return error.strerror or str(error)
    return _OPENSSL.get(error.reason or "", f"no PEM file of this kind ({error.reason or error})")


_OPENSSL = {"KEY_VALUES_MISMATCH": "the key does not belong to the certificate"}


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


def check_databases(config: Config) -> None:
    from core.database import async_url

    async_url(config.database_url)
    if config.database.queue:
        async_url(config.database.queue, "database.queue")


def check_values(config: Config) -> None:
    """For `check-config`: what `serve` would refuse of what the file names. Raises `ConfigError`."""
    check_user(config)
    check_data(config)
    check_certificate(config)


def warnings(config: Config) -> list[str]:
    """What is allowed but unwise; for `check-config`."""
    notes = [f"{name} in the environment: there is no such key" for name in unknown_variables(os.environ)]
    notes += certificate_notes(config.certificate_file, config.hostname, now=datetime.datetime.now(datetime.UTC))
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
