"""A disk that does not give what some files hold, as bad sectors and other people's permissions make it."""

from __future__ import annotations

import errno
import os

from store.fsops import FileSystem


class Disk(FileSystem):
    """Gives no octet of files whose names hold `part`, or none past the first `good`; what is asked for is counted.
    `forgets`: what it was tried to give it has forgotten when it is to be read."""

    part, error, good = "nothing", errno.EIO, 0
    forgets = False
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
        self._refuse(fd, stop)
        return super().read(fd, start, stop)

    def try_range(self, fd: int, start: int, stop: int) -> None:
        if not self.forgets:
            self._refuse(fd, stop)
        super().try_range(fd, start, stop)

    def _refuse(self, fd: int, stop: int) -> None:
        if fd in self._bad and self.part != "nothing" and stop > self.good:
            raise OSError(self.error, os.strerror(self.error))

    def close(self, fd: int) -> None:
        self._bad.discard(fd)
        super().close(fd)
