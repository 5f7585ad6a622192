"""A process that serves an account whose index files somebody else deletes meanwhile, and says what it is refused.

Run as `python losing.py DATA SEED SECONDS`. Each line is written at once: `ready`, `refused <what> <cause>`, and at the
end `done <rounds> <delivered>`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable
from pathlib import Path

from core.errors import MailError
from message.content import BytesContent
from store.service import MaildirStore
from store.types import Column, Placement, SortCriterion, SortKey
from tests.fakes.mail import mail
from tests.store.helpers import MAIRIE, WHOLE, all_rows


def say(*words: object) -> None:
    os.write(1, (" ".join(str(word) for word in words) + "\n").encode())


async def tried(what: str, work: Awaitable[object]) -> bool:
    try:
        await work
    except Exception as error:
        cause = error.fields if isinstance(error, MailError) else ""
        say("refused", what, repr(error), cause)
        return False
    return True


async def run(data: Path, seed: int, seconds: float) -> None:
    store = MaildirStore(data)
    await store.open()
    say("ready")
    loop = asyncio.get_running_loop()
    end, rounds, delivered = loop.time() + seconds, 0, 0
    while loop.time() < end:
        await tried("account", store.account(MAIRIE))
        inbox = await (await store.account(MAIRIE)).mailbox("INBOX")
        await tried("snapshot", inbox.snapshot())
        await tried("rows", all_rows(inbox, Column.NONE))
        await tried("envelopes", all_rows(inbox, Column.ENVELOPE))
        await tried("sort", inbox.sort([1, 2, 3], [SortCriterion(SortKey.SUBJECT, reverse=bool(rounds % 2))]))
        await tried("field", inbox.search_field(WHOLE, "SUBJECT", "Demande"))
        await tried("text", inbox.search_text(WHOLE, "Bonjour", body_only=False))
        async with await store.stage(b"", BytesContent(mail(seed + rounds)), first=MAIRIE) as staged:
            delivered += await tried("deliver", staged.deliver(MAIRIE, Placement(delivery_id=f"q{seed + rounds}")))
        rounds += 1
    await store.close()
    say("done", rounds, delivered)


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
