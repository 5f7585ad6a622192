"""Refusals about messages: FETCH, STORE, COPY, EXPUNGE."""

from __future__ import annotations

from core.errors import UnreadableError
from imap.commands.fetch import handle
from tests.fakes.memory_store import MemoryBox
from tests.imap.refusals.row import LIMITED, MAIL, MANY, Table, after, bug, expunged, read

ODD = b"Content-Transfer-Encoding: x-odd\r\n\r\nbody\r\n"


FIVE = (MAIL,) * 5


async def _gone_under(table: Table) -> None:
    """A message goes between the look at the view and the rows: the store no longer has it."""
    account = await table.world.account()
    box = account.boxes["INBOX"]
    box.remove([2])


async def _unreadable(table: Table) -> None:
    """No file of INBOX can be read."""

    async def refuse(*_: object) -> None:
        raise UnreadableError("the message cannot be read")

    table.patch.setattr(MemoryBox, "open", refuse)


async def _impatient(table: Table) -> None:
    table.patch.setattr(handle, "MOST_UNREADABLE", 2)
    await _unreadable(table)


FETCHING = (
    read(
        b"FETCH 1:3 (BODY[])",
        b"NO [UNAVAILABLE] 3 messages are unreadable on the server for now; all others were answered",
        _unreadable,
    ),
    read(
        b"FETCH 1:3 (BODY.PEEK[])",
        b"NO [UNAVAILABLE] more than 2 messages are unreadable on the server for now",
        _impatient,
    ),
    read(
        b"FETCH 2:3 BODY[]",
        b"NO [EXPUNGEISSUED] some of the messages no longer exist",
        _gone_under,
    ),
    read(b"FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)", bug(b"VANISHED is for UID FETCH once QRESYNC is enabled")),
    read(b"FETCH 1 FLAGS (PARTIAL 1:2)", bug(b"PARTIAL is for UID FETCH")),
    read(b"FETCH 1 BINARY[1]", b"NO [UNKNOWN-CTE] a part has an unknown encoding", messages=(ODD,)),
    read(
        b"FETCH 1 (%b)" % b" ".join(b"BODY.PEEK[%d]" % number for number in range(1, 202)),
        b"NO [LIMIT] too many items",
        title="FETCH of 201 items",
    ),
    read(b"UID FETCH 1 FLAGS (VANISHED)", bug(b"VANISHED needs CHANGEDSINCE")),
    read(b"FETCH 1 FLAGS (ODD)", bug(b"unknown FETCH modifier")),
    read(b"SEARCH RETURN (UPDATE( UID)) ALL", bug(b"fetch item expected")),
    read(b"FETCH 1 ODD", bug(b"unknown fetch item")),
    read(b"FETCH 1 BODY[1x]", bug(b"malformed section")),
    read(b"FETCH 1 BODY[ODD]", bug(b"unknown section")),
    read(b"FETCH 1 BODY[5000000000]", bug(b"part number too large")),
    read(b"FETCH 1 BODY[]<1>", bug(b"malformed partial")),
    read(b"FETCH 1 BODY[]<1.0>", bug(b"malformed partial")),
    read(b"UID FETCH 1 FLAGS (PARTIAL 1:5000000000)", bug(b"position too large")),
    read(b"FETCH 9 FLAGS", bug(b"no such message number")),
    read(b"FETCH 1:9 FLAGS", bug(b"no such message number")),
    read(
        b"UID FETCH 1:* FLAGS (PARTIAL 1:4)",
        b"NO [MESSAGELIMIT 3] more than 3 messages in one command",
        messages=FIVE,
        world=LIMITED,
    ),
)


CHANGING = (
    read(b"STORE 1 (ODD 1) FLAGS x", bug(b"unknown STORE modifier")),
    read(b"STORE 1 FLAGS \\Odd", bug(b"unknown system flag")),
    read(b"STORE 1:2 FLAGS \\Seen", b"NO [EXPUNGEISSUED] some messages no longer exist", expunged),
    read(b"STORE 1 FLAGS (%b)" % MANY, b"NO [LIMIT] too many keywords, or one too long", title="STORE of 65 keywords"),
    read(b"EXPUNGE", b"NO [READ-ONLY] mailbox is read-only", after(b"EXAMINE INBOX")),
    read(b"COPY 1:2 Trash", b"NO [EXPUNGEISSUED] some of the messages no longer exist", expunged),
    read(b"COPY 1 nowhere", b"NO [TRYCREATE] no such mailbox"),
    read(
        b"COPY 1:* Trash",
        b"NO [MESSAGELIMIT 3 3] too many messages to copy, try a smaller subset",
        messages=FIVE,
        world=LIMITED,
    ),
    read(b"UIDBATCHES 1000 2:1", bug(b"the range of batches is the wrong way round")),
    read(b"UIDBATCHES 10", b"NO [TOOFEW] a batch has at least 500 messages"),
    read(b"UIDBATCHES 1000 1:200", b"NO [TOOMANY] batches of more than 100000 messages together"),
)
