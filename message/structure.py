"""BODYSTRUCTURE and BODY: the structure of a message in IMAP's wire form (RFC 9051 7.5.2 and 9).

Nesting is bounded by `limits.mime_depth`, so is the recursion here.
"""

from __future__ import annotations

from message.media import Media
from message.mime import Structure
from message.parameters import Pairs
from message.parts import Part, PartKind
from message.wire import nstring, string


def bodystructure(structure: Structure) -> bytes:
    """With extension data."""
    return _body(structure, structure.root, extended=True)


def body(structure: Structure) -> bytes:
    """Without: the answer to FETCH BODY."""
    return _body(structure, structure.root, extended=False)


def _body(structure: Structure, part: Part, *, extended: bool) -> bytes:
    about = structure.media[part.index]
    if part.kind is PartKind.MULTIPART:
        return _multipart(structure, part, about, extended=extended)
    fields = [
        string(about.type),
        string(about.subtype),
        _parameters(_with_charset(about)),
        nstring(about.id),
        nstring(about.description),
        string(about.encoding_token or b"7bit"),
        b"%d" % part.octets,
    ]
    if part.kind is PartKind.MESSAGE:
        inside = part.children[0]
        fields += [
            structure.envelopes[inside.index],
            _body(structure, inside, extended=extended),
            b"%d" % structure.lines[part.index],
        ]
    elif about.type == b"text":
        fields.append(b"%d" % structure.lines[part.index])
    if extended:
        fields += [nstring(about.md5), *_extension(about)]
    return b"(%b)" % b" ".join(fields)


def _multipart(structure: Structure, part: Part, about: Media, *, extended: bool) -> bytes:
    children = b"".join(_body(structure, child, extended=extended) for child in part.children)
    fields = [children + b" " + string(about.subtype)]
    if extended:
        fields += [_parameters(about.parameters), *_extension(about)]
    return b"(%b)" % b" ".join(fields)


def _extension(about: Media) -> list[bytes]:
    """body-fld-dsp SP body-fld-lang SP body-fld-loc"""
    disposition = b"NIL"
    if about.disposition is not None:
        kind, pairs = about.disposition
        disposition = b"(%b %b)" % (string(kind), _parameters(pairs))
    languages = b"(%b)" % b" ".join(map(string, about.languages)) if about.languages else b"NIL"
    return [disposition, languages, nstring(about.location)]


def _with_charset(about: Media) -> Pairs:
    """RFC 2045 5.2: text without a charset is US-ASCII, and said to be so."""
    if about.type != b"text" or about.parameter(b"charset") is not None:
        return about.parameters
    return (*about.parameters, (b"charset", b"us-ascii"))


def _parameters(pairs: Pairs) -> bytes:
    if not pairs:
        return b"NIL"
    return b"(%b)" % b" ".join(string(name) + b" " + string(value) for name, value in pairs)
