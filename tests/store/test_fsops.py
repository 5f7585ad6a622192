"""The calls to the file system, where their plain form would surprise."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
from pathlib import Path

from core.ids import RandomIds
from store import layout
from store.fsops import GET_FLAGS, SET_FLAGS, TOP_DIRECTORY, FileSystem
from store.types import AccountRef


async def test_f164_two_threads_that_list_one_directory_see_all_of_it_each(tmp_path: Path) -> None:
    """A descriptor has one place in its directory: `store rebuild` once found every account twice, another none."""
    wanted = sorted(f"m{number}" for number in range(300))
    for name in wanted:
        (tmp_path / name).touch()
    fs = FileSystem()
    directory = fs.open_root(str(tmp_path))
    try:

        def listed() -> list[list[str]]:
            return [sorted(fs.names(directory)) for _ in range(200)]

        for found in await asyncio.gather(*(asyncio.to_thread(listed) for _ in range(4))):
            assert all(names == wanted for names in found)
    finally:
        fs.close(directory)


def _flags(path: Path) -> int | None:
    """As lsattr(1) shows them; None: the file system has none."""
    fd = os.open(path, os.O_RDONLY)
    found = bytearray(8)
    try:
        fcntl.ioctl(fd, GET_FLAGS, found)
    except OSError:
        return None
    finally:
        os.close(fd)
    return int(struct.unpack_from("i", found)[0])


def _knows(directory: Path) -> bool:
    """Whether this file system takes advice where unrelated directories should lie."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, SET_FLAGS, struct.pack("q", (_flags(directory) or 0) | TOP_DIRECTORY))
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def test_each_mailbox_has_its_part_of_the_disk(tmp_path: Path) -> None:
    """In one part with everything else a new message waited half a millisecond for its inode (ext4 without a journal).
    Where the file system knows no such advice the mailbox is made all the same."""
    fs = FileSystem()
    domains = fs.open_root(str(tmp_path))
    ref = AccountRef("a1", "o1", "mairie.test", "contact")
    fs.close(layout.open_account(fs, domains, ref, RandomIds(), 1_000_000))
    fs.close(domains)
    probe = tmp_path / "probe"
    probe.mkdir()
    if _knows(probe):
        for parent in (tmp_path, tmp_path / "mairie.test"):
            flags = _flags(parent)
            assert flags is not None
            assert flags & TOP_DIRECTORY, parent
        inside = _flags(tmp_path / "mairie.test" / "contact")
        assert inside is not None
        assert not inside & TOP_DIRECTORY, "what is in a mailbox belongs together"
    assert (tmp_path / "mairie.test" / "contact" / "cur").is_dir()


def test_advice_that_nobody_takes_is_no_error() -> None:
    """A descriptor that takes no such call, as on a file system without flags."""
    reading, writing = os.pipe()
    try:
        FileSystem().spread(reading)
    finally:
        os.close(reading)
        os.close(writing)
