"""A throw-away PostgreSQL on a free loopback port, from Debian's package. Real, not a fake: it lives here to be shared.

As root the server runs as user `postgres` (it refuses root), else as whoever runs the tests.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


class MissingPostgres(Exception):
    """The Debian package `postgresql` is not installed."""


@dataclass
class Postgres:
    """A running server; `url(name)` is what stands in the configuration."""

    binaries: Path
    base: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def create(self, database: str, *, template: str = "template1") -> str:
        self.run("createdb", "-T", template, database)
        return self.url(database)

    def drop(self, database: str) -> None:
        self.run("dropdb", "--force", "--if-exists", database)

    def sql(self, database: str, statement: str) -> str:
        return self.run("psql", "-X", "-A", "-t", "-d", database, "-c", statement).strip()

    def run(self, tool: str, *arguments: str) -> str:
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        done = subprocess.run(
            [str(self.binaries / tool), *where, *arguments], capture_output=True, text=True, timeout=30, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{tool}: {done.stderr.strip()}")
        return done.stdout

    def start(self) -> None:
        options = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.base,
            "shared_buffers": "64MB", "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
        }  # fmt: skip
        flags = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        with (self.base / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*_as_postgres(), str(self.binaries / "postgres"), "-D", str(self.base / "data"), *flags],
                stdout=log, stderr=log, cwd=self.base, env={"HOME": str(self.base), "LC_ALL": "C.UTF-8"},
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(RuntimeError):
                self.run("pg_isready", "-q")
                return
            time.sleep(0.05)
        raise RuntimeError((self.base / "log").read_text())

    def stop(self, *, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: clients are cut off, data is kept. SIGQUIT: at once, like a crash."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(30)


@contextlib.contextmanager
def running() -> Iterator[Postgres]:
    """A fresh cluster, started, and removed afterwards. Raises `MissingPostgres`."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not found:
        raise MissingPostgres("apt-get install postgresql")
    base = Path(tempfile.mkdtemp(prefix="beffroi-postgres-"))
    server = Postgres(found[-1], base, _free_port())
    try:
        if os.getuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(base, owner.pw_uid, owner.pw_gid)
        subprocess.run(
            [*_as_postgres(), str(server.binaries / "initdb"), "-D", str(base / "data"), "-U", "postgres",
             "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"],
            check=True, capture_output=True, timeout=60, cwd=base, env={"HOME": str(base), "PATH": os.environ["PATH"]},
        )  # fmt: skip
        server.start()
        yield server
    finally:
        server.stop(how=signal.SIGQUIT)
        shutil.rmtree(base, ignore_errors=True)


def _as_postgres() -> list[str]:
    if os.getuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
