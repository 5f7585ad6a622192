"""What the kill proofs run: a process that changes one store through its face and says what it does.

`python -m tests.torture.load DATA TASK SEED COUNT [SECONDS]`. Each line is written at once, with NAME as
`address:identity`: `start ID` before a message is handed over, `ok NAME FOLDER UID` when it was acknowledged,
`gone NAME` before it is removed, `swap NAME OLD` before it takes the place of OLD, `copy NAME` before it is doubled,
`back NAME` when it is there again, `drop FOLDER` before a folder goes, `done` at the end.
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

from core.errors import ConflictError, MailError
from message.content import BytesContent
from store.service import MaildirStore
from store.store import Mailbox
from store.types import AccountRef, Appended, Column, Flag, Placement, Uid
from tests.torture.workload import AUTRE, MAIRIE, SOURCE, VOISIN, WHOLE
from tests.torture.workload import plant as plant_maildir

BINNED = ("old.a", "old.b")  # of a folder in the recycle bin
HELD = ("held.a", "held.b")  # of AUTRE
FOREIGN = {3: "foreign.a", 7: "foreign.b"}  # its UIDs and messages


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def mail(identity: str) -> bytes:
    """A message that tells its own identity and can be told whole."""
    lines = 1 + int(hashlib.sha256(identity.encode()).hexdigest(), 16) % 120
    body = "".join(f"{identity} {line} {'x' * 50}\r\n" for line in range(lines))
    return f"Subject: {identity}\r\nMessage-ID: <{identity}@x.test>\r\n\r\n{body}".encode()


def said(ref: AccountRef, identity: str, appended: Appended) -> None:
    say("ok", f"{ref.address}:{identity}", appended.folder_id, int(appended.uid))


def identity_of(data: bytes) -> str:
    return data.split(b"\r\n", 1)[0].removeprefix(b"Subject: ").decode()


async def deliver(store: MaildirStore, identity: str) -> None:
    say("start", identity)
    async with await store.stage(b"", BytesContent(mail(identity)), first=MAIRIE, synced=False) as staged:
        for ref in (MAIRIE, VOISIN):
            appended = await staged.deliver(ref, Placement(delivery_id=f"{identity} {ref.local}"))
            said(ref, identity, appended)


async def append(store: MaildirStore, identity: str) -> None:
    say("start", identity)
    (appended,) = await (await store.account(MAIRIE)).append([(BytesContent(mail(identity)), Placement("Archive"))])
    said(MAIRIE, identity, appended)


async def append_each(store: MaildirStore, identity: str) -> None:
    """Two commands that came together."""
    identities = [f"{identity}.a", f"{identity}.b"]
    for each in identities:
        say("start", each)
    commands = [[(BytesContent(mail(each)), Placement("Archive"))] for each in identities]
    for each, outcome in zip(identities, await (await store.account(MAIRIE)).append_each(commands), strict=True):
        if isinstance(outcome, MailError):
            raise outcome
        said(MAIRIE, each, outcome[0])


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
        say("gone", f"{MAIRIE.address}:{found[0]}")
        mailbox = await (await store.account(MAIRIE)).mailbox("INBOX")
        await mailbox.expunge([(found[1], found[1])], only_deleted=False)


async def replace(store: MaildirStore, identity: str) -> None:
    found = await _first(store, "INBOX")
    if found is None:
        return
    say("start", identity)
    say("swap", f"{MAIRIE.address}:{identity}", f"{MAIRIE.address}:{found[0]}")
    mailbox = await (await store.account(MAIRIE)).mailbox("INBOX")
    said(MAIRIE, identity, await mailbox.replace(Uid(found[1]), BytesContent(mail(identity)), Placement("Archive")))


async def copy(store: MaildirStore, _identity: str) -> None:
    found = await _first(store, "INBOX")
    if found is not None:
        say("copy", f"{MAIRIE.address}:{found[0]}")
        mailbox = await (await store.account(MAIRIE)).mailbox("INBOX")
        await mailbox.copy([(found[1], found[1])], "Archive")


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


async def create(store: MaildirStore, identity: str) -> None:
    await (await store.account(MAIRIE)).create(f"E{identity}/a/b")


async def delete(store: MaildirStore, _identity: str) -> None:
    account = await store.account(MAIRIE)
    for folder in await account.folders():
        if folder.name.startswith("D") and "/" not in folder.name:
            say("drop", folder.id)
            await account.delete(folder.name)
            return


async def discard(store: MaildirStore, _identity: str) -> None:
    """Some mail into the recycle bin."""
    account = await store.account(MAIRIE)
    await account.create("Vieux")
    for identity in BINNED:
        say("start", identity)
        await account.append([(BytesContent(mail(identity)), Placement("Vieux"))])
    await account.delete("Vieux")


async def restore(store: MaildirStore, _identity: str) -> None:
    names = [f"{MAIRIE.address}:{identity}" for identity in BINNED]
    for name in names:
        say("copy", name)
    items = [item for item in await store.administration.recycled() if item.folder == "Vieux"]
    await store.administration.restore(MAIRIE, items)
    for name in names:
        say("back", name)


async def hold(store: MaildirStore, _identity: str) -> None:
    """Another commune's account with some mail."""
    for identity in HELD:
        say("start", identity)
        (appended,) = await (await store.account(AUTRE)).append([(BytesContent(mail(identity)), Placement())])
        said(AUTRE, identity, appended)


async def remove(store: MaildirStore, _identity: str) -> None:
    await store.remove_account(AUTRE)


async def give_back(store: MaildirStore, _identity: str) -> None:
    items = [item for item in await store.administration.recycled() if item.account_id == AUTRE.id and not item.folder]
    if items:
        await store.administration.give_back(AUTRE, items[-1])


def _source(store: MaildirStore) -> Path:
    return store._data / SOURCE


async def plant(store: MaildirStore, _identity: str) -> None:
    """Another server's mail."""
    plant_maildir(_source(store), {uid: mail(identity) for uid, identity in FOREIGN.items()})
    for identity in FOREIGN.values():
        say("start", identity)


async def adopt(store: MaildirStore, _identity: str) -> None:
    try:
        await store.administration.adopt(AUTRE, _source(store), finish=True)
    except ConflictError:  # done already
        return


async def holds(mailbox: Mailbox, uid: int) -> bool:
    async for batch in mailbox.rows([(uid, uid)], Column.NONE):
        return bool(batch)
    return False


async def recover(store: MaildirStore, _identity: str) -> None:
    """What whoever comes next does first."""
    for ref in (MAIRIE, VOISIN):
        for folder in await (await store.account(ref)).folders():
            await (await (await store.account(ref)).mailbox(folder.name)).snapshot()


async def rebuild(store: MaildirStore, _identity: str) -> None:
    await store.rebuild(None)


TASKS: dict[str, Callable[[MaildirStore, str], Awaitable[None]]] = {
    "deliver": deliver,
    "append": append,
    "append_each": append_each,
    "move": move,
    "expunge": expunge,
    "replace": replace,
    "copy": copy,
    "flag": flag,
    "create": create,
    "rename": rename,
    "delete": delete,
    "rebuild": rebuild,
    "discard": discard,
    "restore": restore,
    "hold": hold,
    "remove": remove,
    "give_back": give_back,
    "plant": plant,
    "adopt": adopt,
    "recover": recover,
}
MIX = ("deliver", "deliver", "deliver", "append", "append_each", "move", "expunge", "replace", "flag", "rename")


async def run(data: Path, task: str, seed: str, count: int, seconds: float) -> None:
    """`task` is one of the table, or "mix": any of them, several at once. Seeds that end in "t" have threads sync."""
    store = MaildirStore(data, kernel_syncs=not seed.endswith("t"))
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
