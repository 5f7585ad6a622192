"""What need not wait sets no timer and makes no task (`within`, `at_once`)."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from core.waiting import Bounds, at_once, within


async def test_what_is_known_sets_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def known() -> str:
        return "known"

    def timer(_seconds: float) -> None:
        raise AssertionError("a timer was set")

    monkeypatch.setattr(asyncio, "timeout", timer)
    assert await within(1.0, known()) == "known"


async def test_what_waits_several_times_goes_on_where_it_was() -> None:
    async def slow() -> list[int]:
        seen = []
        for number in range(3):
            seen.append(await asyncio.sleep(0.001, number))
            await asyncio.sleep(0)
        return seen

    assert await within(60.0, slow()) == [0, 1, 2]


async def test_what_waits_too_long_is_ended_and_may_tidy_up() -> None:
    tidied = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied.set()

    with pytest.raises(TimeoutError):
        await within(0.01, endless())
    assert tidied.is_set()


async def test_an_error_comes_through_at_once_and_later() -> None:
    async def fails(*, later: bool) -> None:
        if later:
            await asyncio.sleep(0)
        raise ValueError("broken")

    for later in (False, True):
        with pytest.raises(ValueError, match="broken"):
            await within(60.0, fails(later=later))


async def test_work_can_catch_what_it_waited_for() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def careful() -> str:
        try:
            await future
        except OSError:
            return await asyncio.sleep(0, "caught")
        return "missed"

    task = asyncio.create_task(within(60.0, careful()))
    await asyncio.sleep(0)
    future.set_exception(OSError())
    assert await task == "caught"


async def test_a_caller_that_is_cancelled_cancels_the_work() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(within(60.0, endless()))
    await began.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert ended.is_set()


async def test_what_need_not_wait_is_known_at_once_and_what_must_is_over() -> None:
    over = []

    async def answer(*, known: bool) -> str:
        try:
            if not known:
                await within(60.0, asyncio.sleep(60))
        finally:
            over.append(known)
        return "known"

    assert at_once(answer(known=True)) == "known"
    assert at_once(answer(known=False)) is None
    assert over == [True, False]


async def test_what_fails_at_once_fails_there() -> None:
    async def wrong() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        at_once(wrong())


async def test_bounds_end_who_takes_too_long_and_nobody_else() -> None:
    bounds, told = Bounds(0.05), list[str]()
    kept = bounds.begin(lambda: told.append("kept"))
    assert bounds.end(kept)
    assert not bounds.end(kept)
    never, quick = bounds.within(asyncio.Event().wait()), bounds.within(asyncio.sleep(0.001, "in time"))
    with pytest.raises(TimeoutError):
        await never
    assert await quick == "in time"
    late = bounds.begin(lambda: told.append("late"))
    while not told:
        await asyncio.sleep(0.005)
    assert told == ["late"]
    assert not bounds.end(late)


async def test_bounds_that_follow_each_other_each_have_their_whole_time() -> None:
    bounds, loop, ends = Bounds(0.05), asyncio.get_running_loop(), list[float]()

    async def endless() -> None:
        begun = loop.time()
        with contextlib.suppress(TimeoutError):
            await bounds.within(asyncio.Event().wait())
        ends.append(loop.time() - begun)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(endless())
            await asyncio.sleep(0.02)
    assert len(ends) == 3
    assert min(ends) >= 0.05 - 0.005


async def test_bounds_leave_another_ones_cancellation_to_him() -> None:
    bounds = Bounds(60.0)
    waiting = asyncio.ensure_future(bounds.within(asyncio.Event().wait()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_who_takes_no_notice_of_bounds_is_not_cancelled_by_them_any_more() -> None:
    async def stubborn() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "done"

    assert await Bounds(0.01).within(stubborn()) == "done"
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
