"""One waits, somebody says the word: nothing is lost between a look and the next wait."""

from __future__ import annotations

import asyncio

import pytest

from core.wake import Wake


async def test_who_waits_is_woken_and_waits_again_after_a_clear() -> None:
    wake = Wake()
    for _ in range(2):
        waiting = asyncio.create_task(wake.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        wake.set()
        wake.set()  # twice before he runs is once
        await asyncio.wait_for(waiting, 1)
        assert wake.is_set()
        wake.clear()
        assert not wake.is_set()


async def test_a_word_before_the_wait_is_not_lost() -> None:
    wake = Wake()
    wake.set()
    await asyncio.wait_for(wake.wait(), 1)


async def test_a_word_that_is_taken_back_has_woken_all_the_same() -> None:
    wake = Wake()
    waiting = asyncio.create_task(wake.wait())
    await asyncio.sleep(0)
    wake.set()
    wake.clear()
    await asyncio.wait_for(waiting, 1)


async def test_who_gave_up_leaves_nothing_behind() -> None:
    wake = Wake()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await wake.wait()
    wake.set()
    assert wake.is_set()
    await asyncio.wait_for(wake.wait(), 1)
