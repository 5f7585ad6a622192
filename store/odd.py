"""What lies in a folder and can be no message of ours: why, in the words that the log, `store verify` and
`store rebuild` use. The store leaves such files alone and serves the others (security.md rows 109, 110).
"""

from __future__ import annotations

import os
import stat

ABSURD = 8  # times the largest message we would accept


def stranger(status: os.stat_result, owner: int) -> str:
    """Why it is nobody's of ours to open, "" for a plain file of `owner`, to whom the account's directory belongs."""
    if stat.S_ISLNK(status.st_mode):
        return "is a symbolic link"
    if stat.S_ISDIR(status.st_mode):
        return "is a directory"
    if not stat.S_ISREG(status.st_mode):
        return "is no plain file"
    return f"belongs to user number {status.st_uid}, not {owner}" if status.st_uid != owner else ""


def reason(status: os.stat_result, owner: int, largest: int) -> str:
    """The same, and sizes that no message has; `largest`: octets of a message we would accept."""
    why = stranger(status, owner)
    if why:
        return why
    if not status.st_size:
        return "is empty"
    return "is too large" if status.st_size > largest * ABSURD else ""
