"""Who delivers a job: the mailboxes here, or the world outside. One visible table; the SMTP agent comes from wiring."""

from __future__ import annotations

from dataclasses import dataclass

from delivery.next_hop import HERE
from delivery.types import DeliveryAgent


@dataclass(frozen=True, slots=True)
class Agents:
    """`local` places messages into mailboxes here; `remote` carries them to other servers."""

    local: DeliveryAgent
    remote: DeliveryAgent

    def for_hop(self, hop: str) -> DeliveryAgent:
        return self.local if hop == HERE else self.remote
