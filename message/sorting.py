"""What SORT, THREAD and the search in addresses and subjects need of a message, made once from its header block.

Knows RFC 5256 2.2 and 3 (base subject, addr-mailbox of the first address, references), RFC 5957 3 (display names).
Refuses to know dates, which the index has anyway, and how messages are ordered (`message.threading`, `store.sort`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from core.config import Limits
from core.frozen import dataclass
from message import decode, subject
from message.address_list import KNOWN, PLAIN, SHORT, Entry, Kind, parse, plain_entry
from message.collation import casemap, one_line, searchable
from message.header import LIMITS, Head
from message.parameters import unquote

_PEOPLE = (b"from", b"to", b"cc", b"bcc")
_ANSWERED = frozenset((b"references", b"in-reply-to"))
SEARCHED = (*_PEOPLE, b"subject")  # the lines of `SortKeys.fields`
# RFC 5322 3.6.4: msg-id = "<" id-left "@" id-right ">"; a quoted left part may hold nearly anything.
_ID = re.compile(rb'<((?:"(?:[^"\\\r\n]|\\.){0,900}"|[^<>@\s"]{1,900})@[^<>\s]{1,900})>')
_UNTIDY = re.compile(rb"[(\\]|\s[@.]|[@.]\s")  # a value whose addresses may not stand in it letter for letter
MAX_PARENTS = 100  # of very many references the first and the latest: that is where threads meet
_ID_OCTETS = 8


@dataclass(frozen=True, slots=True)
class SortKeys:
    """`subject` the base subject, `reply` whether something that says reply or forward was taken off (RFC 5256 2.1);
    `sender`, `recipient`, `copied` the addr-mailbox of the first From, To, Cc address, `shown_sender`,
    `shown_recipient` what RFC 5957 shows of it; all five are `casemap` forms. `fields`: one line for each of
    `SEARCHED`: "" without such a field, else each value in `searchable` form after a "\\r". `message`, `parents`:
    eight-octet hashes of the Message-ID (0: none that is valid) and, joined, of the references, eldest first."""

    subject: str = ""
    reply: bool = False
    sender: str = ""
    recipient: str = ""
    copied: str = ""
    shown_sender: str = ""
    shown_recipient: str = ""
    fields: str = "\n\n\n\n"
    message: int = 0
    parents: bytes = b""


def keys(head: Head, limits: Limits = LIMITS) -> SortKeys:
    """Linear in the header block; never raises."""
    subjects = [decode.words(value) for value in head.values(b"subject")]
    about = subject.parse(subjects[0] if subjects else "")
    there = head.named
    people = [_people(head.values(name), limits) if name in there else _NOBODY for name in _PEOPLE]
    sender, recipient, copied, blind = people
    return SortKeys(
        subject=casemap(about.base),
        reply=about.reply,
        sender=sender.mailbox,
        recipient=recipient.mailbox,
        copied=copied.mailbox,
        shown_sender=sender.shown,
        shown_recipient=recipient.shown,
        fields="\n".join((sender.line, recipient.line, copied.line, blind.line, _lines(map(searchable, subjects)))),
        message=next(iter(_ids(head.values(b"message-id")[:1])), 0),
        parents=b"" if head.lacks(_ANSWERED) else _packed(_parents(head)),
    )


def found(fields: str, name: bytes, pattern: str) -> bool:
    """Whether the line of `name` (one of `SEARCHED`) holds `pattern`, given as `wanted` makes it; an empty pattern asks
    whether there is such a field (RFC 9051 6.4.4: HEADER)."""
    line = fields.split("\n")[SEARCHED.index(name)]
    return pattern in line and bool(line)


def wanted(pattern: str) -> str:
    """A pattern in the form of `SortKeys.fields`."""
    return searchable(one_line(pattern))


def texts(value: bytes, *, addresses: bool, most: int = LIMITS.addresses_per_field) -> list[str]:
    """What is searched of a value: itself, and of `addresses` each that is written with comments or blanks inside as
    ENVELOPE tells it, for RFC 9051 6.4.4 searches "the envelope structure's" field; `most` of one value."""
    found = [decode.words(value)]
    if addresses and _UNTIDY.search(value):
        found += [_written(entry) for entry in parse(value, room=most) if entry.kind is Kind.ADDRESS]
    return found


def _addresses(values: Sequence[bytes], most: int) -> str:
    forms = []
    for value in values:
        form, *told = map(searchable, texts(value, addresses=True, most=most))
        forms += [form, *(each for each in told if each not in form)]
    return _lines(forms)


def _lines(forms: Iterable[str]) -> str:
    return "".join(["\r" + form for form in forms])


def _written(entry: Entry) -> str:
    return f"{decode.words(entry.local or b'')}@{decode.words(entry.domain or b'')}"


class _People(NamedTuple):
    """What the fields of one name tell of people."""

    line: str = ""
    mailbox: str = ""
    shown: str = ""


def _people(values: Sequence[bytes], limits: Limits) -> _People:
    if len(values) == 1 and len(values[0]) <= SHORT:
        return _known(values[0], limits.addresses_per_field)
    return _told(values, limits.addresses_per_field)


@lru_cache(KNOWN)
def _known(value: bytes, most: int) -> _People:
    return _told((value,), most)


def _told(values: Sequence[bytes], most: int) -> _People:
    first = _first(values)
    return _People(_addresses(values, most), _mailbox(first), _shown(first))


_NOBODY = _People()


# -- addresses ---------------------------------------------------------------------------------------------------------


def _first(values: Iterable[bytes]) -> Entry | None:
    """The first address or group of these fields."""
    for value in values:
        if plain := PLAIN.match(value):
            return plain_entry(plain)
        if entries := parse(value, room=1):
            return entries[0]
    return None


def _mailbox(entry: Entry | None) -> str:
    """RFC 5256 3: addr-mailbox; of a group that is its name (RFC 9051 7.5.2)."""
    return "" if entry is None or entry.local is None else casemap(decode.words(entry.local))


def _shown(entry: Entry | None) -> str:
    """RFC 5957 3: the display name, else the address; a group's name."""
    if entry is None:
        return ""
    if entry.kind is Kind.ADDRESS and entry.name and (name := decode.words(entry.name)):
        return casemap(name)
    if entry.local is None or entry.domain is None:
        return _mailbox(entry)
    return f"{_mailbox(entry)}@{casemap(decode.words(entry.domain))}"


# -- references --------------------------------------------------------------------------------------------------------


def _parents(head: Head) -> list[int]:
    """RFC 5256 3 (REFERENCES): References, or the first valid id of In-Reply-To when it has none."""
    references = head.values(b"references")
    ids = _ids(references) or _ids(head.values(b"in-reply-to"))[:1]
    return ids if len(ids) <= MAX_PARENTS else ids[:2] + ids[2 - MAX_PARENTS :]


def _ids(values: Sequence[bytes]) -> list[int]:
    return [_hashed(match) for value in values for match in _ID.findall(value)]


def _hashed(message_id: bytes) -> int:
    """RFC 5256 2.2: ids are compared after unquoting, octet by octet. Never 0, which is no id."""
    if message_id[:1] == b'"':
        left, _, right = message_id[1:].rpartition(b'"@')
        message_id = unquote(left) + b"@" + right
    digest = hashlib.blake2b(message_id, digest_size=_ID_OCTETS).digest()
    return int.from_bytes(digest, "little", signed=True) or 1


def _packed(ids: Sequence[int]) -> bytes:
    """Little-endian signed integers: `array("q")` on the machines we run on, and the same file on any other."""
    return b"".join([number.to_bytes(_ID_OCTETS, "little", signed=True) for number in ids])
