"""What `beffroi queue list` and `show` tell of a message."""

from __future__ import annotations

from beffroi.cli.queue import _times, view
from core.envelope import Schedule
from delivery.types import QueuedMessage, QueuedRecipient


def test_what_its_sender_asked_for_is_shown_where_he_did() -> None:
    plain = QueuedMessage("q1", "a@b.test", 10, 0.0, False, "", ())
    assert view(plain)["priority"] == 0
    assert _times(plain.schedule) == []
    schedule = Schedule(release_at=1_790_000_000.0, deliver_by=1_790_003_600.0, by_mode="N", priority=4)
    timed = QueuedMessage("q2", "a@b.test", 10, 0.0, False, "", (), schedule)
    assert view(timed)["priority"] == 4
    assert _times(schedule) == ["release_at: 2026-09-21 14:13:20", "deliver_by: 2026-09-21 15:13:20 (N)"]


def test_a_list_tells_whom_a_message_still_waits_for() -> None:
    """Who has it already, or never will, stood among them: the queue looked as if nobody had it."""
    there = QueuedRecipient("ok@b.test", "delivered", 1, 0.0, "250 2.0.0 accepted")
    refused = QueuedRecipient("no@b.test", "failed", 1, 0.0, "550 5.1.1 no")
    busy = QueuedRecipient("late@b.test", "waiting", 1, 1_790_000_000.0, "451 4.7.1 busy")
    message = QueuedMessage("q1", "a@b.test", 10, 0.0, False, "", (there, refused, busy))
    assert view(message)["recipients"] == ["late@b.test"]
    over = QueuedMessage("q2", "a@b.test", 10, 0.0, False, "", (there, refused))  # its notice is still to be written
    assert view(over)["recipients"] == ["ok@b.test", "no@b.test"]
