"""Text search by reading the messages themselves: for what the text index does not know, and as its judge.

Runs in worker threads, a few messages at a time, so that other sessions get their turns (security.md row 100).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from message.collation import casemap, searchable
from message.text import contains
from store import stage
from store.adopt import in_memory
from store.faults import of_a_file, whole
from store.handle import Handle, open_cur

TOGETHER = 32  # messages looked at in one turn of a thread


@dataclass(frozen=True, slots=True)
class Question:
    """`fold_accents`: `message.collation.searchable` forms are compared, else those of i;unicode-casemap (RFC 5051)."""

    pattern: str
    body_only: bool
    fold_accents: bool

    @property
    def fold(self) -> Callable[[str], str]:
        return searchable if self.fold_accents else casemap


def matching(
    handle: Handle, directory: str, candidates: Sequence[tuple[int, str]], question: Question
) -> tuple[list[int], list[int]]:
    """Of (UID, file name) pairs: the UIDs that match, and those whose file has another name by now, or is gone. One
    that cannot be read holds nothing (`store.unreadable`)."""
    fs = handle.fs
    found, missing = list[int](), list[int]()
    with whole():
        cur = open_cur(fs, handle.root, directory)
        try:
            for uid, name in candidates:
                try:
                    if name and _matches(handle, cur, name, question):
                        found.append(uid)
                except FileNotFoundError:
                    missing.append(uid)
                except OSError as error:
                    if not of_a_file(error):
                        raise
                    handle.tell_unread(name, error)
        finally:
            fs.close(cur)
    return found, missing


def _matches(handle: Handle, cur: int, name: str, question: Question) -> bool:
    fs = handle.fs
    fd = fs.open_to_read(cur, name)
    try:
        content = in_memory(stage.file_content(fs, fd, fs.status(fd).st_size))
        limits = handle.tools.limits  # those of the text index, or the two would disagree
        return contains(content, question.pattern, body_only=question.body_only, fold=question.fold, limits=limits)
    finally:
        fs.close(fd)
