"""Sessions of every kind at one mailbox at random: each must be able to believe what it was told.

Each `Believer` keeps a mailbox of its own from the responses alone (numbers, UIDs, flags, results that are kept up),
and looks now and then whether a fresh question is answered likewise. Seeded; on the real store.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.fakes.imap_world import Client
from tests.imap.test_real_store import real

FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Deleted", "$A")
KEYS = ("ALL", "SEEN", "NOT FLAGGED", "KEYWORD $A", "OR SEEN ANSWERED", "DELETED")
ORDERS = ("SUBJECT", "REVERSE SUBJECT ARRIVAL", "SIZE")
BY_NUMBER = ("FETCH", "STORE", "SEARCH")
KINDS = ("", "ENABLE CONDSTORE", "ENABLE QRESYNC", "ENABLE IMAP4rev2", "NOTIFY NONE")
MOST = 40  # messages, before no more are put in
STEPS = 160


def numbers(text: bytes) -> Iterator[int]:
    for part in text.split(b","):
        low, _, high = part.partition(b":")
        yield from range(int(low), int(high or low) + 1)


class Believer:
    """`view`: UIDs in their order, None for one that was counted and not named yet."""

    def __init__(self, client: Client, kind: str, dice: random.Random, recent: dict[int, Believer]) -> None:
        self.client, self.kind, self.dice, self.recent = client, kind, dice, recent
        self.view: list[int | None] = []
        self.flags: dict[int, set[str]] = {}
        self.results: dict[bytes, tuple[str, list[int]]] = {}  # by tag: the question, what it finds
        self.log: list[bytes] = []

    async def say(self, command: str, tag: bytes = b"a") -> list[bytes]:
        self.log.append(b"> " + command.encode())
        lines = await self.client.ask(command.encode(), tag)
        self.log += lines
        assert re.match(rb"%b (OK|NO \[(EXPUNGEISSUED|NONEXISTENT)\])" % tag, lines[-1]), self.log[-60:]
        for line in lines[:-1]:
            self.hear(line, command.startswith(BY_NUMBER))
        return lines

    def hear(self, line: bytes, by_number: bool) -> None:
        if match := re.fullmatch(rb"\* (\d+) EXISTS", line):
            assert int(match[1]) >= len(self.view), self.log[-60:]
            self.view += [None] * (int(match[1]) - len(self.view))
        elif match := re.fullmatch(rb"\* (\d+) EXPUNGE", line):
            assert not by_number, self.log[-60:]
            assert "QRESYNC" not in self.kind, self.log[-60:]
            self.flags.pop(self.view.pop(int(match[1]) - 1) or 0, None)
        elif match := re.fullmatch(rb"\* VANISHED ([\d:,]+)", line):
            assert not by_number, self.log[-60:]
            for uid in numbers(match[1]):
                self._gone(uid)
        elif match := re.match(rb"\* (\d+) FETCH \((?:UID (\d+) )?FLAGS \(([^)]*)\)", line):
            named = int(match[2]) if match[2] else self.view[int(match[1]) - 1]
            if named is not None:
                self._flags(int(match[1]), named, set(match[3].decode().split()))
        elif match := re.match(rb"\* ESEARCH \(TAG \"(\w+)\"\) UID (ADDTO|REMOVEFROM) \((.*)\)", line):
            words = match[3].split()
            for at, uids in zip(words[::2], words[1::2], strict=True):
                self._keep_up(match[1], match[2] == b"ADDTO", int(at), list(numbers(uids)))

    def _gone(self, uid: int) -> None:
        """One that was counted and never named stands where its UID belongs."""
        if uid in self.view:
            self.view.remove(uid)
        else:
            after = sum(1 for known in self.view if known is not None and known < uid)
            at = [place for place, known in enumerate(self.view) if known is None]
            named = [sum(1 for known in self.view[:place] if known is not None) for place in at]
            self.view.pop(at[named.index(after)])
        self.flags.pop(uid, None)

    def _flags(self, number: int, uid: int, flags: set[str]) -> None:
        assert self.view[number - 1] in (None, uid), self.log[-60:]
        self.view[number - 1] = uid
        if "\\Recent" in flags:  # RFC 3501 2.3.2
            assert "rev2" not in self.kind, self.log[-60:]
            assert self.recent.setdefault(uid, self) is self, self.log[-60:]
        self.flags[uid] = flags - {"\\Recent"}

    def _keep_up(self, tag: bytes, added: bool, at: int, uids: list[int]) -> None:
        if tag not in self.results:  # its first answer is among these lines
            return
        question, found = self.results[tag]
        if added:
            assert not set(found) & set(uids), self.log[-60:]
            found[at - 1 if at else len(found) : at - 1 if at else len(found)] = uids
        elif at:
            assert found[at - 1 : at - 1 + len(uids)] == uids, (question, found, self.log[-60:])
            del found[at - 1 : at - 1 + len(uids)]
        else:
            assert set(uids) <= set(found), (question, found, self.log[-60:])
            found[:] = [uid for uid in found if uid not in uids]

    # --- what it does ------------------------------------------------------------------------------------------------

    async def step(self) -> None:
        dice, here = self.dice, [uid for uid in self.view if uid]
        listed, key = " ".join(dice.sample(FLAGS, dice.randint(0, 2))), dice.choice(KEYS)
        number = dice.choice((f"{dice.randint(1, len(self.view))}", "1:*", "*")) if self.view else "*"
        uids = dice.choice((f"{dice.choice(here)}", f"{dice.choice(here)}:*")) if here else "1"
        uid, chosen = dice.choice((("", number), ("UID ", uids)))
        await dice.choice(
            (
                lambda: self.say(f"{uid}STORE {chosen} {dice.choice(('', '+', '-'))}FLAGS ({listed})"),
                lambda: self.silently(f"{uid}STORE {chosen} +FLAGS.SILENT ({listed})"),
                lambda: self.say(f"{uid}FETCH {chosen} (UID FLAGS)"),
                lambda: self.say(f"{uid}SEARCH {key}"),
                lambda: self.say("EXPUNGE"),
                lambda: self.say(f"UID EXPUNGE {uids}"),
                lambda: self.put(listed),
                lambda: self.put(listed),
                lambda: self.say(f"{uid}COPY {chosen} INBOX" if len(self.view) < MOST // 2 else "NOOP"),
                lambda: self.say(f"{uid}MOVE {chosen} INBOX"),
                lambda: self.say("NOOP"),
                lambda: self.begin(key),
                self.check,
            )
        )()

    async def silently(self, command: str) -> None:
        await self.say(command)
        await self.say("UID FETCH 1:* (UID FLAGS)")

    async def put(self, listed: str) -> None:
        mail = f"Subject: {self.dice.randrange(9)}\r\n\r\nx\r\n"
        if len(self.view) < MOST:
            await self.say(f"APPEND INBOX ({listed}) {{{len(mail)}+}}\r\n{mail}")

    async def begin(self, key: str) -> None:
        """A result that is kept up, in mailbox order or sorted."""
        if len(self.results) < 4:
            order, tag = self.dice.choice(("", *ORDERS)), b"k%d" % len(self.results)
            question = f"{key} " if not order else f"({order}) UTF-8 {key}"
            verb = "SORT" if order else "SEARCH"
            self.log.append(b"> " + question.encode())
            lines = await self.client.ask(f"UID {verb} RETURN (UPDATE ALL) {question}".encode().rstrip(), tag)
            self.log += lines
            first = next(line for line in lines if line.startswith(b'* ESEARCH (TAG "%b") UID' % tag))
            match = re.search(rb" ALL ([\d:,]+)", first)
            self.results[tag] = (question, list(numbers(match[1])) if match else [])
            for line in [line for line in lines[:-1] if line is not first]:
                self.hear(line, by_number=False)

    async def check(self) -> None:
        """What was told is what is."""
        if self.kind == "NOTIFY NONE" and not self.results:
            return
        await self.say("NOOP")
        believed = {uid: set(flags) for uid, flags in self.flags.items()}
        await self.say("UID FETCH 1:* (UID FLAGS)")
        assert None not in self.view, self.log[-60:]
        if self.kind != "NOTIFY NONE":
            assert self.same(believed, self.flags), (believed, self.flags, self.log[-60:])
        for question, found in self.results.values():
            verb = "SORT" if question.startswith("(") else "SEARCH"
            (line, *_) = await self.client.ask(f"UID {verb} RETURN (ALL) {question}".encode().rstrip())
            match = re.search(rb" ALL ([\d:,]+)", line)
            now = list(numbers(match[1])) if match else []
            assert now == (found if verb == "SORT" else sorted(found)), (question, found, now, self.log[-60:])

    @staticmethod
    def same(believed: dict[int, set[str]], now: dict[int, set[str]]) -> bool:
        both: Iterable[int] = believed.keys() & now.keys()
        return all(believed[uid] == now[uid] for uid in both)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whoever_is_at_a_mailbox_can_believe_what_he_is_told(tmp_path: Path, seed: int) -> None:
    dice, recent = random.Random(seed), dict[int, Believer]()
    async with real(tmp_path) as (world, _):
        believers = [Believer(await world.login(), kind, dice, recent) for kind in KINDS]
        for each in believers:
            if each.kind.startswith("ENABLE"):
                await each.say(each.kind)
            await each.say("SELECT INBOX")
            if each.kind.startswith("NOTIFY"):
                await each.say(each.kind)
        for _ in range(STEPS):
            await dice.choice(believers).step()
        for each in believers:
            await each.check()
