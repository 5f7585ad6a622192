"""The wake-up between processes when the disk has changed under it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from delivery.queue.hints import NAME, HintListener, HintSender


async def test_f170_a_runner_stops_on_a_disk_that_became_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended with a traceback, because its socket could not be removed; the next one takes its place."""
    heard: list[bool] = []
    listener = HintListener(tmp_path, heard.append)

    def refused(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    with monkeypatch.context() as changed:
        changed.setattr(Path, "unlink", refused)
        listener.close()
    assert (tmp_path / NAME).is_socket()
    sender = HintSender(tmp_path)
    sender.send()
    assert heard == []
    HintListener(tmp_path, heard.append).close()
    assert not (tmp_path / NAME).exists()
    sender.close()
