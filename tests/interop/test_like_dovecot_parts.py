"""The same random messages, the same FETCH, ours and Dovecot's: envelopes, structures, sections, partials, BINARY.

A difference either has its reason in `explained`, or is a fault.
"""

from __future__ import annotations

import asyncio
import random
import re

import pytest

from imap.commands.fetch import FETCH
from message.content import BytesContent
from message.facts import gather
from message.parts import PartKind, Tree
from tests.fakes.imap_session import desk
from tests.fakes.memory_mailbox import MemoryMailbox
from tests.interop import trees
from tests.interop.test_dovecot_oracle import Word, comparable, fetched
from tests.peers.dovecot import dovecot_imap

pytestmark = pytest.mark.interop

MESSAGES, ITEMS = 12, 30
SEEDS = (1, 2, 3, 4)
NUMBERS = [str(a) for a in (1, 2, 3)]
NUMBERS += [f"{above}.{below}" for above in NUMBERS for below in (1, 2, 3)]


def items(dice: random.Random, leaves: list[str]) -> list[str]:
    """BINARY of leaves only: of whole multiparts Dovecot decodes what is inside, which RFC 3516 does not ask."""
    wanted = ["ENVELOPE", "BODY", "BODYSTRUCTURE", "RFC822.SIZE", "BODY.PEEK[]"]
    for _ in range(ITEMS):
        partial = f"<{dice.randint(0, 200)}.{dice.randint(1, 200)}>" if dice.random() < 0.3 else ""
        if dice.random() < 0.8:
            wanted.append(f"BODY.PEEK[{trees.section(dice)}]{partial}")
        elif leaves:
            path = dice.choice(leaves)
            wanted.append(dice.choice((f"BINARY.PEEK[{path}]{partial}", f"BINARY.SIZE[{path}]")))
    return wanted


def explained(item: str, theirs: Word, ours: Word) -> bool:
    """Dovecot answers N.1 of a leaf N with the leaf; RFC 9051 6.4.5.1 numbers no such part, so it is NIL here."""
    return ours in (b"", "NIL", "0") and re.search(r"\[[\d.]*\.1(\.MIME)?\]", item) is not None


def leaves(raw: bytes) -> list[str]:
    """Numbers of the parts that have no parts."""
    tree = Tree.unpack(gather(BytesContent(raw)).parts)
    paths = [tuple(map(int, each.split("."))) for each in NUMBERS]
    found = [(path, tree.part(path)) for path in paths]
    return [".".join(map(str, path)) for path, part in found if part is not None and part.kind is PartKind.LEAF]


async def ours(raw: list[bytes], commands: list[bytes]) -> list[bytes]:
    mailbox = MemoryMailbox()
    for each in raw:
        mailbox.put(each)
    at = await desk(mailbox, {"FETCH": FETCH})
    return [await at.ask(b"a " + command) for command in commands]


def differences(seed: int) -> list[str]:
    dice = random.Random(seed)
    raw = [trees.message(dice) for _ in range(MESSAGES)]
    asked = [(number, item) for number, each in enumerate(raw, 1) for item in items(dice, leaves(each))]
    commands = [b"FETCH %d (%b)" % (number, item.encode()) for number, item in asked]
    mine = asyncio.run(ours(raw, commands))
    found = []
    with dovecot_imap() as dovecot:
        for each in raw:
            assert b" OK " in dovecot.ask(b"APPEND INBOX {%d+}\r\n%b" % (len(each), each))
        dovecot.ask(b"SELECT INBOX")
        for (number, item), command, answer in zip(asked, commands, mine, strict=True):
            theirs = dovecot.ask(command)
            if b" NO " in answer or b" NO " in theirs:
                if b" NO " not in answer or b" NO " not in theirs:
                    found.append(f"{number} {item}: {theirs!r} {answer!r}\n{raw[number - 1].decode()}")
                continue
            (one,), (two,) = (
                [comparable(value, key) for key, value in fetched(each).items() if key != "FLAGS"]
                for each in (theirs, answer)
            )
            if one != two and not explained(item, one, two):
                found.append(f"{number} {item}:\n  theirs {one!r}\n  ours   {two!r}\n{raw[number - 1].decode()}")
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_parts_are_fetched_as_dovecot_fetches_them(seed: int) -> None:
    assert not differences(seed)
