"""A disk that does not give what some files hold, as bad sectors and other people's permissions make it."""

from __future__ import annotations

import errno
import os

from store.fsops import FileSystem


class Disk(FileSystem):
    """Gives no octet of files whose names hold `part`; what is asked for is counted."""

    part, error = "nothing", errno.EIO
    at_open = at_stat = False
    tried = 0

    def __init__(self) -> None:
        super().__init__()
        self._bad: set[int] = set()

    def stat(self, directory: int, name: str) -> os.stat_result:
        if self.at_stat and self.part in name:
            raise OSError(self.error, os.strerror(self.error))
        return super().stat(directory, name)

    def open_to_read(self, directory: int, name: str) -> int:
        odd = self.part in name
        self.tried += odd
        if odd and self.at_open:
            raise OSError(self.error, os.strerror(self.error))
        fd = super().open_to_read(directory, name)
        (self._bad.add if odd else self._bad.discard)(fd)
        return fd

    def read(self, fd: int, start: int, stop: int) -> bytes:
        if fd in self._bad and self.part != "nothing":
            raise OSError(self.error, os.strerror(self.error))
        return super().read(fd, start, stop)

    def close(self, fd: int) -> None:
        self._bad.discard(fd)
        super().close(fd)
