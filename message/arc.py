"""The Authenticated Received Chain of a message as a structure: which fields make which set (RFC 8617 4, 5.2, 1-3).

Verifier and sealer share it. Knows fields and their i= only: no keys, no signatures, no opinion.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from message.canonical import relaxed_field
from message.header import Field, Head
from message.taglist import TagListError, parse

MAX_SETS = 50  # RFC 8617 5.1: instances run from 1 to 50
RESULTS, SIGNATURE, SEAL = b"arc-authentication-results", b"arc-message-signature", b"arc-seal"
NAMES = (RESULTS, SIGNATURE, SEAL)

# RFC 8617 4.1.1: the instance stands first, whatever follows it is an Authentication-Results value.
_INSTANCE = re.compile(rb"[ \t\r\n]*i[ \t\r\n]*=[ \t\r\n]*([0-9]{1,3})[ \t\r\n]*;")
_SEAL_B = re.compile(rb"((?:\A|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*")


class ChainError(ValueError):
    """The fields make no chain; the text is the reason word."""


@dataclass(frozen=True, slots=True)
class ArcSet:
    """What one sealer added."""

    instance: int
    results: Field
    signature: Field
    seal: Field


def chain(head: Head) -> tuple[ArcSet, ...]:
    """The sets from 1 upwards, each whole, none missing; empty without any. Raises `ChainError`."""
    found: dict[int, dict[bytes, Field]] = {}
    for field in head.fields:
        if field.name in NAMES:
            fields = found.setdefault(_instance(field), {})
            if field.name in fields:
                raise ChainError("duplicate-set")
            fields[field.name] = field
    if len(found) > MAX_SETS:
        raise ChainError("too-many-sets")
    if sorted(found) != list(range(1, len(found) + 1)):
        raise ChainError("gap-in-chain")
    if any(len(fields) != len(NAMES) for fields in found.values()):
        raise ChainError("incomplete-set")
    return tuple(
        ArcSet(number, found[number][RESULTS], found[number][SIGNATURE], found[number][SEAL])
        for number in sorted(found)
    )


def _instance(field: Field) -> int:
    if field.name == RESULTS:
        match = _INSTANCE.match(field.body)
        text = match[1].decode("ascii") if match else ""
    else:
        try:
            text = parse(field.body).get("i", "")
        except TagListError as error:
            raise ChainError("malformed-field") from error
    if not text.isascii() or not text.isdigit() or len(text) > 3 or not 1 <= int(text) <= MAX_SETS:
        raise ChainError("bad-instance")
    return int(text)


def claims(item: ArcSet) -> bytes:
    """The value of the results field without its instance: what `Authentication-Results` would hold."""
    return _INSTANCE.sub(b"", item.results.body, count=1)


def sealed_octets(before: Sequence[ArcSet], results: bytes, signature: bytes, seal: bytes) -> bytes:
    """What the seal of a set signs: the sets before it and its own three fields, each in relaxed form, the seal last,
    without b= and without its CRLF (RFC 8617 5.1.1)."""
    fields = [field.raw for item in before for field in (item.results, item.signature, item.seal)]
    name, colon, value = seal.partition(b":")
    own = name + colon + _SEAL_B.sub(rb"\1", value.removesuffix(b"\r\n"), count=1)
    whole = b"".join(relaxed_field(raw) for raw in (*fields, results, signature))
    return whole + relaxed_field(own).removesuffix(b"\r\n")
