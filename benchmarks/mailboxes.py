"""The same mailboxes of 1,000, 10,000 and 100,000 messages for both sides, made once and kept for the next run.

Messages are written as files. Ours are indexed by `store rebuild`; Dovecot's uidlist and index are made by one SELECT,
as its LMTP would have made them, so nothing but what a client asks for is missing there. A run works on copies
whose files are in the page cache. Making them takes minutes: `python -m benchmarks mailboxes` does it
before anything is measured. They lie in `BENCH_MAIL`, or in the temporary directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks import mail
from benchmarks.figures import Figure
from benchmarks.imap import Client
from benchmarks.mail import corpus
from benchmarks.pair import DOMAIN, PASSWORD, UID, Pair, pair
from store.names import FileName
from store.schema import VERSION
from store.search import textfile
from tests.peers.process import copy_tree
from tests.peers.suite import Settings, Suite, suite

SIZES = tuple(int(size) for size in os.environ.get("BENCH_SIZES", "1000,10000,100000").split(","))
USERS = len(SIZES) + 1  # u0 … hold `SIZES` messages in INBOX, the last one none
EMPTY = f"u{len(SIZES)}@{DOMAIN}"
MADE = 1  # another number when they are made in another way: what was kept is made again
PATIENCE = 1800.0  # seconds for an index of a hundred thousand messages on a busy machine


def user(size: int) -> str:
    return f"u{SIZES.index(size)}@{DOMAIN}"


def directory() -> Path:
    """Where they lie; its name tells how they were made."""
    made = hashlib.sha256(Path(mail.__file__).read_bytes() + repr((SIZES, MADE, VERSION, textfile.VERSION)).encode())
    base = Path(os.environ.get("BENCH_MAIL", tempfile.gettempdir()))
    return base / f"beffroi-bench-mail-{made.hexdigest()[:12]}"


def prepared() -> Path:
    """The directory with `ours` (an installation's data) and `theirs` (Dovecot's mail), made if it is not there."""
    path = directory()
    if not path.exists():
        work = path.with_name(f"{path.name}.{os.getpid()}")
        work.mkdir(parents=True)
        try:
            _make_theirs(work / "theirs")
            _make_ours(work / "ours")
            work.rename(path)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return path


def _make_theirs(target: Path) -> None:
    with pair(USERS) as peer:
        for number, size in enumerate(SIZES):
            maildir = peer.base / "mail" / DOMAIN / f"u{number}" / "Maildir"
            for name in ("cur", "new", "tmp"):
                (maildir / name).mkdir(parents=True)
            for count, (date, message) in enumerate(corpus(size)):
                crlf = len(message) + message.count(b"\n")
                name = f"{date}.M{count}P1.bench,S={len(message)},W={crlf}:2,S"
                _write(maildir / "cur" / name, message, date)
            for path in [maildir.parent, *maildir.parent.rglob("*")]:
                os.chown(path, UID, UID)
            client = Client(peer.imaps, f"u{number}@{DOMAIN}")
            client.ask("SELECT INBOX")
            client.ask("LOGOUT")
        peer.stop()
        copy_tree(peer.base / "mail", target)


def _make_ours(target: Path) -> None:
    with suite(Settings("127.0.0.1:9", workers=1)) as installation:
        _accounts(installation)
        installation.stop()
        for number, size in enumerate(SIZES):
            account = installation.data / "domains" / DOMAIN / f"u{number}"
            for uid, (date, message) in enumerate(corpus(size), 1):
                octets = message.replace(b"\n", b"\r\n")
                _write(account / "cur" / str(FileName(date, f"bench{uid:x}", uid, len(octets), 1, 0)), octets, date)
            for path in account.glob("index*"):
                path.unlink()
        installation.run("store", "rebuild", DOMAIN, timeout=PATIENCE)
        installation.start()  # and stop: what the workers write at a clean end is part of it
        installation.stop()
        copy_tree(installation.data, target)


def _accounts(installation: Suite) -> None:
    installation.run("organisation", "add", "bench")
    installation.run("domain", "add", DOMAIN, "--organisation", "bench")
    table = installation.base / "users.csv"
    table.write_text("".join(f"u{number}@{DOMAIN},{PASSWORD},0,\n" for number in range(USERS)))
    installation.run("mailbox", "import", str(table))
    for number in range(USERS):  # an account is made at its first use
        Client(installation.ports["imaps"], f"u{number}@{DOMAIN}").ask("SELECT INBOX")


def _write(path: Path, message: bytes, date: int) -> None:
    path.write_bytes(message)
    os.utime(path, (date, date))


@contextlib.contextmanager
def theirs() -> Iterator[Pair]:
    """Dovecot, started anew with a copy of the mailboxes."""
    with pair(USERS, prepared() / "theirs") as peer:
        yield peer


@contextlib.contextmanager
def ours(settings: Settings | None = None) -> Iterator[Suite]:
    """The suite, started anew with a copy of the mailboxes."""
    with suite(settings or Settings("127.0.0.1:9", workers=1), data=prepared() / "ours") as installation:
        yield installation


def run() -> Iterable[Figure]:
    start = time.perf_counter()
    prepared()
    yield Figure("mailboxes made, or found", time.perf_counter() - start, "s")
