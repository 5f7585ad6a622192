"""Every command of design.md section 9 as a user sees it: answers, `--json` on either side, exit codes 0, 1 and 2."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.beffroi.commands import Done, beffroi, forked, initialise
from tests.peers.process import free_port
from tests.peers.suite import HOSTNAME

# Each command is a process of its own with some half a second of imports; a loaded machine needs several times that.
pytestmark = pytest.mark.timeout(400)

PASSWORD = "quatre mots pour entrer"
SHAPED = ("5", "10", "20", "40", "80", "160", "320", "640", "1280", "1280+")  # minutes


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = initialise(tmp_path_factory.mktemp("commands") / "data")
    text = path.read_text().replace('resolvers = ["127.0.0.1:53"]', f'resolvers = ["127.0.0.1:{free_port()}"]')
    path.write_text(text + "\n")
    return path


def test_init_makes_what_is_missing_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    data = tmp_path / "neuf"
    config = initialise(data)
    assert f'hostname = "{HOSTNAME}"' in config.read_text()
    for secret in (config, *(data / "keys").iterdir(), data / "tls/key.pem"):
        assert stat.S_IMODE(secret.stat().st_mode) & 0o077 == 0, secret
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file() and ".db" not in path.name}
    again = beffroi("--json", "init", "--data", str(data), "--hostname", "autre.dept.test")
    assert again.json == {"config": str(config)}
    assert {path: path.read_bytes() for path in before} == before
    assert beffroi("init", "--data", str(tmp_path / "x"), "--hostname", "pas un nom").refusal.startswith("hostname: ")
    assert not (tmp_path / "x").exists()


def test_usage_faults_end_with_2() -> None:
    for arguments in (["nonsens"], ["mailbox", "add"], ["init", "--data", "x"], ["organisation", "list", "--config"]):
        done = beffroi(*arguments)
        assert done.code == 2, arguments
        assert done.out == ""
        assert done.err


def test_a_commune_from_the_command_line_alone(config: Path) -> None:
    """One story, so that each command meets a state another one made."""

    def run(*arguments: str, stdin: str = "") -> Done:
        return forked("--config", str(config), *arguments, stdin=stdin)

    added = run("--json", "organisation", "add", "Saint-Aubin").json
    assert isinstance(added, dict)
    assert added["name"] == "Saint-Aubin"
    assert run("organisation", "add", "Saint-Aubin").refusal
    assert run("organisation", "list").out == f"Saint-Aubin\t{added['id']}\tactive\n"

    domain = run("domain", "add", "Saint-Aubin.test", "--organisation", "Saint-Aubin", "--json").json
    assert isinstance(domain, dict)
    assert domain["name"] == "saint-aubin.test"
    kinds = [(record["type"], record["name"]) for record in domain["records"]]
    assert ("MX", "saint-aubin.test") in kinds
    assert ("TXT", "_dmarc.saint-aubin.test") in kinds
    assert sum("._domainkey." in name for _, name in kinds) == 2
    assert run("domain", "add", "x.test", "--organisation", "Personne").refusal
    listed = run("domain", "list", "--json").json
    assert listed == [{key: domain[key] for key in ("name", "display", "organisation", "state")}]
    zone = run("domain", "dns", "saint-aubin.test").out
    assert "v=spf1" in zone
    assert "v=DKIM1" in zone
    assert len(zone.splitlines()) == len(domain["records"])
    check = run("domain", "check", "saint-aubin.test", "--json")
    assert isinstance(check.json, list)
    assert check.code == 1  # nobody answers at the resolver
    assert {row["type"] for row in check.json} == {"MX", "TXT", "SRV"}
    assert check.err.startswith("beffroi: warning: no answer from the DNS for some; does a resolver answer at 127.")
    unsigned = f"hostname {HOSTNAME} lies in no domain that is hosted here: TLS reports"
    assert unsigned in check.err
    assert run("domain", "add", HOSTNAME.partition(".")[2], "--organisation", "Saint-Aubin").code == 0
    assert unsigned not in run("domain", "check", "saint-aubin.test").err
    assert run("domain", "remove", HOSTNAME.partition(".")[2]).code == 0
    (keys,) = [line for line in run("domain", "show", "saint-aubin.test").out.splitlines() if "dkim" in line]
    assert keys.endswith(" active")
    assert not set("{}[]") & set(keys)

    address = "secretariat@saint-aubin.test"
    mailbox = run("mailbox", "add", address, "--password-stdin", "--quota", "5G", "--json", stdin=PASSWORD + "\n").json
    assert isinstance(mailbox, dict)
    assert mailbox["quota"] == 5 << 30
    assert run("mailbox", "add", address).refusal
    weak = run("mailbox", "add", "maire@saint-aubin.test", "--password-stdin", stdin="court\n")
    assert weak.code == 0
    assert weak.err.startswith("beffroi: warning: ")
    assert "court" not in weak.err
    assert run("mailbox", "remove", "maire@saint-aubin.test").code == 0
    assert run("mailbox", "add", "pas-une-adresse").refusal.startswith("pas-une-adresse: ")
    assert run("mailbox", "add", "x@saint-aubin.test", "--quota", "beaucoup").refusal
    shown = run("mailbox", "show", address, "--json").json
    assert shown == {**mailbox, "octets": 0, "messages": 0, "sending_locked": False}
    assert run("mailbox", "list").out == f"{address}\t\t{5 << 30}\tactive\n"
    assert run("mailbox", "passwd", address, "--password-stdin", stdin="une autre phrase longue\n").code == 0
    assert run("mailbox", "suspend", address).out == f"{address}: suspended\n"
    assert run("organisation", "suspend", "saint-aubin").out == "Saint-Aubin: suspended\n"
    assert run("organisation", "list").out == f"Saint-Aubin\t{added['id']}\tsuspended\n"
    assert run("--json", "organisation", "resume", "Saint-Aubin").json == {**added, "state": "active"}
    assert run("organisation", "suspend", "Personne").refusal
    assert run("mailbox", "resume", address, "--json").json == {"address": address, "change": "active"}

    alias = run("alias", "add", "contact@saint-aubin.test", address, "--json").json
    assert alias == {"address": "contact@saint-aubin.test", "targets": [address]}
    assert run("alias", "list").out == f"contact@saint-aubin.test\t{address}\n"
    assert run("mailbox", "remove", address).refusal  # an alias leads to it alone
    assert run("domain", "remove", "saint-aubin.test").refusal
    assert run("alias", "remove", "contact@saint-aubin.test").code == 0
    assert run("alias", "remove", "contact@saint-aubin.test").refusal

    admin = ("admin", "add", "Mme Martin", "--role", "organisation")
    assert run(*admin).refusal
    token = run("--json", *admin, "--organisation", "Saint-Aubin").json
    assert isinstance(token, dict)
    assert len(token["token"]) >= 32
    assert run("admin", "add", "x", "--role", "roi").code == 2
    listed = run("admin", "list", "--json").json
    assert isinstance(listed, list)
    (clerk,) = listed
    assert clerk == {"name": "Mme Martin", "role": "organisation", "organisation": "Saint-Aubin", "id": clerk["id"]}
    assert run("admin", "add", "Chef", "--role", "operator").code == 0
    lines = run("admin", "list").out.splitlines()
    assert [line.split("\t")[:3] for line in lines] == [
        ["Chef", "operator", ""],
        ["Mme Martin", "organisation", "Saint-Aubin"],
    ]
    assert run("admin", "remove", "Chef").refusal == "the last operator cannot be removed"
    for whose in ((), ("--organisation", "")):  # nobody else of this name is meant
        assert run("admin", "remove", "Mme Martin", *whose).refusal
    gone = ("admin", "remove", "Mme Martin", "--organisation", "Saint-Aubin")
    assert run(*gone).out == "administrator Mme Martin removed\n"
    assert run(*gone).refusal == "no such administrator"
    rotated = run("dkim", "rotate", "saint-aubin.test", "--json").json
    assert isinstance(rotated, list)
    assert {key["algorithm"] for key in rotated} == {"rsa", "ed25519"}
    assert {key["state"] for key in rotated} == {"published"}

    assert run("queue", "list", "--json").json == []
    for act in ("show", "retry", "hold", "release", "drop"):
        assert run("queue", act, "0123456789").refusal, act
    assert run("queue", "shape", "--json").json == [{"name": "TOTAL", "total": 0, **dict.fromkeys(SHAPED, 0)}]
    assert run("queue", "release", "--held", "--json").json == {"messages": 0, "change": "released"}
    assert run("queue", "drop", "--all").out == "0 messages: dropped\n"
    assert run("queue", "drop", "--all", "--yes").out == "0 messages: dropped\n"
    for words in ((), ("--all", "--held"), ("q1", "--all"), ("--sender", "no address"), ("--domain", "no domain")):
        assert run("queue", "drop", *words).code == 2, words
    assert run("store", "verify").out == "no fault found\n"
    assert run("store", "rebuild", "saint-aubin.test", "--json").json == {"messages": 0, "left": []}
    for act in ("verify", "rebuild", "restored"):
        assert run("store", act, "nulle-part.test").refusal == "no such domain"
    assert run("mailbox", "remove", address).code == 0
    assert run("mailbox", "show", address).refusal
    assert run("domain", "remove", "saint-aubin.test").code == 0
    assert run("migrate").code == 0
    stopped = run("status", "--json")
    assert stopped.code == 1
    assert isinstance(stopped.json, dict)
    assert stopped.json["running"] is False
    for text in (PASSWORD, "une autre phrase", token["token"]):
        assert all(text.encode() not in path.read_bytes() for path in config.parent.rglob("*") if path.is_file())


def test_an_import_reports_each_refused_and_weak_row(config: Path, tmp_path: Path) -> None:
    beffroi("--config", str(config), "organisation", "add", "Val-Fleuri")
    beffroi("--config", str(config), "domain", "add", "val-fleuri.test", "--organisation", "Val-Fleuri")
    rows = tmp_path / "boites.csv"
    rows.write_text(
        "address,password,quota,display name\n"
        "mairie@val-fleuri.test,une phrase assez longue,1G,Mairie\n"
        "compta@val-fleuri.test,azerty,,Comptabilité\n"
        "perdu@ailleurs.test,une phrase assez longue,,\n"
        "mairie@val-fleuri.test,une phrase assez longue,,\n",
        encoding="utf-8",
    )
    tried = beffroi("mailbox", "import", str(rows), "--dry-run", "--json", "--config", str(config))
    assert tried.code == 1
    everything = ("--config", str(config), "mailbox", "list", "--json", "--domain", "val-fleuri.test")
    assert beffroi(*everything).json == []
    done = beffroi("mailbox", "import", str(rows), "--config", str(config))
    assert done.code == 1
    lines = done.out.splitlines()
    assert lines[-1] == "2 mailboxes added, 2 refused"
    assert [line.split(":")[0] for line in lines[:-1]] == ["line 3", "line 4", "line 5"]
    assert "azerty" not in done.out + done.err
    found = beffroi(*everything).json
    assert isinstance(found, list)
    assert {item["address"] for item in found} == {"mairie@val-fleuri.test", "compta@val-fleuri.test"}
    assert beffroi("--config", str(config), "mailbox", "import", str(tmp_path / "absent.csv")).refusal


FAULTS = {
    "no data": ('hostname = "a.test"\n', "data"),
    "not TOML": ("hostname = ", "beffroi.toml"),
    "unknown section key": ('hostname = "a.test"\ndata = "."\n[listen]\nsmtp = []\n', "listen.smtp"),
    "address without port": ('hostname = "a.test"\ndata = "."\n[listen]\nmx = ["0.0.0.0"]\n', "listen.mx"),
    "no size": ('hostname = "a.test"\ndata = "."\n[limits]\nmessage_size = "big"\n', "limits.message_size"),
}


def test_check_config_names_the_faulty_key(tmp_path: Path, config: Path) -> None:
    path = tmp_path / "beffroi.toml"
    for name, (text, key) in FAULTS.items():
        path.write_text(text)
        assert key in beffroi("check-config", "--config", str(path)).refusal, name
    path.write_text("")
    several = beffroi("check-config", "--config", str(path))
    assert several.code == 1
    assert [line.split(": ")[2] for line in several.err.splitlines()] == ["hostname", "data"]
    told = beffroi("check-config", "--config", str(path), "--json")
    assert set(json.loads(told.err)) == {"error", "code"}
    assert "absent.toml" in beffroi("check-config", "--config", str(tmp_path / "absent.toml")).refusal
    good = beffroi("--json", f"--config={config}", "check-config")
    assert good.code == 0
    assert isinstance(good.json, dict)
    assert good.json["valid"] is True
    assert any("rspamd" in note for note in good.json["warnings"])
    wrong = beffroi("check-config", environment={"BEFFROI_CONFIG": str(config), "BEFFROI_WORKERS": "many"})
    assert "workers" in wrong.refusal


@pytest.mark.parametrize("key", ["url", "queue"])
def test_an_address_of_a_database_with_an_impossible_port_is_told_in_words(config: Path, key: str) -> None:
    """A traceback of the driver, and check-config called it valid."""
    environment = {"BEFFROI_CONFIG": str(config), f"BEFFROI_DATABASE__{key.upper()}": "postgresql://127.0.0.1:99999/x"}
    commands = {"url": ["domain", "list"], "queue": ["queue", "list"]}
    for command in (["check-config"], commands[key]):
        told = beffroi(*command, environment=environment)
        assert told.code == 1
        assert told.refusal == f"database.{key}: 99999 is not a port (1 to 65535)"
