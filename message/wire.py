"""Strings in the form IMAP sends them: NIL, quoted, or a literal (RFC 9051 4.3). Nothing else of IMAP.

What a message made can hold any octet; CR, LF and NUL become blanks so that one string never becomes two lines (P9).
"""

from __future__ import annotations

import re

_BREAKS = bytes.maketrans(b"\r\n\0", b"   ")
# RFC 9051 9: quoted strings carry TEXT-CHAR; other controls and 8-bit octets travel in literals.
_QUOTABLE = re.compile(rb"[\t\x20-\x7e]{0,1000}")
_PLAIN = re.compile(rb"[\t\x20!#-\[\]-~]{0,1000}")  # the same without what must be escaped
_SPECIAL = re.compile(rb'(["\\])')


def string(value: bytes) -> bytes:
    if _PLAIN.fullmatch(value):  # nearly always
        return b'"%b"' % value
    if _QUOTABLE.fullmatch(value):
        return b'"' + _SPECIAL.sub(rb"\\\1", value) + b'"'
    clean = value.translate(_BREAKS)
    if clean != value:
        return string(clean)
    return b"{%d}\r\n%b" % (len(clean), clean)


def nstring(value: bytes | None) -> bytes:
    return b"NIL" if value is None else string(value)
