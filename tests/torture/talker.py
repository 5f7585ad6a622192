"""One client of a mailbox that many use at once: seeded random commands, and a `Believer` of what it was told."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.fakes.imap_world import Client
from tests.torture.believer import Believer, numbers

FLAGS = (b"\\Seen", b"\\Flagged", b"\\Answered", b"\\Draft", b"$Work", b"Later")
TARGET = b"Archive"
FEW = 8  # messages below which the clients append rather than remove
ENABLES = {"qresync": b"QRESYNC", "rev2": b"IMAP4rev2", "uid-only": b"QRESYNC UIDONLY", "notify": b"QRESYNC"}
COME_BACK = ("qresync", "uid-only", "notify")
WITH_MODSEQ = ("condstore", *COME_BACK)
BY_UID = ("uid-only", "notify")  # whose numbers may change at any time (RFC 5465 5.3), or are never told
KINDS = ("plain", "qresync", "condstore", "rev2", "uid-only", "notify")
NOTIFY = b"NOTIFY SET (selected (MessageNew (UID FLAGS MODSEQ) MessageExpunge FlagChange))"


@dataclass
class Shared:
    """What all clients together know: what was appended and answered OK, and what somebody meant to remove."""

    appended: set[int] = field(default_factory=set)
    doomed: set[int] = field(default_factory=set)
    subjects: dict[int, bytes] = field(default_factory=dict)
    next_subject: int = 0


class Talker:
    """One client of one of `KINDS`. `again` gives it a new connection, logged in, in the place of the one it has."""

    def __init__(
        self,
        client: Client,
        again: Callable[[], Awaitable[Client]],
        name: str,
        kind: str,
        dice: random.Random,
        shared: Shared,
    ) -> None:
        self.client, self.again, self.kind, self.dice, self.shared = client, again, kind, dice, shared
        self.view = Believer(name, qresync=kind in COME_BACK, uid_only=kind == "uid-only", any_time=kind == "notify")
        self.commands = 0

    # --- the wire --------------------------------------------------------------------------------------------------

    async def ask(self, command: bytes, kind: str = "") -> bytes:
        """The tagged line; `kind` is the command's name as the rules of EXPUNGE see it."""
        self.commands += 1
        await self.client.raw(b"t " + command + b"\r\n")
        return await self._answered(kind or command.split()[0].decode())

    async def _answered(self, kind: str) -> bytes:
        while True:
            line = await self._line()
            if line.startswith(b"t "):
                self.view.end(line)
                if line.startswith(b"t BAD") or b"SERVERBUG" in line:
                    self.view.faults.append(f"{self.view.name}: {kind}: {line!r}")
                return line
            self.view.hear(line, kind)

    async def _line(self) -> bytes:
        line = await self.client.line()
        if not line or line.startswith(b"* BYE"):
            raise AssertionError(f"{self.view.name}: the connection ended: {line!r}")
        return line

    async def begin(self) -> None:
        await self._enable()
        await self.select(back=False)

    async def _enable(self) -> None:
        if self.kind in ENABLES:
            await self.ask(b"ENABLE " + ENABLES[self.kind])
        if self.kind == "notify":
            await self.ask(NOTIFY)

    async def select(self, *, back: bool) -> None:
        view, known = self.view, b" (CONDSTORE)" if self.kind == "condstore" else b""
        mine = self._what_i_know() if back else b""
        if back:
            known = b" (QRESYNC (%d %d%b))" % (view.uidvalidity, max(view.highest, 1), mine)
        view.begin_select(back=back, partly=bool(mine))
        await self.ask(b"SELECT INBOX" + known, "SELECT")
        view.finish_select()
        await self.catch_up()

    def _what_i_know(self) -> bytes:
        """Known UIDs and, where numbers are spoken, match data (RFC 7162 3.2.5.1, 3.2.5.2), or nothing."""
        uids = [each.uid for each in self.view.messages if each.uid]
        if not uids or self.dice.random() < 0.4:
            return b""
        known = b" " + b",".join(b"%d" % uid for uid in uids)
        if self.kind == "uid-only" or self.dice.random() < 0.5:
            return known
        places = sorted(self.dice.sample(range(len(uids)), min(len(uids), 4)))
        numbered = b",".join(b"%d" % (place + 1) for place in places)
        return known + b" (%b %b)" % (numbered, b",".join(b"%d" % uids[place] for place in places))

    async def catch_up(self) -> None:
        """UIDs and flags of what is not known yet, as a client does after EXISTS; again, when more comes meanwhile."""
        while self.kind in BY_UID and any(each.flags is None or not each.uid for each in self.view.messages):
            await self.ask(b"UID FETCH 1:* (FLAGS MODSEQ)", "UID")
        while first := next((place for place, each in enumerate(self.view.messages, 1) if each.flags is None), 0):
            items = b"(UID FLAGS MODSEQ)" if self.kind in WITH_MODSEQ else b"(UID FLAGS)"
            answer = await self.ask(b"FETCH %d:* %b" % (first, items))
            if answer.startswith(b"t NO"):
                await self.ask(b"NOOP")

    # --- random commands -------------------------------------------------------------------------------------------

    async def step(self) -> None:
        count = len(self.view.messages)
        actions = [self.append] * (4 if count < FEW else 1) + [self.noop, self.idle, self.search, self.back]
        if count:
            actions += [self.store] * 5 + [self.fetch] * 3 + [self.copy, self.group, self.lose]
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
        if self.kind not in BY_UID and self.dice.random() < 0.5:
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
        while not (line := await self._line()).startswith(b"+"):
            self.view.hear(line, "IDLE")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.dice.random() / 20):
                while True:
                    self.view.hear(await self.client.line(), "IDLE")
        await self.client.raw(b"DONE\r\n")
        await self._answered("IDLE")

    async def search(self) -> None:
        uid = b"UID " if self.kind in BY_UID else b""
        keys = (b"SEARCH UNSEEN", b"SEARCH RETURN (ALL) UID 1:*", b"SORT (ARRIVAL) UTF-8 ALL")
        await self.ask(uid + self.dice.choice(keys))

    async def group(self) -> None:
        """Several in one breath, those by number first: during what follows numbers may change (RFC 9051 5.5)."""
        (wanted, _, by_uid), flag = self._set(), self.dice.choice(FLAGS)
        said = [b"FETCH %b (UID FLAGS)" % wanted, b"STORE %b +FLAGS (%b)" % (wanted, flag)]
        group = [b"UID " + each for each in said] if by_uid else [*said, b"SEARCH DELETED"]
        group += self.dice.sample((b"NOOP", b"UID SEARCH UNSEEN", b"UID FETCH 1:* (UID FLAGS)", b"CHECK"), 2)
        self.commands += len(group)
        await self.client.raw(b"".join(b"t %b\r\n" % each for each in group))
        for each in group:
            await self._answered(each.split()[0].decode())

    async def lose(self) -> None:
        """The connection, and come again."""
        self.client = await self.again()
        self.view.leave()
        await self._enable()
        await self.select(back=self.kind in COME_BACK)

    async def back(self) -> None:
        """Leave, and come again."""
        closing = self.dice.choice((b"UNSELECT", b"CLOSE", b"UNSELECT"))
        if closing == b"CLOSE":
            self.shared.doomed.update(self._deleted())
        await self.ask(closing, "")
        self.view.leave()
        await asyncio.sleep(self.dice.random() / 50)
        await self.select(back=self.kind in COME_BACK)

    def _deleted(self) -> set[int]:
        """Anybody's \\Deleted counts: it may have come after this client was told."""
        return {each.uid for each in self.view.messages if each.flags and b"\\Deleted" in each.flags}

    async def store(self) -> None:
        wanted, uids, by_uid = self._set()
        sign, silent = self.dice.choice(("+", "-", "", "+")), self.dice.random() < 0.5
        flags = frozenset(self.dice.sample(FLAGS, self.dice.randint(1, 2)))
        condition = b""
        if self.kind in WITH_MODSEQ and self.dice.random() < 0.3:
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
