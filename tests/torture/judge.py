"""A crash state, recovered by the real store and held against what was told before (`history.Expected`).

Each violation is one line. The state is used up: the judge delivers into it.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.clock import ManualClock
from core.errors import ConflictError
from message.content import BytesContent
from store.service import MaildirStore
from store.store import AccountStore
from store.types import AccountRef, Column, Folder, Placement, Uid
from tests.torture.history import Expected
from tests.torture.seen import Flags, Key, Mail, Seen
from tests.torture.workload import ADOPTED, AUTRE, FOREIGN, SOURCE, WHOLE, Delivery, account_path

OFTEN, SELDOM = 0.3, 0.06  # how many states get the longer examinations
NOT_OPENED = "index is missing"  # of the account that is not judged
COLUMNS = Column.DATES | Column.IDS
MAKING_FOLDERS = ("create", "restore")
CHANGING_FOLDERS = (*MAKING_FOLDERS, "rename", "delete")


@dataclass(slots=True)
class Found:
    """One account after recovery."""

    folders: dict[str, Folder] = field(default_factory=dict)
    mail: dict[Key, Mail] = field(default_factory=dict)
    subscriptions: tuple[str, ...] = ()


async def look(account: AccountStore, among: Container[str] | None = None) -> Found:
    """`among`: ids of the only folders that are looked into."""
    found = Found(subscriptions=tuple(sorted(await account.subscriptions())))
    for folder in await account.folders():
        if among is not None and folder.id not in among:
            continue
        found.folders[folder.id] = folder
        mailbox = await account.mailbox(folder.name)
        async for batch in mailbox.rows(WHOLE, COLUMNS):
            for row in batch:
                flags: Flags = (int(row.flags), tuple(sorted(row.keywords)))
                found.mail[folder.id, int(row.uid)] = Mail(
                    row.email_id, row.thread_id, row.internal_date, row.save_date, flags
                )
    return found


@dataclass(slots=True)
class Case:
    """One crash state: where it lies and all that is needed to judge it."""

    data: Path
    boot: str
    clock: float
    originals: dict[str, bytes]
    expected: dict[AccountRef, Expected]
    deliveries: Sequence[Delivery]  # under way at the crash: told again afterwards
    dice: random.Random
    adopted: bool | None = False  # another server's mail is there; None: it may be
    told_since: dict[AccountRef, Found] = field(default_factory=dict)  # by a recovery before this one
    acked_since: Sequence[Delivery] = ()  # by that one


async def judge(case: Case) -> list[str]:
    """Every promise that the recovered state breaks."""
    store = MaildirStore(case.data, clock=ManualClock(case.clock + 10), boot=case.boot)
    await store.open()
    violations: list[str] = []
    try:
        if case.adopted is not False:
            violations += await _adopted(store, case)
        for ref, expected in case.expected.items():
            if expected.kind == "remove and return" and ref == AUTRE:
                await _returned(store)
            account = await store.account(ref)
            found = await look(account)
            told = [*check(found, expected), *await _unreadable(account, found, case.originals)]
            told += _forgotten(ref, found, case)
            told += await _out_of_step(account, found, expected.views)
            if case.dice.random() < OFTEN or any(item.ref == ref for item in case.deliveries):
                told += await _unusable(store, ref, account, expected, case)
            if case.dice.random() < SELDOM:
                told += await _rebuilt_differently(store, ref)
            violations += [f"{account_path(ref)}: {line}" for line in told]
        if case.dice.random() < OFTEN:
            told = [line for line in await store.verify(None) if not line.endswith(NOT_OPENED)]
            violations += [f"verify: {line}" for line in told]
    finally:
        await store.close()
    return violations


# -- what is there -----------------------------------------------------------------------------------------------------


def check(found: Found, expected: Expected) -> Iterator[str]:
    """Pure: folders, messages, UIDs, dates, ids, flags."""
    yield from _check_folders(found, expected)
    yield from _check_lost(found, expected)
    yield from _check_surplus(found, expected)
    yield from _check_flags(found, expected)


def _check_folders(found: Found, expected: Expected) -> Iterator[str]:
    states = expected.after
    if expected.before is None:
        return
    if (
        expected.subscriptions
        and found.subscriptions not in expected.subscriptions
        and expected.kind not in CHANGING_FOLDERS
    ):
        yield f"subscriptions {found.subscriptions}, not one of {expected.subscriptions}"
    for folder_id, told in expected.before.folders.items():
        folder = found.folders.get(folder_id)
        if folder is None:
            if all(folder_id in state.folders for state in states):
                yield f"folder {told.name} is lost"
            continue
        yield from _check_folder(folder, [s.folders[folder_id] for s in states if folder_id in s.folders])
        if folder.uidnext < expected.uidnext[folder_id]:
            yield f"UIDNEXT of {told.name} went back from {expected.uidnext[folder_id]} to {folder.uidnext}"
    yield from _check_names(found, expected)


def _check_folder(folder: Folder, told: Sequence[object]) -> Iterator[str]:
    for name in ("name", "uidvalidity", "special_use", "subscribed"):
        value = getattr(folder, name)
        if value not in [getattr(item, name) for item in told]:
            yield f"{name} of {folder.name} is {value}, not {getattr(told[-1], name)}"


def _check_names(found: Found, expected: Expected) -> Iterator[str]:
    """Folders nobody made, and renames done by halves."""
    names = {folder.name for folder in found.folders.values()}
    known = {folder.name for state in expected.after for folder in state.folders.values()}
    yield from (f"folder {name} appeared" for name in sorted(names - known) if expected.kind not in MAKING_FOLDERS)
    assert expected.before is not None
    for state in expected.after[1:]:
        moved = {
            folder_id
            for folder_id, folder in expected.before.folders.items()
            if folder_id in state.folders and state.folders[folder_id].name != folder.name
        }
        done = {i for i in moved if i in found.folders and found.folders[i].name == state.folders[i].name}
        if done and done != moved:
            yield f"{len(done)} of {len(moved)} folders are renamed"


def _check_lost(found: Found, expected: Expected) -> Iterator[str]:
    counts = Counter(mail.email_id for mail in found.mail.values())
    if expected.before is None:
        return
    for key, mail in expected.before.mail.items():
        if all(key in state.mail for state in expected.after):
            now = found.mail.get(key)
            if now is None:
                yield f"lost: UID {key[1]} of {expected.before.folders[key[0]].name}"
            elif not now.is_still(mail):
                yield f"UID {key[1]} is {now.identity}, was {mail.identity}"
    for email in {mail.email_id for mail in expected.before.mail.values()}:
        if counts[email] < expected.fewest(email):
            yield f"lost: {counts[email]} copies of {email}, at least {expected.fewest(email)} were there"
    if expected.swap is not None and not any(counts[email] for email in expected.swap):
        yield f"neither {expected.swap[1]} nor {expected.swap[0]}, whose place it was to take"


def _check_surplus(found: Found, expected: Expected) -> Iterator[str]:
    """What was being copied or moved may be in both places, what was delivered twice nowhere, however often a recovery
    was cut off."""
    counts = Counter(mail.email_id for mail in found.mail.values())
    most = expected.most() if expected.after else counts
    yield from (
        f"{n} copies of {email}, at most {most[email]} were told" for email, n in counts.items() if n > most[email]
    )
    if expected.before is None:
        return
    for key, mail in found.mail.items():
        was = expected.ever.get(key)
        if was is not None and was != mail.email_id:
            yield f"UID {key[1]} was {was} and is now {mail.email_id}"
        if was is not None and not any(key in state.mail for state in expected.after):
            yield f"UID {key[1]} came back"


def _check_flags(found: Found, expected: Expected) -> Iterator[str]:
    for key, allowed in expected.flags.items():
        if key in found.mail and found.mail[key].flags not in allowed:
            yield f"UID {key[1]} has {found.mail[key].flags}, not one of {sorted(allowed)}"


def _forgotten(ref: AccountRef, found: Found, case: Case) -> Iterator[str]:
    """What a recovery that was cut off by another power loss had told and acknowledged."""
    emails = {mail.email_id for mail in found.mail.values()}
    for item in case.acked_since:
        if item.ref == ref and not any(case.originals.get(email) == item.data for email in emails):
            yield f"{item.delivery_id} was acknowledged between two power losses and is lost"
    if ref not in case.told_since:
        return
    for folder_id, told in case.told_since[ref].folders.items():
        folder = found.folders.get(folder_id)
        if folder is None:
            yield f"folder {told.name} was there between two power losses"
        elif (folder.uidnext, folder.highest_modseq) < (told.uidnext, told.highest_modseq):
            yield f"{told.name} went back after the second power loss"


# -- what it can do ----------------------------------------------------------------------------------------------------


async def _unreadable(account: AccountStore, found: Found, originals: dict[str, bytes]) -> list[str]:
    """No message is partial: each has the octets its EMAILID was made of."""
    violations: list[str] = []
    for folder_id, folder in found.folders.items():
        mailbox = await account.mailbox(folder.name)
        for (where, uid), mail in found.mail.items():
            if where == folder_id:
                file = await mailbox.open(Uid(uid))
                try:
                    if await file.read(0, file.size + 1) != originals.get(mail.email_id):
                        violations.append(f"UID {uid} of {folder.name} is not whole")
                finally:
                    file.close()
    return violations


async def _out_of_step(account: AccountStore, found: Found, views: Sequence[Seen]) -> list[str]:
    """A client that remembers an earlier state resynchronises (RFC 7162) and must then know what is there."""
    violations: list[str] = []
    for view in views:
        for folder_id, told in view.folders.items():
            folder = found.folders.get(folder_id)
            if folder is None or folder.uidvalidity != told.uidvalidity:
                continue
            if folder.highest_modseq < told.modseq:
                violations.append(f"HIGHESTMODSEQ of {folder.name} went back: {told.modseq} > {folder.highest_modseq}")
            changes = await (await account.mailbox(folder.name)).changes(told.modseq, told.uidnext)
            known = {uid: mail.flags for (where, uid), mail in view.mail.items() if where == folder_id}
            for uid in changes.vanished:
                known.pop(int(uid), None)
            for row in changes.messages:
                known[int(row.uid)] = (int(row.flags), tuple(sorted(row.keywords)))
            present = {uid: mail.flags for (where, uid), mail in found.mail.items() if where == folder_id}
            if known != present:
                odd = sorted(set(known.items()) ^ set(present.items()))
                violations.append(f"a client of {folder.name} that knew {told.modseq} is out of step: {odd}")
    return violations


async def _unusable(
    store: MaildirStore, ref: AccountRef, account: AccountStore, expected: Expected, case: Case
) -> list[str]:
    """New mail gets UIDs nobody saw before; what was under way, told again, is there once."""
    violations: list[str] = []
    folder = case.dice.choice([*await account.folders()])
    (appended,) = await account.append([(BytesContent(b"Subject: after\r\n\r\nafter\r\n"), Placement(folder.name))])
    if appended.uid < expected.uidnext.get(folder.id, 0):
        violations.append(f"UID {appended.uid} of {folder.name} is given again")
    again = [item for item in case.deliveries if item.ref == ref]
    for item in again:
        async with await store.stage(b"", BytesContent(item.data), first=ref) as staged:
            await staged.deliver(ref, Placement(delivery_id=item.delivery_id))
    if again:
        counts = Counter(mail.email_id for mail in (await look(account)).mail.values())
        emails = {email: data for email, data in case.originals.items() if any(data == item.data for item in again)}
        violations += [f"{counts[email]} copies after redelivery" for email in emails if counts[email] != 1]
    return violations


async def _returned(store: MaildirStore) -> None:
    """An account on its way into the bin or out of it is in one of both places, whole."""
    administration = store.administration
    left = await administration.leftover(AUTRE.domain, AUTRE.local)
    if left is not None and left.id == AUTRE.id:
        return
    if left is not None:  # `beffroi store recycle`, as `verify` tells
        await store.remove_account(left)
    items = [item for item in await administration.recycled(AUTRE.organisation_id) if not item.folder]
    if items:
        await administration.give_back(AUTRE, items[-1])


async def _adopted(store: MaildirStore, case: Case) -> list[str]:
    """All of it or nothing is at the account's place, and the run can be done again."""
    place = case.data / account_path(ADOPTED)
    if case.adopted and not place.exists():
        return ["what was adopted is lost"]
    violations = await _misadopted(store) if place.exists() else []
    with contextlib.suppress(ConflictError):  # done already
        await store.administration.adopt(ADOPTED, case.data / SOURCE, finish=True)
    return [*violations, *await _misadopted(store)]


async def _misadopted(store: MaildirStore) -> list[str]:
    account = await store.account(ADOPTED)
    found = await look(account)
    inbox = next(folder for folder in found.folders.values() if folder.name == "INBOX")
    if {uid for _, uid in found.mail} != set(FOREIGN) or inbox.uidvalidity != 1_700_000_001:
        return [f"adopted: {sorted(uid for _, uid in found.mail)} under {inbox.uidvalidity}"]
    mailbox, odd = await account.mailbox("INBOX"), []
    for uid, data in FOREIGN.items():
        file = await mailbox.open(Uid(uid))
        if await file.read(0, file.size + 1) != data:
            odd.append(f"adopted: UID {uid} is not whole")
        file.close()
    return odd


async def _rebuilt_differently(store: MaildirStore, ref: AccountRef) -> list[str]:
    """Promise P5: without its index the account is the same."""
    before = await look(await store.account(ref))
    await store.rebuild(ref.domain)
    after = await look(await store.account(ref))
    odd = sorted(str(item) for item in set(before.mail.items()) ^ set(after.mail.items()))
    names = [
        {(f.id, f.name, f.uidvalidity, f.special_use, f.subscribed) for f in x.folders.values()}
        for x in (before, after)
    ]
    return [f"rebuilt otherwise: {odd} {names[0] ^ names[1]}"] if odd or names[0] != names[1] else []
