"""The same folder commands here and in Dovecot, one after the other: the same names, attributes, counts and verdicts.

Seeded walks over CREATE, DELETE, SUBSCRIBE, APPEND and the questions LIST, LSUB, STATUS, those below and others from
`grammar`: any pattern, reference, selection and return options. What differs on purpose is
left out of the walk: CREATE makes the levels above real folders here (RFC 9051 6.3.4: SHOULD), so every level is
created; RENAME takes the subscription along, Dovecot leaves it behind.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.fakes.imap_world import Client, World
from tests.interop.grammar import question
from tests.peers.dovecot import DovecotImap, dovecot_imap

pytestmark = pytest.mark.interop

MAIL = b"Subject: x\r\n\r\nbody\r\n"
NAMES = ("a", "a/b", "a/b/c", "d", "d/e", "Caf&AOk-", "INBOX/x")
# Only these are deleted: of one with others below it Dovecot sometimes tells no \Noselect (RFC 9051 6.3.5 does).
LEAVES = ("a/b/c", "d/e", "Caf&AOk-", "INBOX/x")
QUESTIONS = (
    'LIST "" *', 'LIST "" %', 'LIST "" a/%', 'LIST "a/" %', 'LIST "" %/%', 'LIST "" "Caf*"', 'LIST "" inbox',
    'LSUB "" *', 'LIST (SUBSCRIBED) "" *', 'LIST "" * RETURN (SUBSCRIBED CHILDREN)', 'LIST "" (a d/% "INBOX")',
    'LIST (SUBSCRIBED) "" % RETURN (CHILDREN)', 'LIST (SUBSCRIBED RECURSIVEMATCH) "" %',
    'LIST "" % RETURN (STATUS (MESSAGES UNSEEN))', 'LIST (RECURSIVEMATCH) "" *',
)  # fmt: skip
# What is not compared: Dovecot tells these though nobody asked, or leaves them out where RFC 3348 lets it.
UNCOMPARED = frozenset({"\\Marked", "\\UnMarked", "\\NoInferiors"})
CHILDREN = frozenset({"\\HasChildren", "\\HasNoChildren"})  # told here in an extended LIST that did not ask, too
_LIST = re.compile(rb'\* (LIST|LSUB) \(([^)]*)\) "?([^" ]*)"? ("[^"]*"|[^ ]+)(.*)')
_STATUS = re.compile(rb"\* STATUS (\"[^\"]*\"|[^ ]+) \(([^)]*)\)")


Listed = dict[tuple[bytes, bytes], tuple[frozenset[str], bool]]


def lowest(listed: Listed) -> Listed:
    """Without names that are told for their children alone, above others that are."""
    above = {name for (_, name), (words, children) in listed.items() if children and "\\Subscribed" not in words}
    return {
        (verb, name): told
        for (verb, name), told in listed.items()
        if name not in above or not any(other.startswith(name + b"/") for other in above)
    }


@dataclass
class Pair:
    dovecot: DovecotImap
    ours: Client
    run: asyncio.Runner
    delimiter: str

    def both(self, command: str) -> tuple[object, object]:
        """Of several levels above a match Dovecot tells the lowest alone where each matches a pattern of its own (RFC
        5258 3.3: all of them), so the others are not compared."""
        theirs = self.dovecot.ask(command.replace("/", self.delimiter).encode())
        mine = self.run.run(self.ours.ask(command.encode(), b"q0"))
        extended = command.startswith("LIST (") or "RETURN" in command or '" (' in command
        without = UNCOMPARED | CHILDREN if extended and "CHILDREN" not in command else UNCOMPARED
        told = [self._seen(theirs.split(b"\r\n"), self.delimiter, without), self._seen(mine, "/", without)]
        if "RECURSIVEMATCH" in command and '" (' in command:
            told = [(verdict, lowest(listed), counts) for verdict, listed, counts in told]
        return told[0], told[1]

    @staticmethod
    def _seen(lines: list[bytes], delimiter: str, without: frozenset[str]) -> tuple[bytes, Listed, object]:
        """(verdict, names with attributes and child info, counts)"""
        listed, counts, verdict = {}, {}, b""
        for line in lines:
            if match := _LIST.match(line):
                name = match[4].strip(b'"').replace(delimiter.encode(), b"/")
                words = {word.decode() for word in match[2].split()} - without
                listed[match[1], name] = (frozenset(words), b"CHILDINFO" in match[5])
            elif match := _STATUS.match(line):
                name, items = match[1].strip(b'"').replace(delimiter.encode(), b"/"), match[2].split()
                counts[name] = dict(zip(items[::2], items[1::2], strict=True))  # in any order
            elif line.startswith(b"q"):
                verdict = line.split()[1]
        return verdict, listed, counts


async def _ours(world: World) -> Client:
    await world.__aenter__()
    client = await world.login()
    for name in ("Archive", "Drafts", "Junk", "Sent", "Trash"):
        await client.ok(b"UNSUBSCRIBE " + name.encode())
        await client.ok(b"DELETE " + name.encode())
    await client.ok(b"UNSUBSCRIBE INBOX")
    return client


@pytest.fixture
def pair() -> Iterator[Pair]:
    world = World()
    with dovecot_imap() as dovecot, asyncio.Runner() as run:
        delimiter = re.search(rb'"" "(.)"', dovecot.ask(b"NAMESPACE"))
        assert delimiter
        yield Pair(dovecot, run.run(_ours(world)), run, delimiter[1].decode())
        run.run(world.__aexit__())


def step(dice: random.Random) -> str:
    name = dice.choice(NAMES)
    return dice.choice(
        [
            f"CREATE {name}", f"CREATE {name}", f"CREATE {name}", f"DELETE {dice.choice(LEAVES)}",
            f"SUBSCRIBE {name}", f"UNSUBSCRIBE {name}", f"STATUS {name} (MESSAGES UNSEEN)",
            f"APPEND {name} (\\Seen) {{{len(MAIL)}+}}\r\n{MAIL.decode()}",
            f"APPEND {name} {{{len(MAIL)}+}}\r\n{MAIL.decode()}",
        ]
    )  # fmt: skip


def levels(command: str) -> list[str]:
    """CREATE of each level; other commands as they are."""
    verb, _, name = command.partition(" ")
    if verb != "CREATE":
        return [command]
    parts = name.split("/")
    names = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    return [f"CREATE {each}" for each in names if each != "INBOX"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_folders_are_listed_as_dovecot_lists_them(pair: Pair, seed: int) -> None:
    dice = random.Random(seed)
    done: list[str] = []
    found = []
    for _ in range(25):
        steps = levels(step(dice))
        done += steps
        for command in (*steps, *dice.sample(QUESTIONS, 4), *(question(dice) for _ in range(12))):
            theirs, mine = pair.both(command)
            if theirs != mine:
                found.append((command, theirs, mine))
    assert not found, "\n".join(map(str, [done, *found[:12]]))
