"""However a FETCH is answered (runs of small files, columns of the index, stretches of flags, message by message): the
client reads the same, whatever another session and hands do between two commands."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from imap.commands.fetch import small, stretches
from imap.commands.fetch.lines import Lines
from tests.fakes.imap_world import Client
from tests.imap.fetch.test_fetch_small import filled

STEPS = 40
ITEMS = (
    b"BODY.PEEK[]",
    b"BODY[]",
    b"RFC822",
    b"(UID FLAGS RFC822.SIZE BODY.PEEK[])",
    b"(BODY[] MODSEQ)",
    b"BODY.PEEK[]<3.20>",
    b"BINARY.PEEK[]",
    b"FLAGS",
    b"(FLAGS UID MODSEQ)",
    b"(RFC822.SIZE ENVELOPE BODYSTRUCTURE)",
    b"BODY.PEEK[HEADER.FIELDS (SUBJECT X-None)]",
    b"(FLAGS BODY.PEEK[HEADER.FIELDS (from Subject)]<2.30>)",
    b"BODY[HEADER.FIELDS (From)]",
    b"(EMAILID THREADID PREVIEW)",
)
ELSE = b"UID FETCH 4000000000 FLAGS"  # not NOOP, which looks for removed files, and may meet a flush
ODD = b"Subject: odd\r\nFrom: a@b.test,\r\n folded@b.test\r\nX-None:\r\n\r\n)\r\n"
NULS = b"Subject: n\0ul\r\n\r\n\0\r\n"


def _set(chance: random.Random, last: int) -> bytes:
    some = [chance.randint(1, last) for _ in range(chance.randint(1, 6))]
    spans = [b"%d:%d" % (n, min(last, n + chance.randint(0, 12))) for n in some]
    return b"1:*" if chance.random() < 0.4 else b",".join(spans)


async def _meanwhile(chance: random.Random, other: Client, cur: Path) -> None:
    uids = b"%d:%d" % (low := chance.randint(1, 40), low + chance.randint(0, 3))
    file = next(iter(cur.glob(f"*,U={chance.randint(1, 40)},*")), None)
    match chance.randint(0, 5):
        case 0:
            await other.ok(b"UID STORE %b +FLAGS.SILENT (\\Deleted)" % uids)
            await other.ok(b"UID EXPUNGE " + uids)
        case 1:
            await other.ok(
                b"UID STORE %b FLAGS.SILENT (%b)" % (uids, chance.choice((b"\\Seen", b"$Neu \\Flagged", b"")))
            )
        case 2:
            await other.ok(b"APPEND INBOX {%d+}\r\n%b" % (len(ODD), ODD))
        case 3 if file is not None:
            file.unlink()
        case 4 if file is not None:
            file.write_bytes(NULS)
        case _:
            await other.ok(ELSE)


async def _told(path: Path, seed: int) -> list[list[bytes]]:
    chance, told = random.Random(seed), list[list[bytes]]()
    path.mkdir()
    async with filled(path) as (one, two, cur):
        await one.ok(b"ENABLE CONDSTORE")
        for _ in range(STEPS):
            if chance.random() < 0.5:
                await _meanwhile(chance, two, cur)
            verb = chance.choice((b"FETCH ", b"UID FETCH "))
            lines = await one.ask(verb + _set(chance, 20) + b" " + chance.choice(ITEMS))
            # Keywords that are new are announced before the first message that has one, or before all of them.
            told.append(sorted(lines, key=lambda line: b" FETCH (" in line or line.startswith(b"a ")))
            if chance.random() < 0.2:
                told.append(sorted((await one.ask(ELSE))[:-1]))
    return told


@pytest.mark.parametrize("seed", range(3))
async def test_every_way_tells_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    quick = await _told(tmp_path / "quick", seed)
    for where, name in ((small, "fits"), (stretches, "fits"), (Lines, "fits")):
        monkeypatch.setattr(where, name, lambda *_: False)
    assert quick == await _told(tmp_path / "slow", seed)
