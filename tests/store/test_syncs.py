"""Syncs that the loop waits for: by the kernel or by threads, the same for whoever waits (promise P3)."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import platform
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from store import kernel_sync
from store.fsops import FileSystem
from store.kernel_sync import CALLS, KernelSync
from store.syncs import Syncing, Syncs


@pytest.fixture(params=[True, False], ids=["kernel", "threads"])
async def syncs(request: pytest.FixtureRequest) -> AsyncIterator[Syncs]:
    made = Syncs(FileSystem(), kernel=request.param)
    made.open()
    yield made
    made.close()


async def test_files_and_directories_are_synced_many_at_once(syncs: Syncs, tmp_path: Path) -> None:
    opened = [os.open(tmp_path / str(number), os.O_RDWR | os.O_CREAT) for number in range(300)]
    opened.append(os.open(tmp_path, os.O_RDONLY))
    try:
        await asyncio.gather(*(syncs.begin((fd,)) for fd in opened))
        await syncs.begin(opened)
    finally:
        for fd in opened:
            os.close(fd)


async def test_p3_what_cannot_be_synced_is_told_and_counted(tmp_path: Path) -> None:
    fs = FileSystem()
    both = [Syncs(fs, kernel=kernel) for kernel in (True, False)]
    reading, writing = os.pipe()
    try:
        for failed, one in enumerate(both, 1):
            one.open()
            with pytest.raises(OSError, match="Invalid argument"):
                await one.begin((reading,))
            assert fs.failed_syncs == failed
    finally:
        os.close(reading)
        os.close(writing)
        for one in both:
            one.close()


async def test_a_failure_the_kernel_tells_later_is_an_error_and_counted() -> None:
    fs = FileSystem()
    syncs = Syncs(fs)
    syncing = Syncing()
    syncs._told(syncing, 5)
    with pytest.raises(OSError, match="Input/output error"):
        await syncing
    assert fs.failed_syncs == 1
    syncs.close()


async def test_a_waiter_that_is_cancelled_still_waits_for_the_descriptor() -> None:
    gate = threading.Event()
    ended: list[int] = []

    class Slow(FileSystem):
        def sync(self, fd: int) -> None:
            gate.wait(30)
            ended.append(fd)

    syncs = Syncs(Slow())
    told: list[str] = []

    async def waiting() -> None:
        await syncs.begin((7,))

    async def to_the_end() -> None:
        await syncs.begin((8,)).over()
        told.append("it is over")

    tasks = [asyncio.create_task(waiting()), asyncio.create_task(to_the_end())]
    for _ in range(2):  # once is not enough, nor is twice
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    await tasks[1]
    assert told == ["it is over"]
    assert sorted(ended) == [7, 8]
    syncs.close()


async def test_more_than_the_kernel_takes_at_once_is_not_lost(tmp_path: Path) -> None:
    kernel = KernelSync.open(asyncio.get_running_loop())
    if kernel is None:  # a sandbox that forbids it: then nothing goes there, which the tests above show
        return
    fd = os.open(tmp_path, os.O_RDONLY)
    told: list[int] = []
    try:
        begun = sum(kernel.begin(fd, told.append) for _ in range(2000))
        async with asyncio.timeout(30):
            while len(told) < begun:
                await asyncio.sleep(0.001)
        assert begun >= 256
        assert set(told) == {0}
    finally:
        kernel.close()
        os.close(fd)


async def test_the_kernels_worker_goes_before_us_where_nothing_else_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = KernelSync.open(asyncio.get_running_loop())
    if kernel is None:  # as above
        return
    yielded: list[int] = []
    told: list[int] = []
    monkeypatch.setattr(kernel_sync, "monotonic", lambda: 100.0)  # nobody is in the way
    monkeypatch.setattr(os, "sched_yield", lambda: yielded.append(len(told)))
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        for together in (3, 1):
            before = len(told)
            assert all(kernel.begin(fd, told.append) for _ in range(together))
            async with asyncio.timeout(30):
                while len(told) < before + together:
                    await asyncio.sleep(0.001)
        assert yielded == [0, 3]
    finally:
        kernel.close()
        os.close(fd)


async def test_who_waits_for_another_program_when_the_worker_goes_first_does_so_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that computes took the processor for milliseconds, twice for each message, and once with the account's lock
    in hand."""
    now = [100.0]
    kernel = KernelSync.open(asyncio.get_running_loop())
    if kernel is None:  # as above
        return
    yielded: list[float] = []
    told: list[int] = []

    def crowded() -> None:
        yielded.append(now[0])
        now[0] += 0.003

    monkeypatch.setattr(kernel_sync, "monotonic", lambda: now[0])
    monkeypatch.setattr(os, "sched_yield", crowded)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        for later in (0.0, 0.1, 0.5, 1.0):
            now[0] = 100.0 + later
            before = len(told)
            assert kernel.begin(fd, told.append)
            async with asyncio.timeout(30):
                while len(told) == before:
                    await asyncio.sleep(0.001)
        assert yielded == [100.0, 101.0]
    finally:
        kernel.close()
        os.close(fd)


async def test_what_is_under_way_at_the_end_is_told(syncs: Syncs, tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        begun = [syncs.begin((fd,)) for _ in range(50)]
        syncs.close()
        async with asyncio.timeout(20):
            await asyncio.gather(*begun)
    finally:
        os.close(fd)


async def test_f154_without_a_descriptor_for_the_bell_the_kernel_s_context_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []

    class Libc:
        def syscall(self, number: int, *_arguments: object) -> int:
            calls.append(number)
            return 0

    def none_left(_first: int, _flags: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(ctypes, "PyDLL", lambda *_, **__: Libc())
    monkeypatch.setattr(os, "eventfd", none_left)
    assert KernelSync.open(asyncio.get_running_loop()) is None
    setup, destroy, *_ = CALLS[platform.machine()]
    assert calls == [setup, destroy]
