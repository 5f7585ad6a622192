"""Greylisting as an outcome of the decision after DATA (security.md, Decided): only for what would be delivered, and
never for what SPF or DKIM vouches for, for postmaster@ and abuse@, for the operator's own gateway or exempt networks.
"""

from __future__ import annotations

from typing import Protocol

from antispam.greylist import Greylisting, Terms, key
from core import log
from core.config import Config
from core.envelope import Envelope, Listener, Peer
from core.errors import MailError
from core.networks import within
from core.status import deferred
from delivery.evidence import Evidence
from delivery.policy import Decision, Disposition, vouched
from delivery.routing import is_protected

_log = log.get(__name__)


class Recollection(Protocol):
    """Who remembers: `delivery.queue.queue.Queue`."""

    async def greylisted(self, key: str, terms: Terms) -> Greylisting: ...


class Greylist:
    """`Greylist(queue, config)`; made only when `antispam.greylist` is on."""

    def __init__(self, memory: Recollection, config: Config) -> None:
        settings = config.antispam
        self._memory = memory
        self._exempt = config.limits.exempt_networks
        self._terms = Terms(
            settings.greylist_wait_seconds,
            settings.greylist_window_seconds,
            settings.greylist_keep_seconds,
            config.limits.greylist_entries,
        )

    async def judge(self, decision: Decision, evidence: Evidence, envelope: Envelope, peer: Peer) -> Decision:
        """`decision`, or 451 4.7.1. A memory that is away lets everybody in: nothing is held up for it (promise P6)."""
        if not decision.delivers or peer.listener is not Listener.MX or self._spared(evidence, envelope, peer):
            return decision
        sender = envelope.sender.key if envelope.sender else ""
        try:
            name = key(peer.address, sender, [item.address.key for item in envelope.recipients])
            outcome = await self._memory.greylisted(name, self._terms)
        except ValueError:  # a peer without an address is a process of this machine
            return decision
        except MailError as error:
            _log.warning("greylist-unavailable", queue_id=envelope.queue_id, code=error.code, **error.fields)
            return decision
        _log.info("greylist", queue_id=envelope.queue_id, peer=peer.address, outcome=outcome.value)
        if outcome.passes:
            return decision
        return Decision(Disposition.DEFER, deferred("not known yet, try again later", outcome.value, "4.7.1"))

    def _spared(self, evidence: Evidence, envelope: Envelope, peer: Peer) -> bool:
        return (
            vouched(evidence.authentication)
            or within(peer.address, self._exempt)
            or any(is_protected(item.address) for item in envelope.recipients)
        )
