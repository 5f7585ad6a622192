"""The rows of `test_refusals`: one for each place where the IMAP server says NO or BAD."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from core.config import Imap, Limits
from directory.rights import parse
from tests.fakes.imap_world import Client, World

MAIL = b"Subject: one\r\n\r\nbody\r\n"
ODD = b"Content-Transfer-Encoding: x-odd\r\n\r\nbody\r\n"


@dataclass
class Table:
    """What a row's `before` may touch."""

    world: World
    patch: pytest.MonkeyPatch
    client: Client = field(init=False)


Before = Callable[[Table], Awaitable[None]]


@dataclass(frozen=True)
class Row:
    """`ask` after "a "; `says` the answer after "a ", or all of an untagged one; `bare`: `ask` is the whole line.
    `messages`: those of INBOX, selected when there are any. `world`: how the server is set up."""

    ask: bytes
    says: bytes
    before: Before | None = None
    who: str = "alice"
    messages: tuple[bytes, ...] = ()
    world: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    bare: bool = False

    @property
    def name(self) -> str:
        return self.title or self.ask[:60].decode("ascii", "replace").split("\r")[0]


def after(*commands: bytes) -> Before:
    """These are OK before."""

    async def run(table: Table) -> None:
        for command in commands:
            await table.client.ok(command)

    return run


def read(ask: bytes, says: bytes, before: Before | None = None, **more: Any) -> Row:
    """In INBOX with three messages, none of them special."""
    return Row(ask, says, before, messages=more.pop("messages", (MAIL, MAIL, MAIL)), **more)


def bug(text: bytes) -> bytes:
    return b"BAD [CLIENTBUG] " + text


async def _expunged(table: Table) -> None:
    """Another session removes message 1; ours is not told yet."""
    other = await table.world.login()
    await other.ok(b"SELECT INBOX")
    await other.ok(b"STORE 1 +FLAGS.SILENT \\Deleted")
    await other.ok(b"EXPUNGE")


def granted(letters: str) -> Before:
    async def run(table: Table) -> None:
        directory = table.world.directory
        directory.sharing.grant(directory.add("mairie", shared=True), table.world.alice, parse(letters))

    return run


async def _unavailable(table: Table) -> None:
    table.world.directory.unavailable = True


async def _tls(table: Table) -> None:
    table.client = await table.world.connect(tls=True)


async def _bug(table: Table) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    table.patch.setattr("tests.fakes.memory_store.MemoryAccount.subscribe", fail)


async def _crowded(table: Table) -> None:
    table.patch.setattr("imap.commands.esearch.MOST_MAILBOXES", 3)


def annotations(code: str) -> Before:
    async def run(table: Table) -> None:
        from core.errors import QuotaError

        async def refuse(*_: object) -> None:
            raise QuotaError("no room", code=code)

        table.patch.setattr(table.world.directory.annotations, "change", refuse)

    return run


SHARED = b"Shared/mairie@mairie.test/INBOX"
LIT = b"{%d+}\r\n%b"
FIVE = (MAIL,) * 5
LIMITED: Mapping[str, Any] = {"limits": Limits(imap_messages=3)}
MANY = b" ".join(b"x%d" % number for number in range(65))


def literal(data: bytes) -> bytes:
    return LIT % (len(data), data)


ACL = (
    read(b"SETACL INBOX nobody@mairie.test lr", b"NO [CANNOT] nobody of that name here"),
    read(b'SETACL INBOX "" lr', bug(b"malformed identifier")),
    read(b"SETACL INBOX bob@mairie.test lrQ", bug(b"there is no such right")),
    read(b"SETACL INBOX alice@mairie.test lr", b"NO [CANNOT] the owner always has every right"),
)

WAYS_IN = (
    Row(b"AUTHENTICATE PLAIN\r\n*", b"BAD [AUTHENTICATIONFAILED] authentication cancelled", who=""),
    Row(b"AUTHENTICATE PLAIN %%%", bug(b"base64 expected"), who=""),
    Row(b"AUTHENTICATE PLAIN\r\n%%%", bug(b"the response is not valid base64"), who="", title="base64 that is none"),
    Row(
        b"AUTHENTICATE PLAIN\r\n" + base64.b64encode(b"\0a\0" + b"x" * 1025),
        b"BAD [TOOBIG] the response is too long",
        who="",
        title="a response that is too long",
    ),
    Row(
        b"AUTHENTICATE PLAIN\r\n" + b"A" * 13000,
        b"BAD [TOOBIG] line too long",
        who="",
        title="a line of a login that is too long",
    ),
    Row(b"AUTHENTICATE GSSAPI", b"NO [CANNOT] this authentication mechanism is not offered", who=""),
    Row(b"LOGIN alice@mairie.test wrong", b"NO [AUTHENTICATIONFAILED] authentication failed", who=""),
    Row(b"LOGIN a b", b"NO [PRIVACYREQUIRED] use TLS first", who="", world={"plaintext": False}),
    Row(b"LOGIN a c", b"NO [UNAVAILABLE] login is not possible at the moment", _unavailable, who=""),
    Row(b"STARTTLS", bug(b"TLS is already on or not available"), _tls, who=""),
    Row(b"COMPRESS LZMA", bug(b"unknown compression algorithm")),
    Row(b"ID (" + b" ".join([b'"a" "b"'] * 31) + b")", bug(b"too many ID fields"), title="ID of 31 fields"),
    Row(b'ID ("a" "%b")' % (b"x" * 1025), bug(b"ID field too long"), title="ID of 1025 octets"),
)


async def _compressed(table: Table) -> None:
    """The handler's own view of the connection is what it asks."""
    table.patch.setattr("imap.connection.Connection.compressed", property(lambda _: True))


APPENDING = (
    Row(b"APPEND nowhere {1+}\r\nx", b"NO [TRYCREATE] no such mailbox"),
    Row(b"COMPRESS DEFLATE", b"NO [COMPRESSIONACTIVE] compression is on already", _compressed),
    Row(b"APPEND INBOX {0+}\r\n", b"NO [CANNOT] message is empty"),
    Row(
        b"APPEND INBOX" + b" {1+}\r\nx" * 4,
        b"NO [MESSAGELIMIT 3] too many messages in one command",
        world=LIMITED,
        title="APPEND of more than MESSAGELIMIT",
    ),
    Row(
        b"APPEND INBOX" + b" {1+}\r\nx" * 1001,
        b"NO [LIMIT] too many messages in one command",
        title="APPEND of 1001 messages",
    ),
    Row(b"APPEND INBOX UTF8 (~{1+}\r\nx)", b"NO [CANNOT] ENABLE UTF8=ACCEPT first"),
    Row(b"APPEND INBOX UTF8 ({1+}\r\nx)", bug(b"literal8 expected"), after(b"ENABLE UTF8=ACCEPT")),
    Row(
        b"APPEND INBOX {1025+}\r\n" + b"x" * 1025,
        b"NO [TOOBIG] message too large",
        world={"limits": Limits(message_size="1K")},
    ),
    Row(b"APPEND INBOX {30+}\r\n" + b"x" * 30, b"NO [OVERQUOTA] mailbox is full", world={"quota": 20}),
    Row(
        b"APPEND INBOX" + b" {2+}\r\nxx" * 3,
        b"NO [LIMIT] too many messages in one command",
        lambda table: _small(table),
        title="APPEND of more than may be held at once",
    ),
    Row(b"APPEND INBOX {1+}\r\n\0", b"NO [CANNOT] a message must not contain NUL octets", title="APPEND of NUL"),
    Row(
        b"APPEND INBOX ~{1+}\r\n\0", b"NO [UNKNOWN-CTE] a message must not contain NUL octets", title="literal8 of NUL"
    ),
    Row(b"APPEND INBOX CATENATE (TEXT {0+}\r\n)", b"NO [CANNOT] message is empty"),
    Row(b'APPEND INBOX CATENATE (URL "/nowhere;UID=1")', b"NO [BADURL /nowhere;UID=1] this URL names nothing here"),
    Row(b"APPEND INBOX CATENATE (URL {3000+}\r\n", b"NO [TOOBIG] URL too long"),
    read(b"APPEND INBOX (%b) {1+}\r\nx" % MANY, b"NO [LIMIT] too many keywords, or one too long", title="65 keywords"),
    read(b"REPLACE 1:2 INBOX {1+}\r\nx", bug(b"one message is replaced at a time")),
    read(b"REPLACE 1 nowhere {1+}\r\nx", b"NO [TRYCREATE] no such mailbox"),
    read(b"UID REPLACE 99 INBOX {1+}\r\nx", b"NO [NONEXISTENT] the message to replace is not there"),
    read(
        b"REPLACE 1 INBOX {1+}\r\nx",
        b"NO [EXPUNGEISSUED] the message to replace was expunged",
        lambda table: _known_gone(table),
    ),
)


async def _small(table: Table) -> None:
    table.patch.setattr("imap.commands.incoming.MOST_SMALL", 5)


async def _known_gone(table: Table) -> None:
    """Known to be gone, but not told yet: it is withheld during a FETCH by number."""
    await _expunged(table)
    await table.client.ok(b"FETCH 2 UID")


FOLDERS = (
    Row(b"CREATE INBOX", b"NO [ALREADYEXISTS] mailbox exists"),
    Row(b"CREATE x (USE (\\Odd))", b"NO [USEATTR] special use is not supported"),
    Row(b"CREATE a//b", b"NO [CANNOT] mailbox name is not allowed"),
    Row(b"CREATE Trash", b"NO [ALREADYEXISTS] folder exists"),
    Row(b"DELETE INBOX", b"NO [CANNOT] INBOX cannot be deleted"),
    Row(b"DELETE a", b"NO [HASCHILDREN] only a name, with mailboxes below it", lambda table: _only_a_name(table)),
    Row(b"DELETE nowhere", b"NO [NONEXISTENT] no such folder"),
    Row(b"RENAME Trash INBOX", b"NO [ALREADYEXISTS] mailbox exists"),
    Row(b"RENAME Trash Trash/x", b"NO [CANNOT] a mailbox cannot move below itself"),
    Row(
        b"RENAME Trash Shared/mairie@mairie.test/x",
        b"NO [CANNOT] folders do not move between mailboxes",
        granted("lrk"),
    ),
    Row(b"STATUS nowhere (MESSAGES)", b"NO [NONEXISTENT] no such mailbox"),
    Row(b"STATUS INBOX (ODD)", bug(b"unknown status item")),
    Row(b"STATUS %b (MESSAGES)" % SHARED, b"NO [NOPERM] your rights do not allow this", granted("l")),
    Row(b"SELECT %b" % SHARED, b"NO [NONEXISTENT] no such folder"),
    Row(b'SELECT ""', b"NO [CANNOT] empty mailbox name"),
    Row(b"SELECT &xx", b"NO [CANNOT] mailbox name is not valid modified UTF-7"),
    Row(b"SELECT INBOX (ODD)", bug(b"unknown SELECT parameter")),
    Row(b"SELECT INBOX (QRESYNC (1 1 1:2 (1:2 1)))", bug(b"sets of different size"), after(b"ENABLE QRESYNC")),
    Row(b"SELECT INBOX (QRESYNC (1 1 *))", bug(b'"*" and "$" are not allowed here'), after(b"ENABLE QRESYNC")),
    Row(b"SELECT INBOX (QRESYNC (1 1))", bug(b"ENABLE QRESYNC first")),
    Row(
        b"SELECT INBOX (QRESYNC (1 1 1 (1 1)))",
        b"BAD [UIDREQUIRED] no message numbers once UIDONLY is enabled",
        after(b"ENABLE QRESYNC UIDONLY"),
    ),
    Row(b'LIST "" (%b)' % b" ".join([b"x"] * 21), bug(b"too many patterns"), title="LIST of 21 patterns"),
    Row(b'LIST (ODD) "" *', bug(b"unknown LIST option")),
    Row(b'LIST "" * RETURN (ODD)', bug(b"unknown LIST option")),
    Row(b'LIST (RECURSIVEMATCH) "" *', bug(b"RECURSIVEMATCH needs another selection option")),
    Row(b'SETQUOTA "" (STORAGE 1)', b"NO [NOPERM] quotas are set by the administrators"),
    Row(b"GETQUOTA other", b"NO [NONEXISTENT] no such quota root"),
)


async def _only_a_name(table: Table) -> None:
    """A level that is no folder of its own, as one is after its DELETE."""
    (await table.world.account())._make("a/b")


ANNOTATIONS = (
    Row(b"GETMETADATA INBOX (%b)" % b" ".join([b"/private/a"] * 201), bug(b"too many entries"), title="201 entries"),
    Row(b"GETMETADATA INBOX /odd/a", bug(b"malformed entry name")),
    Row(
        b"SETMETADATA INBOX (%b)" % b" ".join(b"/private/a%d NIL" % number for number in range(201)),
        bug(b"too many entries"),
        title="SETMETADATA of 201 entries",
    ),
    Row(b"SETMETADATA INBOX (/private NIL)", bug(b"malformed entry name")),
    Row(
        b'SETMETADATA INBOX (/private/specialuse "\\\\Sent")',
        b"NO [CANNOT] a special use is given when a mailbox is created",
    ),
    Row(
        b"SETMETADATA INBOX (/private/a x)".replace(b"x)", b'"x")'),
        b"NO [METADATA MAXSIZE 16384] the value is too large",
        annotations("annotation-too-big"),
        title="an annotation that is too large",
    ),
    Row(
        b'SETMETADATA INBOX (/private/b "x")',
        b"NO [METADATA TOOMANY] too many annotations",
        annotations("annotations-too-many"),
    ),
    Row(
        b'SETMETADATA INBOX (/private/c "x")',
        b"NO [OVERQUOTA] no room left for annotations",
        annotations("annotations-full"),
    ),
)

TELLING = (
    Row(b"NOTIFY SET", bug(b"event groups expected, and not too many")),
    Row(
        b"NOTIFY SET (SELECTED NONE) (SELECTED-DELAYED NONE)",
        bug(b"one group for the selected mailbox"),
    ),
    Row(b"NOTIFY SET (ODD NONE)", bug(b"unknown mailbox filter")),
    Row(
        b"NOTIFY SET (PERSONAL (Odd))",
        b"NO [BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange"
        b" MailboxMetadataChange ServerMetadataChange)] this event is not supported",
    ),
    Row(
        b"NOTIFY SET (PERSONAL (MessageNew (UID) MessageExpunge))",
        bug(b"only of the selected mailbox are messages fetched"),
    ),
    Row(b"NOTIFY SET (PERSONAL (MessageNew))", bug(b"MessageNew and MessageExpunge belong together")),
    Row(b"NOTIFY SET (SELECTED (MailboxName))", bug(b"this event is not one of the selected mailbox")),
    Row(b"NOTIFY SET (SELECTED (MessageNew (ODD) MessageExpunge))", bug(b"unknown fetch item")),
    Row(
        b"NOTIFY SET (PERSONAL (AnnotationChange))",
        b"NO [BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange"
        b" MailboxMetadataChange ServerMetadataChange)] this event is not supported",
    ),
    Row(b"IDLE\r\nNOOP", bug(b"DONE expected")),
    read(b"CANCELUPDATE %b" % b" ".join([b'"x"'] * 101), bug(b"too many tags"), title="CANCELUPDATE of 101 tags"),
    read(b'CANCELUPDATE "x"', b"NO [NONEXISTENT] no such search is kept up"),
)

FETCHING = (
    read(
        b"FETCH 2:3 BODY[]",
        b"NO [EXPUNGEISSUED] some of the messages no longer exist",
        lambda table: _gone_under(table),
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
    read(
        b"UID FETCH 1:* FLAGS (PARTIAL 1:4)",
        b"NO [MESSAGELIMIT 3] more than 3 messages in one command",
        messages=FIVE,
        world=LIMITED,
    ),
)


async def _gone_under(table: Table) -> None:
    """A message goes between the look at the view and the rows: the store no longer has it."""
    account = await table.world.account()
    box = account.boxes["INBOX"]
    box.remove([2])


CHANGING = (
    read(b"STORE 1 (ODD 1) FLAGS x", bug(b"unknown STORE modifier")),
    read(b"STORE 1 FLAGS \\Odd", bug(b"unknown system flag")),
    read(b"STORE 1:2 FLAGS \\Seen", b"NO [EXPUNGEISSUED] some messages no longer exist", _expunged),
    read(b"STORE 1 FLAGS (%b)" % MANY, b"NO [LIMIT] too many keywords, or one too long", title="STORE of 65 keywords"),
    read(b"EXPUNGE", b"NO [READ-ONLY] mailbox is read-only", after(b"EXAMINE INBOX")),
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

FINDING = (
    read(b"SEARCH CHARSET UTF-8 ALL", bug(b"no CHARSET once UTF8=ACCEPT is enabled"), lambda table: _utf8(table)),
    read(b"SEARCH RETURN (RELEVANCY) ALL", bug(b"RELEVANCY needs a FUZZY search key")),
    read(
        b"UID SEARCH 1", b"BAD [UIDREQUIRED] no message numbers once UIDONLY is enabled", lambda table: _uid_only(table)
    ),
    read(
        b"FETCH 1 FLAGS",
        b"BAD [UIDREQUIRED] message numbers are not used once UIDONLY is enabled",
        lambda table: _uid_only(table),
        title="a message number once UIDONLY is enabled",
    ),
    read(b"SEARCH CHARSET KOI8-R ALL", b"NO [BADCHARSET (US-ASCII UTF-8)] charset is not supported"),
    read(b"SEARCH " + b"NOT " * 51 + b"ALL", b"NO [LIMIT] search keys are nested too deeply", title="51 times NOT"),
    read(b"SEARCH" + b" ALL" * 1001, b"NO [LIMIT] too many search keys", title="1001 keys"),
    read(b"SEARCH" + b" TEXT x" * 33, b"NO [LIMIT] too many text searches in one command", title="33 times TEXT"),
    read(b"SEARCH" + b" FUZZY TEXT x" * 9, b"NO [LIMIT] too many fuzzy searches in one command", title="9 times FUZZY"),
    read(
        b"SEARCH SUBJECT {1+}\r\n\xff",
        b"NO [BADCHARSET (US-ASCII UTF-8)] string is not in the stated charset",
    ),
    read(b"SEARCH ODD", bug(b"unknown search key")),
    read(b"SEARCH FUZZY ALL", bug(b"unknown search key"), world={"settings": Imap(without=["SEARCH=FUZZY"])}),
    read(b"SEARCH RETURN (ALL PARTIAL 1:2) ALL", bug(b"ALL and PARTIAL exclude each other")),
    read(b"SEARCH RETURN (ODD) ALL", bug(b"unknown RETURN option")),
    read(b"SEARCH RETURN (PARTIAL 1:2 PARTIAL 1:2) ALL", bug(b"one PARTIAL only")),
    read(
        b"SEARCH RETURN (UPDATE) ALL",
        bug(b"unknown RETURN option"),
        world={"settings": Imap(without=["CONTEXT=SEARCH"])},
    ),
    read(
        b"SEARCH RETURN (UPDATE COUNT) ALL",
        bug(b"a search of this tag is still kept up"),
        after(b"SEARCH RETURN (UPDATE COUNT) ALL"),
    ),
    read(b"SEARCH SINCE 1", bug(b"malformed date")),
    read(b"SEARCH SINCE 1-Foo-2020", bug(b"no such month")),
    read(b"SEARCH SINCE 31-Feb-2020", bug(b"no such date")),
    read(b"SEARCH LARGER 99999999999999999999", bug(b"number too large")),
    read(b"SEARCH OLDER 0", bug(b"zero is not allowed here")),
    read(b"SEARCH UID 5000000000", bug(b"number too large in a sequence set")),
    read(b"SORT (ODD) UTF-8 ALL", bug(b"unknown sort key")),
    read(b"SORT (RELEVANCY) UTF-8 ALL", bug(b"RELEVANCY needs a FUZZY search key")),
    read(b"SORT (%b) UTF-8 ALL" % b" ".join([b"DATE"] * 21), bug(b"too many sort keys"), title="21 sort keys"),
    read(b"THREAD ODD UTF-8 ALL", bug(b"unknown threading algorithm")),
    Row(
        b"ESEARCH IN (MAILBOXES (%b)) ALL" % b" ".join(b"x%d" % number for number in range(1001)),
        bug(b"too many mailboxes"),
        title="ESEARCH of 1001 names",
    ),
    Row(b"ESEARCH IN (ODD) ALL", bug(b"unknown mailbox filter")),
    Row(b"ESEARCH IN (SELECTED) ALL", bug(b"no mailbox is selected")),
    read(b"ESEARCH IN (PERSONAL) RETURN (SAVE) ALL", bug(b"SAVE is for the selected mailbox alone")),
    Row(
        b"ESEARCH IN (PERSONAL) CHARSET UTF-8 ALL",
        bug(b"no CHARSET once UTF8=ACCEPT is enabled"),
        after(b"ENABLE UTF8=ACCEPT"),
    ),
    Row(b"ESEARCH IN (PERSONAL) ALL", b"NO [LIMIT] too many mailboxes at once", _crowded),
    Row(
        b"ESEARCH IN (PERSONAL) TEXT x",
        b"NO [LIMIT] too many text searches for so many mailboxes",
        lambda table: _dear(table),
    ),
    read(
        b"ESEARCH IN (PERSONAL) SEEN DRAFT",
        b"NO [LIMIT] too many search keys for so many messages",
        lambda table: _judged(table),
    ),
)


async def _dear(table: Table) -> None:
    table.patch.setattr("imap.commands.esearch.MOST_QUESTIONS", 1)


async def _judged(table: Table) -> None:
    table.patch.setattr("imap.commands.esearch.MOST_JUDGED", 5)


async def _utf8(table: Table) -> None:
    for command in (b"UNSELECT", b"ENABLE UTF8=ACCEPT", b"SELECT INBOX"):
        await table.client.ok(command)


async def _uid_only(table: Table) -> None:
    for command in (b"UNSELECT", b"ENABLE UIDONLY", b"SELECT INBOX"):
        await table.client.ok(command)


GRAMMAR = (
    Row(b"", b"* BAD [CLIENTBUG] tag expected", title="a line without a tag", bare=True),
    Row(b"a", bug(b"command expected"), title="a tag alone", bare=True),
    Row(b"ODD", bug(b"unknown command")),
    Row(b"NOOP x", bug(b"unexpected text after the command")),
    Row(b"SELECT", bug(b"space expected")),
    Row(b"ID x", bug(b"( expected")),
    Row(b"FETCH 1 FLAGS", bug(b"log in first"), who=""),
    Row(b"FETCH 1 BODY", bug(b"select a mailbox first")),
    Row(b"LOGIN x y", bug(b"you are logged in already")),
    Row(b"SELECT (", bug(b"string expected")),
    Row(b"SELECT {1+}\r\n\0", bug(b"malformed literal"), title="NUL in a literal"),
    Row(b'SELECT "\xff"', bug(b"malformed UTF-8"), after(b"ENABLE UTF8=ACCEPT"), title="UTF-8 that is none"),
    Row(b'APPEND INBOX "odd" {1+}\r\nx', bug(b"malformed date-time")),
    Row(b'APPEND INBOX "31-Feb-2020 00:00:00 +0000" {1+}\r\nx', bug(b"no such date-time")),
    Row(b"SUBSCRIBE Trash", b"NO [SERVERBUG] internal error", _bug),
    Row(
        b"APPEND INBOX {5000+}\r\n" + b"x" * 5000,
        b"BAD [TOOBIG] a literal of this size must wait for our +",
        world={"settings": Imap(literal_minus=True)},
        title="LITERAL-",
    ),
    Row(b"SELECT {2000000}", b"NO [TOOBIG] literal too large"),
    Row(b"LOGIN {9000}", b"BAD [TOOBIG] literal too large", who=""),
    Row(b"SELECT " + b"x" * 70_000, b"BAD [TOOBIG] command too long", title="a line of 70,000 octets"),
    Row(
        b"SELECT {200000000+}",
        b"* BYE [TOOBIG] literal too large",
        title="a literal nobody waits for, past all bounds",
    ),
    Row(
        b"SELECT " + b"x" * 70_000 + b" {200000000+}",
        b"* BYE [TOOBIG] literal too large",
        title="the same behind a line that is too long",
    ),
    Row(
        b"SELECT " + b"x" * 300_000,
        b"* BYE [TOOBIG] line without end",
        world={"limits": Limits(message_size="1K", imap_literals=1024)},
        title="a line without end",
    ),
)

ROWS: tuple[Row, ...] = (
    *ACL, *WAYS_IN, *APPENDING, *FOLDERS, *ANNOTATIONS, *TELLING, *FETCHING, *CHANGING, *FINDING, *GRAMMAR,
)  # fmt: skip
