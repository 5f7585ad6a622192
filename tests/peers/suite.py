"""Beffroi itself, started as an operator would: `beffroi init`, a configuration file, `beffroi serve`, REST."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.peers.process import Process, children, copy_tree, free_ports, peer_directory, wait_until

HOSTNAME = "mx.dept.test"
BEFFROI = str(Path(sys.executable).with_name("beffroi"))
READY = 180.0  # seconds
DOORS = ("mx", "submission", "submissions", "lmtp", "imap", "imaps", "api", "metrics")


@dataclass
class Settings:
    """What a test may choose; everything else is what `init` and the design give."""

    resolver: str
    partner_port: int = 25
    rspamd: str = ""
    workers: int = 2
    exempt: list[str] = field(default_factory=lambda: ["127.0.0.0/8"])
    routes: dict[str, str] = field(default_factory=dict)
    extra: str = ""  # lines of [limits], and further tables
    delivery: str = ""  # lines of [delivery]
    listen: str = ""  # lines of [listen]
    retry: str = "2s, 4s"

    def toml(self, ports: dict[str, int]) -> str:
        listen = "\n".join(f'{door} = ["127.0.0.1:{ports[door]}"]' for door in DOORS)
        routes = ", ".join(f'"{domain}" = "{hop}"' for domain, hop in self.routes.items())
        return f"""hostname = "{HOSTNAME}"
data = "."
workers = {self.workers}
allow_root = true
[listen]
{listen}
{self.listen}
[dns]
resolvers = ["{self.resolver}"]
[delivery]
port = {self.partner_port}
allow_private = true
retry = "{self.retry}"
routes = {{ {routes} }}
{self.delivery}
[antispam]
rspamd = "{self.rspamd}"
[limits]
exempt = {json.dumps(self.exempt)}
{self.extra}
"""


class ApiError(AssertionError):
    def __init__(self, status: int, problem: dict[str, object]) -> None:
        super().__init__(f"{status} {problem}")
        self.status, self.problem = status, problem


class Suite:
    """One installation under `base`. Ports by role in `ports`."""

    def __init__(self, base: Path, settings: Settings) -> None:
        self.base, self.settings = base, settings
        self.data = base / "data"
        self.config = self.data / "beffroi.toml"
        self.ports = dict(zip(DOORS, free_ports(len(DOORS)), strict=True))
        self.token = ""
        self._process: Process | None = None

    # --- the command line -------------------------------------------------------------------------------------

    def cli(self, *arguments: str, stdin: str = "", timeout: float = 120) -> subprocess.CompletedProcess[str]:
        command = [BEFFROI, "--config", str(self.config), *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout)

    def run(self, *arguments: str, stdin: str = "", timeout: float = 120) -> str:
        done = self.cli(*arguments, stdin=stdin, timeout=timeout)
        if done.returncode:
            raise AssertionError(f"beffroi {' '.join(arguments)}: {done.returncode}\n{done.stderr}")
        return done.stdout

    def init(self, data: Path | None = None) -> None:
        """A new installation, or a copy of the one whose data lie there (it has an administrator already)."""
        if data is not None:
            copy_tree(data, self.data)
            self.config.write_text(self.settings.toml(self.ports))
            return
        done = subprocess.run(
            [BEFFROI, "init", "--data", str(self.data), "--hostname", HOSTNAME], capture_output=True, text=True
        )
        if done.returncode:
            raise AssertionError(done.stderr)
        self.config.write_text(self.settings.toml(self.ports))
        self.token = self.run("admin", "add", "operator", "--role", "operator").strip()

    # --- life -------------------------------------------------------------------------------------------------

    @property
    def output(self) -> Path:
        return self.base / "output"

    def log(self) -> str:
        return self.output.read_text(errors="replace")

    def events(self, name: str) -> list[dict[str, object]]:
        found = []
        for line in self.log().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                event = json.loads(line)
                if isinstance(event, dict) and event.get("event") == name:
                    found.append(event)
        return found

    def tracebacks(self) -> list[str]:
        """What the log tells of bugs: events with a traceback, and output that is no event, with what follows it."""
        lines, found = self.log().splitlines(), []
        for number, line in enumerate(lines):
            if "Traceback" in line or "Task exception" in line:
                rest = itertools.takewhile(lambda later: not later.startswith("{"), lines[number + 1 : number + 60])
                found.append("\n".join((line, *rest)))
        return found

    def start(self) -> None:
        before = self.output.stat().st_size if self.output.exists() else 0
        self._process = Process([BEFFROI, "serve", "--config", str(self.config)], self.output, cwd="/")

        def ready() -> bool:
            assert self._process is not None
            text = self.output.read_bytes()[before:].decode(errors="replace")
            if not self._process.running:
                raise AssertionError(f"beffroi serve ended:\n{text[-4000:]}")
            return "\nready\n" in f"\n{text}"

        wait_until(ready, timeout=READY, what="beffroi to be ready")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self._process is None:
            return 0
        code = self._process.stop(number)
        self._process = None
        return code

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    @property
    def supervisor(self) -> int:
        assert self._process is not None
        return self._process.pid

    def workers(self, kind: str) -> list[int]:
        """The pids of the running workers of one kind, read from their environment as ps would."""
        found = []
        for pid in children(self.supervisor):
            with contextlib.suppress(OSError):
                if f'"kind": "{kind}"'.encode() in Path(f"/proc/{pid}/environ").read_bytes():
                    found.append(pid)
        return found

    # --- REST -------------------------------------------------------------------------------------------------

    def api(self, method: str, path: str, body: object = None, *, token: str | None = None) -> object:
        """The decoded answer; a refusal raises `ApiError` with its problem."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['api']}/v1{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                text = response.read()
                return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            with error:
                raise ApiError(error.code, json.loads(error.read() or b"{}")) from None

    def tls(self) -> ssl.SSLContext:
        """A client context that trusts exactly this installation's certificate."""
        context = ssl.create_default_context(cafile=str(self.data / "tls/certificate.pem"))
        context.check_hostname = False
        return context


@contextlib.contextmanager
def suite(settings: Settings, *, started: bool = True, data: Path | None = None) -> Iterator[Suite]:
    with peer_directory("suite") as base:
        installation = Suite(base, settings)
        installation.init(data)
        try:
            if started:
                installation.start()
            yield installation
        finally:
            installation.stop()
