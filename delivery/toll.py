"""What a message costs its account's day: counted in the commit that keeps the message, or not at all."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from core.status import Status, deferred, refused
from delivery.queue.allowance import Answer, Charge, Rules

DAILY_LIMIT = deferred("too many recipients today, try again tomorrow", "daily-limit", "4.7.1", code=450)
NEW_LIMIT = deferred("too many new recipients today, try again tomorrow", "new-recipients", "4.7.1", code=450)
SENDING_LOCKED = refused("sending is locked for this account, ask your administrator", "sending-locked", "5.7.1")
DENIED: dict[Answer, Status] = {
    Answer.DAILY: DAILY_LIMIT,
    Answer.NEW: NEW_LIMIT,
    Answer.LOCKED: SENDING_LOCKED,
}


@dataclass(slots=True)
class Toll:
    """`keys`: of the recipients' addresses. `charge`: what came of it, once it was asked for."""

    account_id: str
    keys: Collection[str]
    rules: Rules
    charge: Charge | None = None

    @property
    def denial(self) -> Status | None:
        """None: it was granted, or not asked for yet."""
        return DENIED.get(self.charge.answer) if self.charge is not None else None
