"""The configuration contract of design.md section 9: keys, environment, refusals that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config import ConfigError, load, parse_duration, parse_endpoint, parse_size

MINIMAL = 'hostname = "mx.dept.test"\ndata = "data"\n'


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "beffroi.toml"
    path.write_text(text)
    return path


def test_data_is_relative_to_the_file(tmp_path: Path) -> None:
    config = load(write(tmp_path, MINIMAL))
    assert config.data == tmp_path / "data"
    assert config.database_url == f"sqlite:///{tmp_path}/data/directory.db"


def test_a_link_to_the_file_does_not_move_data(tmp_path: Path) -> None:
    """docs/operations.md links /etc/beffroi/beffroi.toml to the file in the data directory."""
    write(tmp_path, MINIMAL)
    (tmp_path / "etc").mkdir()
    link = tmp_path / "etc" / "beffroi.toml"
    link.symlink_to(tmp_path / "beffroi.toml")
    assert load(link).data == tmp_path / "data"


def test_the_environment_stands_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFFROI_LISTEN__MX", '["127.0.0.1:2525"]')
    monkeypatch.setenv("BEFFROI_WORKERS", "3")
    monkeypatch.setenv("BEFFROI_DELIVERY__ROUTES", '{"partner.test": "127.0.0.1:2600"}')
    config = load(write(tmp_path, MINIMAL + '[listen]\nmx = ["0.0.0.0:25"]\nimap = ["127.0.0.1:1143"]\n'))
    assert config.listen.mx == ["127.0.0.1:2525"]
    assert config.listen.imap == ["127.0.0.1:1143"]
    assert config.workers == 3
    assert config.delivery.routes == {"partner.test": "127.0.0.1:2600"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('data = "d"\n', "hostname"),
        (MINIMAL + "workers = 0\n", "workers"),
        (MINIMAL + "[listen]\nmx = ['25']\n", "listen.mx"),
        (MINIMAL + "[listn]\nmx = []\n", "listn"),
        (MINIMAL + "[delivery]\nretry = 'soon'\n", "delivery.retry"),
        (MINIMAL + "[limits]\nmessage_size = 'big'\n", "limits.message_size"),
        (MINIMAL + "[limits]\nexempt = ['300.1.1.1/8']\n", "limits.exempt"),
        ("hostname = [\n", ""),
    ],
)
def test_a_fault_is_one_line_that_names_the_key(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text))
    assert key in str(caught.value)


def test_the_configuration_survives_its_way_to_the_workers(tmp_path: Path) -> None:
    config = load(write(tmp_path, MINIMAL + "[delivery]\nroutes = {'*' = '127.0.0.1:26'}\n"))
    assert type(config).model_validate_json(config.model_dump_json()) == config


def test_sizes_durations_and_endpoints() -> None:
    assert parse_size("60M") == 60 * 1024 * 1024
    assert parse_size("5G") == 5 * 1024**3
    assert parse_size(0) == 0
    assert parse_duration("15m") == 900
    assert parse_duration("5d") == 432000
    assert parse_endpoint("[::1]:25") == ("::1", 25)
    for text in ("127.0.0.1", "127.0.0.1:x", ":70000"):
        with pytest.raises(ValueError):
            parse_endpoint(text)
