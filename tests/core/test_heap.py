"""Memory that holds nothing any more goes back to the system."""

from __future__ import annotations

import mmap

import pytest

from core import heap

PAGE = mmap.PAGESIZE


@pytest.mark.parametrize(
    ("first", "end", "kept"), [(0, 4 * PAGE, 0), (1, 4 * PAGE, PAGE - 1), (0, 4 * PAGE - 1, PAGE - 1)]
)
def test_whole_pages_of_a_buffer_are_forgotten_and_nothing_beside_them(first: int, end: int, kept: int) -> None:
    with mmap.mmap(-1, 6 * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory[:] = b"x" * 6 * PAGE
        with memoryview(memory) as whole, whole[PAGE:-PAGE] as inner, inner[first:end] as buffer:
            heap.release(buffer)
            assert bytes(buffer).count(b"x") == kept
        assert memory[: PAGE + first] == b"x" * (PAGE + first)
        assert memory[PAGE + end :] == b"x" * (5 * PAGE - end)


@pytest.mark.parametrize("size", [1, PAGE - 1])
def test_less_than_a_page_stays(size: int) -> None:
    buffer = bytearray(b"x" * size)
    heap.release(memoryview(buffer))
    assert buffer == b"x" * size


def test_a_buffer_can_be_filled_again() -> None:
    buffer = bytearray(b"x" * 64 * 1024)
    heap.release(memoryview(buffer))
    buffer[:] = b"y" * 64 * 1024
    assert buffer == b"y" * 64 * 1024
