"""BODYSTRUCTURE and BODY: the structure of a message in IMAP's wire form (RFC 9051 7.5.2 and 9).

Nesting is bounded by `limits.mime_depth`, so is the recursion here.
"""

from __future__ import annotations

from message.media import Media
from message.mime import Structure
from message.parameters import Pairs
from message.parts import Part, PartKind
from message.wire import nstring, string


def forms(structure: Structure) -> tuple[bytes, bytes]:
    """BODYSTRUCTURE, and BODY, which is the same without extension data."""
    return _forms(structure, structure.root)


def _forms(structure: Structure, part: Part) -> tuple[bytes, bytes]:
    about = structure.media[part.index]
    if part.kind is PartKind.MULTIPART:
        return _multipart(structure, part, about)
    common = b"%b %b %b %b %b %b %d" % (
        string(about.type),
        string(about.subtype),
        _parameters(_with_charset(about)),
        nstring(about.id),
        nstring(about.description),
        string(about.encoding_token or b"7bit"),
        part.octets,
    )
    extension = nstring(about.md5), _extension(about)
    if part.kind is PartKind.MESSAGE:
        inside, lines = part.children[0], structure.lines[part.index]
        common += b" " + structure.envelopes[inside.index]
        full, plain = _forms(structure, inside)
        return b"(%b %b %d %b %b)" % (common, full, lines, *extension), b"(%b %b %d)" % (common, plain, lines)
    if about.type == b"text":
        common += b" %d" % structure.lines[part.index]
    return b"(%b %b %b)" % (common, *extension), b"(%b)" % common


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
