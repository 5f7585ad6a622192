"""The header of a message that our people submit, in the form in which it may leave (RFC 6409 8, RFC 5322 3.6, 2.1.1).

What is there twice with two meanings is refused; what tells of the sender's own network goes; a Date or Message-ID that
is none goes, too, and is made anew; 8-bit text without SMTPUTF8 is encoded (RFC 2047, RFC 2231) and long lines are
folded, or the message is refused with a named reason. Pure. Runs before the signature.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import quote

from core.address import AddressError
from core.config import Limits
from core.errors import InvalidError
from core.status import Status, refused
from message import address_list, charset, compose, dates, decode
from message.address_list import Kind
from message.header import Field, Head, split
from message.lines import TEXT_LINE

# RFC 5322 3.6: at most one of each (From and Sender have their own check, Bcc goes).
ONCE = {
    b"date": "Date",
    b"reply-to": "Reply-To",
    b"to": "To",
    b"cc": "Cc",
    b"message-id": "Message-ID",
    b"in-reply-to": "In-Reply-To",
    b"references": "References",
    b"subject": "Subject",
    b"content-type": "Content-Type",
    b"content-transfer-encoding": "Content-Transfer-Encoding",
    b"mime-version": "MIME-Version",
}
_ONE_ONLY = {**ONCE, b"sender": "Sender"}  # a second From is refused
_ADDRESSES = frozenset((b"from", b"sender", b"reply-to", b"to", b"cc", b"resent-from", b"resent-to", b"resent-cc"))
# Never free text, so that nothing in them can be encoded.
_STRUCTURED = frozenset((*ONCE, b"received", b"resent-date", b"resent-message-id", b"dkim-signature")) - {b"subject"}
_PARAMETERS = frozenset((b"content-type", b"content-disposition"))

UNQUALIFIED = refused("an address in the header has an incomplete domain", "unqualified-domain", "5.6.0", 554)
EIGHT_BIT = refused("8-bit text in a header field that cannot be encoded, and no SMTPUTF8", "8bit-header", "5.6.7")
LONG_FIELD = refused("a header line is longer than 998 octets and cannot be folded", "header-line-too-long", "5.6.0")

_MESSAGE_ID = re.compile(rb"<[^<>\s]+>")
_LITERAL = re.compile(rb"\[(?:IPv6:)?([0-9A-Fa-f.:]{2,45})\]")
# name=value of a MIME parameter whose value has octets beyond ASCII
_PARAMETER = re.compile(rb'([A-Za-z0-9-]+)[ \t]*=[ \t]*(?:"((?:[^"\\\r\n]|\\.)*)"|([^\s;"]+))')


def clean(head: Head, limits: Limits, *, smtputf8: bool) -> Head | Status:
    """The header block as it leaves; `head` itself when there is nothing to do."""
    once = _once(head)
    if isinstance(once, Status):
        return once
    kept = once.without(_goes)
    raw = bytes(kept)
    eight_bit = not smtputf8 and not raw.isascii()
    if not eight_bit and not _has_long_line(raw):
        return kept
    return _rewritten(kept, limits, eight_bit=eight_bit)


def unqualified(head: Head, limits: Limits, routed: Callable[[str], bool]) -> Status | None:
    """RFC 6409 4.2: who adds to a header answers for its domains. A single label is whole where it has a route of the
    operator's; what is no address at all is left to those who read it."""
    for field in head.fields:
        if field.name not in _ADDRESSES:
            continue
        for entry in address_list.parse(field.value, limits):
            try:
                domain = address_list.to_address(entry).domain
            except AddressError:
                continue
            if "." not in domain and not routed(domain):
                return UNQUALIFIED
    return None


def contradicted(head: Head) -> list[str]:
    """The fields that may stand once and stand there with two values, as they are written ("Subject")."""
    if len(head.named) == len(head.fields):  # nothing stands twice
        return []
    names = [field.name for field in head.fields if field.name in _ONE_ONLY]
    if len(set(names)) == len(names):
        return []
    return [shown for name, shown in _ONE_ONLY.items() if len({field.value for field in head.all(name)}) > 1]


def _once(head: Head) -> Head | Status:
    """Programs that say the same thing twice are forgiven (the first stays); who says two things is refused, for one
    reader would see the one and another the other."""
    seen = Counter(field.name for field in head.fields)
    for name, shown in ONCE.items():
        if seen[name] > 1:
            if len({field.value for field in head.all(name)}) > 1:
                return refused(f"message has more than one {shown} field", "repeated-field", "5.6.0")
            head = _without_copies(head, name)
    return head


def _without_copies(head: Head, name: bytes) -> Head:
    first = head.first(name)
    return head.without(lambda field: field.name == name and field is not first)


def _rewritten(head: Head, limits: Limits, *, eight_bit: bool) -> Head | Status:
    out = []
    for field in head.fields:
        raw = field.raw if not eight_bit or field.raw.isascii() else _encoded(field, limits)
        if raw is None:
            return EIGHT_BIT
        folded = _folded(raw) if _has_long_line(raw) else raw
        if folded is None:
            return LONG_FIELD
        out.append(folded)
    return split(b"".join(out) + head.rest, limits)


def _goes(field: Field) -> bool:
    if field.name == b"date":
        return dates.parse(field.value) is None
    if field.name == b"message-id":
        return not _MESSAGE_ID.fullmatch(field.value)
    return field.name == b"x-originating-ip" or (field.name == b"received" and _inside(field.value))


def _inside(value: bytes) -> bool:
    """A hop within the sender's own network: nobody else's business, and no trace that anybody could follow."""
    for match in _LITERAL.finditer(value):
        try:
            if not ip_address(match[1].decode("ascii")).is_global:
                return True
        except ValueError:
            continue
    return False


def _encoded(field: Field, limits: Limits) -> bytes | None:
    """The field in ASCII, None when that cannot be done without guessing."""
    if not field.name:  # no field at all: nobody knows what is in it
        return None
    name = field.raw[: field.colon - 1].decode("ascii").strip()
    try:
        if field.name in _ADDRESSES:
            return _people(name, field, limits)
        if field.name in _PARAMETERS:
            return _with_parameters(field)
        if field.name in _STRUCTURED:
            return None
        return compose.field(name, decode.words(field.value).replace("\t", " "))
    except (AddressError, InvalidError):
        return None


def _people(name: str, field: Field, limits: Limits) -> bytes | None:
    """Addresses stay as they are, the names beside them are encoded (RFC 2047 5)."""
    entries = address_list.parse(field.value, limits)
    if len(entries) >= limits.addresses_per_field or any(
        entry.kind is not Kind.ADDRESS or not entry.sound for entry in entries
    ):
        return None
    people = [compose.Person(address_list.to_address(entry), decode.words(entry.name or b"")) for entry in entries]
    return compose.people(name, people) if all(person.address.ascii for person in people) else None


def _with_parameters(field: Field) -> bytes | None:
    """RFC 2231 4: a parameter beyond ASCII is written with its charset."""

    def written(match: re.Match[bytes]) -> bytes:
        value = match[3] if match[2] is None else re.sub(rb"\\(.)", rb"\1", match[2])
        if value.isascii():
            return match[0]
        return match[1] + b"*=utf-8''" + quote(charset.guess(value), safe="").encode("ascii")

    raw = _PARAMETER.sub(written, field.raw)
    return raw if raw.isascii() else None


def _has_long_line(raw: bytes) -> bool:
    return len(raw) > TEXT_LINE and any(len(line) > TEXT_LINE for line in raw.split(b"\r\n"))


def _folded(raw: bytes) -> bytes | None:
    """RFC 5322 2.2.3: a CRLF before white space that is there; None where there is none in time."""
    lines = []
    for whole in raw.removesuffix(b"\r\n").split(b"\r\n"):
        line = whole
        while len(line) > TEXT_LINE:
            # Never before the first octets that are no white space: a line of blanks only would end the header.
            begin = len(line) - len(line.lstrip(b" \t")) + 1
            at = max(line.rfind(b" ", begin, TEXT_LINE), line.rfind(b"\t", begin, TEXT_LINE))
            if at < 0 or not line[at:].strip(b" \t"):
                return None
            lines.append(line[:at])
            line = line[at:]
        lines.append(line)
    return b"\r\n".join(lines) + b"\r\n"
