"""The first opening of a mailbox since its mail came: `BENCH_MESSAGES` messages (10,000) of 4 KB arrive over SMTP while
nobody looks, the IMAP server is started anew, and a mail program selects INBOX, for the first time and once more.

It is what `reading` measures, in the state that deliveries leave behind and not in that of a mailbox opened before.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.beffroi import PARTNER, beffroi
from benchmarks.figures import Figure
from benchmarks.imap import Client
from benchmarks.load import jobs, send
from benchmarks.pair import DOMAIN, pair

MESSAGES = int(os.environ.get("BENCH_MESSAGES", "10000"))
SENDER, USER = f"alice@{PARTNER}", f"u0@{DOMAIN}"
OCTETS, CONNECTIONS = 4096, 20
PATIENCE = 600.0  # seconds until the last message lies in the Maildir
TARGETS = {"SELECT, first": 0.1, "SELECT": 2.0}


def _filled(smtp: int, arrived: Path) -> None:
    """All of it lies in `arrived`; nobody was asked over IMAP."""
    send(smtp, jobs(SENDER, [USER], OCTETS, MESSAGES), connections=CONNECTIONS)
    deadline = time.monotonic() + PATIENCE
    while len(os.listdir(arrived)) < MESSAGES:
        if time.monotonic() > deadline:
            raise AssertionError(f"not all of {MESSAGES} messages arrived")
        time.sleep(0.1)


def _opened(imaps: int) -> dict[str, float]:
    client = Client(imaps, USER)
    first, warm = client.ask("SELECT INBOX")[0], client.best("SELECT INBOX", before="UNSELECT")
    client.close()
    return {"SELECT, first": first, "SELECT": warm}


def run() -> Iterable[Figure]:
    with pair(1) as peer:
        _filled(peer.smtp, peer.base / "mail" / DOMAIN / "u0" / "Maildir" / "new")
        peer.restart_dovecot()
        theirs = _opened(peer.imaps)
    with beffroi(1) as ours:
        _filled(ours.suite.ports["mx"], ours.suite.data / "domains" / DOMAIN / "u0" / "cur")
        ours.suite.stop()
        ours.suite.start()
        mine = _opened(ours.suite.ports["imaps"])
    for name, target in TARGETS.items():
        met = mine[name] <= target * theirs[name]
        told = f"{name}, {MESSAGES:,} messages since they came"
        yield Figure(told, mine[name] * 1000, "ms", theirs[name] * 1000, f"<= {target}", met)
