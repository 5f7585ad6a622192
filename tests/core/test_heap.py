"""Memory that holds nothing any more goes back to the system."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

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


LARGE = 2 * 1024 * 1024


def huge_kib() -> int:
    """What this process has in large pages."""
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return int(rollup.partition("AnonHugePages:")[2].split()[0])


def pages_there(memory: mmap.mmap) -> int:
    with memoryview(memory) as view:
        start = ctypes.addressof(ctypes.c_char.from_buffer(view))
    there = ctypes.create_string_buffer(len(memory) // PAGE)
    assert ctypes.CDLL(None).mincore(ctypes.c_void_p(start), ctypes.c_size_t(len(memory)), there) == 0
    return len(there.raw) - there.raw.count(b"\0")


def test_what_is_there_moves_into_large_pages_and_stays_what_it_is() -> None:
    with mmap.mmap(-1, 4 * LARGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        content = bytes(range(256)) * (4 * LARGE // 256)
        memory[:] = content
        before = huge_kib()
        got = heap.gather()
        assert memory[:] == content
        # A kernel without large pages (or before 6.1) is left as it is.
        assert (huge_kib() > before) == (got > 0)


def test_what_is_mostly_empty_does_not_grow() -> None:
    with mmap.mmap(-1, 4 * LARGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for start in range(0, 4 * LARGE, 2 * PAGE):
            memory[start] = 1
        assert pages_there(memory) == 4 * LARGE // PAGE // 2
        heap.gather()
        assert pages_there(memory) == 4 * LARGE // PAGE // 2


def test_nothing_is_begun_when_there_is_no_time() -> None:
    before = huge_kib()
    assert heap.gather(0.0) == 0
    assert huge_kib() == before


def test_where_there_are_no_large_pages_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(heap, "_LARGE", tmp_path / "absent")
    assert heap.gather() == 0
    (tmp_path / "512M").write_text(f"{512 * 1024 * 1024}\n")  # as with pages of 64 KiB
    monkeypatch.setattr(heap, "_LARGE", tmp_path / "512M")
    assert heap.gather() == 0
