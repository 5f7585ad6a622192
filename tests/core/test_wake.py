"""One waits, somebody says the word: nothing is lost between a look and the next wait."""

from __future__ import annotations

import asyncio

import pytest

from core.wake import Alarms, Wake


async def test_who_waits_is_woken_and_waits_again_after_a_clear() -> None:
    wake = Wake()
    for _ in range(2):
        waiting = asyncio.ensure_future(wake.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        wake.set()
        wake.set()  # twice before he runs is once
        await asyncio.wait_for(waiting, 10)
        assert wake.is_set()
        wake.clear()
        assert not wake.is_set()


async def test_a_word_before_the_wait_is_not_lost() -> None:
    wake = Wake()
    wake.set()
    await asyncio.wait_for(wake.wait(), 10)


async def test_a_word_that_is_taken_back_has_woken_all_the_same() -> None:
    wake = Wake()
    waiting = asyncio.ensure_future(wake.wait())
    await asyncio.sleep(0)
    wake.set()
    wake.clear()
    await asyncio.wait_for(waiting, 10)


async def test_who_gave_up_leaves_nothing_behind() -> None:
    wake = Wake()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await wake.wait()
    wake.set()
    assert wake.is_set()
    await asyncio.wait_for(wake.wait(), 10)


async def waited(alarms: Alarms, wake: Wake, seconds: float) -> None:
    alarms.begin(wake, seconds)
    try:
        await wake.wait()
    finally:
        alarms.end(wake)


async def test_alarms_rouse_each_at_his_time_and_without_a_word() -> None:
    alarms, loop = Alarms(), asyncio.get_running_loop()
    wakes = [Wake() for _ in range(4)]
    began = loop.time()

    async def waits(wake: Wake, seconds: float) -> float:
        await waited(alarms, wake, seconds)
        return loop.time() - began

    lasting = asyncio.create_task(waited(alarms, Wake(), 60))
    took = await asyncio.wait_for(
        asyncio.gather(*(waits(wake, seconds) for wake, seconds in zip(wakes, (0.03, 0.01, 0.02, 0.0), strict=True))), 5
    )
    assert all(lasts >= seconds for lasts, seconds in zip(took, (0.03, 0.01, 0.02, 0.0), strict=True))
    assert not any(wake.is_set() for wake in wakes)
    assert not lasting.done()
    lasting.cancel()


async def test_who_was_given_the_word_is_not_waited_for_any_longer() -> None:
    alarms, wake = Alarms(), Wake()
    for _ in range(2):
        waiting = asyncio.create_task(waited(alarms, wake, 60))
        await asyncio.sleep(0)
        wake.set()
        await asyncio.wait_for(waiting, 10)
        wake.clear()
    await asyncio.wait_for(waited(alarms, wake, 0.01), 5)  # the timer that was set for another serves him, too
