"""Private keys at rest: AES-256-GCM under the installation's master key (promise P10).

The master key is one file, readable by the suite's user alone, made once by `initialise` and never in the database or
its backups. A sealed key is bound to its id, so that a row copied over another one does not open.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.config import ConfigError

FILE_NAME = "master.key"
_VERSION = b"\x01"
_NONCE = 12
_KEY = 32


class SealError(Exception):
    """The sealed key does not open: another master key, another id, or damage."""


class MasterKey:
    """Seals and opens; shows nothing when printed."""

    __slots__ = ("_cipher", "_key")

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._key = key

    def __repr__(self) -> str:
        return "MasterKey('***')"

    def derive(self, purpose: str) -> bytes:
        """32 octets for another use, from which the master key cannot be told."""
        return hashlib.blake2b(purpose.encode("utf-8"), key=self._key, digest_size=32).digest()

    def seal(self, key_id: str, secret: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        return _VERSION + nonce + self._cipher.encrypt(nonce, secret, key_id.encode("utf-8"))

    def open(self, key_id: str, sealed: bytes) -> bytes:
        """Raises `SealError`."""
        nonce, text = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        if sealed[:1] != _VERSION or len(nonce) < _NONCE:
            raise SealError("unknown format")
        try:
            return self._cipher.decrypt(nonce, text, key_id.encode("utf-8"))
        except InvalidTag:
            raise SealError("does not open") from None


def initialise(keys_dir: Path) -> MasterKey:
    """The master key of `keys_dir`, made durably (0600) when there is none. Raises OSError, `ConfigError`."""
    keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = keys_dir / FILE_NAME
    if not path.exists():
        _create(path, secrets.token_hex(_KEY) + "\n")
    return load(keys_dir)


def load(keys_dir: Path) -> MasterKey:
    """Raises `ConfigError` when the file is absent, damaged, or readable by others."""
    path = keys_dir / FILE_NAME
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(256)
        key = bytes.fromhex(text.decode("ascii"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not a master key") from error
    if mode & 0o077:
        raise ConfigError(f"{path}: others may read it (chmod 600)")
    if len(key) != _KEY:
        raise ConfigError(f"{path}: not a master key")
    return MasterKey(key)


def _create(path: Path, text: str) -> None:
    """Whole and synced under another name first, then linked: two first starts agree on one key, none is partial."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
