"""What the kill proofs run: a process that changes one store through its face and says what it does.

`python -m tests.torture.load DATA TASK SEED COUNT [SECONDS]`. Each line is written at once: `start ID` before a message
is handed over, `ok ID UID` when it was acknowledged, `gone ID` before it is removed, `done` at the end.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from core.errors import MailError
from message.content import BytesContent
from store.service import MaildirStore
from store.types import Column, Flag, Placement, Uid
from tests.torture.workload import MAIRIE, VOISIN, WHOLE


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def mail(identity: str) -> bytes:
    """A message that tells its own identity and can be told whole."""
    lines = 1 + int(hashlib.sha256(identity.encode()).hexdigest(), 16) % 120
    body = "".join(f"{identity} {line} {'x' * 50}\r\n" for line in range(lines))
    return f"Subject: {identity}\r\nMessage-ID: <{identity}@x.test>\r\n\r\n{body}".encode()


def identity_of(data: bytes) -> str:
    return data.split(b"\r\n", 1)[0].removeprefix(b"Subject: ").decode()


async def deliver(store: MaildirStore, identity: str) -> None:
    say("start", identity)
    async with await store.stage(b"", BytesContent(mail(identity)), first=MAIRIE) as staged:
        for ref in (MAIRIE, VOISIN):
            appended = await staged.deliver(ref, Placement(delivery_id=f"{identity} {ref.local}"))
            say("ok", f"{ref.local}:{identity}", int(appended.uid))


async def append(store: MaildirStore, identity: str) -> None:
    say("start", identity)
    (appended,) = await (await store.account(MAIRIE)).append([(BytesContent(mail(identity)), Placement("Archive"))])
    say("ok", f"{MAIRIE.local}:{identity}", int(appended.uid))


async def _first(store: MaildirStore, folder: str) -> tuple[str, int] | None:
    """(identity, UID) of the first message of a folder."""
    mailbox = await (await store.account(MAIRIE)).mailbox(folder)
    async for batch in mailbox.rows(WHOLE, Column.NONE):
        file = await mailbox.open(Uid(batch[0].uid))
        try:
            return identity_of(await file.read(0, 200)), int(batch[0].uid)
        finally:
            file.close()
    return None


async def move(store: MaildirStore, _identity: str) -> None:
    account = await store.account(MAIRIE)
    for folder, target in (("INBOX", "Archive"), ("Archive", "INBOX")):
        found = await _first(store, folder)
        if found is not None:
            await (await account.mailbox(folder)).move([(found[1], found[1])], target)
            return


async def expunge(store: MaildirStore, _identity: str) -> None:
    found = await _first(store, "INBOX")
    if found is not None:
        say("gone", f"{MAIRIE.local}:{found[0]}")
        mailbox = await (await store.account(MAIRIE)).mailbox("INBOX")
        await mailbox.expunge([(found[1], found[1])], only_deleted=False)


async def flag(store: MaildirStore, _identity: str) -> None:
    mailbox = await (await store.account(MAIRIE)).mailbox("INBOX")
    await mailbox.store_flags(WHOLE, add=Flag.SEEN, add_keywords=("Urgent",))
    await store.flush()


async def rename(store: MaildirStore, identity: str) -> None:
    account = await store.account(MAIRIE)
    names = [folder.name for folder in await account.folders() if folder.name.startswith("D")]
    if names:
        await account.rename(names[0].split("/")[0], f"D{identity}")
    else:
        await account.create(f"D{identity}/a/b")


async def rebuild(store: MaildirStore, _identity: str) -> None:
    await store.rebuild(None)


TASKS: dict[str, Callable[[MaildirStore, str], Awaitable[None]]] = {
    "deliver": deliver,
    "append": append,
    "move": move,
    "expunge": expunge,
    "flag": flag,
    "rename": rename,
    "rebuild": rebuild,
}
MIX = ("deliver", "deliver", "deliver", "append", "append", "move", "expunge", "flag", "rename")


async def run(data: Path, task: str, seed: str, count: int, seconds: float) -> None:
    """`task` is one of the table, or "mix": any of them, several at once."""
    store = MaildirStore(data)
    await store.open()
    dice, end = random.Random(seed), time.monotonic() + seconds
    for number in range(count):
        names = [task] if task != "mix" else dice.sample(MIX, 3)
        results = await asyncio.gather(
            *(TASKS[name](store, f"{seed}.{number}.{place}") for place, name in enumerate(names)),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, MailError):
                raise result  # a refusal is an answer, anything else a bug
        if time.monotonic() > end:
            break
    await store.close()
    say("done")


if __name__ == "__main__":
    import core.log

    core.log.configure("error", stream=sys.stderr)
    asyncio.run(run(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), float((sys.argv[5:] or ["600"])[0])))
