"""resp-text: the codes of RFC 9051 7.1, of RFC 3501 and of the extensions. Each one that is sent is registered."""

from __future__ import annotations

import re

from tests.imap.syntax.items import Read, flag_perm, object_id
from tests.imap.syntax.terminals import Cursor

_REST = re.compile(rb"[^\]\r\n\0]+")
_PLAIN = (
    b"ALERT ALREADYEXISTS AUTHENTICATIONFAILED AUTHORIZATIONFAILED CANNOT CLIENTBUG CLOSED CONTACTADMIN CORRUPTION "
    b"EXPIRED EXPUNGEISSUED HASCHILDREN INUSE LIMIT NONEXISTENT NOPERM NOTSAVED OVERQUOTA PARSE PRIVACYREQUIRED "
    b"READ-ONLY READ-WRITE SERVERBUG TRYCREATE UIDNOTSTICKY UNAVAILABLE UNKNOWN-CTE "  # RFC 9051 7.1
    b"COMPRESSIONACTIVE NOMODSEQ NOTIFICATIONOVERFLOW TOOBIG TOOFEW TOOMANY UIDREQUIRED USEATTR"  # of the extensions
)


def capabilities(at: Cursor) -> None:
    names: list[bytes] = []
    while at.takes(b" "):
        names.append(at.atom())
    if len(set(names)) < len(names) or not {b"IMAP4REV1", b"IMAP4REV2"} <= set(names):
        raise at.fail("both revisions, and each capability once")


def _charsets(at: Cursor) -> None:
    if at.takes(b" "):
        at.listed(Cursor.astring, least=1)


def _permanent(at: Cursor) -> None:
    at.spaced(lambda inner: inner.listed(flag_perm))


def _metadata(at: Cursor) -> None:
    """RFC 5464 5"""
    at.needs(b" ")
    if at.takes(b"LONGENTRIES ") or at.takes(b"MAXSIZE "):
        at.number()
    elif not (at.takes(b"TOOMANY") or at.takes(b"NOPRIVATE")):
        raise at.fail("a code of METADATA")


def _message_limit(at: Cursor) -> None:
    """SP nz-number [SP uniqueid] (RFC 9738 6)"""
    at.spaced(Cursor.nz_number)
    if at.takes(b" "):
        at.nz_number()


def _progress(at: Cursor) -> None:
    """[SP "(" (quoted / nil) SP (number / nil) SP (nz-number / nil) ")"] (RFC 9585 5)"""
    if at.takes(b" "):
        at.needs(b"(")
        at.nil() or at.quoted()
        at.spaced(lambda inner: inner.nil() or inner.number(), lambda inner: inner.nil() or inner.nz_number())
        at.needs(b")")


def _spaced(*reads: Read) -> Read:
    return lambda at: at.spaced(*reads)


CODES: dict[bytes, Read] = {
    **dict.fromkeys(_PLAIN.split(), lambda at: None),
    b"APPENDUID": _spaced(Cursor.nz_number, Cursor.numbers),
    b"BADCHARSET": _charsets,
    b"BADEVENT": _spaced(lambda at: at.listed(Cursor.atom, least=1)),  # RFC 5465 8
    b"BADURL": _spaced(lambda at: at.match(_REST, "url-resp-text")),  # RFC 4469 5
    b"CAPABILITY": capabilities,
    b"COPYUID": _spaced(Cursor.nz_number, Cursor.numbers, Cursor.numbers),
    b"HIGHESTMODSEQ": _spaced(Cursor.mod_sequence),  # RFC 7162 7
    b"INPROGRESS": _progress,
    b"MAILBOXID": _spaced(object_id),  # RFC 8474 7
    b"MESSAGELIMIT": _message_limit,
    b"METADATA": _metadata,
    b"MODIFIED": _spaced(Cursor.numbers),  # RFC 7162 7
    b"NOUPDATE": _spaced(Cursor.quoted),  # RFC 5267 4.3
    b"PERMANENTFLAGS": _permanent,
    b"UIDNEXT": _spaced(Cursor.nz_number),
    b"UIDVALIDITY": _spaced(Cursor.nz_number),
    b"UNSEEN": _spaced(Cursor.nz_number),
}


def status(at: Cursor) -> None:
    """resp-text = ["[" resp-text-code "]" SP] text"""
    if at.takes(b"["):
        name = at.atom()
        if name not in CODES or (name == b"UNSEEN" and at.mode.rev2):  # RFC 9051 appendix E
            raise at.fail(f"a code that is registered instead of {name!r}")
        CODES[name](at)
        at.needs(b"] ")
    at.text()
