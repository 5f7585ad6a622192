"""Sends each day's TLS reports to the domains that ask for them (RFC 8460 3, 5): by signed mail and by HTTPS.

Owns no task: `run` is its owner's. A report that cannot be posted is tried again each hour for a day; mail has the
queue for that. Domains without a TLSRPT record are forgotten.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Sequence
from typing import Protocol
from urllib.parse import unquote

from core.address import Address, AddressError, parse
from core.clock import Clock
from core.domain import parents
from core.errors import ConflictError, MailError
from core.https import Https, HttpsFailed
from core.ids import Ids
from core.log import get
from core.resolver import Outcome, Resolver
from delivery.queue.rows import NewMessage, NewRecipient
from delivery.queue.tls_counts import TlsKey
from dkim_keys.sign import Signer, sign_content
from message.content import BytesContent
from smtp.outbound.tls_counts import DAY, TlsCounts
from smtp.outbound.tls_report import MEDIA, TlsReport, build, destinations, mail

FLUSH = 60.0  # seconds between two flushes of the counts
LOOK = 3600.0  # between two looks for reports that are due
SPREAD = 4 * 3600  # reports leave within so long after midnight, each domain's at its own time (RFC 8460 5.5)
CLAIM = 900.0  # seconds for which one worker alone posts a report
GIVE_UP = 2  # days after which a report that cannot be posted is dropped

_log = get(__name__)


class Keys(Protocol):
    """`dkim_keys.keyring.Keyring`."""

    async def signers(self, domain: str) -> tuple[Signer, ...]: ...


class TlsLedger(Protocol):
    """What the queue keeps for reports: `delivery.queue.queue.Queue`."""

    async def tls_days(self, before: int) -> list[tuple[int, str]]: ...

    async def tls_counts(self, day: int, domain: str) -> dict[TlsKey, int]: ...

    async def claim_tls(self, day: int, domain: str, term: float) -> frozenset[str] | None: ...

    async def posted_tls(self, day: int, domain: str, done: Collection[str]) -> None: ...

    async def settle_tls(self, day: int, domain: str, mails: Sequence[NewMessage]) -> None: ...


class TlsReporter:
    """`hostname` is ours; reports come from noreply-tls-reports@ the hosted domain it lies in, signed. Where it lies in
    none they are posted, and not mailed: who gets one without the reporting domain's signature must ignore it (RFC 8460
    3)."""

    def __init__(
        self, queue: TlsLedger, counts: TlsCounts, resolver: Resolver, https: Https, keys: Keys, *,
        hostname: str, clock: Clock, ids: Ids,
    ) -> None:  # fmt: skip
        self._queue = queue
        self._counts = counts
        self._resolver = resolver
        self._https = https
        self._keys = keys
        self._hostname = hostname
        self._clock = clock
        self._ids = ids

    async def close(self) -> None:
        await self._https.close()

    async def run(self) -> None:
        """Until cancelled; then the counts are brought home. What came due while nothing ran leaves at once."""
        looked = float("-inf")
        try:
            while True:
                await self._counts.flush()
                if self._clock.monotonic() - looked >= LOOK:
                    looked = self._clock.monotonic()
                    await self._look()
                await asyncio.sleep(FLUSH)
        finally:
            await self._counts.flush()

    async def _look(self) -> None:
        try:
            await self.report_due()
        except MailError as error:
            _log.warning("tls-reports-wait", code=error.code, **error.fields)
        except Exception:  # one strange record must not end the counting
            _log.exception("tls-reports-failed")

    async def report_due(self) -> None:
        """Raises `TemporaryError` when the queue is away."""
        now = self._clock.now()
        today = int(now // DAY)
        for day, domain in await self._queue.tls_days(today):
            if day == today - 1 and now - today * DAY < _delay(domain):
                continue  # not yet its time
            try:
                await self._report(day, domain, last=today - day > GIVE_UP)
            except ConflictError:
                continue  # another worker was quicker

    async def _report(self, day: int, domain: str, *, last: bool) -> None:
        answer = await self._resolver.txt(f"_smtp._tls.{domain}")
        if answer.outcome is Outcome.FAILED and not last:
            return
        uris = destinations(answer.records)
        mails: list[NewMessage] = []
        if uris:
            counts = await self._queue.tls_counts(day, domain)
            report = build(day, domain, counts, submitter=self._hostname, contact=f"postmaster@{self._hostname}")
            if not await self._posted(report, [uri for uri in uris if uri.lower().startswith("https:")], last=last):
                return
            mails = await self._mails(report, _addresses(uris))
            _log.info("tls-report", domain=domain, day=day, sessions=report.sessions, failures=report.failures)
        await self._queue.settle_tls(day, domain, mails)

    async def _posted(self, report: TlsReport, uris: Sequence[str], *, last: bool) -> bool:
        """RFC 8460 5.4; whether nothing is left to post, or nothing will be (`last`). By one worker at a time, and to
        each place once: the same report twice would be counted twice."""
        if not uris:
            return True
        taken = await self._queue.claim_tls(report.day, report.domain, CLAIM)
        if taken is None:
            return False  # another worker posts it
        done = set(taken)
        try:
            for uri in uris:
                if _short(uri) not in done and await self._posted_to(uri, report):
                    done.add(_short(uri))
        finally:
            await self._queue.posted_tls(report.day, report.domain, done)
        return last or done.issuperset(map(_short, uris))

    async def _posted_to(self, uri: str, report: TlsReport) -> bool:
        try:
            reply = await self._https.post(uri, report.data, MEDIA)
            cause = str(reply.status)
            if 200 <= reply.status < 300:
                return True
        except HttpsFailed as error:
            cause = error.reason
        _log.warning("tls-report-not-posted", domain=report.domain, cause=cause)
        return False

    async def _mails(self, report: TlsReport, addresses: Sequence[Address]) -> list[NewMessage]:
        for name in parents(self._hostname) if addresses else ():
            if signers := await self._keys.signers(name):
                sender = Address("noreply-tls-reports", name)
                return [await self._mail(report, sender, signers, to) for to in addresses]
        if addresses:
            _log.warning("tls-report-unsigned", domain=report.domain, hostname=self._hostname)
        return []

    async def _mail(self, report: TlsReport, sender: Address, signers: tuple[Signer, ...], to: Address) -> NewMessage:
        now = self._clock.now()
        whole = mail(report, sender, to, ids=self._ids, now=now)
        signed = await sign_content(BytesContent(whole), signers, now) + whole
        # The null reverse-path: nobody reads what comes back.
        return NewMessage(self._ids.queue_id(), None, BytesContent(signed), (NewRecipient(to),))


def _addresses(uris: Sequence[str]) -> list[Address]:
    found = []
    for uri in uris:
        if uri.lower().startswith("mailto:"):
            try:
                found.append(parse(unquote(uri[7:].partition("?")[0])))
            except AddressError:
                continue
    return found


def _short(uri: str) -> str:
    return hashlib.sha256(uri.encode()).hexdigest()[:12]


def _delay(domain: str) -> float:
    """Seconds after midnight, always the same for one domain."""
    return int.from_bytes(hashlib.sha256(domain.encode()).digest()[:4], "big") % SPREAD
