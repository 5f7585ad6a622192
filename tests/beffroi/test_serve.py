"""`beffroi serve` from outside: why it refuses to start, what a reload changes, how workers come back, whom it runs as,
what it counts and what it never says."""

from __future__ import annotations

import base64
import json
import os
import pwd
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from beffroi.supervisor.sockets import FRONT_DOORS
from tests.beffroi.commands import beffroi, initialise
from tests.peers.process import free_port, peer_directory, wait_until
from tests.peers.suite import BEFFROI, Settings, Suite, suite

pytestmark = pytest.mark.timeout(400)

PASSWORD = "les cloches sonnent a midi"


@pytest.fixture(scope="module")
def running() -> Iterator[Suite]:
    """One commune with one mailbox; a resolver that nobody is."""
    with suite(Settings(f"127.0.0.1:{free_port()}", workers=2)) as installation:
        installation.api("POST", "/organisations", {"name": "Saint-Aubin"})
        installation.api("POST", "/domains", {"name": "saint-aubin.test", "organisation": "Saint-Aubin"})
        installation.api("POST", "/mailboxes", {"address": "maire@saint-aubin.test", "password": PASSWORD})
        yield installation


# --- refusing to start ------------------------------------------------------------------------------------------------


def serve(config: Path) -> str:
    """Why `serve` refused, in one line; it must end by itself."""
    return beffroi("serve", "--config", str(config)).refusal


def prepared(tmp_path: Path) -> Path:
    """An installation of its own that listens on free ports of loopback."""
    config = initialise(tmp_path / "data")
    installation = Suite(tmp_path, Settings("127.0.0.1:53"))
    config.write_text(installation.settings.toml(installation.ports))
    return config


def test_serve_refuses_and_says_why_before_it_opens_a_door(tmp_path: Path) -> None:
    config = prepared(tmp_path)
    text = config.read_text()
    for name in ("certificate.pem", "key.pem"):
        path = config.parent / "tls" / name
        content = path.read_bytes()
        path.write_text("no PEM")
        assert "tls.certificate" in serve(config)
        path.unlink()
        assert "tls.certificate" in serve(config)
        path.write_bytes(content)
    if os.geteuid() == 0:
        config.write_text(text.replace("allow_root = true", ""))
        assert "root" in serve(config)
    config.write_text('user = "personne-de-ce-nom"\n' + text)
    assert "personne-de-ce-nom" in serve(config)
    config.write_text(text)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config.write_text(text.replace("imaps = [", f'imaps = ["127.0.0.1:{port}", '))
        assert f"127.0.0.1:{port}" in serve(config)
    config.write_text(text)
    (config.parent / "directory.db").unlink()
    assert "beffroi migrate" in serve(config)
    assert beffroi("migrate", "--config", str(config)).code == 0
    elsewhere = tmp_path / "beffroi.toml"
    elsewhere.write_text(text.replace('data = "."', 'data = "absent"'))
    assert "no such directory" in serve(elsewhere)
    assert not (tmp_path / "absent").exists()  # fault 170: an unmounted disk must not become an empty store
    (tmp_path / "absent").mkdir()  # its mount point
    told = f"{tmp_path}/absent/store.beffroi: No such file or directory (is the disk mounted? "
    assert told in serve(elsewhere)
    assert told in beffroi("migrate", "--config", str(elsewhere)).refusal
    assert list((tmp_path / "absent").iterdir()) == []


def test_f164_a_second_instance_is_refused_and_disturbs_nobody(running: Suite, tmp_path: Path) -> None:
    other = Suite(tmp_path, running.settings)
    config = running.data / "second.toml"
    config.write_text(other.settings.toml(other.ports))
    refusal = serve(config)
    assert "another instance" in refusal
    assert str(running.supervisor) in refusal
    assert running.cli("status").returncode == 0


# --- running ----------------------------------------------------------------------------------------------------------


def test_status_tells_each_door(running: Suite) -> None:
    report = json.loads(running.run("status", "--json"))
    assert report["running"] is True
    assert report["pid"] == running.supervisor == int((running.data / "run/beffroi.pid").read_text())
    assert {door["what"]: door["state"] for door in report["doors"]} == dict.fromkeys(running.ports, "answers")
    assert running.run("status").startswith(f"running, pid {running.supervisor}\n")


def test_status_tells_a_worker_that_hangs(running: Suite) -> None:
    """The kernel accepted in its name, and each door was said to answer."""
    stopped = running.workers("front")[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        told = running.cli("status", "--json")
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert told.returncode == 1
    states = {door["what"]: door["state"] for door in json.loads(told.stdout)["doors"]}
    assert "accepts, but does not answer" in {states[door] for door in FRONT_DOORS}
    assert (states["api"], states["metrics"]) == ("answers", "answers")
    wait_until(lambda: running.cli("status").returncode == 0, timeout=60, what="all doors to answer")
    assert not running.events("smtp-turned-away")
    assert not any("early-talker" in line for line in running.log().splitlines())


def fingerprint(port: int) -> bytes:
    """The certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 10) as plain, context.wrap_socket(plain) as secured:
        return secured.getpeercert(binary_form=True) or b""


def _all_serve(port: int, expected: bytes) -> bool:
    return all(fingerprint(port) == expected for _ in range(6))


def test_f166_a_reload_serves_the_new_certificate_and_keeps_old_connections(running: Suite, tmp_path: Path) -> None:
    doors = ("imaps", "submissions")
    old = fingerprint(running.ports["imaps"])
    client = smtplib.SMTP("127.0.0.1", running.ports["submission"], timeout=30)
    client.starttls(context=running.tls())
    fresh = initialise(tmp_path / "other").parent / "tls"
    for name in ("certificate.pem", "key.pem"):
        shutil.copy(fresh / name, running.data / "tls" / name)
    running.signal(signal.SIGHUP)
    expected = ssl.PEM_cert_to_DER_cert((fresh / "certificate.pem").read_text())
    for door in doors:
        # every front: several connections in a row must agree
        wait_until(partial(_all_serve, running.ports[door], expected), what=door)
    assert old != expected
    client.user, client.password = "maire@saint-aubin.test", PASSWORD
    client.ehlo()
    assert client.auth("PLAIN", lambda _=None: f"\0{client.user}\0{PASSWORD}")[0] == 235
    client.quit()
    # a certificate that cannot be read changes nothing
    told = len(running.events("reload-refused"))
    (running.data / "tls/certificate.pem").write_text("no PEM")
    running.signal(signal.SIGHUP)
    wait_until(lambda: len(running.events("reload-refused")) > told, what="the failed reload to be told")
    assert fingerprint(running.ports["imaps"]) == expected
    shutil.copy(fresh / "certificate.pem", running.data / "tls/certificate.pem")


def test_a_faulty_file_changes_nothing_at_a_reload(running: Suite) -> None:
    text = running.config.read_text()
    workers = {kind: running.workers(kind) for kind in ("front", "delivery", "web")}
    try:
        running.config.write_text(text + "\n[delivery]\ncolour = 1\n")
        running.signal(signal.SIGHUP)
        wait_until(lambda: running.events("reload-refused"), what="the refusal to be told")
        running.config.write_text(
            text.replace("message_size", "x").replace("[limits]", '[limits]\nmessage_size = "1M"')
        )
        running.signal(signal.SIGHUP)
        wait_until(lambda: announced_size(running) == 1 << 20, what="a good file to count")
    finally:
        running.config.write_text(text)
        running.signal(signal.SIGHUP)
    wait_until(lambda: announced_size(running) == 60 << 20, what="the old file to count again")
    assert {kind: running.workers(kind) for kind in workers} == workers


def announced_size(running: Suite) -> int:
    """0 while the fronts disagree."""
    found = set()
    for _ in range(6):
        with smtplib.SMTP("127.0.0.1", running.ports["mx"], timeout=30) as client:
            client.ehlo("mx.partner.test")
            found.add(int(client.esmtp_features["size"]))
    return found.pop() if len(found) == 1 else 0


def _is_back(running: Suite, kind: str, before: list[int]) -> bool:
    now = running.workers(kind)
    return len(now) == len(before) and before[0] not in now


def test_a_killed_worker_comes_back_while_its_doors_go_on_answering(running: Suite) -> None:
    for kind, door in (("web", "api"), ("front", "mx")):
        before = running.workers(kind)
        os.kill(before[0], signal.SIGKILL)
        # connections wait in the socket that the supervisor keeps open; none is refused
        with socket.create_connection(("127.0.0.1", running.ports[door]), 60) as sock:
            if door == "mx":
                assert sock.recv(100).startswith(b"220 ")
        wait_until(partial(_is_back, running, kind, before), what=kind)
    wait_until(lambda: running.cli("status").returncode == 0, timeout=60, what="all doors to answer")
    assert isinstance(running.api("GET", "/organisations"), list)


def test_metrics_count_events(running: Suite) -> None:
    def counted(event: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{running.ports['metrics']}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        wanted = [line for line in lines if line.startswith("beffroi_events_total{") and f'event="{event}"' in line]
        return sum(float(line.rpartition(" ")[2]) for line in wanted)

    before = counted("smtp-connection")
    for _ in range(3):
        with smtplib.SMTP("127.0.0.1", running.ports["mx"], timeout=30) as client:
            client.noop()
    wait_until(lambda: counted("smtp-connection") >= before + 3, what="three connections to be counted")


def test_no_password_and_no_token_is_ever_logged(running: Suite) -> None:
    wrong = "mauvais-mot-de-passe-unique"
    with smtplib.SMTP_SSL("127.0.0.1", running.ports["submissions"], context=running.tls(), timeout=30) as client:
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("maire@saint-aubin.test", wrong)
        client.login("maire@saint-aubin.test", PASSWORD)
    running.api("PUT", "/mailboxes/maire@saint-aubin.test/password", {"password": PASSWORD + " encore"})
    running.api("PUT", "/mailboxes/maire@saint-aubin.test/password", {"password": PASSWORD})
    with pytest.raises(AssertionError):
        running.api("GET", "/organisations", token="jeton-faux-et-unique")
    wait_until(lambda: "maire@saint-aubin.test" in running.log(), what="the log to tell of logins")
    log = running.log()
    for secret in (PASSWORD, wrong, running.token, "jeton-faux-et-unique"):
        assert secret not in log
        assert base64.b64encode(secret.encode()).decode().rstrip("=") not in log
    for process in (running.supervisor, *(pid for kind in ("front", "web") for pid in running.workers(kind))):
        line = Path(f"/proc/{process}/cmdline").read_bytes() + Path(f"/proc/{process}/environ").read_bytes()
        assert PASSWORD.encode() not in line
        assert running.token.encode() not in line


# --- whom it runs as --------------------------------------------------------------------------------------------------

CHANGE = """
import os, sys
from pathlib import Path
from beffroi.supervisor import privileges
from core.config import load
privileges.become(load(Path(sys.argv[1])))
print(os.getresuid(), os.getresgid(), os.getgroups())
"""


def enterable(path: Path) -> bool:
    """Whether everybody may pass all folders of a path."""
    return all(parent.stat().st_mode & 0o005 == 0o005 for parent in path.resolve().parents)


def test_started_as_root_it_becomes_its_user_and_refuses_foreign_data() -> None:
    """Where root's own folders hold the interpreter, nobody else could start a worker: there the change itself is
    shown alone. Started by anybody but root, `user` changes nothing."""
    entry = pwd.getpwnam("nobody")
    with peer_directory("privileges") as base:
        installation = Suite(base, Settings("127.0.0.1:53", workers=1))
        initialise(installation.data)
        text = installation.settings.toml(installation.ports).replace("allow_root = true", 'user = "nobody"')
        installation.config.write_text(text)
        if os.geteuid() == 0:
            assert "does not belong to nobody" in serve(installation.config)
            for path in (installation.data, *installation.data.rglob("*")):
                shutil.chown(path, "nobody")
        done = subprocess.run(
            [sys.executable, "-c", CHANGE, str(installation.config)],
            capture_output=True,
            text=True,
            timeout=60,
            extra_groups=[0, 1] if os.geteuid() == 0 else None,
        )
        uid, gid = (entry.pw_uid, entry.pw_gid) if os.geteuid() == 0 else (os.getuid(), os.getgid())
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"({uid}, {uid}, {uid}) ({gid}, {gid}, {gid})"), done.stdout
        if os.geteuid() == 0:
            assert done.stdout.rstrip().endswith(" []")  # none of those it was started with
        if enterable(Path(sys.executable)) and enterable(Path(BEFFROI)) and enterable(Path(__file__)):
            installation.start()
            try:
                for pid in (installation.supervisor, *installation.workers("front"), *installation.workers("web")):
                    status = Path(f"/proc/{pid}/status").read_text()
                    assert f"\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in status
            finally:
                assert installation.stop() == 0


def test_sigterm_and_sigint_end_it_with_0_and_leave_no_secret_behind(tmp_path: Path) -> None:
    with suite(Settings(f"127.0.0.1:{free_port()}", workers=1)) as installation:
        assert (installation.data / "run/config.json").exists()
        assert installation.stop(signal.SIGINT) == 0
        assert not (installation.data / "run/config.json").exists()
        assert not (installation.data / "run/beffroi.pid").exists()
        assert installation.cli("status").returncode == 1
