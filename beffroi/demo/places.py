"""Where the demonstration lives: its folder, its ports, its secrets (made at the first run, kept for the next)."""

from __future__ import annotations

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path

HOSTNAME = "mx.beffroi.example"
# Preferred ports, close to the ones they stand for; the next free one is taken where one is in use.
PORTS = {
    "mx": 2525,
    "submission": 2587,
    "submissions": 2465,
    "imap": 2143,
    "imaps": 2993,
    "api": 2080,
    "metrics": 2090,
}
COMMUNES = (
    ("Saint-Aubin-des-Bois", "saint-aubin.example", ("secretariat", "maire")),
    ("Val-Fleuri", "val-fleuri.example", ("mairie", "comptabilite")),
)
WORDS = (
    "abeille bouleau cerise dahlia erable fougere genet houx iris jasmin laurier muguet noyer olivier pivoine".split()
)

CONFIG = """\
# The demonstration. Made anew at each `make run`; for a real installation see docs/operations.md.
hostname = "{hostname}"
data = "."
workers = 2
allow_root = true

[listen]
{listen}

[dns]
resolvers = []

[delivery]
allow_private = true
"""


@dataclass
class Secrets:
    """`passwords` by address."""

    token: str = ""
    passwords: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    folder: Path
    ports: dict[str, int]

    @property
    def config(self) -> Path:
        return self.folder / "beffroi.toml"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def write_config(self) -> None:
        listen = "\n".join(f'{door} = ["127.0.0.1:{port}"]' for door, port in self.ports.items())
        self.config.write_text(CONFIG.format(hostname=HOSTNAME, listen=listen), encoding="utf-8")

    def load_secrets(self) -> Secrets:
        try:
            return Secrets(**json.loads((self.folder / "demo-secrets.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return Secrets()

    def save_secrets(self, value: Secrets) -> None:
        path = self.folder / "demo-secrets.json"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(value), file)


def choose_ports() -> dict[str, int]:
    chosen: dict[str, int] = {}
    for door, preferred in PORTS.items():
        port = preferred
        while port in chosen.values() or not _free(port):
            port += 1
        chosen[door] = port
    return chosen


def new_password() -> str:
    """Five words and a number: easy to copy by hand from a terminal."""
    return "-".join([*(secrets.choice(WORDS) for _ in range(4)), str(secrets.randbelow(90) + 10)])


def _free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
