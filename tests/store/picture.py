"""A store as a client sees it: filled with something of everything, told whole, and robbed of its index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.clock import ManualClock
from message.content import BytesContent
from store.service import MaildirStore
from store.types import Flag, Message, ModSeq, Placement
from tests.fakes.mail import content, mail
from tests.store.helpers import MAIRIE, all_rows, deliver, inbox_of

Picture = dict[str, object]


def index_files(data: Path) -> list[Path]:
    return [path for path in (data / "domains").rglob("*") if "index" in path.name and path.is_file()]


async def opened(data: Path, clock: ManualClock, **options: Any) -> MaildirStore:
    store = MaildirStore(data, clock=clock, **options)
    await store.open()
    return store


async def fill(store: MaildirStore) -> None:
    account = await store.account(MAIRIE)
    reply = mail(3, extra="In-Reply-To: <m1@exemple.test>\r\nReferences: <m0@exemple.test>\r\n")
    for number in (1, 2):
        await deliver(store, MAIRIE, number, Placement(delivery_id=f"q{number}"))
    await account.append([(BytesContent(reply), Placement(internal_date=1e9, keywords=("$A",)))])
    await account.append([(content(number), Placement("Sent", flags=Flag.SEEN)) for number in range(4, 9)])
    await account.create("index/Élus")
    inbox = await inbox_of(store)
    await inbox.store_flags([(1, 1)], add=Flag.ANSWERED | Flag.SEEN, add_keywords=["Projet"])
    sent = await inbox_of(store, name="Sent")
    await sent.move([(2, 3)], "index/Élus")
    await sent.copy([(1, 1)], "Archive")
    await sent.expunge([(4, 4)], only_deleted=False)


def _without_modseq(row: Message) -> Message:
    return row._replace(modseq=ModSeq(0))


async def picture(store: MaildirStore) -> Picture:
    """All that a client can ask, without mod-sequences and UIDNEXT, which may only rise."""
    account = await store.account(MAIRIE)
    found: Picture = {}
    for folder in await account.folders():
        rows = [_without_modseq(row) for row in await all_rows(await account.mailbox(folder.name))]
        found[folder.name] = (folder.id, folder.uidvalidity, folder.special_use, folder.subscribed, rows)
    found["usage"] = await account.usage()
    return found


async def numbers(store: MaildirStore) -> dict[str, tuple[int, int]]:
    account = await store.account(MAIRIE)
    return {folder.id: (folder.uidnext, folder.highest_modseq) for folder in await account.folders()}


def delete(data: Path) -> None:
    for path in index_files(data):
        path.unlink()
