"""What an account may send elsewhere in a day: counted once, exactly, and for no longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import ConflictError
from delivery.queue.allowance import Answer, Rules
from delivery.queue.queue import Queue
from tests.delivery.queue_alone import another, new


async def granted(queue: Queue, recipients: int) -> bool:
    rules = Rules(recipients=10, new_recipients=1000, hijack=1000)
    found = await queue.charge("acc", [f"{number}@two.test" for number in range(recipients)], rules)
    return found.answer is Answer.GRANTED


async def test_the_daily_limit_slides_over_24_hours_and_counts_nothing_when_refused(
    tmp_path: Path, queue: Queue, clock: ManualClock
) -> None:
    assert await granted(queue, 6)
    assert not await granted(queue, 5)
    clock.advance(3600)
    assert await granted(queue, 4)
    again = await another(tmp_path, clock)
    assert await again.sent_recently("acc") == 10
    await again.close()
    clock.advance(23 * 3600)
    assert await queue.sent_recently("acc") == 4
    assert await granted(queue, 6)


async def test_what_an_account_sent_elsewhere_is_known_within_two_seconds_and_the_charge_is_exact(
    tmp_path: Path, queue: Queue, clock: ManualClock
) -> None:
    other = await another(tmp_path, clock)
    assert await granted(queue, 4)
    assert await granted(other, 3)
    assert await queue.sent_recently("acc") == 4
    assert not await granted(queue, 4)
    clock.advance(2.0)
    assert await queue.sent_recently("acc") == 7
    await queue.refund("acc", 4)
    assert await queue.sent_recently("acc") == 3
    await other.close()


async def test_f163_what_a_clock_that_ran_ahead_counted_blocks_nobody_for_years(
    queue: Queue, clock: ManualClock
) -> None:
    clock.advance(10 * 365 * 86400)
    assert await granted(queue, 10)
    clock.advance(-10 * 365 * 86400)
    assert await queue.sent_recently("acc") == 0
    assert await granted(queue, 10)


async def test_what_is_not_kept_costs_nothing_and_what_is_denied_is_not_kept(
    tmp_path: Path, queue: Queue, clock: ManualClock
) -> None:
    """The charge and the message are one commit."""
    rules, keys = Rules(recipients=3, new_recipients=3, hijack=1000), ["x@two.test"]
    charged, [[_]] = await queue.enter([new("q1", *keys)], "acc", keys, rules)
    assert (charged.answer, charged.total) == (Answer.GRANTED, 1)
    with pytest.raises(ConflictError):
        await queue.enter([new("q2", *keys), new("q1", *keys)], "acc", keys, rules)
    charged, ids = await queue.enter([new("q3", *keys)], "acc", [*keys, "y@two.test", "z@two.test"], rules)
    assert (charged.answer, ids) == (Answer.DAILY, [])
    other = await another(tmp_path, clock)
    assert await other.sent_recently("acc") == 1
    await other.close()
    assert [item.queue_id for item in await queue.administration.list(None)] == ["q1"]
