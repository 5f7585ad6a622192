"""One open account, as the set of them keeps it (`store.accounts`)."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import MailError
from store.handle import Handle
from store.writer import Writer

Key = tuple[str, str]  # domain, local part


@dataclass(slots=True)
class Entry:
    handle: Handle
    writer: Writer
    used: float  # the loop's time of the last use
    failing: MailError | None = None  # why the last flush failed
    kept_since: float | None = None  # the loop's time since when all of them did because somebody keeps the account
    told: str = ""  # the reason that is in the log
