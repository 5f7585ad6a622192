"""The queue as JSON: what waits, how it is shaped, what is done to many messages at once, the trace."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from admin_api.faults import fault
from admin_api.schemas import Model
from core.address import AddressError, parse
from core.domain import DomainError, to_ascii
from delivery.types import Action, HoldName, Picked, QueuedMessage, QueueShape, TraceEntry


def _sender(text: str) -> str:
    try:
        return str(parse(text)) if text else ""
    except AddressError as error:
        raise fault("address", str(error)) from error


def _domain(text: str) -> str:
    try:
        return to_ascii(text) if text else ""
    except DomainError as error:
        raise fault("domain", str(error)) from error


SenderText = Annotated[str, Field(max_length=320), AfterValidator(_sender)]
HopText = Annotated[str, Field(max_length=253), AfterValidator(_domain)]


class QueueActionIn(Model):
    """Done to all messages for which each word that is not null holds; without any `all` is to be true."""

    action: Action
    sender: SenderText | None = Field(default=None, description='"" is the null sender of notices.')
    domain: HopText | None = Field(default=None, description='Of recipients; "": mailboxes here.')
    held: bool | None = None
    all: bool = False

    @property
    def picked(self) -> Picked:
        return Picked(self.sender, self.domain, self.held)

    @model_validator(mode="after")
    def _says_which(self) -> QueueActionIn:
        if self.all is (self.picked != Picked()):
            raise fault("which_messages")
        return self


class QueueActionOut(Model):
    messages: int


class QueueShapeOut(Model):
    """`counts`: of messages younger than 5, 10, 20 … 1280 minutes, and of older ones."""

    name: str
    total: int
    counts: list[int]

    @staticmethod
    def of(value: QueueShape) -> QueueShapeOut:
        return QueueShapeOut(name=value.name, total=value.total, counts=list(value.counts))


class QueuedRecipientOut(Model):
    address: str
    state: str
    attempts: int
    next_attempt: float
    last_status: str
    held: bool
    last_attempt: float = Field(description="Unix seconds, 0: none yet.")
    remote: str = Field(description="The server that was asked last.")
    diagnostic: str = Field(description="What it said.")


class QueuedMessageOut(Model):
    queue_id: str
    sender: str
    size: int
    created: float
    held: bool
    held_by: list[HoldName] = Field(
        description="A lock of the account's sending, its suspension or its commune's, its removal after either, "
        "an administrator by hand."
    )
    organisation: str
    recipients: list[QueuedRecipientOut]
    release_at: float = Field(description="Its sender wants it kept back until then; Unix seconds, 0: at once.")
    deliver_by: float = Field(description="Its sender's time limit; Unix seconds, 0: none.")
    by_mode: Literal["", "R", "N"] = Field(description="At the limit: R returns it, N tells that it is late.")
    priority: int = Field(ge=-9, le=9, description="0 is ordinary.")

    @staticmethod
    def of(value: QueuedMessage) -> QueuedMessageOut:
        recipients = [
            QueuedRecipientOut(
                address=item.address, state=item.state, attempts=item.attempts, next_attempt=item.next_attempt,
                last_status=item.last_status, held=item.held, last_attempt=item.last_attempt, remote=item.remote,
                diagnostic=item.diagnostic,
            )
            for item in value.recipients
        ]  # fmt: skip
        return QueuedMessageOut(
            queue_id=value.queue_id, sender=value.sender, size=value.size, created=value.created, held=value.held,
            held_by=list(value.held_by),
            organisation=value.organisation_id, recipients=recipients, release_at=value.schedule.release_at,
            deliver_by=value.schedule.deliver_by, by_mode=value.schedule.by_mode, priority=value.schedule.priority,
        )  # fmt: skip


class TraceEntryOut(Model):
    """`event`: accepted, delivered, deferred, failed, dropped. `at` in Unix seconds."""

    at: float
    queue_id: str
    event: str
    sender: str
    recipient: str
    organisation: str
    message_id: str
    status: str
    remote: str

    @staticmethod
    def of(value: TraceEntry) -> TraceEntryOut:
        return TraceEntryOut(
            at=value.at, queue_id=value.queue_id, event=value.event, sender=value.sender, recipient=value.recipient,
            organisation=value.organisation_id, message_id=value.message_id, status=value.status, remote=value.remote,
        )  # fmt: skip
