"""Text search by scanning the messages themselves. The full-text index will answer first; this stays the judge.

Runs in worker threads, a few messages at a time, so that other sessions get their turns (security.md row 100).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor

from message.text import contains
from store import stage
from store.adopt import in_memory
from store.faults import whole
from store.handle import Handle, open_cur

TOGETHER = 32  # messages looked at in one turn of a thread

Candidate = tuple[int, str]  # uid, file name


async def contained(
    handle: Handle,
    directory: str,
    candidates: Sequence[Candidate],
    pattern: str,
    *,
    body_only: bool,
    pool: Executor,
) -> list[int]:
    """UIDs whose text contains `pattern` without case; messages gone meanwhile do not match."""
    loop = asyncio.get_running_loop()
    found: list[int] = []
    for start in range(0, len(candidates), TOGETHER):
        some = candidates[start : start + TOGETHER]
        with handle.pinned():
            found += await loop.run_in_executor(pool, _look, handle, directory, some, pattern, body_only)
    return found


def _look(handle: Handle, directory: str, candidates: Sequence[Candidate], pattern: str, body_only: bool) -> list[int]:
    fs = handle.fs
    found = []
    with whole():
        cur = open_cur(fs, handle.root, directory)
        try:
            for uid, name in candidates:
                if name and _matches(handle, cur, name, pattern, body_only):
                    found.append(uid)
        finally:
            fs.close(cur)
    return found


def _matches(handle: Handle, cur: int, name: str, pattern: str, body_only: bool) -> bool:
    fs = handle.fs
    try:
        fd = fs.open_to_read(cur, name)
    except FileNotFoundError:
        return False
    try:
        content = in_memory(stage.file_content(fs, fd, fs.status(fd).st_size))
        return contains(content, pattern, body_only=body_only)
    finally:
        fs.close(fd)
