"""Modified UTF-7 of mailbox names (RFC 3501 5.1.3, RFC 9051 A.1): one spelling per name, all others refused.

A name that decodes but would not encode back to the same bytes is a second spelling of another name; such doubles once
hid mailboxes from access checks, so they are refused on the way in and never matched (security.md row 96).
"""

from __future__ import annotations

import binascii
import re

_PRINTABLE_RUN = re.compile(r"[ -%'-~]+")  # all printable US-ASCII but "&"
_SHIFT = re.compile(rb"&([A-Za-z0-9+,]*)-")
_DIRECT = re.compile(rb"[ -%'-~]+")


class Utf7Error(ValueError):
    """The bytes are not the one modified UTF-7 spelling of a name."""


def encode(name: str) -> bytes:
    """Unicode to modified UTF-7. Raises `Utf7Error` for unpaired surrogates."""
    if _PRINTABLE_RUN.fullmatch(name):
        return name.encode("ascii")
    out = bytearray()
    position = 0
    while position < len(name):
        run = _PRINTABLE_RUN.match(name, position)
        if run:
            out += run.group().encode("ascii")
            position = run.end()
        elif name[position] == "&":
            out += b"&-"
            position += 1
        else:
            end = position
            while end < len(name) and not " " <= name[end] <= "~":
                end += 1
            out += _shift(name[position:end])
            position = end
    return bytes(out)


def _shift(text: str) -> bytes:
    try:
        raw = text.encode("utf-16-be")
    except UnicodeEncodeError as error:
        raise Utf7Error("unpaired surrogate") from error
    return b"&" + binascii.b2a_base64(raw, newline=False).rstrip(b"=").replace(b"/", b",") + b"-"


def decode(data: bytes) -> str:
    """Modified UTF-7 to Unicode. Raises `Utf7Error` for anything that `encode` would not have written, and for
    control characters (NUL among them)."""
    if _DIRECT.fullmatch(data):  # most names: nothing to decode, and no other spelling
        return data.decode("ascii")
    parts: list[str] = []
    position = 0
    while position < len(data):
        run = _DIRECT.match(data, position)
        shift = None if run else _SHIFT.match(data, position)
        if run:
            parts.append(run.group().decode("ascii"))
            position = run.end()
        elif shift:
            parts.append(_unshift(shift[1]) if shift[1] else "&")
            position = shift.end()
        else:
            raise Utf7Error("not modified UTF-7")
    name = "".join(parts)
    if any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in name):
        raise Utf7Error("control character in a name")
    if encode(name) != data:
        raise Utf7Error("not the canonical spelling")
    return name


def _unshift(text: bytes) -> str:
    try:
        raw = binascii.a2b_base64(text.replace(b",", b"/") + b"=" * (-len(text) % 4))
        return raw.decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Utf7Error("not modified UTF-7") from error
