"""Search, sort and thread in one mailbox over IMAP, on the same messages as Dovecot; how fast an index is made again.

`BENCH_MESSAGES` messages (10,000; the targets are for 100,000). Both mailboxes are written as files, and both
servers have answered every command once before it is measured.
"""

from __future__ import annotations

import asyncio
import imaplib
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.pair import DOMAIN, PASSWORD, UID, pair
from store.names import FileName
from store.service import MaildirStore
from tests.peers.suite import Settings, suite

MESSAGES = int(os.environ.get("BENCH_MESSAGES", "10000"))
RARE, RARE_EVERY = "xylophage", 1009
FIRST_DAY = 1_700_000_000
SYLLABLES = "ba bi cou da dé di fa gue ja la le li ma men mi na ni no pa pé qui ra ri ro sa si ta tion va vi".split()
RUNS = 4

Commands = dict[str, tuple[str, ...]]
Messages = Sequence[tuple[int, bytes]]
COMMANDS: Commands = {
    "rare word, TEXT": ("SEARCH", "TEXT", RARE),
    "FROM": ("SEARCH", "FROM", "agent77@"),
    "SUBJECT": ("SEARCH", "SUBJECT", "mena"),
    "SORT by date": ("SORT", "(DATE)", "UTF-8", "ALL"),
    "SORT by subject": ("SORT", "(SUBJECT)", "UTF-8", "ALL"),
    "THREAD by references": ("THREAD", "REFERENCES", "UTF-8", "ALL"),
}
TARGETS = {"rare word, TEXT": 0.01, "FROM": 0.5, "SUBJECT": 0.5, "SORT by date": 0.7, "THREAD by references": 0.7}


def corpus(count: int) -> Iterator[tuple[int, bytes]]:
    """(date, message with LF line ends): words as frequent as words are, half of them answers."""
    source = random.Random(1)
    words = ["".join(source.choices(SYLLABLES, k=source.choice((1, 2, 2, 3, 4)))) for _ in range(30_000)]
    weights = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))
    threads: list[tuple[str, list[str]]] = []
    for number in range(count):
        text = source.choices(words, cum_weights=weights, k=400)
        if number % RARE_EVERY == RARE_EVERY // 2:
            text[200] = RARE
        subject, references = " ".join(text[:4]), list[str]()
        if threads and source.random() < 0.5:
            subject, references = threads[source.randrange(max(0, len(threads) - 50), len(threads))]
        name = f"{number}.{source.randrange(10**12)}@mail.exemple.test"
        threads.append((subject, [*references, name][-10:]))
        date = FIRST_DAY + number * 60 + source.randrange(-3600, 3600)
        yield date, _message(name, date, source.randrange(200), subject, references, text)


def _message(name: str, date: int, agent: int, subject: str, references: list[str], text: list[str]) -> bytes:
    address = f"agent{agent}@exemple.test"
    head = [
        f"Return-Path: <{address}>",
        f"Received: from mail.exemple.test ([192.0.2.7])\n\tby mx.dept.test with ESMTPS; {_date(date)}",
        f"From: Agent {agent} <{address}>",
        f"To: u0@{DOMAIN}",
        f"Subject: {'Re: ' if references else ''}{subject}",
        f"Date: {_date(date)}",
        f"Message-ID: <{name}>",
        *([f"References: {' '.join(f'<{each}>' for each in references)}"] if references else []),
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit",
    ]
    lines = [" ".join(text[start : start + 12]) for start in range(0, len(text), 12)]
    return "\n".join([*head, "", *lines, ""]).encode()


def _date(seconds: int) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(seconds))


def timed(port: int, user: str) -> dict[str, float]:
    """Seconds of each command: the best of some, after one that is not counted."""
    imaplib._MAXLINE = 100_000_000  # type: ignore[attr-defined]  # of imaplib
    found: dict[str, float] = {}
    client = imaplib.IMAP4_SSL("127.0.0.1", port, timeout=600)
    client.login(user, PASSWORD)
    client.select("INBOX")
    offered = client.capability()[1][0].decode().split()
    for name, (verb, *arguments) in COMMANDS.items():
        if verb == "SEARCH" or any(each.startswith(verb) for each in offered):
            ask = partial(client.uid, verb, *arguments)
            ask()
            found[name] = min(_seconds(ask) for _ in range(RUNS))
    client.logout()
    return found


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def theirs(messages: Messages) -> dict[str, float]:
    with pair(1) as peer:
        maildir = peer.base / "mail" / DOMAIN / "u0" / "Maildir"
        for name in ("cur", "new", "tmp"):
            (maildir / name).mkdir(parents=True, exist_ok=True)
        for number, (date, message) in enumerate(messages):
            _write(maildir / "cur" / f"{date}.M{number}P1.bench,S={len(message)}:2,S", message, date)
        for path in [maildir.parent, *maildir.parent.rglob("*")]:
            os.chown(path, UID, UID)
        return timed(peer.imaps, peer.users[0])


def _write(path: Path, message: bytes, date: int) -> None:
    path.write_bytes(message)
    os.utime(path, (date, date))


def ours(messages: Messages) -> tuple[dict[str, float], float, float]:
    """(seconds by command, messages a second of a rebuild, of filling the texts)."""
    with suite(Settings("127.0.0.1:9")) as installation:
        user = f"u0@{DOMAIN}"
        installation.run("organisation", "add", "bench")
        installation.run("domain", "add", DOMAIN, "--organisation", "bench")
        table = installation.base / "users.csv"
        table.write_text(f"{user},{PASSWORD},0,\n")
        installation.run("mailbox", "import", str(table))
        timed(installation.ports["imaps"], user)  # the account is made at its first use
        installation.stop()
        account = installation.data / "domains" / DOMAIN / "u0"
        for number, (date, message) in enumerate(messages, 1):
            octets = message.replace(b"\n", b"\r\n")
            name = FileName(date, f"bench{number:x}", number, len(octets), 1, 0)
            _write(account / "cur" / str(name), octets, date)
        for path in account.glob("index*"):
            path.unlink()
        rebuilt, filled = rebuild_rates(installation.data)
        installation.start()
        return timed(installation.ports["imaps"], user), rebuilt, filled


async def time_rebuild(data: Path) -> tuple[float, float]:
    """Seconds of a rebuild, of filling the texts."""
    store = MaildirStore(data)
    await store.open()
    start = time.perf_counter()
    await store.rebuild(None)
    middle = time.perf_counter()
    await store.fill_text(None)
    end = time.perf_counter()
    await store.close()
    return middle - start, end - middle


def rebuild_rates(data: Path) -> tuple[float, float]:
    """Messages a second of a rebuild, of filling the texts."""
    rebuilding, filling = asyncio.run(time_rebuild(data))
    return MESSAGES / rebuilding, MESSAGES / filling


def run() -> Iterable[Figure]:
    messages = list(corpus(MESSAGES))
    peer = theirs(messages)
    mine, rebuilt, filled = ours(messages)
    size = f"{MESSAGES // 1000}k messages"
    for name, seconds in mine.items():
        target, other = TARGETS.get(name), peer.get(name)
        met = None if target is None or other is None else seconds <= target * other
        yield Figure(
            f"{name}, {size}", seconds * 1000, "ms", other and other * 1000, f"<= {target}" if target else "", met
        )
    yield Figure(f"store rebuild, {size} of 4 KB", rebuilt, "msg/s", target=">= 2000", met=rebuilt >= 2000)
    yield Figure(f"texts filled, {size} of 4 KB", filled, "msg/s")
