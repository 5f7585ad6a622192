"""Every file-system call the store makes on mail and its side files, in one place.

Knows: directories are held by descriptor and names are resolved relative to them, symbolic links are never followed
(security.md row 109), writes are completed or fail, a failed sync is final (promise P3). Each call is told to an
optional recorder, so that a torture test can replay any prefix of them with unsynced ones dropped (fault 155).
Refuses to know what a file means. Errors are plain `OSError`; `store.faults` turns them into words of the house.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import itertools
import os
import stat
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from store import odd

BLOCK = 256 * 1024
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO planted there must not hold us up
# FS_IOC_GETFLAGS and FS_IOC_SETFLAGS (linux/fs.h) as most architectures have them, and EXT4_TOPDIR_FL (chattr(1), "T")
_LONG = struct.calcsize("l") << 16 | ord("f") << 8
GET_FLAGS, SET_FLAGS = 2 << 30 | _LONG | 1, 1 << 30 | _LONG | 2
TOP_DIRECTORY = 0x20000
CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_MODE, DIRECTORY_MODE = 0o600, 0o700
KEPT_FREE, KEPT_SHARE = 64 * 1024 * 1024, 16  # octets that new mail leaves free, and the part of a small disk


@dataclass(frozen=True, slots=True)
class Call:
    """One call that changed something, as a replay needs it: `path` and `target` are paths from the first directory
    opened by name, `data` the octets written at `offset`, `value` a size or time. Paths of what is open go stale when
    a directory is renamed, so inode numbers tell what was meant: `inode` of the file or directory made, written or
    synced, `parent` of the directory that holds `path`, `into` of the one that holds `target`."""

    name: str
    path: str
    target: str = ""
    data: bytes = b""
    offset: int = 0
    value: float = 0
    inode: int = 0
    parent: int = 0
    into: int = 0


Recorder = Callable[[Call], None]


class Turn:
    """One worker thread computes at a time; the others wait here, not for the interpreter.

    Threads that only make short system calls would else hand the interpreter to each other at every call, which was
    measured to double the time of a delivery. A sync gives the turn away while it waits. Never wait for an account's
    lock with the turn in hand: its holder may be waiting for the turn.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mine = threading.local()

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        if getattr(self._mine, "yes", False):
            yield
            return
        with self._lock:
            self._mine.yes = True
            try:
                yield
            finally:
                self._mine.yes = False

    @contextlib.contextmanager
    def given(self) -> Iterator[None]:
        """Let others compute while this thread waits; nothing happens without the turn."""
        if not getattr(self._mine, "yes", False):
            yield
            return
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()


def _open_quietly(name: str, flags: int, directory: int) -> int:
    """Open for reading without a change of its access time; a stranger's file allows that to nobody but root."""
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=directory)
    except PermissionError:
        return os.open(name, flags, dir_fd=directory)


class FileSystem:
    """The calls. One instance per store; thread-safe, as each call is."""

    def __init__(self, recorder: Recorder | None = None) -> None:
        self._recorder = recorder
        self._paths: dict[int, str] = {}
        self._nameless = itertools.count()
        self.turn = Turn()
        self.failed_syncs = 0  # fault 152: after three, whoever accepts mail should stop

    # -- directories ---------------------------------------------------------------------------------------------

    def open_root(self, path: str) -> int:
        """The data directory itself, where an operator may have put a symbolic link."""
        fd = os.open(path, DIRECTORY & ~os.O_NOFOLLOW)
        self._opened(fd, path)
        return fd

    def open_directory(self, parent: int, name: str) -> int:
        """Raises NotADirectoryError (ENOTDIR or ELOOP) for anything that is no directory, symbolic links too."""
        fd = os.open(name, DIRECTORY, dir_fd=parent)
        self._opened(fd, self._path(parent, name))
        return fd

    def duplicate(self, fd: int) -> int:
        """The same open directory for somebody else, who closes it."""
        own = os.dup(fd)
        if self._recorder:
            self._opened(own, self._paths.get(fd, "?"))
        return own

    def real_path(self, directory: int) -> str:
        """The name of an open directory without any symbolic link: for SQLite, which opens by name."""
        return os.readlink(f"/proc/self/fd/{directory}")

    def make_directory(self, parent: int, name: str) -> None:
        os.mkdir(name, DIRECTORY_MODE, dir_fd=parent)
        if self._recorder:
            self._note("mkdir", parent, name, inode=self.stat(parent, name).st_ino)

    def remove_directory(self, parent: int, name: str) -> None:
        os.rmdir(name, dir_fd=parent)
        self._note("rmdir", parent, name)

    def spread(self, directory: int) -> None:
        """The directories that will be made here have nothing to do with each other, and may lie anywhere on the disk.

        ext4 looks for a new file's inode from the beginning of its directory's part of the disk; without a journal it
        passes over each that was given back within the last minutes (`recently_deleted` in fs/ext4/ialloc.c). All
        mailboxes in one part, with what else is made and removed there, were measured to make that search 500 µs for
        each message, and 6 where each mailbox has a part. Only advice: file systems that do not know it do not mind."""
        flags = bytearray(8)
        with contextlib.suppress(OSError):
            fcntl.ioctl(directory, GET_FLAGS, flags)
            (known,) = struct.unpack_from("i", flags)
            if not known & TOP_DIRECTORY:
                fcntl.ioctl(directory, SET_FLAGS, struct.pack("q", known | TOP_DIRECTORY))

    def names(self, directory: int) -> list[str]:
        """Read through an opening of its own: two threads that list one descriptor share its place in the directory,
        and one of them gets the other's names."""
        own = os.open(".", DIRECTORY, dir_fd=directory)
        try:
            return os.listdir(own)
        finally:
            os.close(own)

    def names_below(self, parent: int, name: str) -> list[str]:
        """Of a directory that is looked into often. The look leaves no trace: to write down its time the kernel would
        wait for a journal that others have filled."""
        own = _open_quietly(name, DIRECTORY, parent)
        try:
            return os.listdir(own)
        finally:
            os.close(own)

    # -- files -----------------------------------------------------------------------------------------------------

    def create(self, directory: int, name: str) -> int:
        """A new empty file, mode 0600; fails when the name exists."""
        fd = os.open(name, CREATE, FILE_MODE, dir_fd=directory)
        self._created(fd, directory, name)
        return fd

    def scratch(self, directory: int) -> int:
        """A file for what need not survive: it never gets a name that stays."""
        fd = self.nameless(directory)
        if fd is None:
            name = f"scratch.{os.getpid()}.{os.urandom(8).hex()}"
            fd = self.create(directory, name)
            self.unlink(directory, name)
        return fd

    def open_to_read(self, directory: int, name: str) -> int:
        """Without a trace, as `names_below`."""
        return _open_quietly(name, READ, directory)

    def open_to_update(self, directory: int, name: str) -> int:
        """Read and write; made when absent (the lock file, a journal)."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        absent = self._recorder is not None and not self.exists(directory, name)
        fd = os.open(name, flags, FILE_MODE, dir_fd=directory)
        if absent:
            self._created(fd, directory, name)
        else:
            self._opened(fd, self._path(directory, name))
        return fd

    def nameless(self, directory: int) -> int | None:
        """A new file that has no name until `link_open`, so that a crash leaves nothing; None where the file system
        cannot do that (NFS, CephFS)."""
        try:
            fd = os.open(".", os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, FILE_MODE, dir_fd=directory)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):
                raise
            return None
        if self._recorder:
            self._paths[fd] = self._path(directory, f"#{next(self._nameless)}")
            self._note_fd("nameless", fd)
        return fd

    def close(self, fd: int) -> None:
        self._paths.pop(fd, None)
        os.close(fd)

    def write(self, fd: int, data: bytes, offset: int) -> None:
        """All of `data` at `offset`: short writes are completed (fault 151)."""
        done = os.pwrite(fd, data, offset) if data else 0
        while done < len(data):
            done += os.pwrite(fd, memoryview(data)[done:], offset + done)
        if self._recorder:
            self._note_fd("write", fd, data=data, offset=offset)

    def read(self, fd: int, start: int, stop: int) -> bytes:
        """Octets `start` to `stop`; fewer only at the end of the file."""
        size = stop - start
        data = os.pread(fd, size, start)
        while len(data) < size:
            more = os.pread(fd, size - len(data), start + len(data))
            if not more:
                break
            data += more
        return data

    def try_range(self, fd: int, start: int, stop: int) -> None:
        """Have the disk give octets `start` to `stop`, which are copied nowhere: 10 MB that are in memory take 0.5 ms.
        Raises OSError."""
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            while start < stop and (given := self._passed(nowhere, fd, start, stop - start)):
                start += given
        finally:
            os.close(nowhere)

    def _passed(self, nowhere: int, fd: int, start: int, size: int) -> int:
        try:
            return os.sendfile(nowhere, fd, start, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            return len(os.pread(fd, min(size, BLOCK), start))

    def copy_range(self, source: int, start: int, size: int, target: int, offset: int) -> None:
        """`size` octets from one open file to another, inside the kernel where it can."""
        done = 0
        while done < size:
            done += self._copy_some(source, start + done, size - done, target, offset + done)
        if self._recorder:
            self._note_fd("write", target, data=self.read(target, offset, offset + size), offset=offset)

    def _copy_some(self, source: int, start: int, size: int, target: int, offset: int) -> int:
        try:
            copied = os.copy_file_range(source, target, size, start, offset)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
                raise
            data = os.pread(source, min(size, BLOCK), start)
            copied = os.pwrite(target, data, offset) if data else 0
        if copied == 0:
            raise OSError(errno.EIO, "the source of a copy is shorter than announced")
        return copied

    def reserve(self, fd: int, start: int, size: int) -> None:
        """Space for `size` more octets, or ENOSPC now rather than in the middle of a message."""
        try:
            os.posix_fallocate(fd, start, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
        else:
            self._note_fd("reserve", fd, offset=start, value=size)

    def leave_room(self, fd: int, octets: int) -> None:
        """Raises OSError (ENOSPC) where `octets` more would take what removals need: a disk that mail has filled to its
        last block takes no line of a journal and no page of an index, so nobody could delete anything either."""
        told = os.fstatvfs(fd)
        kept = min(KEPT_FREE, told.f_blocks * told.f_frsize // KEPT_SHARE)
        if told.f_blocks and told.f_bavail * told.f_frsize < octets + kept:
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: what is left is for removals")

    def set_time(self, fd: int, seconds: int) -> None:
        """The modification time, which is INTERNALDATE."""
        os.utime(fd, (seconds, seconds))
        self._note_fd("utime", fd, value=seconds)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)
        self._note_fd("truncate", fd, value=size)

    # -- durability --------------------------------------------------------------------------------------------------

    def sync(self, fd: int) -> None:
        """Data, size, times; for a directory its names. A failure is final: what was to be synced counts as lost."""
        with self._waiting():
            os.fsync(fd)
        self._note_fd("fsync", fd)

    def sync_data(self, fd: int) -> None:
        with self._waiting():
            os.fdatasync(fd)
        self._note_fd("fdatasync", fd)

    def sync_all(self, fd: int) -> None:
        """The whole file system that `fd` lies on (a backup's thousands of files at once): syncfs(2)."""
        if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
            self.failed_syncs += 1
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        with self.turn.given():
            try:
                yield
            except OSError:
                self.failed_syncs += 1
                raise

    # -- names -------------------------------------------------------------------------------------------------------

    def link(self, source: int, name: str, target: int, new: str) -> None:
        """A second name; fails when `new` exists, never follows a symbolic link."""
        os.link(name, new, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        self._note("link", source, name, target, new)

    def link_open(self, fd: int, target: int, new: str) -> None:
        """A name for an open nameless file; fails when `new` exists (open(2), O_TMPFILE)."""
        os.link(f"/proc/self/fd/{fd}", new, dst_dir_fd=target, follow_symlinks=True)
        if self._recorder:
            path, new_path = self._paths.get(fd, "?"), self._path(target, new)
            self._recorder(Call("link", path, new_path, inode=os.fstat(fd).st_ino, into=os.fstat(target).st_ino))

    def rename(self, source: int, name: str, target: int, new: str) -> None:
        os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)
        self._note("rename", source, name, target, new)

    def unlink(self, directory: int, name: str) -> None:
        os.unlink(name, dir_fd=directory)
        self._note("unlink", directory, name)

    def stat(self, directory: int, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)

    def status(self, fd: int) -> os.stat_result:
        return os.fstat(fd)

    def exists(self, directory: int, name: str) -> bool:
        try:
            self.stat(directory, name)
        except FileNotFoundError:
            return False
        return True

    def is_plain(self, status: os.stat_result) -> bool:
        return stat.S_ISREG(status.st_mode)

    # -- locks -------------------------------------------------------------------------------------------------------

    def try_lock(self, fd: int) -> bool:
        """The exclusive lock, if nobody has it; the kernel frees it when its holder dies. There is no waiting for it
        without end."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self, fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)

    # -- whole small files -------------------------------------------------------------------------------------------

    def read_file(self, directory: int, name: str, limit: int) -> bytes:
        """A side file, at most `limit` octets of it. Raises FileNotFoundError; OSError (ENXIO), which tells what it is,
        for what is no plain file: it is there, and cannot be read."""
        try:
            fd = self.open_to_read(directory, name)
            try:
                return self.read(fd, 0, limit)
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ESPIPE, errno.EISDIR, errno.ENXIO):
                raise
            kind = odd.kind(self.stat(directory, name).st_mode)
            raise OSError(errno.ENXIO, f"{name} {kind}") from error

    def replace_file(self, directory: int, name: str, data: bytes) -> None:
        """The old or the new content, whatever happens: temporary name, sync, rename, sync of the directory. Where that
        last sync fails nobody knows which of them the disk has, and whoever reads the new one must not believe it: the
        old one is written again, before the failure is told."""
        with contextlib.ExitStack() as stack:
            old: int | None = None
            with contextlib.suppress(FileNotFoundError):
                old = self.open_to_read(directory, name)
                stack.callback(os.close, old)
            self._replace(directory, name, data)
            try:
                self.sync(directory)
            except OSError:
                with contextlib.suppress(OSError):
                    if old is None:
                        self.unlink(directory, name)
                    else:
                        self._replace(directory, name, self.read(old, 0, os.fstat(old).st_size))
                    self.sync(directory)
                raise

    def _replace(self, directory: int, name: str, data: bytes) -> None:
        temporary = f".{name}.new"
        with contextlib.suppress(FileNotFoundError):
            self.unlink(directory, temporary)
        fd = self.create(directory, temporary)
        try:
            self.write(fd, data, 0)
            self.sync(fd)
        except OSError:
            with contextlib.suppress(OSError):  # a full disk needs the room
                self.unlink(directory, temporary)
            raise
        finally:
            self.close(fd)
        self.rename(directory, temporary, directory, name)

    # -- recording ---------------------------------------------------------------------------------------------------

    def _opened(self, fd: int, path: str) -> None:
        if self._recorder:
            self._paths[fd] = path

    def _path(self, directory: int, name: str) -> str:
        return f"{self._paths.get(directory, '?')}/{name}" if self._recorder else ""

    def _created(self, fd: int, directory: int, name: str) -> None:
        if self._recorder:
            self._paths[fd] = self._path(directory, name)
            self._note("create", directory, name, inode=os.fstat(fd).st_ino)

    def _note(
        self, call: str, directory: int, name: str, target: int | None = None, new: str = "", inode: int = 0
    ) -> None:
        if self._recorder:
            where = "" if target is None else self._path(target, new)
            into = 0 if target is None else os.fstat(target).st_ino
            path, parent = self._path(directory, name), os.fstat(directory).st_ino
            self._recorder(Call(call, path, where, inode=inode, parent=parent, into=into))

    def _note_fd(self, call: str, fd: int, data: bytes = b"", offset: int = 0, value: float = 0) -> None:
        if self._recorder:
            path, inode = self._paths.get(fd, "?"), os.fstat(fd).st_ino
            self._recorder(Call(call, path, data=data, offset=offset, value=value, inode=inode))


def boot_id() -> str:
    """Names this run of the kernel: what the page cache held is still true while it stays the same."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown"
