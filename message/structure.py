"""BODYSTRUCTURE and BODY: the structure of a message in IMAP's wire form (RFC 9051 7.5.2 and 9).

Nesting is bounded by `limits.mime_depth`, so is the recursion here.
"""

from __future__ import annotations

import re

from message.media import PLAIN, Media
from message.mime import Structure
from message.parameters import Pairs
from message.parts import Part, PartKind
from message.wire import nstring, string

_TOKEN = re.compile(rb'\(|\)|"(?:[^"\\]|\\.)*"|\{(\d+)\}\r\n|[^ ()"{]+|\x20', re.DOTALL)
_GLOBAL = b'("message" "global" '
_FIELDS, _INSIDE = 7, 10  # elements of a part: of every one, up to its octets; with envelope, body and lines


def of_rev1(wire: bytes) -> bytes:
    """A form that `forms` made, for clients of RFC 3501: their grammar knows a message in MESSAGE/RFC822 alone, so that
    MESSAGE/GLOBAL, which came with RFC 9051, is a body-type-basic, without the envelope and the body inside."""
    if _GLOBAL not in wire:
        return wire
    kept, at = [], 0
    for start, end in _insides(wire):
        if start >= at:  # else within one that is left out
            kept.append(wire[at:start])
            at = end
    return b"".join((*kept, wire[at:]))


def _insides(wire: bytes) -> list[tuple[int, int]]:
    """Where envelope, body and lines of each MESSAGE/GLOBAL stand, in the order of their beginnings."""
    found: list[tuple[int, int]] = []
    open_lists: list[tuple[int, list[int]]] = []  # where each began, and where its elements end
    at = 0
    while at < len(wire) and (token := _TOKEN.match(wire, at)):
        at = token.end() + int(token[1] or 0)
        if token[0] == b"(":
            open_lists.append((token.start(), []))
            continue
        if token[0] == b" ":
            continue
        if token[0] == b")":
            start, ends = open_lists.pop()
            if wire.startswith(_GLOBAL, start) and _holds_message(wire, ends):
                found.append((ends[_FIELDS - 1], ends[_INSIDE - 1]))
        if open_lists:
            open_lists[-1][1].append(at)
    return sorted(found)


def _holds_message(wire: bytes, ends: list[int]) -> bool:
    """Under a transfer encoding it has no envelope: what follows its octets is no list. Parameters, languages and an
    envelope may begin with these two words as well, and have no count of octets in the seventh place."""
    if len(ends) < _INSIDE:
        return False
    octets = wire[ends[_FIELDS - 2] + 1 : ends[_FIELDS - 1]]
    return octets.isdigit() and wire.startswith(b" (", ends[_FIELDS - 1])


def forms(structure: Structure) -> tuple[bytes, bytes]:
    """BODYSTRUCTURE, and BODY, which is the same without extension data."""
    return _forms(structure, structure.root)


def _forms(structure: Structure, part: Part) -> tuple[bytes, bytes]:
    about = structure.media[part.index]
    if part.kind is PartKind.MULTIPART:
        return _multipart(structure, part, about)
    words, extension = _PLAIN if about is PLAIN else _about(about)
    common = b"%b %d" % (words, part.octets)
    if part.kind is PartKind.MESSAGE:
        inside, lines = part.children[0], structure.lines[part.index]
        common += b" " + structure.envelopes[inside.index]
        full, plain = _forms(structure, inside)
        return b"(%b %b %d %b)" % (common, full, lines, extension), b"(%b %b %d)" % (common, plain, lines)
    if about.type == b"text":
        common += b" %d" % structure.lines[part.index]
    return b"(%b %b)" % (common, extension), b"(%b)" % common


def _about(about: Media) -> tuple[bytes, bytes]:
    """The words of a part that is no multipart, and its extension data."""
    words = b"%b %b %b %b %b %b" % (
        string(about.type),
        string(about.subtype),
        _parameters(_with_charset(about)),
        nstring(about.id),
        nstring(about.description),
        string(about.encoding_token or b"7bit"),
    )
    return words, b"%b %b" % (nstring(about.md5), _extension(about))


def _multipart(structure: Structure, part: Part, about: Media) -> tuple[bytes, bytes]:
    children = [_forms(structure, child) for child in part.children]
    full, plain = (b"".join(form) for form in zip(*children, strict=True))
    subtype = string(about.subtype)
    extension = _parameters(about.parameters), _extension(about)
    return b"(%b %b %b %b)" % (full, subtype, *extension), b"(%b %b)" % (plain, subtype)


def _extension(about: Media) -> bytes:
    """body-fld-dsp SP body-fld-lang SP body-fld-loc"""
    disposition = b"NIL"
    if about.disposition is not None:
        kind, pairs = about.disposition
        disposition = b"(%b %b)" % (string(kind), _parameters(pairs))
    languages = b"(%b)" % b" ".join(map(string, about.languages)) if about.languages else b"NIL"
    return b"%b %b %b" % (disposition, languages, nstring(about.location))


def _with_charset(about: Media) -> Pairs:
    """RFC 2045 5.2: text without a charset is US-ASCII, and said to be so."""
    if about.type != b"text" or about.parameter(b"charset") is not None:
        return about.parameters
    return (*about.parameters, (b"charset", b"us-ascii"))


def _parameters(pairs: Pairs) -> bytes:
    if not pairs:
        return b"NIL"
    return b"(%b)" % b" ".join([string(name) + b" " + string(value) for name, value in pairs])


_PLAIN = _about(PLAIN)  # what most programs send
