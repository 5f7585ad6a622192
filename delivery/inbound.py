"""A message from the world (MX role): from the first RCPT to 250 (design.md section 4).

Knows the order of steps; each step is a file of its own. Implements `delivery.types.Acceptor`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache, partial
from typing import Generic

from antispam.types import Result
from core import log, reputation
from core.address import Address
from core.clock import Clock
from core.config import Config
from core.envelope import Dsn, Envelope, Listener, Peer
from core.errors import MailError
from core.frozen import dataclass
from core.status import Status, accepted, deferred, refused
from core.tally import Tally
from delivery import stamp
from delivery.commit import Committer, Plan, refusal, traced_id
from delivery.envelopes import envelope_of
from delivery.evidence import Authenticator, Case, Evidence, Scanner, V, gather, trusted
from delivery.forward import Verified
from delivery.greylisting import Greylist
from delivery.policy import Context, Decision, Disposition, decide, unquestioned, vouched
from delivery.reception import TOO_LARGE, Arrived, SpooledReception
from delivery.routing import Addresses, is_protected, judge_recipient
from delivery.spread import LOOP, Spread, silent, spread, without_success
from delivery.srs import is_rewritten
from delivery.types import BINARY, MailParameters, Reception, Transaction
from directory.directory import Directory
from message import trace
from message.address_list import from_domains
from message.header import Head
from store.store import Store
from store.types import INBOX

JUNK = "Junk"
OWN_HOPS = 5  # sent, through a list, forwarded by an alias, back and forwarded again: more is a circle

SENDER_OK = accepted("sender OK", "sender-accepted", "2.1.0")
TOO_MANY = deferred("too many recipients", "too-many-recipients", "4.5.3", code=452)
BOUNCES_ONLY = refused("this address takes bounces only", "bounces-only", "5.7.1")

_log = log.get(__name__)


class Inbound(Generic[V]):
    """`scanner` None: no Rspamd is configured. One instance serves all sessions of a process."""

    def __init__(
        self,
        config: Config,
        directory: Directory,
        store: Store,
        authenticator: Authenticator[V],
        scanner: Scanner | None,
        committer: Committer,
        clock: Clock,
        tally: Tally | None = None,
        addresses: Addresses | None = None,
        greylist: Greylist | None = None,
    ) -> None:
        """`addresses`: what recipients are resolved by, when it is not the directory alone; `greylist` None: off."""
        self._config = config
        self._limits = config.limits
        self._arc_trusted = frozenset(name.lower() for name in config.antispam.arc_trusted)
        self._directory = directory
        self._store = store
        self._authenticator = authenticator
        self._scanner = scanner
        self._committer = committer
        self._clock = clock
        self._tally = tally
        self._addresses: Addresses = addresses or directory
        self._greylist = greylist

    # --- what a session asks -----------------------------------------------------------------------------------------

    async def sender(self, peer: Peer, address: Address | None, parameters: MailParameters) -> Status:
        return TOO_LARGE if parameters.size > self._limits.message_octets else SENDER_OK

    async def recipient(self, transaction: Transaction, address: Address, dsn: Dsn) -> Status:
        count = len(transaction.recipients)
        # Security.md row 53: a bounce is for one; a null sender with many recipients is none.
        alone = transaction.sender is None and transaction.peer.listener is not Listener.LMTP
        if count >= self._limits.recipients_mx or (alone and count):
            return TOO_MANY
        if transaction.sender is not None and is_rewritten(address):
            return BOUNCES_ONLY
        size = transaction.parameters.size
        try:
            return await judge_recipient(
                self._addresses, self._store, address, depth=self._limits.alias_depth, size=size
            )
        except MailError as error:
            _log.warning("recipient-unresolved", queue_id=transaction.queue_id, code=error.code, **error.fields)
            return refusal(error)

    def begin(self, transaction: Transaction) -> Reception:
        spool = self._store.spool(limit=self._limits.message_octets, declared=transaction.parameters.size)

        origin = None  # asked now, while the peer sends what 354 asked for
        if transaction.peer.listener is not Listener.LMTP:
            origin = self._authenticator.origin(transaction.peer, transaction.sender)

        async def complete(arrived: Arrived[V]) -> Status:
            return await self.accept(transaction, arrived)

        binary = transaction.parameters.body == BINARY
        return SpooledReception(
            spool, self._limits, partial(self._authenticator.begin, origin=origin), complete, binary=binary
        )

    # --- the way of one message --------------------------------------------------------------------------------------

    async def accept(self, transaction: Transaction, arrived: Arrived[V]) -> Status:
        """250: durable and visible, or durably queued. Else nobody gets it."""
        envelope = envelope_of(transaction, eight_bit=arrived.eight_bit)
        if looped(arrived.head, self._config):
            return self._closed(envelope, LOOP)
        evidence = await self._gather(transaction, envelope, arrived)
        decision = unquestioned(evidence) or decide(evidence, self._context(envelope))
        if self._greylist is not None:
            decision = await self._greylist.judge(decision, evidence, envelope, transaction.peer)
        self._recognise(transaction.peer, evidence)
        if not decision.delivers:
            return self._closed(envelope, decision.status)
        found = await self._spread(transaction, arrived.head)
        if found.refusal is not None:
            return self._closed(envelope, found.refusal)
        plan = self._plan(
            _Judged(transaction, envelope, arrived, evidence, decision), _quiet(found, evidence, decision)
        )
        status = await self._committer.commit(plan)
        return self._closed(envelope, status, decision)

    async def _spread(self, transaction: Transaction, head: Head) -> Spread:
        """A recipient that has sent it on before fails; whom it comes to beside has his mail."""
        resolve = partial(spread, self._addresses, transaction.recipients, depth=self._limits.alias_depth)
        found = await resolve()
        came_back = self._committer.came_back(head, found.outgoing) if found.outgoing else ()
        return await resolve(ended=came_back) if came_back else found

    async def _gather(self, transaction: Transaction, envelope: Envelope, arrived: Arrived[V]) -> Evidence:
        case = Case(
            envelope=envelope,
            peer=transaction.peer,
            content=arrived.content,
            prefix=b"",
            author=from_domains(arrived.head, self._limits),
        )
        if transaction.peer.listener is Listener.LMTP:
            return trusted(case)
        timeout = self._limits.evidence_timeout
        return await gather(case, self._authenticator, arrived.verification, self._scanner, timeout=timeout)

    def _recognise(self, peer: Peer, evidence: Evidence) -> None:
        """Whose mail passes SPF or DKIM is no harvester for a month (security.md, Decided, row 39)."""
        if self._tally is not None and vouched(evidence.authentication):
            reputation.vouch(self._tally, peer.address)

    def _context(self, envelope: Envelope) -> Context:
        return Context(
            protected=any(is_protected(item.address) for item in envelope.recipients),
            accept_unscanned=self._config.antispam.when_unavailable == "accept",
            arc_trusted=self._arc_trusted,
        )

    def _plan(self, judged: _Judged[V], found: Spread) -> Plan:
        received = stamp.Hop(self._config.hostname, judged.envelope, judged.transaction.peer, self._clock.now())
        return_path = trace.return_path(judged.envelope.sender)
        fields = stamp.inbound(judged.arrived.head, return_path, received, judged.evidence, judged.decision)
        return Plan(
            envelope=judged.envelope,
            head=bytes(fields)[len(return_path) :],
            body=judged.arrived.content,
            skip=len(judged.arrived.content.head),
            local_prefix=return_path,
            targets=found.targets,
            outgoing=found.outgoing,
            verified=self._verified(judged),
            folder=JUNK if judged.decision.disposition is Disposition.JUNK else INBOX,
            message_id=traced_id(judged.arrived.head),
            fields=fields,
        )

    @staticmethod
    def _verified(judged: _Judged[V]) -> Verified | None:
        """A seal vouches for what we looked at ourselves."""
        peer = judged.transaction.peer
        return None if peer.listener is Listener.LMTP else Verified(judged.evidence.authentication, peer.address)

    def _closed(self, envelope: Envelope, status: Status, decision: Decision | None = None) -> Status:
        """One event for each message, whatever became of it."""
        _log.info(
            "message-accepted" if status.ok else "message-refused",
            queue_id=envelope.queue_id,
            sender=str(envelope.sender or ""),
            recipients=[str(item.address) for item in envelope.recipients],
            decision=decision.disposition.value if decision else "",
            reason=decision.reason if decision and status.ok else status.reason,
            status=str(status),
        )
        return status


@dataclass(frozen=True, slots=True)
class _Judged(Generic[V]):
    transaction: Transaction
    envelope: Envelope
    arrived: Arrived[V]
    evidence: Evidence
    decision: Decision


def looped(head: Head, config: Config) -> bool:
    """RFC 5321 6.3: too many hops, or too many of them ours (an alias that leads out and back; row 134)."""
    hops = trace.hops(head)
    return hops >= config.limits.hops or (hops >= OWN_HOPS and _hops_here(head, config.hostname) >= OWN_HOPS)


def _hops_here(head: Head, hostname: str) -> int:
    here = _by(hostname)
    return sum(here.search(field.value) is not None for field in head.all(b"received"))


@lru_cache(maxsize=16)
def _by(hostname: str) -> re.Pattern[bytes]:
    return re.compile(rb"\bby[ \t\r\n]+" + re.escape(hostname.encode("ascii")) + rb"(?![\w.-])", re.IGNORECASE)


def _quiet(found: Spread, evidence: Evidence, decision: Decision) -> Spread:
    """Whose sender may be forged is told nothing by mail (backscatter, row 135): about Junk nothing at all, about
    forwards nothing when SPF fails, about success only who sends from where the sender's domain says."""
    if decision.disposition is Disposition.JUNK:
        return found.asking(silent)
    spf = evidence.authentication.spf
    if spf.result is Result.PASS and spf.identity == "mailfrom":
        return found
    quieter = found.asking(without_success)
    # Where the domain itself says that the sender is forged, whoever refuses the forward makes nobody pay for it.
    forged = spf.result in (Result.FAIL, Result.SOFTFAIL)
    return replace(quieter, outgoing=found.asking(silent).outgoing) if forged else quieter
