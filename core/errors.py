"""The closed tree of errors that cross a package border. Everything ordinary is a value; these are the rest.

    MailError
    ├── TemporaryError        try again later (4xx, NO [UNAVAILABLE], 503)
    │   └── StorageError      the disk failed or is full; nothing was kept
    │       └── UnreadableError   the disk does not give a message's file; others it may
    └── RefusedError          the caller asked for something that cannot be
        ├── NotFoundError     absent, or not the caller's to see: the two look the same (promise P8)
        ├── ConflictError     it exists already, or changed meanwhile
        ├── InvalidError      a value is malformed or out of bounds
        ├── ForbiddenError    the caller's role does not allow it
        └── QuotaError        no room left

`public` is short, vague and safe to show; `code` is a stable lower-case word for machines; `fields` are for the log.
One translator per protocol turns these into wire text; a bare bug is answered 451 4.3.0, NO [SERVERBUG] or 500.
"""

from __future__ import annotations


class MailError(Exception):
    """Base of all: `code` names the cause for machines, `public` says it to a person, `fields` go to the log."""

    code = "error"

    def __init__(self, public: str, *, code: str | None = None, **fields: object) -> None:
        super().__init__(public)
        self.public = public
        if code is not None:
            self.code = code
        self.fields = fields


class TemporaryError(MailError):
    code = "temporary"


class StorageError(TemporaryError):
    code = "storage"


class UnreadableError(StorageError):
    """Where it is about several, it comes after all that could be answered was."""

    code = "storage-unread"

    @property
    def messages(self) -> int:
        """How many could not be read."""
        count = self.fields.get("messages", 1)
        return count if isinstance(count, int) else 1


def unreadable(messages: int) -> str:
    """What is said of so many of those that were asked for."""
    told = "1 message is" if messages == 1 else f"{messages} messages are"
    return f"{told} unreadable on the server for now; all others were answered"


def of_one(bug: Exception) -> StorageError:
    """A bug met by one of several operations that are answered together, as that one's answer: the others are done, and
    must be told so (promise P2)."""
    return StorageError("storage failed", cause=repr(bug))


class RefusedError(MailError):
    code = "refused"


class NotFoundError(RefusedError):
    code = "not-found"


class ConflictError(RefusedError):
    code = "conflict"


class InvalidError(RefusedError):
    code = "invalid"


class ForbiddenError(RefusedError):
    code = "forbidden"


class QuotaError(RefusedError):
    code = "over-quota"
