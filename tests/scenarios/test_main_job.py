"""The main job as an operator runs it, and what is left of it when its processes are killed in the middle."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import AUBIN, FLEURI, PARTNER, World, settled
from tests.interop.mail import SENT, await_mark, body, imap, marked, parsed
from tests.interop.test_postfix import send_through_partner, submit
from tests.peers.process import running, wait_until
from tests.scenarios.burst import BOB, WRITER, Burst, Observer, account, duplicates, letters, mark_of
from tests.scenarios.town import town

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with town() as world:
        yield world


def kill_worker(world: World, pid: int) -> None:
    """-9, and wait until the kernel has ended it."""
    kind = "front" if pid in world.suite.workers("front") else "delivery"
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in world.suite.workers(kind), what="a killed worker to end")


def clean(world: World) -> None:
    """Nothing waits, nothing is broken, and no worker met a bug."""
    settled(world)
    assert world.suite.run("store", "verify").strip() == "no fault found"
    assert not world.suite.tracebacks()


def test_the_whole_exchange(world: World) -> None:
    """A letter from the world, read and answered; the answer leaves signed; the neighbour commune gets its copy."""
    secretary = f"secretariat@{AUBIN}"
    letter = marked(f"alice@{PARTNER}", secretary, subject="Demande d'acte")
    send_through_partner(world, f"alice@{PARTNER}", [secretary], letter.raw)
    raw = await_mark(world, secretary, letter.mark)
    assert body(raw) == body(letter.raw)
    assert "dmarc=pass" in str(parsed(raw)["Authentication-Results"])
    client = imap(world, secretary)
    client.select("INBOX")
    (uid,) = client.uid("SEARCH", "UNSEEN")[1][0].split()
    assert client.uid("FETCH", uid, "(RFC822)")[1][0][1] == raw
    assert b"\\Seen" in client.uid("FETCH", uid, "(FLAGS)")[1][0]
    answer = marked(secretary, f"alice@{PARTNER}", subject="Votre acte", extra=f"In-Reply-To: <{letter.mark}@test>\r\n")
    submit(world, secretary, [f"alice@{PARTNER}", f"mairie@{FLEURI}"], answer.raw)
    client.append(SENT, r"(\Seen)", None, answer.raw)
    client.logout()
    assert body(await_mark(world, f"mairie@{FLEURI}", answer.mark)) == body(answer.raw)
    wait_until(lambda: world.partner.messages("alice"), what="the answer at the partner's")
    (arrived,) = world.partner.messages("alice")
    head = parsed(arrived)
    assert head["Authentication-Results"].startswith("verifier.test;")
    assert "dkim=pass" in head["Authentication-Results"]
    assert len(head.get_all("DKIM-Signature", [])) == 2  # RSA and Ed25519
    assert body(arrived.replace(b"\n", b"\r\n")) == body(answer.raw)
    clean(world)
    for path in (world.partner.base / "mail/alice/new").iterdir():
        path.unlink()


def test_f144_fronts_killed_in_a_burst_lose_nothing_acknowledged(world: World, tmp_path: Path) -> None:
    """Twenty senders, both fronts killed one after the other while they work."""
    burst = Burst(world, letters(20, 20, submitters=3))
    first, second = world.suite.workers("front")
    with Observer(world, WRITER) as observer:
        burst.start()
        try:
            burst.await_acknowledged(0.3)
            kill_worker(world, first)
            burst.await_acknowledged(0.65)
            kill_worker(world, second)
        finally:
            burst.join()
            burst.save(tmp_path / "burst.jsonl")
        clean(world)
        last = max(map(int, imap_uids(world)))
        wait_until(lambda: observer.seen and observer.seen[-1] == last, what="the observer to see the last message")
    account(burst)
    observer.check()
    cut = sum(entry.what == "unknown" for entry in burst.log)
    assert duplicates(burst) <= 2 * cut  # a message has two recipients at most
    assert len(world.suite.events("worker-died")) == 2
    assert set(world.suite.workers("front")).isdisjoint({first, second})


def imap_uids(world: World) -> list[bytes]:
    client = imap(world, WRITER)
    try:
        client.select("INBOX", readonly=True)
        return list(client.uid("SEARCH", "ALL")[1][0].split())
    finally:
        client.logout()


def test_f146_the_delivery_worker_killed_while_it_sends_repeats_at_most_what_was_under_way(world: World) -> None:
    before = len(world.partner.messages("bob"))
    burst = Burst(world, letters(4, 20, submitters=4))
    burst.start()
    try:
        wait_until(lambda: len(world.partner.messages("bob")) >= before + 10, timeout=60, what="some mail to leave")
        (worker,) = world.suite.workers("delivery")
        kill_worker(world, worker)
    finally:
        burst.join()
    marks = {letter.message.mark for batch in burst.letters for letter in batch}

    def counts() -> dict[str, int]:
        found = dict.fromkeys(marks, 0)
        for raw in world.partner.messages("bob"):
            if (mark := mark_of(raw)) in found:
                found[mark] += 1
        return found

    # What the dead worker had in hand comes again when its lease is over (60 s); the rest goes on at once.
    wait_until(
        lambda: sum(count > 0 for count in counts().values()) >= len(marks) // 2, timeout=60, what="mail to go on"
    )
    wait_until(lambda: not world.suite.api("GET", "/queue"), timeout=100, what="the queue to empty")
    wait_until(lambda: not world.partner.queued(), what="the partner's queue to empty")
    assert set(counts().values()) <= {1, 2}, "lost, or more than one duplicate for one kill"
    clean(world)


def test_f148_sigterm_under_load_answers_everything_it_took(world: World) -> None:
    """A message whose final dot was read gets its answer; what comes later gets 421 or no connection; nothing is
    unknown, so nothing is doubled."""
    burst = Burst(world, letters(10, 12, submitters=1))
    burst.start()
    try:
        burst.await_acknowledged(0.25)
        assert world.suite.stop(signal.SIGTERM) == 0
        world.suite.start()
    finally:
        burst.join()
    settled(world)
    account(burst)
    assert not [entry for entry in burst.log if entry.what == "unknown"]
    assert duplicates(burst) == 0
    clean(world)


def test_f144_the_supervisor_killed_takes_its_workers_along_and_serve_starts_again(world: World) -> None:
    burst = Burst(world, letters(10, 12, submitters=1))
    workers = [pid for kind in ("front", "delivery", "web") for pid in world.suite.workers(kind)]
    assert len(workers) == 4
    burst.start()
    try:
        burst.await_acknowledged(0.25)
        world.suite.stop(signal.SIGKILL)
        wait_until(lambda: not any(map(running, workers)), timeout=45, what="the workers to end by themselves")
        world.suite.start()
    finally:
        burst.join()
    settled(world)
    account(burst)
    clean(world)
    assert BOB not in world.suite.run("queue", "list")
