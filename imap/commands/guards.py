"""What several handlers refuse alike: changes in EXAMINE, keywords and names out of bounds; and what those that remove
messages answer alike."""

from __future__ import annotations

from core.config import Limits
from imap import responses, updates
from imap.errors import Code, No
from imap.session import Selected, Session
from imap.types import FlagSet
from store.types import DELIMITER


def require_writable(session: Session) -> Selected:
    """EXAMINE selects read-only (RFC 9051 6.3.3, RFC 5530 3)."""
    if session.selected.read_only:
        raise No("mailbox is read-only", Code.READ_ONLY)
    return session.selected


async def highest_if_qresync(session: Session, removed: bool) -> str:
    """The code of the tagged OK after a removal (RFC 7162 3.2.7, 3.2.9; RFC 6851 4.4): all that happened so far is told
    first, so that the number is one the client may keep."""
    if not (removed and session.qresync):
        return Code.NONE
    await updates.tell(session, expunge=True)
    return responses.highest_modseq_code(session.selected.view.settled)


def check_keywords(flags: FlagSet, limits: Limits) -> None:
    """Security.md row 98; the store bounds the keywords of a whole folder."""
    if len(flags.keywords) > limits.keywords or any(len(word) > limits.keyword_length for word in flags.keywords):
        raise No("too many keywords, or one too long", Code.LIMIT)


def check_new_name(name: str) -> str:
    """A name that LIST can show and match: no empty level, no wildcard; a final delimiter is dropped (RFC 9051 6.3.4).
    Length, depth and other bounds are the store's (row 97)."""
    trimmed = name.removesuffix(DELIMITER)
    if not all(trimmed.split(DELIMITER)) or "%" in trimmed or "*" in trimmed:
        raise No("mailbox name is not allowed", Code.CANNOT)
    return trimmed
