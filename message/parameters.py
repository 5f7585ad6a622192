"""Structured MIME values: `token; name=value; …` with comments, quoting and continuations (RFC 2045 5.1, RFC 2231).

One regular-expression pass, no recursion, at most `limits.mime_parameters` parameters (security.md row 62).
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from core.frozen import dataclass
from message import charset

Pairs = tuple[tuple[bytes, bytes], ...]

_TOKEN = re.compile(
    rb'(?P<blank>[ \t\r\n]+)|(?P<quoted>"(?P<inner>(?:[^"\\]++|\\.)*)(?:"|\\?\Z))|(?P<special>[;=])|(?P<open>\()'
    rb'|(?P<word>[^ \t\r\n";=(]+)',
    re.DOTALL,
)
# A value as nearly all are, read at once where a test finds the grammar to say the same: one word, then pairs without
# comments, escapes and blanks around "=". Groups are not possessive here (`message.fields` says why).
_WORD = rb'[^ \t\r\n";=(]++'
_USUAL_PAIR = re.compile(rb';[ \t]*+(%b)=(?:(%b)|"([^"\\]*+)")' % (_WORD, _WORD))
_USUAL = re.compile(rb'(%b)((?:;[ \t]*+%b=(?:%b|"[^"\\]*+"))*);?[ \t]*+' % (_WORD, _WORD, _WORD))
_PAREN = re.compile(rb"[()]|\\.", re.DOTALL)
_PAIR = re.compile(rb"\\(.)", re.DOTALL)
# RFC 2231 3, 4.1: attribute [*section] [*]
_SECTION = re.compile(rb"([^*]+)(?:\*(\d{1,4}))?(\*)?")


@dataclass(frozen=True, slots=True)
class Value:
    """`head` is what stands before the first ";" without comments, blanks folded; `pairs` as they came."""

    head: bytes
    pairs: Pairs


def comment_end(data: bytes, start: int) -> int:
    """Past the ")" that closes the comment opened at `start`; the end of `data` when nothing closes it (h063)."""
    depth = 0
    for match in _PAREN.finditer(data, start):
        if match[0] == b"(":
            depth += 1
        elif match[0] == b")":
            depth -= 1
            if depth == 0:
                return match.end()
    return len(data)


def unquote(inner: bytes) -> bytes:
    """The inside of a quoted string without its quoted-pairs (RFC 5322 3.2.4)."""
    return _PAIR.sub(rb"\1", inner) if b"\\" in inner else inner


def parse(data: bytes, limit: int) -> Value:
    """Split a Content-Type or Content-Disposition value. Broken parameters are kept as far as they make sense."""
    if usual := _USUAL.fullmatch(data):
        found = _USUAL_PAIR.findall(usual[2])[:limit] if usual[2] else ()
        return Value(usual[1], tuple([(name, word or quoted) for name, word, quoted in found]))
    return _parse(data, limit)


def _parse(data: bytes, limit: int) -> Value:
    """Any value."""
    segments = _segments(data, limit)
    head = b" ".join(word for word in segments[0] if word != b"=")
    pairs = []
    for words in segments[1:]:
        if b"=" in words[1:2] and words[0] != b"=":
            pairs.append((words[0], words[2] if len(words) > 2 else b""))
    return Value(head, tuple(pairs))


def _segments(data: bytes, limit: int) -> list[list[bytes]]:
    """Words and "=" of each part between semicolons; at most `limit` parts after the first."""
    segments: list[list[bytes]] = [[]]
    position = 0
    while position < len(data):
        match = _TOKEN.match(data, position)
        if match is None:  # cannot happen for octets the classes cover; never loop on the rest
            position += 1
            continue
        position = match.end()
        kind = match.lastgroup
        if kind == "open":
            position = comment_end(data, match.start())
        elif kind == "special" and match[0] == b";":
            if len(segments) > limit:
                break
            segments.append([])
        elif kind in ("word", "special"):
            segments[-1].append(match[0])
        elif kind == "quoted":
            segments[-1].append(unquote(match["inner"]))
    return segments


def merged(pairs: Pairs) -> Pairs:
    """Continuations joined in the order of their numbers, values still encoded: name*0*=a name*1*=b > name* = ab.

    The form IMAP clients get in BODYSTRUCTURE. When only some sections are encoded (RFC 2231 4.1) the plain ones are
    percent-encoded so that the whole reads as one extended value.
    """
    if not any(b"*" in name for name, _ in pairs):
        return pairs
    out: list[tuple[bytes, bytes]] = []
    sections: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
    for name, value in pairs:
        match = _SECTION.fullmatch(name)
        if match is None or match[2] is None:
            out.append((name, value))
            continue
        key = match[1].lower()
        if key not in sections:
            out.append((match[1], b""))
        sections.setdefault(key, {}).setdefault(int(match[2]), (value, bool(match[3])))
    return tuple(_joined(name, value, sections) for name, value in out)


def _joined(name: bytes, value: bytes, sections: dict[bytes, dict[int, tuple[bytes, bool]]]) -> tuple[bytes, bytes]:
    parts = sections.get(name.lower())
    if value or parts is None:
        return name, value
    ordered: list[tuple[bytes, bool]] = []
    while (part := parts.get(len(ordered))) is not None:
        ordered.append(part)
    if not any(extended for _, extended in ordered):
        return name, b"".join(text for text, _ in ordered)
    text = b"".join(value if extended else _percent(value) for value, extended in ordered)
    return name + b"*", text if ordered[0][1] else b"''" + text


def _percent(value: bytes) -> bytes:
    return b"".join(b"%%%02X" % octet if octet in b"%' *\"\\" or octet > 126 else bytes((octet,)) for octet in value)


def decoded(pairs: Pairs) -> dict[str, str]:
    """Parameters as text: names lower case, first of a name wins, an extended value wins over a plain one.

    RFC 2231 values are decoded; plain ones may be raw 8-bit or, against RFC 2047 5 (but commonly), encoded words:
    those are the caller's to decode for show, never here.
    """
    plain: dict[str, str] = {}
    extended: dict[str, str] = {}
    for raw, value in merged(pairs):
        name = raw.decode("ascii", "replace").lower()
        if name.endswith("*"):
            extended.setdefault(name[:-1], _extended(value))
        else:
            plain.setdefault(name, charset.guess(value))
    return plain | extended


def _extended(value: bytes) -> str:
    name, quote, rest = value.partition(b"'")
    _language, second, text = rest.partition(b"'")
    if not quote or not second:
        return charset.decode(unquote_to_bytes(value))
    return charset.decode(unquote_to_bytes(text), name.decode("ascii", "replace"))
