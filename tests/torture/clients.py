"""Many IMAP clients at one mailbox, over several server processes: each believes what it is told, and must be right.

Each client does random commands (seeded) and keeps a `Believer`. After every round all stop, look, and are compared
with each other and with the mailbox: the same messages under the same numbers with the same flags, none lost, mod-
sequences that only rise, and who comes back with QRESYNC knows exactly what is there.

`python -m tests.torture.clients DATA` is one server process: it says its port and ends with its input.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from store.service import MaildirStore, initialise
from tests.fakes.imap_world import PASSWORD, Client, World
from tests.torture.believer import Believer, numbers
from tests.torture.kills import environment

FLAGS = (b"\\Seen", b"\\Flagged", b"\\Answered", b"\\Draft", b"$Work", b"Later")
TARGET = b"Archive"
STEPS = 25  # commands of each client between two comparisons
FEW = 8  # messages below which the clients append rather than remove


@dataclass
class Counted:
    commands: int = 0
    rounds: int = 0
    violations: list[str] = field(default_factory=list)


@dataclass
class Shared:
    """What all clients together know: what was appended and answered OK, and what somebody meant to remove."""

    appended: set[int] = field(default_factory=set)
    doomed: set[int] = field(default_factory=set)
    subjects: dict[int, bytes] = field(default_factory=dict)
    next_subject: int = 0


class Talker:
    """One client. `kind`: "plain", "condstore", "qresync", "rev2"."""

    def __init__(self, client: Client, name: str, kind: str, dice: random.Random, shared: Shared) -> None:
        self.client, self.kind, self.dice, self.shared = client, kind, dice, shared
        self.view = Believer(name, qresync=kind == "qresync")
        self.commands = 0

    # --- the wire --------------------------------------------------------------------------------------------------

    async def ask(self, command: bytes, kind: str = "") -> bytes:
        """The tagged line; `kind` is the command's name as the rules of EXPUNGE see it."""
        self.commands += 1
        await self.client.raw(b"t " + command + b"\r\n")
        return await self._answered(kind or command.split()[0].decode())

    async def _answered(self, kind: str) -> bytes:
        while True:
            line = await self.client.line()
            if line.startswith(b"t "):
                self.view.end(line)
                if line.startswith(b"t BAD") or b"SERVERBUG" in line:
                    self.view.faults.append(f"{self.view.name}: {kind}: {line!r}")
                return line
            if not line or line.startswith(b"* BYE"):
                raise AssertionError(f"{self.view.name}: the connection ended: {line!r}")
            self.view.hear(line, kind)

    async def begin(self) -> None:
        if self.kind in ("qresync", "rev2"):
            await self.ask(b"ENABLE " + {"qresync": b"QRESYNC", "rev2": b"IMAP4rev2"}[self.kind])
        await self.select(back=False)

    async def select(self, *, back: bool) -> None:
        view = self.view
        known = b" (QRESYNC (%d %d))" % (view.uidvalidity, max(view.highest, 1)) if back else b""
        if self.kind == "condstore":
            known = b" (CONDSTORE)"
        view.begin_select(back=back)
        await self.ask(b"SELECT INBOX" + known, "SELECT")
        view.finish_select()
        await self.catch_up()

    async def catch_up(self) -> None:
        """UIDs and flags of what is not known yet, as a client does after EXISTS; again, when more comes meanwhile."""
        while first := next((place for place, each in enumerate(self.view.messages, 1) if each.flags is None), 0):
            items = b"(UID FLAGS MODSEQ)" if self.kind in ("condstore", "qresync") else b"(UID FLAGS)"
            answer = await self.ask(b"FETCH %d:* %b" % (first, items))
            if answer.startswith(b"t NO"):
                await self.ask(b"NOOP")

    # --- random commands -------------------------------------------------------------------------------------------

    async def step(self) -> None:
        count = len(self.view.messages)
        actions = [self.append] * (4 if count < FEW else 1) + [self.noop, self.idle, self.search, self.back]
        if count:
            actions += [self.store] * 5 + [self.fetch] * 3 + [self.copy]
        if count > FEW:
            actions += [self.remove] * 2 + [self.move]
        await self.dice.choice(actions)()
        await self.catch_up()

    def _set(self) -> tuple[bytes, list[int], bool]:
        """A message set, its UIDs as the client sees them, and whether it is by UID."""
        count = len(self.view.messages)
        low, high = sorted(self.dice.choices(range(1, count + 1), k=2))
        high = min(high, low + 5)
        uids = [each.uid for each in self.view.messages[low - 1 : high]]
        if self.dice.random() < 0.5:
            return b"%d:%d" % (low, high), uids, False
        return b"%d:%d" % (uids[0], uids[-1]), uids, True

    async def append(self) -> None:
        several = self.dice.choice((1, 1, 3))
        parts, subjects = b"", []
        for _ in range(several):
            self.shared.next_subject += 1
            subject = b"s%d" % self.shared.next_subject
            raw = b"Subject: %b\r\n\r\nbody of %b\r\n" % (subject, subject)
            parts += b" (%b) {%d+}\r\n%b" % (self.dice.choice(FLAGS), len(raw), raw)
            subjects.append(subject)
        answer = await self.ask(b"APPEND INBOX" + parts, "APPEND")
        if answer.startswith(b"t OK"):
            uids = numbers(self.view.codes["APPENDUID"].split()[1])
            self.shared.appended.update(uids)
            self.shared.subjects.update(zip(uids, subjects, strict=True))

    async def noop(self) -> None:
        await self.ask(self.dice.choice((b"NOOP", b"CHECK", b"STATUS INBOX (MESSAGES)")))

    async def idle(self) -> None:
        await self.client.raw(b"t IDLE\r\n")
        assert (await self.client.line()).startswith(b"+")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.dice.random() / 20):
                while True:
                    self.view.hear(await self.client.line(), "IDLE")
        await self.client.raw(b"DONE\r\n")
        await self._answered("IDLE")

    async def search(self) -> None:
        await self.ask(self.dice.choice((b"SEARCH UNSEEN", b"SEARCH RETURN (ALL) 1:*", b"SORT (ARRIVAL) UTF-8 ALL")))

    async def back(self) -> None:
        """Leave, and come again."""
        closing = self.dice.choice((b"UNSELECT", b"CLOSE", b"UNSELECT"))
        if closing == b"CLOSE":
            self.shared.doomed.update(self._deleted())
        await self.ask(closing, "")
        self.view.leave()
        await asyncio.sleep(self.dice.random() / 50)
        await self.select(back=self.kind == "qresync")

    def _deleted(self) -> set[int]:
        """Anybody's \\Deleted counts: it may have come after this client was told."""
        return {each.uid for each in self.view.messages if each.flags and b"\\Deleted" in each.flags}

    async def store(self) -> None:
        wanted, uids, by_uid = self._set()
        sign, silent = self.dice.choice(("+", "-", "", "+")), self.dice.random() < 0.5
        flags = frozenset(self.dice.sample(FLAGS, self.dice.randint(1, 2)))
        condition = b""
        if self.kind in ("condstore", "qresync") and self.dice.random() < 0.3:
            condition = b" (UNCHANGEDSINCE %d)" % max(self.view.highest - self.dice.randint(0, 3), 0)
        command = b"%bSTORE %b%b %bFLAGS%b (%b)" % (
            b"UID " if by_uid else b"", wanted, condition, sign.encode(), b".SILENT" if silent else b"",
            b" ".join(sorted(flags)),
        )  # fmt: skip
        kind = "UID" if by_uid else "STORE"
        if silent:
            await self._store_silently(command, kind, uids, sign, flags)
        else:
            await self.ask(command, kind)

    async def _store_silently(
        self, command: bytes, kind: str, uids: list[int], sign: str, flags: frozenset[bytes]
    ) -> None:
        """The client assumes its own change first: what others did is told on top of it, in the same answer."""
        known = {each.uid: each for each in self.view.messages}
        by_number = [each.uid for each in self.view.messages]
        assumed = {uid: self._applied(known[uid].flags, sign, flags) for uid in uids}
        self.view.changed_silently(uids, sign, flags)
        self.view.codes.pop("MODIFIED", None)
        await self.ask(command, kind)
        refused = self.view.codes.get("MODIFIED")
        for number in numbers(refused) if refused is not None else ():
            uid = number if kind == "UID" else by_number[number - 1]
            if known[uid].flags == assumed[uid]:
                known[uid].flags = None  # not as assumed: it asks again

    @staticmethod
    def _applied(had: frozenset[bytes] | None, sign: str, flags: frozenset[bytes]) -> frozenset[bytes] | None:
        if had is None:
            return None
        return {"+": had | flags, "-": had - flags}.get(sign, flags)

    async def fetch(self) -> None:
        wanted, _, by_uid = self._set()
        items = self.dice.choice((b"(UID FLAGS)", b"(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])", b"(UID BODY[TEXT])"))
        await self.ask(b"%bFETCH %b %b" % (b"UID " if by_uid else b"", wanted, items), "UID" if by_uid else "FETCH")

    async def copy(self) -> None:
        wanted, _, by_uid = self._set()
        await self.ask(b"%bCOPY %b %b" % (b"UID " if by_uid else b"", wanted, TARGET), "COPY")

    async def move(self) -> None:
        wanted, uids, by_uid = self._set()
        self.shared.doomed.update(uids)
        await self.ask(b"%bMOVE %b %b" % (b"UID " if by_uid else b"", wanted, TARGET), "MOVE")

    async def remove(self) -> None:
        wanted, uids, by_uid = self._set()
        self.shared.doomed.update(uids)
        how = b"UID STORE" if by_uid else b"STORE"
        await self.ask(b"%b %b +FLAGS (\\Deleted)" % (how, wanted), "UID" if by_uid else "STORE")
        self.shared.doomed.update(self._deleted())
        await self.ask(self.dice.choice((b"EXPUNGE", b"UID EXPUNGE %d:%d" % (min(uids), max(uids)))), "EXPUNGE")

    # --- comparing -------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Everybody is quiet: after this the client must know what is there."""
        await self.ask(b"NOOP")
        await self.catch_up()

    def belief(self) -> list[tuple[int, frozenset[bytes]]]:
        return [(each.uid, each.flags or frozenset()) for each in self.view.messages]

    async def truth(self) -> list[tuple[int, frozenset[bytes]]]:
        """What the server tells when asked for all, without believing anything."""
        fresh = Believer(f"{self.view.name}'s look")
        fresh.selected = True
        fresh.messages = [type(each)() for each in self.view.messages]
        await self.client.raw(b"t FETCH 1:* (UID FLAGS)\r\n")
        while not (line := await self.client.line()).startswith(b"t "):
            fresh.hear(line, "FETCH")
        self.view.faults += fresh.faults
        return [(each.uid, each.flags or frozenset()) for each in fresh.messages]


async def compare(talkers: list[Talker], shared: Shared) -> list[str]:
    """All at rest."""
    for talker in talkers:
        await talker.settle()
    faults = [fault for talker in talkers for fault in talker.view.faults]
    truth = await talkers[0].truth() if talkers[0].view.messages else []
    for talker in talkers:
        if talker.belief() != truth:
            wrong = [pair for pair in zip(talker.belief(), truth, strict=False) if pair[0] != pair[1]]
            faults.append(f"{talker.view.name} ({talker.kind}) believes otherwise: {wrong[:3]}, {len(truth)} messages")
        for uid, subject in talker.view.subjects.items():
            if shared.subjects.setdefault(uid, subject) != subject:
                faults.append(f"UID {uid} is {subject!r} to {talker.view.name}, was {shared.subjects[uid]!r}")
    present = {uid for uid, _ in truth}
    if lost := shared.appended - present - shared.doomed:
        faults.append(f"lost: {sorted(lost)[:5]}")
    if strange := present - shared.appended:
        faults.append(f"nobody appended {sorted(strange)[:5]}")
    return faults


# --- processes -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def servers(data: Path, processes: int) -> Iterator[list[int]]:
    """Their ports."""
    command = [sys.executable, "-m", "tests.torture.clients", str(data)]
    started = [
        subprocess.Popen(
            command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        for _ in range(processes)
    ]
    try:
        yield [int((each.stdout.readline() if each.stdout else b"") or b"0") for each in started]
    finally:
        for each in started:
            if each.stdin:
                each.stdin.close()
            each.wait(30)
            if each.stdout:
                each.stdout.close()


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    client = Client(reader, writer)
    try:
        client.greeting = await client.line()
        await client.ok(f'LOGIN alice@mairie.test "{PASSWORD}"'.encode())
        yield client
    finally:
        await client.close()


async def run(ports: list[int], seed: int, seconds: float, each: int) -> Counted:
    kinds = ("plain", "qresync", "condstore", "rev2")
    counted, shared, end = Counted(), Shared(), time.monotonic() + seconds
    async with contextlib.AsyncExitStack() as stack:
        talkers = []
        for number in range(each * len(ports)):
            client = await stack.enter_async_context(connected(ports[number % len(ports)]))
            dice = random.Random(f"{seed}/{number}")
            talkers.append(Talker(client, f"client {number}", kinds[number // len(ports) % 4], dice, shared))
        for talker in talkers:
            await talker.begin()

        async def some(talker: Talker) -> None:
            for _ in range(STEPS):
                await talker.step()

        while not counted.rounds or time.monotonic() < end:
            await asyncio.gather(*map(some, talkers))
            counted.violations = await compare(talkers, shared)
            counted.rounds += 1
            if counted.violations:
                break
        counted.commands = sum(talker.commands for talker in talkers)
    return counted


def torture(room: Path, seed: int, seconds: float, processes: int = 2, each: int = 4) -> Counted:
    data = room / f"clients{seed}"
    initialise(data)
    with servers(data, processes) as ports:
        return asyncio.run(run(ports, seed, seconds, each))


async def _serve(data: Path) -> None:
    store = MaildirStore(data)
    await store.open()
    try:
        async with World(store=store) as world:
            print(world.plain_port, flush=True)
            await asyncio.to_thread(sys.stdin.read)
    finally:
        await store.close()


if __name__ == "__main__":
    import core.log

    core.log.configure("error", stream=sys.stderr)
    asyncio.run(_serve(Path(sys.argv[1])))
