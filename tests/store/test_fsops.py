"""The calls to the file system, where their plain form would surprise."""

from __future__ import annotations

import asyncio
from pathlib import Path

from store.fsops import FileSystem


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
