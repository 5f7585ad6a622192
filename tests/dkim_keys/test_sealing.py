"""The master key and what it seals (promise P10)."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.config import ConfigError
from dkim_keys.sealing import FILE_NAME, MasterKey, SealError, initialise, load


def test_a_master_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    sealed = initialise(keys).seal("k1", b"secret")
    assert stat.S_IMODE((keys / FILE_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert initialise(keys).open("k1", sealed) == b"secret"
    assert load(keys).open("k1", sealed) == b"secret"
    assert os.listdir(keys) == [FILE_NAME]


def test_two_first_starts_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: initialise(tmp_path), range(16)))
    sealed = keys[0].seal("k", b"s")
    assert {key.open("k", sealed) for key in keys} == {b"s"}
    assert os.listdir(tmp_path) == [FILE_NAME]


def test_a_sealed_key_opens_under_its_id_and_master_only() -> None:
    master = MasterKey(bytes(32))
    sealed = master.seal("k1", b"secret")
    assert b"secret" not in sealed
    assert master.seal("k1", b"secret") != sealed
    faults = [sealed[:-1], sealed[:5], b"", b"\x02" + sealed[1:], sealed[:20] + bytes([sealed[20] ^ 1]) + sealed[21:]]
    for damaged in faults:
        with pytest.raises(SealError):
            master.open("k1", damaged)
    with pytest.raises(SealError):
        master.open("k2", sealed)
    with pytest.raises(SealError):
        MasterKey(bytes(31) + b"\x01").open("k1", sealed)


def test_a_master_key_shows_nothing() -> None:
    assert repr(MasterKey(b"A" * 32)) == "MasterKey('***')"


def test_a_file_that_others_read_or_that_is_damaged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load(tmp_path)
    initialise(tmp_path)
    path = tmp_path / FILE_NAME
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="600"):
        load(tmp_path)
    path.chmod(0o600)
    for text in ("", "zz" * 32, "00" * 31, "00" * 300):
        path.write_text(text)
        with pytest.raises(ConfigError):
            load(tmp_path)
