"""A seeded day of three mailboxes, recorded: every kind of change the store's face offers, alone and several at once.

Time goes in rounds: a round begins, its calls are made, all are answered, it ends. What is under way at a crash is
therefore what its round told. Floors are raised in blocks of a few numbers, so that every edge of a block is met.

Longer than its neighbours: it is one day, and each kind of change has its call in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from core.clock import ManualClock
from core.errors import ConflictError, MailError, StorageError
from message.content import BytesContent
from store.fsops import FileSystem
from store.records import email_id
from store.service import MaildirStore, initialise
from store.store import Mailbox
from store.types import AccountRef, Column, Flag, Placement, Uid
from tests.torture import refused
from tests.torture.disk import Disk, read_tree
from tests.torture.recorder import Event, RecordingFileSystem, RecordingVfs, Tape
from tests.torture.refused import Bound
from tests.torture.seen import Flags, Key

MAIRIE = AccountRef("acc1", "org1", "mairie.test", "maire")
VOISIN = AccountRef("acc2", "org1", "mairie.test", "secretariat")
AUTRE = AccountRef("acc3", "org2", "autre.test", "maire")
ADOPTED = AccountRef("acc4", "org2", "autre.test", "ancien")  # its mail comes from another server, once a day
REFS = (MAIRIE, VOISIN, AUTRE)
DOMAINS = ("mairie.test", "autre.test")
WHOLE = ((1, 0xFFFFFFFF),)
SOURCE = "source"  # a Dovecot Maildir, inside the data directory
FOREIGN = {3: b"Subject: three\r\n\r\nthree\r\n", 7: b"Subject: seven\r\n\r\n" + b"seven\r\n" * 400}
WORDS = ("$Forwarded", "$Junk", "Urgent", "A-classer")
# Small blocks and few pages: what happens once in a thousand messages happens every few.
SMALL = {
    "store.transaction.UID_BLOCK": 3,
    "store.transaction.MODSEQ_BLOCK": 4,
    "store.index.CHECKPOINT_PAGES": 60,
    "store.journal.COMPACT_AT": 200,
    "store.service.THREADS": 2,
    "store.delivery.UNDER_WAY": 2,
    "store.delivery.LATER": 3,
    "store.place.MANY": 2,
}


def account_path(ref: AccountRef) -> str:
    return f"domains/{ref.domain}/{ref.local}"


def email_of(data: bytes) -> str:
    return email_id(hashlib.sha256(data).digest())


@contextmanager
def small_blocks() -> Iterator[None]:
    with ExitStack() as stack:
        for name, value in SMALL.items():
            stack.enter_context(patch(name, value))
        yield


@dataclass(frozen=True, slots=True)
class Delivery:
    """One recipient of one delivered message."""

    ref: AccountRef
    delivery_id: str
    data: bytes


@dataclass(slots=True)
class Round:
    """`kind`: the name of what was done. `swap`: account and EMAILIDs of what is replaced. `settled`: the domains whose
    every flag was in a file name when it ended. `subscriptions`: of each account then. `refused`: what a failing disk
    kept from being done; a mark of the same number tells when that was answered."""

    number: int
    kind: str
    swap: tuple[str, str, str] | None = None  # account, old, new
    settled: tuple[str, ...] = ()
    deliveries: list[Delivery] = field(default_factory=list)
    refused: dict[int, Bound] = field(default_factory=dict)
    subscriptions: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class Trace:
    """A recorded workload."""

    seed: int
    baseline: Disk
    numbers: dict[int, int]
    events: list[Event]
    rounds: list[Round]
    originals: dict[str, bytes]  # by EMAILID
    clock: float


@dataclass(slots=True)
class Day:
    """The workload under way."""

    data: Path
    dice: random.Random
    fs: FileSystem
    tape: Tape
    clock: ManualClock
    store: MaildirStore
    rounds: list[Round] = field(default_factory=list)
    originals: dict[str, bytes] = field(default_factory=dict)
    mails: int = 0
    names: int = 0
    attempts: int = 0
    wordy: bool = False  # more keywords than a file name has letters

    # -- words ---------------------------------------------------------------------------------------------------------

    def mail(self) -> bytes:
        """Some long, some answers to others, so that threads have to be journalled."""
        self.mails += 1
        number, dice = self.mails, self.dice
        answer = f"In-Reply-To: <m{dice.randint(1, number)}@x.test>\r\n" if dice.random() < 0.5 else ""
        root = f"References: <r{number % 3}@x.test> <m{dice.randint(1, number)}@x.test>\r\n" if number % 4 == 0 else ""
        head = f"From: a{number}@x.test\r\nSubject: N {number}\r\nMessage-ID: <m{number}@x.test>\r\n{answer}{root}\r\n"
        lines = dice.choice((1, 3, 60, 200))
        data = head.encode() + b"".join(b"%d.%d %s\r\n" % (number, line, b"x" * 60) for line in range(lines))
        self.originals[email_of(data)] = data
        return data

    def fresh_name(self) -> str:
        self.names += 1
        return f"D{self.names}"

    async def folder_names(self, ref: AccountRef) -> list[str]:
        return [folder.name for folder in await (await self.store.account(ref)).folders()]

    async def some_folder(self, ref: AccountRef, *, own: bool = False) -> str:
        names = await self.folder_names(ref)
        chosen = [name for name in names if name.startswith("D")] if own else ["INBOX", "INBOX", *names]
        return self.dice.choice(chosen) if chosen else ""

    async def some_mail(self, ref: AccountRef) -> tuple[str, list[tuple[int, int]]]:
        """A folder and up to three of its UIDs."""
        for _ in range(6):
            folder = await self.some_folder(ref)
            mailbox = await (await self.store.account(ref)).mailbox(folder)
            uids = [int(row.uid) async for batch in mailbox.rows(WHOLE, Column.NONE) for row in batch]
            if uids:
                chosen = sorted(self.dice.sample(uids, min(len(uids), self.dice.randint(1, 3))))
                return folder, [(uid, uid) for uid in chosen]
        return "INBOX", []

    def placement(self, folder: str) -> Placement:
        dice = self.dice
        return Placement(
            folder,
            flags=Flag(dice.choice((0, 0, 1, 5, 17))),
            keywords=tuple(dice.sample(WORDS, dice.choice((0, 0, 1, 2)))),
            internal_date=dice.choice((None, 1_500_000_000.0 + dice.randint(0, 9999))),
        )

    @contextmanager
    def bound(self, turn: Round, ref: AccountRef, **effects: Any) -> Iterator[None]:
        """What is done inside may be refused by a failing disk."""
        self.attempts += 1
        number = self.attempts
        try:
            yield
        except StorageError:
            turn.refused[number] = Bound(account_path(ref), **effects)
            self.tape.mark("refused", (turn.number, number))
            raise

    @contextmanager
    def all_bound(self, turn: Round, told: Sequence[Delivery]) -> Iterator[None]:
        with ExitStack() as stack:
            for item in told:
                stack.enter_context(self.bound(turn, item.ref, new=(email_of(item.data),)))
            yield

    async def emails(self, mailbox: Mailbox, uids: Sequence[tuple[int, int]]) -> dict[Key, str]:
        """The EMAILIDs of messages."""
        batches = [batch async for batch in mailbox.rows(uids, Column.IDS)]
        return {(mailbox.folder_id, int(row.uid)): row.email_id for batch in batches for row in batch}

    def delivery(self, turn: Round, targets: tuple[AccountRef, ...]) -> tuple[Awaitable[object], list[Delivery]]:
        data = self.mail()
        told = [Delivery(ref, f"q{self.mails} {ref.local}@{ref.domain}", data) for ref in targets]

        async def deliver() -> None:
            with self.all_bound(turn, told):
                staging = await self.store.stage(b"", BytesContent(data), first=targets[0], synced=len(told) > 1)
            async with staging as staged:
                for number, item in enumerate(told):
                    with self.all_bound(turn, told[number:]):  # those behind it are not even tried
                        appended = await staged.deliver(item.ref, Placement(delivery_id=item.delivery_id))
                    self.acknowledged(item.ref, appended.folder_id, int(appended.uid))

        return deliver(), told

    def acknowledged(self, ref: AccountRef, folder_id: str, *uids: int) -> None:
        self.tape.mark("ack", (account_path(ref), [(folder_id, uid) for uid in uids]))


# -- rounds: what may happen -------------------------------------------------------------------------------------------


async def _deliver(day: Day, turn: Round) -> None:
    work, turn.deliveries = day.delivery(turn, day.dice.choice(((MAIRIE,), (VOISIN,), (MAIRIE, VOISIN), REFS)))
    await work


async def _deliver_several(day: Day, turn: Round) -> None:
    pairs = [day.delivery(turn, day.dice.choice(((MAIRIE,), (MAIRIE, VOISIN)))) for _ in range(day.dice.randint(2, 5))]
    turn.deliveries = [item for _, told in pairs for item in told]
    for outcome in await asyncio.gather(*(work for work, _ in pairs), return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def _append(day: Day, turn: Round) -> None:
    ref = day.dice.choice(REFS)
    folder = await day.some_folder(ref)
    mails = [day.mail() for _ in range(day.dice.randint(1, 3))]
    items = [(BytesContent(data), day.placement(folder)) for data in mails]
    with day.bound(turn, ref, new=tuple(map(email_of, mails))):
        appended = await (await day.store.account(ref)).append(items)
    day.acknowledged(ref, appended[0].folder_id, *(int(item.uid) for item in appended))


async def _append_each(day: Day, turn: Round) -> None:
    """Commands that came together."""
    ref = day.dice.choice(REFS)
    mails = [day.mail() for _ in range(day.dice.randint(2, 4))]
    commands = [[(BytesContent(data), day.placement(await day.some_folder(ref)))] for data in mails]
    with day.bound(turn, ref, new=tuple(map(email_of, mails))):
        outcomes = await (await day.store.account(ref)).append_each(commands)
    failed: list[MailError] = []
    for data, outcome in zip(mails, outcomes, strict=True):
        if isinstance(outcome, MailError):
            failed.append(outcome)
            with contextlib.suppress(MailError), day.bound(turn, ref, new=(email_of(data),)):
                raise outcome
        else:
            day.acknowledged(ref, outcome[0].folder_id, int(outcome[0].uid))
    if failed:
        raise failed[0]


async def _copy(day: Day, turn: Round, *, move: bool = False) -> None:
    ref = day.dice.choice(REFS)
    (folder, uids), target = await day.some_mail(ref), await day.some_folder(ref)
    account = await day.store.account(ref)
    mailbox = await account.mailbox(folder)
    if not uids or (move and target == folder):
        return
    found = await day.emails(mailbox, uids)
    with day.bound(turn, ref, new=tuple(found.values()), gone=tuple(found) if move else ()):
        copied = await (mailbox.move(uids, target) if move else mailbox.copy(uids, target))
    into = await account.folder(target)
    if into is not None:
        day.acknowledged(ref, into.id, *(int(new) for _, new in copied.pairs))


async def _move(day: Day, turn: Round) -> None:
    await _copy(day, turn, move=True)


async def _flags(day: Day, turn: Round) -> None:
    ref, dice = day.dice.choice(REFS), day.dice
    folder, uids = await day.some_mail(ref)
    words = [*WORDS, *(f"mot{number}" for number in range(30))] if day.wordy else WORDS
    if uids:
        mailbox = await (await day.store.account(ref)).mailbox(folder)
        add, remove = Flag(dice.choice((0, 1, 2, 4, 5))), Flag(dice.choice((0, 0, 1, 4)))
        more, less = dice.sample(words, dice.choice((0, 0, 1, 3))), dice.sample(WORDS, dice.choice((0, 0, 1)))
        would: dict[Key, Flags] = {}
        async for batch in mailbox.rows(uids, Column.NONE):
            for row in batch:
                told = tuple(sorted((set(row.keywords) - set(less)) | set(more)))
                would[mailbox.folder_id, int(row.uid)] = int(row.flags & ~remove | add), told
        with day.bound(turn, ref, flags=would):
            await mailbox.store_flags(uids, add=add, remove=remove, add_keywords=more, remove_keywords=less)


async def _expunge(day: Day, turn: Round) -> None:
    ref = day.dice.choice(REFS)
    folder, uids = await day.some_mail(ref)
    if uids:
        mailbox = await (await day.store.account(ref)).mailbox(folder)
        with day.bound(turn, ref, gone=tuple(await day.emails(mailbox, uids))):
            await mailbox.expunge(uids, only_deleted=False)


async def _replace(day: Day, turn: Round) -> None:
    ref = day.dice.choice(REFS)
    (folder, uids), target = await day.some_mail(ref), await day.some_folder(ref)
    if not uids:
        return
    mailbox, data = await (await day.store.account(ref)).mailbox(folder), day.mail()
    ((key, old),) = (await day.emails(mailbox, uids[:1])).items()
    turn.swap = (account_path(ref), old, email_of(data))
    with day.bound(turn, ref, new=(email_of(data),), gone=(key,)):
        appended = await mailbox.replace(Uid(uids[0][0]), BytesContent(data), day.placement(target))
    day.acknowledged(ref, appended.folder_id, int(appended.uid))


async def _restore(day: Day, turn: Round) -> None:
    """A folder of the recycle bin, beside what is there."""
    ref = day.dice.choice(REFS)
    items = [item for item in await day.store.administration.recycled() if item.folder and item.account_id == ref.id]
    if not items:  # there will be, for the next one
        await _delete(day, turn)
        return
    await day.store.administration.restore(ref, [day.dice.choice(items)])


async def _adopt(day: Day, _turn: Round) -> None:
    """Another server's mail, first beside the account's place, then in it."""
    for finish in (False, True):
        with contextlib.suppress(ConflictError):  # done already
            await day.store.administration.adopt(ADOPTED, day.data / SOURCE, finish=finish)


async def _remove_and_return(day: Day, _turn: Round) -> None:
    """A whole account goes into the recycle bin and comes back."""
    await day.store.remove_account(AUTRE)
    items = [item for item in await day.store.administration.recycled() if item.account_id == AUTRE.id]
    await day.store.administration.give_back(AUTRE, [item for item in items if not item.folder][-1])


async def _create(day: Day, turn: Round) -> None:
    ref = day.dice.choice(REFS)
    parent = await day.some_folder(ref, own=True)
    name = day.fresh_name() + day.dice.choice(("", "/a", "/a/b", "/" + "é" * 40))
    use = day.dice.choice(("", "", "\\Flagged"))
    account = await day.store.account(ref)
    with day.bound(turn, ref):
        await account.create(f"{parent}/{name}" if parent and day.dice.random() < 0.3 else name, special_use=use)


async def _rename(day: Day, turn: Round) -> None:
    """Preferably a folder with folders in it."""
    ref, dice = day.dice.choice(REFS), day.dice
    names = [name for name in await day.folder_names(ref) if name.startswith("D") and "/" in name]
    old = dice.choice(names).split("/")[0] if names else await day.some_folder(ref, own=True)
    if dice.random() < 0.15 and day.tape.fault is None:  # INBOX's mail moves: no effect of one operation
        old = "INBOX"
    if old:
        new = day.fresh_name() + dice.choice(("", "/sous", "/" + "x" * 190))
        account = await day.store.account(ref)
        family = [folder for folder in await account.folders() if f"{folder.name}/".startswith(f"{old}/")]
        with day.bound(turn, ref, renamed={folder.id: new + folder.name[len(old) :] for folder in family}):
            await account.rename(old, new)


async def _delete(day: Day, turn: Round) -> None:
    ref = day.dice.choice(REFS)
    name = await day.some_folder(ref, own=True)
    if name:
        account = await day.store.account(ref)
        going = tuple(folder.id for folder in await account.folders() if folder.name == name)
        with day.bound(turn, ref, deleted=going):
            await account.delete(name)


async def _subscribe(day: Day, _turn: Round) -> None:
    ref = day.dice.choice(REFS)
    await (await day.store.account(ref)).subscribe(await day.some_folder(ref), day.dice.random() < 0.5)


async def _flush(day: Day, turn: Round) -> None:
    await day.store.flush()
    turn.settled = DOMAINS


async def _rebuild(day: Day, turn: Round) -> None:
    domain = day.dice.choice((None, "mairie.test"))
    await day.store.rebuild(domain)
    turn.settled = (domain,) if domain else DOMAINS


async def _reopen(day: Day, turn: Round) -> None:
    turn.settled = DOMAINS
    await day.store.close()
    day.store = MaildirStore(day.data, clock=day.clock, fs=day.fs, boot="one")
    await day.store.open()


async def _refused(day: Day, turn: Round) -> None:
    """One of the others on a disk of which one call fails, sometimes in one batch with a flush."""
    turn.kind, day.tape.fault = refused.drawn(day.dice)
    shared = refused.with_a_flush() if day.dice.random() < 0.4 else nullcontext()
    try:
        async with shared:
            await KINDS[turn.kind][1](day, turn)
    except StorageError:
        pass
    finally:
        day.tape.fault = None


# How often each happens in some hundred rounds.
KINDS: dict[str, tuple[int, Callable[[Day, Round], Awaitable[None]]]] = {
    "deliver": (16, _deliver),
    "deliver several": (10, _deliver_several),
    "append": (7, _append),
    "append each": (3, _append_each),
    "copy": (7, _copy),
    "move": (9, _move),
    "flags": (13, _flags),
    "expunge": (8, _expunge),
    "replace": (6, _replace),
    "restore": (4, _restore),
    "adopt": (1, _adopt),
    "remove and return": (2, _remove_and_return),
    "create": (6, _create),
    "rename": (6, _rename),
    "delete": (4, _delete),
    "subscribe": (2, _subscribe),
    "flush": (11, _flush),
    "rebuild": (2, _rebuild),
    "reopen": (4, _reopen),
    "refused": (18, _refused),
}


async def _round(day: Day, kind: str) -> None:
    turn = Round(len(day.rounds), kind)
    day.rounds.append(turn)
    day.clock.advance(day.dice.choice((1, 5, 3000)))
    day.tape.mark("begin", turn.number)
    try:
        await KINDS[kind][1](day, turn)
    except MailError as error:
        if error.code not in ("folder-exists", "invalid-name", "invalid-rename"):
            raise
    for ref in REFS:
        account = await day.store.account(ref)
        turn.subscriptions[account_path(ref)] = tuple(sorted(await account.subscriptions()))
    day.tape.mark("end", turn.number)


@asynccontextmanager
async def _day(data: Path, seed: int) -> AsyncIterator[Day]:
    tape = Tape()
    clock = ManualClock()
    vfs = RecordingVfs(tape)
    fs = RecordingFileSystem(tape)
    store = MaildirStore(data, clock=clock, fs=fs, boot="one")
    day = Day(data, random.Random(seed), fs, tape, clock, store, wordy=seed % 3 == 0)
    try:
        await store.open()
        yield day
    finally:
        await day.store.close()
        vfs.unregister()


def plant(source: Path, messages: Mapping[int, bytes]) -> None:
    """A Maildir of another server, with its line ends."""
    for where in ("cur", "new", "tmp"):
        (source / where).mkdir(parents=True)
    lines = ["3 V1700000001 N12 G1f3c"]
    for uid, data in messages.items():
        path = source / f"cur/16000000{uid:02}.M1.vieux:2,S"
        path.write_bytes(data.replace(b"\r\n", b"\n"))
        os.utime(path, (1_500_000_000, 1_500_000_000))
        lines.append(f"{uid} :16000000{uid:02}.M1.vieux")
    (source / "dovecot-uidlist").write_text("\n".join(lines) + "\n")


async def record(data: Path, seed: int, rounds: int) -> Trace:
    """Run the workload in `data`, which is made; what it did."""
    initialise(data)
    plant(data / SOURCE, FOREIGN)
    baseline, numbers = read_tree(data)
    with small_blocks():
        async with _day(data, seed) as day:
            await _round(day, "deliver several")
            kinds, weights = list(KINDS), [weight for weight, _ in KINDS.values()]
            for kind in day.dice.choices(kinds, weights, k=rounds):
                await _round(day, kind)
    return Trace(seed, baseline, numbers, day.tape.events, day.rounds, day.originals, day.clock.now())
