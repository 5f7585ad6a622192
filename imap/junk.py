"""Telling the filter that somebody moved mail into Junk or out of it; a move never fails or waits for that.

Knows which moves mean something, not what is made of them (`Services.teacher`).
"""

from __future__ import annotations

from core.errors import MailError
from core.log import get
from imap.session import Selected, Session
from store.types import Copied

log = get(__name__)

JUNK, TRASH = "\\Junk", "\\Trash"


def lesson(source: str, target: str) -> bool | None:
    """Spam, no spam, or nothing to learn, by the special uses of the folders. What leaves Junk for the bin was only
    tidied away."""
    if target == JUNK and source != JUNK:
        return True
    return False if source == JUNK and target not in (JUNK, TRASH) else None


async def moved(session: Session, selected: Selected, target: str, copied: Copied) -> None:
    """After COPY or MOVE from the selected mailbox into the one called `target`."""
    teacher = session.services.teacher
    if teacher is None or not copied.pairs:
        return
    try:
        place = await session.store.find(target)
        if place is None:
            return
        spam = lesson(selected.snapshot.folder.special_use, place.folder.special_use)
        if spam is not None:
            mailbox = place.store.opened(place.folder)
            teacher.teach(mailbox, [uid for _, uid in copied.pairs], spam=spam)
    except MailError as error:  # the folder was deleted in this very moment, the disk failed: nothing is learnt
        log.info("learning-skipped", reason=error.code)
