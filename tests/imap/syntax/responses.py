"""`check`: is this a response that a client's strict parser takes? Every test that speaks IMAP through
`tests.fakes.imap_world.Client` asks so of each response."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from tests.imap.syntax.codes import status
from tests.imap.syntax.data import DATA
from tests.imap.syntax.items import attributes
from tests.imap.syntax.terminals import Cursor, Mode, Ungrammatical

__all__ = ["Mode", "Ungrammatical", "after", "check", "split"]

_TAG = re.compile(rb"[!#$&',\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_LITERAL = re.compile(rb"\{(\d+)\}\Z")
_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\r\n")
_MESSAGE_DATA = (b" EXISTS", b" RECENT", b" EXPUNGE", b" FETCH ", b" UIDFETCH ")  # UIDFETCH: RFC 9586 3.3


def split(octets: bytes) -> Iterator[bytes]:
    """Each response with its last CRLF and the literals inside; what is not whole is not left out."""
    start = at = 0
    while start < len(octets):
        end = octets.find(b"\r\n", at)
        if end < 0:
            yield octets[start:]
            return
        literal = _LITERAL.search(octets, at, end)
        at = end + 2
        if literal:
            at += int(literal[1])
        else:
            yield octets[start:at]
            start = at


def check(response: bytes, mode: Mode) -> None:
    """One response with its CRLF. Raises `Ungrammatical`."""
    at = Cursor(response, mode)
    if at.takes(b"+ "):  # continue-req; RFC 9051 7.6
        if _BASE64.fullmatch(response, 2):
            return
        status(at)
    elif at.takes(b"* "):
        _untagged(at)
    else:
        at.match(_TAG, "a tag")
        at.needs(b" ")
        if at.atom() not in (b"OK", b"NO", b"BAD"):
            raise at.fail("resp-cond-state")
        at.spaced(status)
    at.end()


def after(response: bytes, mode: Mode) -> Mode:
    """The mode once this was said: what ENABLE enabled and LANGUAGE chose holds from the answer on."""
    words = response.upper().split()
    if words[1:2] == [b"LANGUAGE"] and len(words) == 3:
        return replace(mode, language=words[2] != b"(EN)")
    if words[1:2] != [b"ENABLED"]:
        return mode
    rev2 = mode.rev2 or b"IMAP4REV2" in words
    return replace(mode, utf8=mode.utf8 or rev2 or b"UTF8=ACCEPT" in words, rev2=rev2)


def _untagged(at: Cursor) -> None:
    if at.sees_digit():
        _message_data(at)
        return
    kind = at.atom()
    if kind in (b"OK", b"NO", b"BAD", b"PREAUTH", b"BYE"):
        at.spaced(status)
    elif kind in DATA:
        DATA[kind](at)
    else:
        raise at.fail(f"response-data instead of {kind!r}")


def _message_data(at: Cursor) -> None:
    number = at.number()
    kind = next((kind for kind in _MESSAGE_DATA if at.takes(kind)), None)
    if kind is None or (kind == b" RECENT" and at.mode.rev2):  # RFC 9051 appendix E
        raise at.fail("message-data")
    if kind not in (b" EXISTS", b" RECENT") and not number:
        raise at.fail("nz-number")
    if kind.endswith(b" "):
        attributes(at)
