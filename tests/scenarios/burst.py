"""Many senders at once, behaving as real mail servers and clients do: what is not acknowledged is sent again.

Each message names itself (an id and the SHA-256 of its body in the log); each attempt ends as *ok* (answered 250),
*failed* (refused, or cut before the final dot was sent) or *unknown* (cut after it), the words of Jepsen's clients
(security.md section 6). `account` compares that log with what is really there.
"""

from __future__ import annotations

import collections
import hashlib
import imaplib
import json
import re
import smtplib
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.interop.conftest import AUBIN, FLEURI, PARTNER, PASSWORD, World
from tests.interop.mail import Installed, Marked, body, fetch_all, imap, marked
from tests.peers.process import wait_until

MAILBOXES = tuple(f"{name}@{AUBIN}" for name in ("secretariat", "maire", "urbanisme")) + tuple(
    f"{name}@{FLEURI}" for name in ("mairie", "compta")
)
ALICE, BOB, WRITER = f"alice@{PARTNER}", f"bob@{PARTNER}", f"secretariat@{AUBIN}"
MARK = re.compile(rb"Rep\xc3\xa8re ([0-9a-f]{32})")
PAUSE = 0.1  # seconds before another attempt
GIVE_UP = 120.0  # seconds a sender goes on trying
ANSWER = 60.0  # seconds for one answer: connections wait in a killed worker's socket until its successor accepts


@dataclass(frozen=True)
class Letter:
    message: Marked
    recipients: tuple[str, ...]
    submitted: bool


@dataclass
class Entry:
    """`at`: monotonic seconds."""

    at: float
    mark: str
    what: str
    answer: str = ""


class Senders:
    """One thread for each batch: `start`, then `join`; `log` and `acknowledged` while it runs."""

    def __init__(self, place: Installed, batches: Sequence[Iterable[Letter]]) -> None:
        self.log: list[Entry] = []
        self.failures: list[str] = []
        self._place = place
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send_all, args=(batch,)) for batch in batches]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(GIVE_UP + ANSWER)
            assert not thread.is_alive(), "a sender hangs"
        assert not self.failures, self.failures[:5]

    @property
    def acknowledged(self) -> int:
        return sum(entry.what == "ok" for entry in list(self.log))

    def save(self, path: Path) -> None:
        path.write_text("\n".join(json.dumps(vars(entry)) for entry in self.log))

    def _note(self, letter: Letter, what: str, answer: str = "") -> None:
        with self._lock:
            self.log.append(Entry(time.monotonic(), letter.message.mark, what, answer))

    def _send_all(self, batch: Iterable[Letter]) -> None:
        client: smtplib.SMTP | None = None
        for letter in batch:
            deadline = time.monotonic() + GIVE_UP
            while True:
                done, client = self._attempt(letter, client)
                if done:
                    break
                if time.monotonic() > deadline:
                    self.failures.append(f"{letter.message.mark} was never acknowledged")
                    return
                time.sleep(PAUSE)
        if client is not None:
            client.close()

    def _attempt(self, letter: Letter, client: smtplib.SMTP | None) -> tuple[bool, smtplib.SMTP | None]:
        """One transaction. False: again, through the returned connection or a new one."""
        self._note(letter, "invoked")
        sent = False
        try:
            client = client or self._connect(letter.submitted)
            refusal = self._envelope(client, letter)
            if refusal:
                self._note(letter, "failed", refusal)
                client.rset()
                return False, client
            sent = True
            code, text = client.data(letter.message.raw)
        except smtplib.SMTPDataError as error:  # anything but 354: no octet of the message left us
            self._note(letter, "failed", f"{error.smtp_code}")
            return False, None
        except (OSError, smtplib.SMTPException) as error:
            self._note(letter, "unknown" if sent else "failed", type(error).__name__)
            if client is not None:
                client.close()
            return False, None
        self._note(letter, "ok" if code == 250 else "failed", f"{code} {text.decode()}")
        return code == 250, client if code != 421 else None

    def _envelope(self, client: smtplib.SMTP, letter: Letter) -> str:
        sender = WRITER if letter.submitted else ALICE
        code, text = client.mail(sender, ["BODY=8BITMIME"])
        for recipient in letter.recipients if code == 250 else ():
            code, text = client.rcpt(recipient)
            if code not in (250, 251):
                break
        return "" if code in (250, 251) else f"{code} {text.decode()}"

    def _connect(self, submitted: bool) -> smtplib.SMTP:
        door = "submission" if submitted else "mx"
        client = smtplib.SMTP("127.0.0.1", self._place.ports[door], "mx.partner.test", timeout=ANSWER)
        client.ehlo()
        if submitted:
            client.starttls(context=self._place.suite.tls())
            client.login(WRITER, PASSWORD)
        return client


class Burst(Senders):
    """A number of letters that is known before."""

    def __init__(self, world: World, letters: Sequence[Sequence[Letter]]) -> None:
        super().__init__(world, letters)
        self.world, self.letters = world, letters

    def await_acknowledged(self, share: float) -> None:
        total = sum(len(batch) for batch in self.letters)
        wait_until(
            lambda: self.acknowledged >= share * total or self.failures, timeout=GIVE_UP, what=f"{share:.0%} of a burst"
        )

    def unknown(self, mark: str) -> int:
        return sum(entry.mark == mark and entry.what == "unknown" for entry in self.log)


def letters(senders: int, each: int, *, submitters: int = 0) -> list[list[Letter]]:
    """Inbound ones go round the mailboxes, every third to two communes at once; submitted ones go to the partner."""
    batches = []
    for sender in range(senders):
        batch = []
        for number in range(each):
            if sender < submitters:
                batch.append(Letter(marked(WRITER, BOB), (BOB,), submitted=True))
                continue
            first = MAILBOXES[(sender + number) % len(MAILBOXES)]
            second = (MAILBOXES[(sender + number + 3) % len(MAILBOXES)],) if number % 3 == 0 else ()
            size = 300_000 if number % 10 == 5 else 0  # past the spool's 256 KiB
            batch.append(Letter(marked(ALICE, first, size=size), (first, *second), submitted=False))
        batches.append(batch)
    return batches


def account(burst: Burst) -> None:
    """Every acknowledged message, byte by byte, over IMAP and from disk; and nothing else."""
    world = burst.world
    sent = {letter.message.mark: letter for batch in burst.letters for letter in batch}
    assert {entry.mark for entry in burst.log if entry.what == "ok"} == set(sent), "every letter was acknowledged"
    for user in MAILBOXES:
        found = fetch_all(world, user)
        assert list(found) == sorted(set(found)), "UIDs rise and are unique"
        copies = collections.Counter(mark for raw in found.values() if (mark := mark_of(raw)) in sent)
        expected = {mark for mark, letter in sent.items() if user in letter.recipients}
        assert set(copies) == expected, (user, len(expected - set(copies)), "lost,", set(copies) - expected)
        for raw in found.values():
            if (mark := mark_of(raw)) in sent:
                assert raw.endswith(sent[mark].message.raw), f"{mark} was changed on its way to {user}"
                assert hashlib.sha256(body(raw)).hexdigest() == sent[mark].message.digest
        for mark, count in copies.items():
            assert count <= 1 + burst.unknown(mark), f"{mark} came {count} times to {user}"
        assert sorted(digest(raw) for raw in found.values()) == sorted(map(digest, on_disk(world, user)))
    received = collections.Counter(mark_of(raw) for raw in world.partner.messages("bob"))
    for mark, letter in sent.items():
        allowed = range(1, 2 + burst.unknown(mark)) if letter.submitted else range(1)
        assert received[mark] in allowed, f"{mark} came {received[mark]} times to the partner"
    by_mark = {mark_of(raw): raw for raw in world.partner.messages("bob")}
    for mark, letter in sent.items():
        if letter.submitted:
            assert body(by_mark[mark].replace(b"\n", b"\r\n")) == body(letter.message.raw)
            assert b"dkim=pass" in by_mark[mark]
    assert not world.partner.messages("alice")


def duplicates(burst: Burst) -> int:
    sent = {letter.message.mark for batch in burst.letters for letter in batch}
    total = 0
    for user in MAILBOXES:
        copies = collections.Counter(mark_of(raw) for raw in fetch_all(burst.world, user).values())
        total += sum(count - 1 for mark, count in copies.items() if mark in sent)
    return total


def mark_of(raw: bytes) -> str:
    match = MARK.search(raw)
    return match[1].decode() if match else ""


def digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def on_disk(world: Installed, user: str) -> list[bytes]:
    """The inbox's files; what a crash left under tmp/ is nobody's message, what lies in new/ would be a foreign one."""
    local, _, domain = user.partition("@")
    folder = world.suite.data / "domains" / domain / local
    assert not list((folder / "new").iterdir())
    return [path.read_bytes() for path in (folder / "cur").iterdir()]


class Observer:
    """Watches one inbox while the burst runs, reconnecting as a client would: UIDs become visible in rising order and
    the UIDVALIDITY never changes (promise P4)."""

    def __init__(self, world: World, user: str) -> None:
        self._world, self._user = world, user
        self._done = threading.Event()
        self.seen: list[int] = []
        self.validities: set[bytes] = set()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Observer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(ANSWER)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._done.is_set():
            try:
                self._watch()
            except (OSError, imaplib.IMAP4.error):
                self._done.wait(PAUSE)

    def _watch(self) -> None:
        client = imap(self._world, self._user)
        try:
            client.select("INBOX", readonly=True)
            self.validities.add(client.response("UIDVALIDITY")[1][0])
            while not self._done.is_set():
                last = self.seen[-1] if self.seen else 0
                _, data = client.uid("SEARCH", f"UID {last + 1}:*")
                self.seen += sorted(uid for uid in map(int, (data[0] or b"").split()) if uid > last)
                self._done.wait(0.05)
        finally:
            client.shutdown()

    def check(self) -> None:
        """What became visible later than its successors would be missing here."""
        everything = list(fetch_all(self._world, self._user))
        assert len(self.validities) == 1
        seen = set(self.seen)
        assert [uid for uid in everything if uid <= self.seen[-1]] == self.seen, sorted(set(everything) - seen)[:5]
