"""A data directory of another user is named, with him, before a file of it tells less, or comes to belong to root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from beffroi.installation import check_data, initialise
from beffroi.supervisor import privileges
from core.config import Config, ConfigError, load

STRANGER = 4_000_000


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = load(initialise(tmp_path / "data", "mx.dept.test"))
    os.chown(config.data, STRANGER, -1)
    return config


def test_a_data_directory_of_another_user_is_told_with_its_path_and_owner(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER + 1)
    check_data(config)  # it can be read all the same
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ConfigError) as refused:
        check_data(config)
    assert str(refused.value).startswith(f"{config.data} belongs to user number 4000000 and is closed to ")
    assert str(refused.value).endswith(": run as user number 4000000")


def test_root_leaves_no_file_in_the_directory_of_another_user(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """`queue list` made a queue that belonged to root, and the suite could not open it."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ConfigError, match=r'belongs to user number 4000000: .* or set user = "user number 4000000"'):
        check_data(config)
    with pytest.raises(ConfigError, match="belongs to user number 4000000"):
        initialise(config.data, "mx.dept.test")
    check_data(config.model_copy(update={"user": "nobody"}))  # root changes to him before it opens anything
    check_data(config.model_copy(update={"allow_root": True}))


def test_a_new_configuration_names_who_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert privileges.own_name() == "nobody"
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    assert privileges.own_name() == ""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert load(initialise(tmp_path / "data", "mx.dept.test")).user == ""
