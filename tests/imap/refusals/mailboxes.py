"""Refusals about mailboxes: their names, rights, quotas, annotations, and what is told of them."""

from __future__ import annotations

from core.errors import QuotaError
from directory.rights import parse
from imap.wire.scanner import LONGEST_NAME
from tests.imap.refusals.row import Before, Row, Table, after, bug, read

SHARED = b"Shared/mairie@mairie.test/INBOX"


def granted(letters: str) -> Before:
    async def run(table: Table) -> None:
        directory = table.world.directory
        directory.sharing.grant(directory.add("mairie", shared=True), table.world.alice, parse(letters))

    return run


async def _quota_setter(table: Table) -> None:
    """Alice may set the quota of the mairie's mailbox, which she manages."""
    directory = table.world.directory
    mairie = directory.add("mairie", shared=True)
    directory.sharing.grant(mairie, table.world.alice, parse("lrswipkxtea"))
    directory.sharing.quota_setters.add((table.world.alice.id, mairie.id))


def annotated(code: str) -> Before:
    async def run(table: Table) -> None:
        async def refuse(*_: object) -> None:
            raise QuotaError("no room", code=code)

        table.patch.setattr(table.world.directory.annotations, "change", refuse)

    return run


async def _only_a_name(table: Table) -> None:
    """A level that is no folder of its own, as one is after its DELETE."""
    (await table.world.account())._make("a/b")


ACL = (
    read(b"SETACL INBOX nobody@mairie.test lr", b"NO [CANNOT] nobody of that name here"),
    read(b'SETACL INBOX "" lr', bug(b"malformed identifier")),
    read(b"SETACL INBOX bob@mairie.test lrQ", bug(b"there is no such right")),
    read(b"SETACL INBOX alice@mairie.test lr", b"NO [CANNOT] the owner always has every right"),
)


FOLDERS = (
    Row(b"CREATE INBOX", b"NO [ALREADYEXISTS] mailbox exists"),
    Row(b"CREATE x (USE (\\Odd))", b"NO [USEATTR] special use is not supported"),
    Row(b"CREATE a//b", b"NO [CANNOT] mailbox name is not allowed"),
    Row(b"CREATE Trash", b"NO [ALREADYEXISTS] folder exists"),
    Row(b"DELETE INBOX", b"NO [CANNOT] INBOX cannot be deleted"),
    Row(b"DELETE a", b"NO [HASCHILDREN] only a name, with mailboxes below it", _only_a_name),
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
    Row(b"SELECT " + b"a" * (LONGEST_NAME + 1), b"NO [CANNOT] folder name is too long"),
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
    Row(b"SETQUOTA mairie@mairie.test (STORAGE 1)", b"NO [NONEXISTENT] no such quota root"),
    *(
        Row(b"SETQUOTA mairie@mairie.test (%b)" % limits, says, _quota_setter)
        for limits, says in (
            (b"STORAGE 0", b"NO [CANNOT] a mailbox that may hold nothing is suspended by an administrator"),
            (b"STORAGE 99999999999999", b"NO [LIMIT] a quota is not as large as that"),
            (b"MESSAGE 5", b"NO [CANNOT] the number of messages is a limit of the system"),
            (b"MAILBOX 5", b"NO [CANNOT] only STORAGE can be limited"),
            (b"STORAGE 1 STORAGE 1", bug(b"a resource is named twice")),
        )
    ),
    Row(b"GETQUOTA other", b"NO [NONEXISTENT] no such quota root"),
)


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
        annotated("annotation-too-big"),
        title="an annotation that is too large",
    ),
    Row(
        b'SETMETADATA INBOX (/private/b "x")',
        b"NO [METADATA TOOMANY] too many annotations",
        annotated("annotations-too-many"),
    ),
    Row(
        b'SETMETADATA INBOX (/private/c "x")',
        b"NO [OVERQUOTA] no room left for annotations",
        annotated("annotations-full"),
    ),
)


TELLING = (
    Row(b"NOTIFY SET", bug(b"event groups expected")),
    Row(
        b"NOTIFY SET" + b" (PERSONAL NONE)" * 51,
        b"NO [NOTIFICATIONOVERFLOW] this is too much to watch",
        title="NOTIFY of 51 groups",
    ),
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
