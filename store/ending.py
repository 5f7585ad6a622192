"""Waiting for the end of what a thread has begun, however often the waiter is cancelled meanwhile.

A descriptor closed under a thread that uses it is soon another file's, which would be written to, or linked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import TypeVar

T = TypeVar("T")


async def through(end: Awaitable[object]) -> None:
    """Returns when `end` is over; its result or error stays in it. A caller that was cancelled raises afterwards."""
    waiting = asyncio.ensure_future(end)
    while not waiting.done():
        bell: asyncio.Future[None] = waiting.get_loop().create_future()  # cancelled in the place of what it tells of
        waiting.add_done_callback(partial(_ring, bell))
        try:
            await bell
        except asyncio.CancelledError:
            continue


def _ring(bell: asyncio.Future[None], _ended: asyncio.Future[object]) -> None:
    if not bell.done():
        bell.set_result(None)


async def ended(future: asyncio.Future[T]) -> T:
    """Its result. A caller that is cancelled leaves after the thread has."""
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await through(future)
        if not future.cancelled():
            future.exception()  # nobody else will look at it
        raise
