"""Untagged data about mailboxes, searches, quotas, rights (RFC 9051 9 and the extensions)."""

from __future__ import annotations

import re

from tests.imap.syntax.codes import capabilities
from tests.imap.syntax.items import Read, flag, object_id
from tests.imap.syntax.terminals import Cursor

_SELECTABLE = {b"\\NONEXISTENT", b"\\NOSELECT", b"\\MARKED", b"\\UNMARKED"}
_CHILDREN = {b"\\HASCHILDREN", b"\\HASNOCHILDREN"}
_OTHER = {b"\\NOINFERIORS", b"\\SUBSCRIBED", b"\\REMOTE", b"\\NOACCESS"}  # \NoAccess: RFC 5465 5.9
_USES = {b"\\ALL", b"\\ARCHIVE", b"\\DRAFTS", b"\\FLAGGED", b"\\JUNK", b"\\SENT", b"\\TRASH"}  # RFC 6154 2
_RANGE = re.compile(rb"(?:[1-9]\d*:[1-9]\d*|-[1-9]\d*:-[1-9]\d*) ")  # RFC 9394 4 partial-range
_NUMBERS = rb"\d+(?::\d+)?(?:,\d+(?::\d+)?)*"
_POSITIONS = re.compile(rb"\(\d+ %b(?: \d+ %b)*\)" % (_NUMBERS, _NUMBERS))  # RFC 5267 5


def _separator(at: Cursor) -> None:
    if not at.nil() and len(at.quoted()) != 1:
        raise at.fail("a hierarchy separator")


def _extended(at: Cursor) -> None:
    """mbox-list-extended-item"""
    name = at.astring().upper()
    at.needs(b" ")
    if name == b"CHILDINFO":
        at.listed(Cursor.quoted, least=1)
    elif name == b"OLDNAME":
        at.needs(b"(")
        at.mailbox()
        at.needs(b")")
    else:
        raise at.fail(f"extended data that is defined instead of {name!r}")


def _mailbox_list(at: Cursor) -> None:
    found: list[bytes] = []

    def attribute(inner: Cursor) -> None:
        inner.needs(b"\\")
        found.append(b"\\" + inner.atom())

    at.needs(b" ")
    at.listed(attribute)
    if len(set(found)) < len(found) or len(_SELECTABLE & set(found)) > 1 or len(_CHILDREN & set(found)) > 1:
        raise at.fail("attributes that go together, each once")
    if unknown := set(found) - _SELECTABLE - _CHILDREN - _OTHER - _USES:
        raise at.fail(f"attributes that are registered instead of {unknown}")
    at.spaced(_separator, Cursor.mailbox)
    if at.takes(b" "):
        at.listed(_extended)


def _status_item(at: Cursor) -> None:
    name = at.atom()
    at.needs(b" ")
    if name not in STATUS:
        raise at.fail(f"an item of STATUS instead of {name!r}")
    STATUS[name](at)


STATUS: dict[bytes, Read] = {
    b"MESSAGES": Cursor.number,
    b"RECENT": Cursor.number,  # who asks for it in IMAP4rev2 gets it
    b"UIDNEXT": Cursor.nz_number,
    b"UIDVALIDITY": Cursor.nz_number,
    b"UNSEEN": Cursor.number,
    b"DELETED": Cursor.number,
    b"SIZE": Cursor.number64,
    b"HIGHESTMODSEQ": Cursor.mod_sequence,
    b"MAILBOXID": object_id,
    b"APPENDLIMIT": lambda at: at.nil() or at.number64(),  # RFC 7889 5
    b"DELETED-STORAGE": Cursor.number64,  # RFC 9208 5
}


def _search(at: Cursor) -> None:
    """SEARCH and SORT; `(MODSEQ n)` only behind a number (RFC 7162 7)."""
    count = 0
    while at.takes(b" "):
        if count and at.takes(b"(MODSEQ "):
            at.mod_sequence()
            at.needs(b")")
            return
        at.nz_number()
        count += 1


def _search_of_old(at: Cursor) -> None:
    if at.mode.rev2:
        raise at.fail("ESEARCH, in IMAP4rev2")  # RFC 9051 appendix E
    _search(at)


def _thread(at: Cursor) -> None:
    """thread-data = "THREAD" [SP 1*thread-list] (RFC 5256 5)"""
    if at.takes(b" "):
        _thread_lists(at, 1)


def _thread_lists(at: Cursor, least: int) -> None:
    count = 0
    while at.takes(b"("):
        if not at.sees(b"("):
            at.nz_number()
            while at.takes(b" "):
                if at.sees(b"("):
                    _thread_lists(at, 2)  # thread-nested = 2*thread-list
                    break
                at.nz_number()
        else:
            _thread_lists(at, 2)
        at.needs(b")")
        count += 1
    if count < least:
        raise at.fail(f"{least} thread-lists at least")


def _esearch(at: Cursor) -> None:
    if at.takes(b" (TAG "):
        at.astring()
        if at.takes(b" MAILBOX "):  # RFC 7377 3
            at.mailbox()
            at.needs(b" UIDVALIDITY ")
            at.nz_number()
        at.needs(b")")
    at.takes(b" UID")
    while at.takes(b" "):
        name = at.atom()
        if name not in FOUND:
            raise at.fail(f"search-return-data instead of {name!r}")
        at.spaced(FOUND[name])


def _partial(at: Cursor) -> None:
    at.needs(b"(")
    at.match(_RANGE, "partial-range")
    if not at.nil():
        at.numbers()
    at.needs(b")")


def _changes(at: Cursor) -> None:
    at.match(_POSITIONS, "positions and sets")


FOUND: dict[bytes, Read] = {
    b"MIN": Cursor.nz_number,
    b"MAX": Cursor.nz_number,
    b"COUNT": Cursor.number,
    b"ALL": Cursor.numbers,
    b"MODSEQ": Cursor.mod_sequence,
    b"PARTIAL": _partial,
    b"ADDTO": _changes,
    b"REMOVEFROM": _changes,
    b"RELEVANCY": lambda at: at.listed(lambda inner: inner.number(1, 101)),  # RFC 6203 4
}


def _batches(at: Cursor) -> None:
    """RFC 10022 3.1.3"""
    at.needs(b" (TAG ")
    at.astring()
    at.needs(b")")
    if at.takes(b" "):
        at.numbers()


def _namespaces(at: Cursor) -> None:
    if not at.nil():
        at.listed(_namespace, least=1, between=b"")


def _namespace(at: Cursor) -> None:
    at.needs(b"(")
    at.string()
    at.spaced(_separator)
    at.needs(b")")


def _id(at: Cursor) -> None:
    """id-params-list (RFC 2971 4)"""

    def pair(inner: Cursor) -> None:
        inner.string()
        inner.spaced(Cursor.nstring)

    at.needs(b" ")
    if not at.nil():
        at.listed(pair)


def _vanished(at: Cursor) -> None:
    at.takes(b" (EARLIER)")
    at.spaced(Cursor.numbers)


def _resource(at: Cursor) -> None:
    at.atom()
    at.spaced(Cursor.number64, Cursor.number64)


def _entries(at: Cursor) -> None:
    """entry-values / entry-list (RFC 5464 5)"""

    def pair(inner: Cursor) -> None:
        inner.astring()
        inner.spaced(Cursor.nstring8)

    if at.sees(b"("):
        at.listed(pair, least=1)
        return
    at.astring()
    while at.takes(b" "):
        at.astring()


def _behind_mailbox(*reads: Read, more: bool = False) -> Read:
    """SP mailbox, what belongs to it; `more`: as many astrings as come."""

    def read(at: Cursor) -> None:
        at.spaced(Cursor.mailbox, *reads)
        while more and at.takes(b" "):
            at.astring()

    return read


def _atoms(at: Cursor) -> None:
    while at.takes(b" "):
        at.atom()


DATA: dict[bytes, Read] = {
    b"CAPABILITY": capabilities,
    b"ENABLED": _atoms,
    b"FLAGS": lambda at: at.spaced(lambda inner: inner.listed(flag)),
    b"LIST": _mailbox_list,
    b"LSUB": _mailbox_list,  # answers its own command, in IMAP4rev2 too
    b"STATUS": _behind_mailbox(lambda at: at.listed(_status_item)),
    b"SEARCH": _search_of_old,
    b"SORT": _search,
    b"THREAD": _thread,
    b"ESEARCH": _esearch,
    b"UIDBATCHES": _batches,
    b"NAMESPACE": lambda at: at.spaced(_namespaces, _namespaces, _namespaces),
    b"ID": _id,
    b"VANISHED": _vanished,
    b"QUOTA": lambda at: at.spaced(Cursor.astring, lambda inner: inner.listed(_resource)),  # RFC 9208 7
    b"QUOTAROOT": _behind_mailbox(more=True),
    b"ACL": _behind_mailbox(more=True),  # RFC 4314 7
    b"MYRIGHTS": _behind_mailbox(Cursor.astring),
    b"LISTRIGHTS": _behind_mailbox(Cursor.astring, Cursor.astring, more=True),
    b"METADATA": _behind_mailbox(_entries),
    b"LANGUAGE": lambda at: at.spaced(lambda inner: inner.listed(Cursor.astring, least=1)),  # RFC 5255 5
}
