"""What an absence notice may hold, whoever sets it: the REST interface and the command line judge by the same."""

from __future__ import annotations

MAX_TEXT = 10_000  # characters
MAX_SUBJECT = 200


def is_plain(text: str) -> bool:
    """Of a text: lines and tabs, no other control characters."""
    return all(c.isprintable() or c in "\r\n\t" for c in text)


def fits(text: str, subject: str) -> bool:
    """`subject` is one line, or "" where it is made of the message's own."""
    return 0 < len(text) <= MAX_TEXT and is_plain(text) and len(subject) <= MAX_SUBJECT and subject.isprintable()
