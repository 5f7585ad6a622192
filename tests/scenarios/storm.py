"""The whole suite under load while it is killed: letters of every way through it, a killer, and the reading back.

One installation with two communes, signed DNS, and a sink that is the whole rest of the world. What is looked at in the
end: all mailboxes over IMAP and their files on disk, the reports among them, the sink's captures, the queue.
"""

from __future__ import annotations

import contextlib
import email
import email.policy
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.interop.conftest import AUBIN, FLEURI, PARTNER, PARTNER_ZONE, PASSWORD, REVERSE
from tests.interop.mail import body, fetch_all, marked
from tests.peers.dns import Dns, mail_zone, unbound
from tests.peers.process import running, wait_until
from tests.peers.sink import Sink, sink
from tests.peers.suite import Settings, Suite, suite
from tests.scenarios.burst import ALICE, MAILBOXES, WRITER, Letter, Senders, mark_of, on_disk
from tests.scenarios.ledger import Account, Found, Sent, digest, settle

FAR = "far.test"
ALIAS, COPY = f"suivi@{AUBIN}", f"copie@{FAR}"
LIMITS = """account_recipients_per_day = 1000000
account_new_recipients_per_day = 1000000
account_hijack_per_hour = 1000000
"""
QUIET = 150.0  # seconds until everything must have left the queue: dead workers' leases, and some attempts
_REPORTED = re.compile(rb"<([0-9a-f]{32})@test>")


@dataclass
class Hamlet:
    """What `burst` and `mail` need of a world, and the sink."""

    dns: Dns
    sink: Sink
    suite: Suite

    @property
    def ports(self) -> dict[str, int]:
        return self.suite.ports


@contextlib.contextmanager
def hamlet() -> Iterator[Hamlet]:
    with contextlib.ExitStack() as stack:
        zones = {
            PARTNER: PARTNER_ZONE, FAR: mail_zone(""), "dept.test": "mx IN A 127.0.0.1\n", AUBIN: "", FLEURI: "",
            "127.in-addr.arpa": REVERSE,
        }  # fmt: skip
        dns = stack.enter_context(unbound(zones))
        far = stack.enter_context(sink())
        settings = Settings(dns.endpoint, partner_port=far.port, retry="1s, 2s", extra=LIMITS)
        installation = stack.enter_context(suite(settings))
        for organisation, domain in (("Saint-Aubin", AUBIN), ("Val-Fleuri", FLEURI)):
            installation.api("POST", "/organisations", {"name": organisation})
            installation.api("POST", "/domains", {"name": domain, "organisation": organisation})
        for address in MAILBOXES:
            installation.api("POST", "/mailboxes", {"address": address, "password": PASSWORD, "quota": 8 << 30})
        installation.api("POST", "/aliases", {"address": ALIAS, "targets": [COPY]})
        yield Hamlet(dns, far, installation)


# --- the letters -----------------------------------------------------------------------------------------------------


class Post:
    """Makes letters until it is told to stop, and remembers where each belongs."""

    def __init__(self, seed: int) -> None:
        self.places: dict[str, frozenset[str]] = {}
        self.digests: dict[str, str] = {}
        self.stop = threading.Event()
        self._chance = random.Random(seed)
        self._lock = threading.Lock()

    def letters(self, *, submitted: bool, most: int = 1_000_000) -> Iterator[Letter]:
        for _ in range(most):
            if self.stop.is_set():
                return
            with self._lock:
                letter = self._submitted() if submitted else self._inbound()
            yield letter

    def _letter(self, sender: str, recipients: tuple[str, ...], places: set[str], size: int = 0) -> Letter:
        message = marked(sender, recipients[0], size=size)
        # Each letter has remote recipients of its own, so that each capture can be counted for itself.
        own = tuple(name.replace("-@", f"-{message.mark}@") for name in recipients)
        self.places[message.mark] = frozenset(place.replace("-@", f"-{message.mark}@") for place in places)
        self.digests[message.mark] = digest(body(message.raw))
        return Letter(message, own, submitted=sender == WRITER)

    def _inbound(self) -> Letter:
        kind = self._chance.random()
        first, second = self._chance.sample(MAILBOXES, 2)
        if kind < 0.2:
            return self._letter(ALICE, (ALIAS,), {f"sink:{COPY}"})
        if kind < 0.4:
            return self._letter(ALICE, (first, second), {f"imap:{first}", f"imap:{second}"})
        if kind < 0.5:
            return self._letter(ALICE, (first, ALIAS), {f"imap:{first}", f"sink:{COPY}"})
        size = 300_000 if kind > 0.93 else 0  # past the spool's 256 KiB
        return self._letter(ALICE, (first,), {f"imap:{first}"}, size)

    def _submitted(self) -> Letter:
        kind, there = self._chance.random(), f"mairie@{FLEURI}"
        if kind < 0.4:
            return self._letter(WRITER, (f"ok-@{FAR}",), {f"sink:ok-@{FAR}"})
        if kind < 0.55:
            return self._letter(WRITER, (f"later-@{FAR}",), {f"sink:later-@{FAR}"})
        if kind < 0.65:
            return self._letter(WRITER, (f"cut-@{FAR}",), {f"sink:cut-@{FAR}"})
        if kind < 0.85:
            return self._letter(WRITER, (f"nobody-@{FAR}",), {f"bounce:{WRITER}"})
        people = (there, f"ok-@{FAR}", f"nobody-@{FAR}")
        return self._letter(WRITER, people, {f"imap:{there}", f"sink:ok-@{FAR}", f"bounce:{WRITER}"})


# --- the killer ------------------------------------------------------------------------------------------------------


@dataclass
class Killer:
    """-9 at random moments to a front, the queue's runner or the supervisor with all of them. `runner`: when (monotonic
    seconds) a runner was killed; `victims` by kind."""

    place: Hamlet
    seed: int
    runner: list[float] = field(default_factory=list)
    victims: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def strike(self, kind: str = "") -> None:
        """Once, after a moment. Returns when the victim is dead and, for a supervisor, when all serve again."""
        time.sleep(self._chance.uniform(0.05, 1.0))
        kind = kind or self._chance.choices(("front", "delivery", "supervisor"), (45, 40, 15))[0]
        if kind == "supervisor":
            self._all()
        else:
            self._one(kind)
        self.victims[kind] += 1

    def _one(self, kind: str) -> None:
        installation = self.place.suite
        wait_until(lambda: installation.workers(kind), what=f"a {kind} to kill", timeout=180)
        pid = self._chance.choice(installation.workers(kind))
        if kind == "delivery":
            self.runner.append(time.monotonic())
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: pid not in installation.workers(kind), what="a killed worker to end")

    def _all(self) -> None:
        installation = self.place.suite
        workers = [pid for kind in ("front", "delivery", "web") for pid in installation.workers(kind)]
        self.runner.append(time.monotonic())
        installation.stop(signal.SIGKILL)
        wait_until(lambda: not any(map(running, workers)), timeout=60, what="the workers to end by themselves")
        self.runner.append(time.monotonic())  # they worked until then
        for attempt in range(5):  # a machine that is busy with other things may not start it in a minute
            try:
                installation.start()
                return
            except AssertionError:
                if attempt == 4:
                    raise
                installation.stop()


# --- the judgement ---------------------------------------------------------------------------------------------------


def judged(place: Hamlet, post: Post, senders: Senders, killer: Killer) -> Account:
    """Everything read back and held against the log. Call it when nothing waits any more."""
    found = _delivered(place)
    account = settle(_sent(place, post, senders, killer), found)
    account.violations += [f"disk: {line}" for line in _disk(place)]
    if (said := place.suite.run("store", "verify").strip()) != "no fault found":
        account.violations.append(f"store verify: {said}")
    account.violations += [f"traceback: {line[-1500:]}" for line in place.suite.tracebacks()]
    account.violations += [f"queue: {item} waits" for item in waiting(place)]
    return account


def waiting(place: Hamlet) -> list[object]:
    found = place.suite.api("GET", "/queue")
    assert isinstance(found, list)
    return found


def await_quiet(place: Hamlet) -> None:
    wait_until(lambda: not waiting(place), timeout=QUIET, what="the queue to empty")


def _sent(place: Hamlet, post: Post, senders: Senders, killer: Killer) -> Iterator[Sent]:
    begun: dict[str, float] = {}
    counts: dict[str, Counter[str]] = {}
    for entry in senders.log:
        begun.setdefault(entry.mark, entry.at)
        counts.setdefault(entry.mark, Counter())[entry.what] += 1
    last: dict[str, float] = {}
    cuts: Counter[str] = Counter()
    for capture in place.sink.captures:
        mark = mark_of(capture.raw)
        last[mark] = capture.at
        cuts[mark] += not capture.answered
    for mark, places in post.places.items():
        if mark not in begun:
            continue
        kills = sum(begun[mark] <= at <= last.get(mark, 0.0) for at in killer.runner) + cuts[mark]
        many = counts[mark]
        yield Sent(mark, post.digests[mark], places, many["ok"], many["unknown"], kills)


def _delivered(place: Hamlet) -> dict[str, list[Found]]:
    found: dict[str, list[Found]] = {}
    for user in MAILBOXES:
        inbox, reports = found.setdefault(f"imap:{user}", []), found.setdefault(f"bounce:{user}", [])
        mails = fetch_all(place, user)
        assert list(mails) == sorted(set(mails)), "UIDs rise and are unique"
        for raw in mails.values():
            if _is_report(raw):
                match = _REPORTED.search(body(raw))
                reports.append(Found(match[1].decode() if match else ""))
            else:
                inbox.append(Found(mark_of(raw), digest(body(raw))))
    for capture in place.sink.captures:
        for recipient in capture.recipients:
            copy = Found(mark_of(capture.raw), digest(body(capture.raw)))
            found.setdefault(f"sink:{recipient}", []).append(copy)
    return found


def _is_report(raw: bytes) -> bool:
    head = email.message_from_bytes(raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", policy=email.policy.default)
    return head.get_content_type() == "multipart/report"


def _disk(place: Hamlet) -> list[str]:
    """The files are what IMAP says (promise P3)."""
    lines = []
    for user in MAILBOXES:
        told = sorted(map(digest, fetch_all(place, user).values()))
        if sorted(map(digest, on_disk(place, user))) != told:
            lines.append(f"{user}: files and IMAP differ")
    return lines
