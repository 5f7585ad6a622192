"""What a mail program reads, over IMAP with TLS, on the same messages as Dovecot (issue 4, Speed).

`BENCH_MESSAGES` messages (10,000; the issue's figures are for 100,000). "first": no index and no cache of Dovecot's is
there, ours is as delivery leaves it. Everything else is the best of `RUNS`. The client only looks for the tagged line.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.pair import DOMAIN, PASSWORD, UID, pair
from benchmarks.searching import MESSAGES, corpus
from store.names import FileName
from tests.peers.suite import Settings, suite

RUNS = 3
CHANGED = 100  # messages that changed while a client was away
HEADERS = (
    "From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To"
)
COMMANDS = {
    "FETCH 1:* FLAGS": "FETCH 1:* FLAGS",
    "ENVELOPE and BODYSTRUCTURE": "FETCH 1:* (ENVELOPE BODYSTRUCTURE)",
    "Thunderbird's header fields": f"UID FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS ({HEADERS})])",
    "BODY.PEEK[] of 1,000": "UID FETCH 1:1000 (BODY.PEEK[])",
}
FIRST = ("ENVELOPE and BODYSTRUCTURE", "Thunderbird's header fields")  # timed the first time as well
TARGETS = {
    "SELECT, first": 0.1,
    "SELECT": 2.0,
    "FETCH 1:* FLAGS": 1.0,
    "ENVELOPE and BODYSTRUCTURE": 0.5,
    "Thunderbird's header fields": 1.0,
    "Thunderbird's header fields, first": 0.25,
    "BODY.PEEK[] of 1,000": 1.5,
    "BODY.PEEK[] of 10 MB": 1.2,
    "QRESYNC with 100 changes": 0.2,
}


class Client:
    """One connection, a command at a time; answers are counted, not read."""

    def __init__(self, port: int, user: str) -> None:
        raw = socket.create_connection(("127.0.0.1", port), timeout=600)
        self._socket = ssl._create_unverified_context().wrap_socket(raw)
        self._number = 0
        self._socket.recv(4096)
        self.ask(f'LOGIN "{user}" {PASSWORD}')

    def ask(self, command: str, literal: bytes = b"") -> tuple[float, bytes]:
        """Seconds to the tagged OK, and the last 64 KiB of the answer."""
        self._number += 1
        tag = b"b%d" % self._number
        end = re.compile(rb"(?:\A|\r\n)%b (OK|NO|BAD)[^\r\n]*\r\n\Z" % tag)
        start = time.perf_counter()
        self._socket.sendall(tag + b" " + command.encode() + b"\r\n" + literal)
        tail = b""
        while not (match := end.search(tail[-600:])):
            data = self._socket.recv(1 << 18)
            if not data:
                raise AssertionError("the connection ended")
            tail = (tail + data)[-(1 << 16) :]
        seconds = time.perf_counter() - start
        if match[1] != b"OK":
            raise AssertionError(f"{command[:60]}: {tail[-300:]!r}")
        return seconds, tail

    def best(self, command: str, before: str = "NOOP") -> float:
        found = []
        for _ in range(RUNS):
            self.ask(before)
            found.append(self.ask(command)[0])
        return min(found)


def timed(port: int, user: str) -> dict[str, float]:
    """Seconds of each step."""
    client = Client(port, user)
    found = {"SELECT, first": client.ask("SELECT INBOX")[0]}
    found |= {f"{name}, first": client.ask(COMMANDS[name])[0] for name in FIRST}
    found |= {name: client.best(command) for name, command in COMMANDS.items()}
    found["SELECT"] = client.best("SELECT INBOX", before="UNSELECT")
    found["QRESYNC with 100 changes"] = _resynchronised(client)
    found["BODY.PEEK[] of 10 MB"] = _large(client)
    return found


def _resynchronised(client: Client) -> float:
    client.ask("UNSELECT")
    client.ask("ENABLE QRESYNC")
    _, known = client.ask("SELECT INBOX")
    validity, modseq = (re.search(rb"%b (\d+)" % name, known) for name in (b"UIDVALIDITY", b"HIGHESTMODSEQ"))
    assert validity
    assert modseq
    changed = ",".join(str(1 + number * (MESSAGES // CHANGED)) for number in range(CHANGED))
    client.ask(f"UID STORE {changed} +FLAGS.SILENT (\\Flagged)")
    back = f"SELECT INBOX (QRESYNC ({int(validity[1])} {int(modseq[1])}))"
    seconds = client.best(back, before="UNSELECT")
    assert client.ask(back)[1].count(b" FETCH ") == CHANGED
    return seconds


def _large(client: Client) -> float:
    message = b"Subject: large\r\n\r\n" + b"0123456789" * 7 + b"\r\n"
    message += b"Les pieces jointes des marches publics sont lourdes, elles aussi.\r\n" * (10_000_000 // 67)
    client.ask("CREATE Gros")
    client.ask(f"APPEND Gros {{{len(message)}+}}", message + b"\r\n")
    client.ask("SELECT Gros")
    return client.best("FETCH 1 BODY.PEEK[]")


def theirs() -> dict[str, float]:
    with pair(1) as peer:
        maildir = peer.base / "mail" / DOMAIN / "u0" / "Maildir"
        for name in ("cur", "new", "tmp"):
            (maildir / name).mkdir(parents=True, exist_ok=True)
        for number, (date, message) in enumerate(corpus(MESSAGES)):
            _write(maildir / "cur" / f"{date}.M{number}P1.bench,S={len(message)}:2,S", message, date)
        for path in [maildir.parent, *maildir.parent.rglob("*")]:
            os.chown(path, UID, UID)
        return timed(peer.imaps, peer.users[0])


def _write(path: Path, message: bytes, date: int) -> None:
    path.write_bytes(message)
    os.utime(path, (date, date))


def ours() -> dict[str, float]:
    with suite(Settings("127.0.0.1:9", workers=1)) as installation:
        user = f"u0@{DOMAIN}"
        installation.run("organisation", "add", "bench")
        installation.run("domain", "add", DOMAIN, "--organisation", "bench")
        table = installation.base / "users.csv"
        table.write_text(f"{user},{PASSWORD},0,\n")
        installation.run("mailbox", "import", str(table))
        Client(installation.ports["imaps"], user).ask("SELECT INBOX")  # the account is made at its first use
        installation.stop()
        account = installation.data / "domains" / DOMAIN / "u0"
        for number, (date, message) in enumerate(corpus(MESSAGES), 1):
            octets = message.replace(b"\n", b"\r\n")
            _write(account / "cur" / str(FileName(date, f"bench{number:x}", number, len(octets), 1, 0)), octets, date)
        for path in account.glob("index*"):
            path.unlink()
        installation.run("store", "rebuild", DOMAIN)
        installation.start()
        return timed(installation.ports["imaps"], user)


def run() -> Iterable[Figure]:
    yield from _figures(theirs(), ours())


def _figures(peer: dict[str, float], mine: dict[str, float]) -> Iterator[Figure]:
    for name, seconds in mine.items():
        target = TARGETS.get(name)
        met = None if target is None else seconds <= target * peer[name]
        words = f"<= {target}" if target else ""
        yield Figure(f"{name}, {MESSAGES // 1000}k", seconds * 1000, "ms", peer[name] * 1000, words, met)
