"""A folder's journal: what neither file names nor the side file can carry. Removals, thread ids, keywords past 26, and
up to which mod-sequence flags are in the names.

Lines `<crc32> <kind> <payload>`, appended and synced before what they tell is acknowledged. A torn tail (or any line
whose checksum is wrong) is ignored; every append starts on a new line, so it never heals into one. It is small: it is
written again without what is no longer needed when it has grown (`compact`).
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import ne

from store.fsops import FileSystem

JOURNAL = "beffroi-journal"
MAX_OCTETS = 64 * 1024 * 1024
COMPACT_AT = 256 * 1024

_NEXT = (1).__add__
REMOVED, THREAD, KEYWORDS, NAMED = "E", "T", "K", "N"


@dataclass(slots=True)
class Journal:
    """What the lines add up to: UIDs removed (never to come back), thread ids by UID, keyword bits from 26 up, and the
    mod-sequence up to which every flag was once in a file name (0: none is known)."""

    removed: set[int] = field(default_factory=set)
    threads: dict[int, str] = field(default_factory=dict)
    keywords: dict[int, int] = field(default_factory=dict)
    named: int = 0

    @property
    def highest(self) -> int:
        """The highest UID that a line tells of, 0 without any. It is taken, also when its writer died before the
        message had its name: whoever came to stand under it would get what the line tells."""
        return max((max(uids) for uids in (self.removed, self.threads, self.keywords) if uids), default=0)


def removal(uids: Sequence[int]) -> str:
    return f"{REMOVED} {ranges_text(uids)}"


def thread(uid: int, thread_id: str) -> str:
    return f"{THREAD} {uid} {thread_id}"


def keywords(uid: int, bits: int) -> str:
    return f"{KEYWORDS} {uid} {bits:x}"


def named(modseq: int) -> str:
    return f"{NAMED} {modseq}"


def append(fs: FileSystem, directory: int, lines: Iterable[str]) -> None:
    """Durable when it returns. The file was made, and its name synced, with the folder. What cannot be durable is no
    line: it may be tried each second (`store.flush`)."""
    data = b"\n" + b"".join(_line(line) for line in lines)
    fd = fs.open_to_update(directory, JOURNAL)
    try:
        length = fs.status(fd).st_size
        try:
            fs.write(fd, data, length)
            fs.sync_data(fd)
        except OSError:
            with contextlib.suppress(OSError):  # whoever undoes it is told
                fs.truncate(fd, length)
            raise
    finally:
        fs.close(fd)


def cut(fs: FileSystem, directory: int, length: int) -> None:
    """Take back what was appended past `length` octets: what it told did not happen. Durable when it returns."""
    fd = fs.open_to_update(directory, JOURNAL)
    try:
        fs.truncate(fd, length)
        fs.sync(fd)
    finally:
        fs.close(fd)


def opened_to_sync(fs: FileSystem, directory: int) -> int | None:
    """For what somebody appended who may have died before his sync: as `read` opens it, so that nothing is read that
    could not be synced. None without a journal. Raises OSError."""
    try:
        return fs.open_to_read(directory, JOURNAL)
    except FileNotFoundError:
        return None


def read(fs: FileSystem, directory: int) -> Journal:
    """Later lines win. An absent journal is an empty one."""
    journal = Journal()
    try:
        data = fs.read_file(directory, JOURNAL, MAX_OCTETS)
    except FileNotFoundError:
        return journal
    for line in data.split(b"\n"):
        with contextlib.suppress(ValueError):  # whose checksum somebody made right: no line either
            _apply(journal, _checked(line))
    return journal


def size(fs: FileSystem, directory: int) -> int:
    try:
        return fs.stat(directory, JOURNAL).st_size
    except FileNotFoundError:
        return 0


def compact(fs: FileSystem, directory: int, present: set[int], unlinked_later: set[int]) -> None:
    """Keep what present messages need and the removals whose files may still exist. Under the account's lock."""
    journal = read(fs, directory)
    lines = [thread(uid, value) for uid, value in journal.threads.items() if uid in present]
    lines += [keywords(uid, bits) for uid, bits in journal.keywords.items() if uid in present and bits]
    pending = sorted(journal.removed & unlinked_later)
    lines += [removal(pending)] if pending else []
    lines += [named(journal.named)] if journal.named else []
    fs.replace_file(directory, JOURNAL, b"".join(_line(line) for line in lines))


def _line(text: str) -> bytes:
    data = text.encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(data), data)


def _checked(line: bytes) -> str:
    head, _, data = line.partition(b" ")
    if len(head) != 8 or head != b"%08x" % zlib.crc32(data):
        return ""
    return data.decode("ascii", "replace")


def _apply(journal: Journal, text: str) -> None:
    kind, _, payload = text.partition(" ")
    if kind == REMOVED:
        journal.removed.update(parse_ranges(payload))
    elif kind == NAMED:
        journal.named = max(journal.named, int(payload))
    elif kind in (THREAD, KEYWORDS):
        uid, _, value = payload.partition(" ")
        if kind == THREAD:
            journal.threads[int(uid)] = value
        else:
            journal.keywords[int(uid)] = int(value, 16)


def ranges(uids: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending UIDs, each once, as inclusive pairs."""
    uids = list(uids)
    if not uids:
        return []
    following = uids[1:]
    apart = list(map(ne, following, map(_NEXT, uids)))
    return list(zip([uids[0], *compress(following, apart)], [*compress(uids, apart), uids[-1]], strict=True))


def ranges_text(uids: Iterable[int]) -> str:
    return ",".join(f"{first}:{last}" for first, last in ranges(uids))


def parse_ranges(text: str) -> Iterable[int]:
    for pair in text.split(","):
        first, _, last = pair.partition(":")
        yield from range(int(first), int(last) + 1)
