"""kill -9 of the whole suite under load: fronts, the queue's runner, the supervisor; its name service and the world
outside going away for a while. The checker is `tests.scenarios.ledger`."""

from __future__ import annotations

import random
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.scenarios.burst import Senders
from tests.scenarios.ledger import Account
from tests.scenarios.storm import Hamlet, Killer, Post, await_quiet, hamlet, judged

INBOUND, SUBMITTING = 4, 2  # senders
AWAY = 2.0  # seconds that a dependency stays away
WEATHER = 0.15  # how often, beside a kill, something else goes away too


@dataclass
class Told:
    account: Account
    killer: Killer
    senders: Senders
    seconds: float

    @property
    def summary(self) -> str:
        counted = {what: sum(entry.what == what for entry in self.senders.log) for what in ("ok", "unknown", "failed")}
        return (
            f"{sum(self.killer.victims.values())} kills {dict(self.killer.victims)} in {self.seconds:.0f} s: "
            f"{counted['ok']} messages acknowledged, {counted['unknown']} answers lost, {counted['failed']} attempts "
            f"refused; {self.account.copies} copies read back, duplicates {dict(self.account.duplicates)}, "
            f"{len(self.account.violations)} violations"
        )


def storm(seed: int, kills: int, *, weather: bool = True, log: Path | None = None) -> Told:
    """`log`: where the clients' log goes when a promise was broken."""
    begun, chance = time.monotonic(), random.Random(seed)
    with hamlet() as place, ExitStack() as stack:
        post, killer = Post(seed), Killer(place, seed)
        stack.callback(post.stop.set)
        batches = [post.letters(submitted=number < SUBMITTING) for number in range(INBOUND + SUBMITTING)]
        senders = Senders(place, batches)
        senders.start()
        for _ in range(kills):
            if weather and chance.random() < WEATHER:
                something_away(place, chance)
            killer.strike()
        post.stop.set()
        senders.join()
        await_quiet(place)
        account = judged(place, post, senders, killer)
        if account.violations and log is not None:
            senders.save(log)
    return Told(account, killer, senders, time.monotonic() - begun)


def something_away(place: Hamlet, chance: random.Random) -> None:
    """DNS that is silent, or a world that takes no connection (faults 161, 165)."""
    if chance.random() < 0.5:
        place.dns.signal(signal.SIGSTOP)
        time.sleep(AWAY)
        place.dns.signal(signal.SIGCONT)
    else:
        place.sink.closed.set()
        time.sleep(AWAY)
        place.sink.closed.clear()
