"""Counts TLS sessions in memory and brings them to the queue's database now and then (RFC 8460 3).

A killed worker loses the counts of its last minute: they are statistics, and no delivery waits for them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from core.clock import Clock
from core.errors import MailError
from core.log import get
from delivery.queue.tls_counts import TlsKey
from smtp.outbound.tls_results import Applied, Session

DAY = 86_400
MOST = 20_000  # different things counted between two flushes

_log = get(__name__)


class Ledger(Protocol):
    """Where counts are kept: the queue."""

    async def count_tls(self, counts: Mapping[TlsKey, int]) -> None: ...


class TlsCounts:
    """Implements `TlsResults`. `flush` by its owner, at the end too."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._counts: Counter[TlsKey] = Counter()

    def note(self, session: Session) -> None:
        failed = session.failure
        key = TlsKey(
            int(self._clock.now() // DAY),
            session.recipient_domain,
            policy_json(session.applied),
            session.host[:255] if failed else "",  # successes are told as one number
            session.address if failed else "",
            session.source if failed else "",
            failed,
            session.reason if failed else "",
        )
        if key in self._counts or len(self._counts) < MOST:
            self._counts[key] += 1

    async def flush(self) -> None:
        """Never raises for a database that is away: the counts wait for the next time."""
        if not self._counts:
            return
        counts, self._counts = self._counts, Counter()
        try:
            await self._ledger.count_tls(counts)
        except MailError as error:
            self._counts.update(counts)
            _log.warning("tls-counts-wait", code=error.code)


def policy_json(applied: Applied) -> str:
    """The policy object of RFC 8460 4.2, in one spelling."""
    policy: dict[str, object] = {"policy-type": applied.kind.value}
    if applied.strings:
        policy["policy-string"] = list(applied.strings)
    policy["policy-domain"] = applied.domain
    if applied.patterns:
        policy["mx-host"] = list(applied.patterns)
    return json.dumps(policy, sort_keys=True)
