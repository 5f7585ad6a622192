"""What the first command of nearly every client asks, SELECT INBOX, asked once for nothing before LOGIN is answered.

Where an account is opened anew, code and pages that SELECT needs lie in no cache of the processor: its answer took
twice as long as the next one's, most of all after a password was hashed, which needs 19 MiB. After this question, which
takes some 0.3 ms, it takes 1.6 times as long. It is left out in a wave of logins, and given up where it has to wait;
nothing of its answer is kept.
"""

from __future__ import annotations

import asyncio

from core.errors import MailError
from core.log import get
from imap.commands.select import begun, describe, parse
from imap.permits import CHANGES
from imap.session import Selected, Session
from imap.wire.scanner import Scanner

PATIENCE = 0.02  # seconds; the account may have been let go again, and is opened by whoever asks for more
_ASKED = b"a SELECT INBOX"

log = get(__name__)


async def look_ahead(session: Session) -> None:
    """`session` is logged in, and stays as it was. What is wrong is told to whoever selects. Raises nothing."""
    try:
        async with asyncio.timeout(PATIENCE):
            scanner = Scanner(_ASKED, utf8=session.utf8)
            scanner.tag()
            scanner.space()
            scanner.keyword()
            name = parse(scanner).name
            glanced = await session.store.glance(name)
            if glanced is not None:
                mailbox, snapshot = glanced
                selected = Selected.begin(name, mailbox, snapshot, read_only=not mailbox.opened_with & CHANGES)
                describe(session, begun(session, selected, examined=False), snapshot)
    except (MailError, TimeoutError):
        return
    except Exception:  # a bug here is no reason to refuse a login
        log.exception("imap-look-ahead-failed")
