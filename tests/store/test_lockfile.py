"""The lock of an account: whoever waits for it has an end, and gets it before those who had it last."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store import lockfile
from store.fsops import FileSystem
from store.lockfile import LOCK_FILE, AccountLock, LockKeptError

Make = Callable[..., AccountLock]


class Disk(FileSystem):
    """Gives no more descriptors once `full`."""

    full = False

    def open_to_update(self, directory: int, name: str) -> int:
        if self.full:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().open_to_update(directory, name)

    def open_directory(self, directory: int, name: str) -> int:
        if self.full:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().open_directory(directory, name)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def make(disk: Disk, tmp_path: Path) -> Iterator[Make]:
    """Locks as several processes have them: each with a descriptor of its own of everything."""
    made: list[tuple[AccountLock, int]] = []

    def lock(*, reading: bool = False) -> AccountLock:
        root = disk.open_root(str(tmp_path))
        made.append((AccountLock(disk, root, reading=reading), root))
        return made[-1][0]

    yield lock
    for each, root in made:
        each.close()
        disk.close(root)


def until(met: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not met():
        assert time.monotonic() < end
        time.sleep(0.001)


def waited_for(tmp_path: Path) -> bool:
    """Whether anybody says that he waits."""
    fs = FileSystem()
    root = fs.open_root(str(tmp_path))
    try:
        return not fs.try_lock(root)
    finally:
        fs.close(root)


def test_who_waits_goes_before_who_had_it_last(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wrote without a pause took it again each time before the other looked."""
    monkeypatch.setattr(lockfile, "COURTESY", 5.0)
    mine, other = make(), make()
    order: list[str] = []

    def wait() -> None:
        with other.held():
            order.append("other")

    waiting = threading.Thread(target=wait)
    with mine.held():
        waiting.start()
        until(lambda: waited_for(tmp_path))
    assert not mine.try_acquire()
    with mine.held():
        order.append("mine")
    waiting.join()
    assert order == ["other", "mine"]
    assert mine.try_acquire()
    mine.release()
    assert mine.try_acquire(), "nobody waits any more"


def test_a_waiter_that_is_stopped_costs_a_moment(make: Make, tmp_path: Path) -> None:
    mine, stopped = make(), make()
    with stopped.waiting() as say, mine.held():
        say()
        assert waited_for(tmp_path)
    began = time.monotonic()
    with stopped.waiting() as say:
        say()
        for _ in range(5):
            with mine.held(wait=5):
                pass
    assert 4 * lockfile.COURTESY <= time.monotonic() - began < 4


def test_a_wait_has_an_end_and_leaves_no_word_behind(make: Make, tmp_path: Path) -> None:
    mine, other = make(), make()
    with mine.held(), pytest.raises(LockKeptError), other.held(0.01):
        pass
    assert not waited_for(tmp_path)
    with other.held(0.0):
        pass


def test_who_cannot_say_that_he_waits_waits_all_the_same(make: Make, disk: Disk) -> None:
    mine, other = make(), make()
    assert mine.try_acquire()
    disk.full = True
    threading.Timer(0.02, mine.release).start()
    with other.held(10):
        assert not mine.try_acquire()


def test_a_lock_file_that_cannot_be_opened_again_is_tried_again(make: Make, disk: Disk, tmp_path: Path) -> None:
    """Its descriptor was closed before, and soon another file's, which was locked and written to."""
    mine = make()
    (tmp_path / LOCK_FILE).unlink()
    disk.full = True
    with pytest.raises(OSError, match="Too many"), mine.held():
        pass
    with (tmp_path / "another").open("wb"):  # takes the lowest number that is free
        mine.publish(b"5")
        assert (tmp_path / "another").stat().st_size == 0
    disk.full = False
    with mine.held(), pytest.raises(LockKeptError), make().held(0.0):
        pass


def test_who_may_only_read_is_locked_out_and_locks_out(make: Make) -> None:
    writer, reader = make(), make(reading=True)
    with writer.held(), pytest.raises(LockKeptError), reader.held(0.0):
        pass
    with reader.held():
        assert not writer.try_acquire()


def test_a_lock_file_that_was_deleted_by_hand_locks_out_nobody_and_is_not_taken_for_one(
    make: Make, tmp_path: Path
) -> None:
    """Who had it open would else write beside those who made it anew."""
    mine = make()
    (tmp_path / LOCK_FILE).unlink()
    assert not mine.try_acquire()
    with mine.held(0.0):
        assert (tmp_path / LOCK_FILE).exists()
        assert not make().try_acquire()
