"""A message on its way to its file: written once under a temporary name, synced, scanned, then linked where it belongs.

Knows how prefix and content become exact octets, their hash and their facts. An inode is shared between accounts of one
organisation only (design.md section 5): for each other organisation the file is copied once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import replace

from core.frozen import dataclass
from message.content import BytesContent, Content, head_length
from message.facts import Facts, relations
from message.header import Head, Headed, split
from message.sorting import SortKeys
from store.fsops import BLOCK, FileSystem
from store.handle import Tools
from store.records import Prepared, email_id
from store.spool import FileContent, SpooledContent

IN_MEMORY = 256 * 1024
SMALL = 64 * 1024  # up to here a message is written and scanned on the event loop
HEAD = 512 * 1024  # a header block is looked for in so many octets
_QUIETLY = contextlib.suppress(OSError)


@dataclass(frozen=True, slots=True)
class TemporaryFile:
    """A synced file that nobody sees: open as `fd`, without a name; where the file system cannot do that, under `name`
    in tmp/, held as `directory`."""

    fd: int
    prepared: Prepared
    directory: int = -1
    name: str = ""


LATEST = 0x3_7FFF_FFFF  # the last second ext4 can tell, in 2446


def sane_date(seconds: float) -> int:
    """A date that every file system keeps as it is."""
    return max(0, min(int(seconds), LATEST))


def write(
    tools: Tools, root: int, prefix: bytes, content: Content, skip: int, date: int, *, held: bool = False
) -> TemporaryFile:
    """`prefix` + `content[skip:]` as a synced file in tmp/ of the account directory `root`. Runs in a worker thread.
    `held`: of a message that the account has already, which may take of the room that new mail leaves.

    Raises OSError; nothing is left then.
    """
    fs = tools.fs
    if not held:
        fs.leave_room(root, len(prefix) + content.size - skip)
    directory = fs.open_directory(root, "tmp")
    try:
        fd, name = _create(tools, directory, date)
        try:
            prepared = _fill(tools, fd, prefix, content, skip, date)
        except BaseException:
            fs.close(fd)
            if name:
                fs.unlink(directory, name)
            raise
    except BaseException:
        fs.close(directory)
        raise
    if name:
        return TemporaryFile(fd, prepared, directory, name)
    fs.close(directory)
    return TemporaryFile(fd, prepared)


def write_unsynced(tools: Tools, root: int, data: bytes, date: int) -> int | None:
    """A small message in a nameless file: a few short calls into the page cache. None where the file system cannot do
    that. Raises OSError; nothing is left then."""
    tools.fs.leave_room(root, len(data))
    fd = tools.fs.nameless(root)
    if fd is None:
        return None
    try:
        tools.fs.write(fd, data, 0)
        tools.fs.set_time(fd, date)
    except BaseException:
        tools.fs.close(fd)
        raise
    return fd


def prepared(tools: Tools, data: bytes, date: int, fields: Head | None = None) -> Prepared:
    """`fields`: of its header block, where they are known."""
    content = BytesContent(data) if fields is None else Headed(data, fields)
    return Prepared(len(data), email_id(hashlib.sha256(data).digest()), date, tools.gather(content))


def related(tools: Tools, data: bytes, date: int) -> Prepared:
    """Of a message that is read later: what tells its thread."""
    told = relations(split(data[: tools.limits.header_block + 4], tools.limits))
    return Prepared(len(data), "", date, replace(NO_FACTS, message_id=told.message_id, references=told.references))


def _create(tools: Tools, directory: int, date: int) -> tuple[int, str]:
    fd = tools.fs.nameless(directory)
    if fd is not None:
        return fd, ""
    name = f"{date}.{tools.ids.object_id()}.{os.getpid()}"
    return tools.fs.create(directory, name), name


def link(fs: FileSystem, file: TemporaryFile, target: int, new: str) -> None:
    """Give it a name in the directory `target`."""
    if file.name:
        fs.link(file.directory, file.name, target, new)
    else:
        fs.link_open(file.fd, target, new)


def discard(fs: FileSystem, file: TemporaryFile) -> None:
    """Let go of it; a temporary name that cannot be removed is swept after a day."""
    with _QUIETLY:  # what is linked is synced: nothing that is told here can be lost
        fs.close(file.fd)
    if file.name:
        with _QUIETLY:
            fs.unlink(file.directory, file.name)
        fs.close(file.directory)


def _fill(tools: Tools, fd: int, prefix: bytes, content: Content, skip: int, date: int) -> Prepared:
    size = len(prefix) + content.size - skip
    if size <= IN_MEMORY:
        with tools.fs.turn.taken():
            data = prefix + content.read(skip, content.size)
            tools.fs.write(fd, data, 0)
            tools.fs.set_time(fd, date)
            tools.fs.sync(fd)
            return prepared(tools, data, date)
    tools.fs.reserve(fd, 0, size)
    _write_long(tools.fs, fd, prefix, content, skip)
    tools.fs.set_time(fd, date)
    tools.fs.sync(fd)
    whole = file_content(tools.fs, fd, size)
    return Prepared(size, email_id(digest_of(whole)), date, tools.gather(whole))


def _write_long(fs: FileSystem, fd: int, prefix: bytes, content: Content, skip: int) -> None:
    fs.write(fd, prefix, 0)
    offset = len(prefix)
    if isinstance(content, SpooledContent):
        fs.copy_range(content.fd, skip, content.size - skip, fd, offset)
        return
    for start in range(skip, content.size, BLOCK):
        block = content.read(start, min(start + BLOCK, content.size))
        fs.write(fd, block, offset)
        offset += len(block)


def digest_of(content: Content) -> bytes:
    """SHA-256 of the octets, block by block."""
    digest = hashlib.sha256()
    for start in range(0, content.size, BLOCK):
        digest.update(content.read(start, min(start + BLOCK, content.size)))
    return digest.digest()


def file_content(fs: FileSystem, fd: int, size: int) -> FileContent:
    """An open file as a `Content`, its header block in memory."""
    start = fs.read(fd, 0, min(size, HEAD))
    return FileContent(fs, fd, size, start[: head_length(start)])


def copy(tools: Tools, file: TemporaryFile, root: int, date: int, *, held: bool = False) -> TemporaryFile:
    """The same octets in a file of its own, under another account's tmp/; `held` as above."""
    content = file_content(tools.fs, file.fd, file.prepared.size)
    return write(with_facts(tools, file.prepared.facts), root, b"", content, 0, date, held=held)


NO_FACTS = Facts(b"", b"", b"", b"", b"", "", None, "", (), SortKeys())


def with_facts(tools: Tools, facts: Facts) -> Tools:
    """The same tools with a scanner that answers at once: the octets were scanned before."""
    return replace(tools, gather=lambda _content: facts)
