"""What is known of a job so far, and what it comes to: of several servers' words the one that tells most. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.status import Status
from delivery.types import Job, JobRecipient, Result, ResultKind
from smtp.outbound.arguments import Capabilities
from smtp.outbound.dialogue import Answers
from smtp.outbound.results import from_answer, from_status


@dataclass(slots=True)
class Progress:
    """What is known of a job so far: for each recipient what tells most of the servers asked."""

    job: Job
    results: dict[int, Result] = field(default_factory=dict)
    stop: bool = False

    @property
    def open(self) -> tuple[JobRecipient, ...]:
        """Who may still be offered to another server: whom none of them took or refused for good in its own words."""
        if self.stop:
            return ()
        return tuple(
            recipient
            for recipient in self.job.recipients
            if (known := self.results.get(recipient.id)) is None or known.kind is ResultKind.DEFERRED or _ours(known)
        )

    def note(self, result: Result) -> None:
        """A server's own word stands over another server that could not be asked, and that over one which lacks what
        the message needs: a backup host that is down or less able hides nothing and makes nothing final."""
        known = self.results.get(result.recipient_id)
        if known is None or _telling(result) >= _telling(known):
            self.results[result.recipient_id] = result

    @property
    def told(self) -> list[Result]:
        """In the order of the recipients, as far as known."""
        return [self.results[recipient.id] for recipient in self.job.recipients if recipient.id in self.results]

    @property
    def heard(self) -> list[Result]:
        """What servers said, and who may have the message though none said so. The rest is as if it was not tried."""
        return [result for result in self.told if self.stop or not _ours(result)]

    def all(self, recipients: Sequence[JobRecipient], status: Status, host: str = "") -> None:
        for recipient in recipients:
            self.note(from_status(recipient, status, host))

    def answered(
        self,
        recipients: Sequence[JobRecipient],
        answers: Answers,
        missing: Status | None,
        *,
        host: str,
        offered: Capabilities,
    ) -> None:
        """What `host` said. `missing`: of those without an answer; None: nothing is known of them."""
        for recipient in recipients:
            answer = answers.get(recipient.id, missing)
            if answer is not None:
                self.note(from_answer(recipient, answer, host, offered))


def _ours(result: Result) -> bool:
    """Whether it is our judgement of a server rather than its word about a recipient."""
    return not result.diagnostic


def _telling(result: Result) -> int:
    if not _ours(result):
        return 2
    return 1 if result.kind is ResultKind.DEFERRED else 0
