"""The configuration contract of design.md section 9: keys, environment, refusals that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config import ConfigError, load, parse_duration, parse_endpoint, parse_size, unknown_variables

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
    for text in ("127.0.0.1", "127.0.0.1:x", ":70000", "[::1:25"):
        with pytest.raises(ValueError):
            parse_endpoint(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('hostnam = "a.test"\ndata = "d"\n', "hostnam: there is no such key; did you mean hostname?"),
        ('data = "d"\n', "hostname: is missing"),
        (MINIMAL + "[listen]\nimapz = []\n", "listen.imapz: there is no such key; did you mean imap?"),
        (MINIMAL + "[dns]\nuser = 'x'\n", "dns.user: there is no such key; user belongs before the first [section]"),
        (MINIMAL + "[listen]\nmx = ['mx:25']\n", "not an IP address: 'mx'"),
        (MINIMAL + "[listen]\nmx = ['[::1:25']\n", "not an address and port: '[::1:25'"),
        (MINIMAL + "[dns]\nresolvers = ['localhost:53']\n", "not an IP address: 'localhost'"),
        (MINIMAL + "[dns]\ntimeout = 0\n", "dns.timeout: "),
        (MINIMAL + "[delivery]\nbind = ['1.2.3']\n", "not an IP address: '1.2.3'"),
        (MINIMAL + "[delivery]\nport = 0\n", "delivery.port: "),
        (MINIMAL + "[antispam]\nrspamd = '127.0.0.1:11333'\n", "not an address of the web: '127.0.0.1:11333'"),
        (MINIMAL + "[antispam]\nrspamd = 'http://[::1'\n", "not an address of the web: 'http://[::1'"),
        (MINIMAL + "[antispam]\nrspamd = 'http://rspamd:99999'\n", "not an address of the web: 'http://rspamd:99999'"),
        (MINIMAL + "[auth]\nintrospection = 'https:///x'\n", "not an address of the web: 'https:///x'"),
        (MINIMAL + "[antispam]\narc_trusted = ['no domain']\n", "antispam.arc_trusted: malformed domain name"),
        (MINIMAL + "[database]\nurl = 'mysql://db/x'\n", "database.url: sqlite:///FILE or postgresql://"),
        (MINIMAL + "[limits]\nimap_idle = -5\n", "limits.imap_idle: a bound is not below 0"),
        (MINIMAL + "[limits]\nspf_timeout = nan\n", "limits.spf_timeout: "),
    ],
)
def test_a_mistyped_key_or_value_is_told_in_words(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text))
    assert told in str(caught.value)
    assert "Value error" not in str(caught.value)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "beffroi.toml"
    path.write_bytes(b"# Mairie d'\xc9vreux\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(path)


def test_a_link_into_a_disk_that_is_not_mounted_says_so(tmp_path: Path) -> None:
    link = tmp_path / "beffroi.toml"
    link.symlink_to(tmp_path / "data/beffroi.toml")
    with pytest.raises(ConfigError, match=r"No such file or directory \(a link to .*/data/beffroi.toml: is the disk m"):
        load(link)


def test_faults_of_the_environment_name_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, MINIMAL)
    monkeypatch.setenv("BEFFROI_WORKERS", "many")
    with pytest.raises(ConfigError, match=r"^BEFFROI_WORKERS: workers: "):
        load(path)
    monkeypatch.setenv("BEFFROI_LISTEN__MX", "0.0.0.0:25")
    with pytest.raises(ConfigError, match=r"^environment: BEFFROI_LISTEN__MX: one of them is no JSON"):
        load(path)
    assert unknown_variables({"BEFFROI_HOSTNAM": "", "BEFFROI_LISTEN__MX": "", "BEFFROI_CONFIG": "", "HOME": ""}) == [
        "BEFFROI_HOSTNAM"
    ]
