"""A data directory of another user is named, with him, before a file of it tells less."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from beffroi.installation import check_data, initialise
from core.config import ConfigError, load


def test_a_data_directory_of_another_user_is_told_with_its_path_and_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load(initialise(tmp_path / "data", "mx.dept.test"))
    os.chown(config.data, 4_000_000, -1)
    check_data(config)  # it can be read all the same
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    with pytest.raises(ConfigError) as refused:
        check_data(config)
    assert str(refused.value).startswith(f"{config.data} belongs to user number 4000000 and is closed to ")
    assert str(refused.value).endswith(": run as user number 4000000")
