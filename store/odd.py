"""What lies in a folder and can be no message of ours: why, in the words that the log, `store verify` and
`store rebuild` use. The store leaves such files alone and serves the others (security.md rows 109, 110).
"""

from __future__ import annotations

import os
import stat

_STRANGERS, _UNREADABLE = "belongs to", "cannot be read"
ABSURD = 8  # times the largest message we would accept
_KINDS = (
    (stat.S_ISREG, "is a plain file"),
    (stat.S_ISDIR, "is a directory"),
    (stat.S_ISLNK, "is a symbolic link"),
    (stat.S_ISFIFO, "is a FIFO"),
    (stat.S_ISSOCK, "is a socket"),
)


def kind(mode: int) -> str:
    """What it is."""
    return next((told for test, told in _KINDS if test(mode)), "is a device")


def stranger(status: os.stat_result, owner: int) -> str:
    """Why it is nobody's of ours to open, "" for a plain file of `owner`, to whom the account's directory belongs."""
    if not stat.S_ISREG(status.st_mode):
        return kind(status.st_mode)
    return f"{_STRANGERS} user number {status.st_uid}, not {owner}" if status.st_uid != owner else ""


def remedy(why: str) -> str:
    """What somebody can do about a file that is left alone for a `reason`, to be put behind it."""
    if why.startswith(_STRANGERS):
        return ": give it to the suite's user (chown), or take it away"
    return "" if why.startswith(_UNREADABLE) else ": take it away"


def unreadable(error: OSError) -> str:
    """Another reason."""
    return f"{_UNREADABLE}: {error.strerror or error}"


def reason(status: os.stat_result, owner: int, largest: int) -> str:
    """The same, and sizes that no message has; `largest`: octets of a message we would accept."""
    why = stranger(status, owner)
    if why:
        return why
    if not status.st_size:
        return "is empty"
    return "is too large" if status.st_size > largest * ABSURD else ""
