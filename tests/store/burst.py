"""A process that delivers, appends, moves and expunges, and says on standard output what was acknowledged.

Run by the fault tests as `python burst.py DATA SEED COUNT`; it is killed while it works. Each line is written at once:
`start <id>` before an operation, `ok <id> <uid>` after its acknowledgement.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from core.errors import MailError
from message.content import BytesContent
from store.service import MaildirStore
from store.types import Column, Flag, Placement
from tests.fakes.mail import mail
from tests.store.conftest import MAIRIE, VOISIN


def say(*words: object) -> None:
    os.write(1, (" ".join(str(word) for word in words) + "\n").encode())


async def deliver(store: MaildirStore, number: int) -> None:
    data = mail(number, body=f"corps-{number}")
    for ref in (MAIRIE, VOISIN):
        say("start", ref.local, number)
    try:
        async with await store.stage(b"", BytesContent(data), first=MAIRIE) as staged:
            for ref in (MAIRIE, VOISIN):
                appended = await staged.deliver(ref, Placement(delivery_id=f"q{number} {ref.local}"))
                say("ok", ref.local, number, appended.uid)
    except MailError as error:
        say("refused", number, error.code)


async def tidy(store: MaildirStore, number: int) -> None:
    """Flags, a move and an expunge of the first message present."""
    inbox = await (await store.account(VOISIN)).mailbox("INBOX")
    async for batch in inbox.rows([(1, 0xFFFFFFFF)], Column.NONE):
        uid = batch[0].uid
        await inbox.store_flags([(uid, uid)], add=Flag.SEEN)
        if number % 2:
            say("leaving", number)
            await inbox.move([(uid, uid)], "Archive")
        break


async def run(data: Path, seed: int, count: int) -> None:
    store = MaildirStore(data, kernel_syncs=bool(seed % 2))
    await store.open()
    for number in range(seed, seed + count):
        await deliver(store, number)
        if number % 3 == 0:
            await tidy(store, number)
    await store.close()
    say("done")


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
