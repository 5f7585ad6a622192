"""Header values as people read them: encoded words (RFC 2047), parameters (RFC 2231), charsets.

For show and search only. What comes out is never parsed again, never compared with an address, and what is shown holds
no control character (security.md rows 64, 66).
"""

from __future__ import annotations

import binascii
import re

from message import charset, parameters
from message.parameters import Pairs

# RFC 2047 2: =?charset[*language]?encoding?encoded-text?= ; blanks inside, though forbidden, are common in Q words.
_WORD = re.compile(r"=\?([^?*\s]{1,40})(?:\*[^?\s]{0,40})?\?([bBqQ])\?([^?]*)\?=")
_LONGEST = 64 * 1024  # characters of one value that are decoded; the bound of a whole field


def words(value: bytes) -> str:
    """A header value with its encoded words decoded, one line, blanks folded. Never raises.

    Blanks between two encoded words vanish (RFC 2047 6.2); neighbours of one charset are joined before they are
    decoded, because senders do split characters.
    """
    if (
        value.isascii()
        and len(value) < _LONGEST
        and (text := value.decode("ascii")).isprintable()
        and "=?" not in text
        and "  " not in text
        and text == text.strip()
    ):
        return text  # mostly
    return charset.shown(unfolded(value))


def unfolded(value: bytes) -> str:
    """The same with every blank and control it has: to be searched, never shown."""
    return _decoded(charset.guess(value[:_LONGEST]))


def _decoded(text: str) -> str:
    if "=?" not in text:
        return text
    out: list[str] = []
    name, held = "", b""
    position = 0
    for match in _WORD.finditer(text):
        between = text[position : match.start()]
        octets = _octets(match[2], match[3])
        if between.strip() or match[1].lower() != name:
            out.append(charset.decode(held, name))
            held = b""
        if between.strip() or not name:
            out.append(between)
        name, held, position = match[1].lower(), held + octets, match.end()
    out += [charset.decode(held, name), text[position:]]
    return "".join(out)


def _octets(encoding: str, text: str) -> bytes:
    """The octets of one encoded word; a broken one gives what it can."""
    raw = text.encode("utf-8", "replace")
    if encoding in "qQ":
        return binascii.a2b_qp(raw.replace(b"_", b" ").replace(b"\r", b"").replace(b"\n", b""), header=False)
    data = raw.translate(None, b" \t\r\n=")
    if len(data) % 4 == 1:
        data = data[:-1]
    try:
        return binascii.a2b_base64(data + b"=" * (-len(data) % 4))
    except binascii.Error:
        return b""


def filename(disposition: Pairs, content_type: Pairs) -> str:
    """The name of an attachment for show, "" if none: Content-Disposition's before Content-Type's. Never a path to
    open (security.md row 69): what looks like one is shown as it is, controls and direction overrides gone."""
    for pairs, key in ((disposition, "filename"), (content_type, "name")):
        if value := parameters.decoded(pairs).get(key):
            return words(value.encode("utf-8", "replace"))[:255]
    return ""
