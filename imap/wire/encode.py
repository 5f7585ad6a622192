"""Strings on the way out: quoted where it can be, literal where it must (RFC 9051 4.3). Input never breaks a line."""

from __future__ import annotations

import re

from core import utf7

MAX_QUOTED = 1000  # longer strings travel as literals: some clients read quoted ones into fixed buffers
_NEEDS_LITERAL = re.compile(rb"[\x00\r\n\x80-\xff]")
_ESCAPED = re.compile(rb'(["\\])')
_ATOM = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")

_PLAIN_NAME = re.compile(r"[!#$'+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")  # an atom without "&"


def literal(data: bytes) -> bytes:
    """NUL cannot travel in a literal (RFC 9051 4.3.1); it is shown as "?"."""
    clean = data.replace(b"\0", b"?")
    return b"{%d}\r\n%b" % (len(clean), clean)


def quoted(data: bytes) -> bytes:
    """The caller knows that `data` is 7-bit without CR, LF, NUL."""
    return b'"%b"' % _ESCAPED.sub(rb"\\\1", data)


def string(data: bytes) -> bytes:
    """string = quoted / literal"""
    return literal(data) if len(data) > MAX_QUOTED or _NEEDS_LITERAL.search(data) else quoted(data)


def nstring(data: bytes | None) -> bytes:
    """nstring = string / nil"""
    return b"NIL" if data is None else string(data)


def astring(data: bytes) -> bytes:
    """An atom where the bytes allow it; NIL is quoted, so that nobody reads it as nothing."""
    return data if _ATOM.fullmatch(data) and data.upper() != b"NIL" else string(data)


def mailbox(name: str, *, utf8: bool = False) -> bytes:
    """A mailbox name as an astring: modified UTF-7, or UTF-8 in a quoted string after ENABLE UTF8=ACCEPT."""
    if _PLAIN_NAME.fullmatch(name) and name.upper() != "NIL":  # itself in every form
        return name.encode("ascii")
    if not utf8 or name.isascii():
        return astring(name.encode("ascii") if utf8 else utf7.encode(name))
    return quoted(name.encode("utf-8"))


def quoted_mailbox(name: str, *, utf8: bool = False) -> bytes:
    """The same where the grammar wants a string (NAMESPACE, RFC 2342 5)."""
    return quoted(name.encode("utf-8") if utf8 else utf7.encode(name))


def nstring8(data: bytes | None) -> bytes:
    """nstring / literal8 (RFC 5464 5): NUL travels in the latter alone (RFC 3516 4.3)."""
    return b"~{%d}\r\n%b" % (len(data), data) if data is not None and b"\0" in data else nstring(data)


def parenthesised(items: list[bytes]) -> bytes:
    return b"(%b)" % b" ".join(items)
