"""Refusals of SEARCH, SORT, THREAD and ESEARCH."""

from __future__ import annotations

from core.config import Imap
from tests.imap.refusals.row import Row, Table, after, bug, read


async def _crowded(table: Table) -> None:
    table.patch.setattr("imap.commands.esearch.MOST_MAILBOXES", 3)


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


FINDING = (
    read(b"SEARCH CHARSET UTF-8 ALL", bug(b"no CHARSET once UTF8=ACCEPT is enabled"), _utf8),
    read(b"SEARCH RETURN (RELEVANCY) ALL", bug(b"RELEVANCY needs a FUZZY search key")),
    read(b"UID SEARCH 1", b"BAD [UIDREQUIRED] no message numbers once UIDONLY is enabled", _uid_only),
    read(
        b"FETCH 1 FLAGS",
        b"BAD [UIDREQUIRED] message numbers are not used once UIDONLY is enabled",
        _uid_only,
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
        _dear,
    ),
    read(
        b"ESEARCH IN (PERSONAL) SEEN DRAFT",
        b"NO [LIMIT] too many search keys for so many messages",
        _judged,
    ),
)
