"""Messages and header fields of our own making (RFC 5322 3, RFC 2047, RFC 2045 6.7).

A value with a control character is refused, not repaired: it reached us through an interface that should have refused
it (security.md row 66). Everything else becomes ASCII, folded at 76 columns.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence

from core.address import Address
from core.errors import InvalidError
from core.frozen import dataclass
from core.ids import Ids
from message import dates

_WIDTH = 76
_WORD_OCTETS = 36  # of UTF-8 in one encoded word: with its frame 60 characters, so that "Subject: " fits before it
_NAME = re.compile(r"[!-9;-~]+")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# RFC 5322 3.2.3 atext and blanks: a display name of these needs no quotes.
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~ ]+")


@dataclass(frozen=True, slots=True)
class Person:
    """An address with the name shown beside it, "" for none."""

    address: Address
    name: str = ""


def field(name: str, text: str) -> bytes:
    """An unstructured field with its CRLF. Raises `InvalidError` for a control character."""
    return _assemble(name, _words(_checked(text)))


def raw_field(name: str, value: str) -> bytes:
    """A structured field whose value is ready (a media type, a list of ids): folded at blanks, never encoded."""
    if not value.isascii():
        raise InvalidError("this header value must be ASCII", code="not-ascii", header=name)
    return _assemble(name, _checked(value).split(" "))


def people(name: str, persons: Iterable[Person]) -> bytes:
    """From, To, Cc: one field; addresses are never encoded (RFC 2047 5). Raises `InvalidError`."""
    words: list[str] = []
    for person in persons:
        if words:
            words[-1] += ","
        words += _person(person)
    return _assemble(name, words)


def date(now: float, zone: int = 0) -> bytes:
    """`now` Unix seconds, `zone` minutes east."""
    return raw_field("Date", dates.format_date(now, zone))


def new_message_id(ids: Ids, hostname: str) -> str:
    """Without brackets; unique by its random half, and tells nobody anything about the sender."""
    return f"{ids.object_id()}@{hostname}"


def message_id(ids: Ids, hostname: str) -> bytes:
    return raw_field("Message-ID", f"<{new_message_id(ids, hostname)}>")


def text_message(
    *,
    sender: Person,
    recipients: Sequence[Person],
    subject: str,
    text: str,
    now: float,
    message_id: str,
    extra: Sequence[bytes] = (),
    eight_bit: bool = False,
) -> bytes:
    """A plain text message in UTF-8, quoted-printable unless `eight_bit`. `message_id` without brackets; `extra` are
    whole fields with their CRLF (made by `field`). Raises `InvalidError` for a control character in a header value."""
    body = _lines(text)
    encoding = "8bit" if eight_bit and all(len(line) <= 998 for line in body.split(b"\r\n")) else "quoted-printable"
    return b"".join(
        (
            people("From", [sender]),
            people("To", recipients),
            field("Subject", subject),
            date(now),
            raw_field("Message-ID", f"<{message_id}>"),
            *extra,
            raw_field("MIME-Version", "1.0"),
            raw_field("Content-Type", "text/plain; charset=utf-8"),
            raw_field("Content-Transfer-Encoding", encoding),
            b"\r\n",
            body if encoding == "8bit" else quoted_printable(body),
        )
    )


def quoted_printable(body: bytes) -> bytes:
    """CRLF text as quoted-printable; a "From " or a dot at a line start is escaped so that no relay touches it."""
    encoded = binascii.b2a_qp(body.replace(b"\r\n", b"\n"), istext=True).replace(b"\n", b"\r\n")
    return re.sub(rb"(?m)^(\.|F(?=rom ))", lambda match: b"=%02X" % match[0][0], encoded)


def text_body(text: str) -> bytes:
    """Text as a quoted-printable body with CRLF lines."""
    return quoted_printable(_lines(text))


def _lines(text: str) -> bytes:
    """UTF-8 with CRLF line ends and a final one; other controls than tab become blanks."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")
    clean = [_CONTROL.sub(" ", line.replace("\t", "    ")) for line in lines]
    return ("\r\n".join(clean) + "\r\n").encode()


def _checked(text: str) -> str:
    if _CONTROL.search(text):
        raise InvalidError("a header value must not contain control characters", code="control-character")
    return text


def _person(person: Person) -> list[str]:
    name = _checked(person.name).strip()
    address = f"<{person.address}>" if name else str(person.address)
    if not name:
        return [address]
    if not name.isascii() or "=?" in name:
        return [*_encoded(name), address]
    if _ATOMS.fullmatch(name):
        return [*name.split(), address]
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return [f'"{quoted}"', address]


def _words(text: str) -> list[str]:
    """Words to be joined by one blank each: as they are, or encoded from the first to the last that needs it."""
    words = text.split(" ")
    needy = [index for index, word in enumerate(words) if not word.isascii() or "=?" in word or len(word) > 500]
    if not needy:
        return words
    first, last = needy[0], needy[-1] + 1
    return [*words[:first], *_encoded(" ".join(words[first:last])), *words[last:]]


def _encoded(text: str) -> list[str]:
    """Encoded words, each of whole characters (RFC 2047 5)."""
    words, chunk = [], b""
    for character in text:
        octets = character.encode("utf-8")
        if len(chunk) + len(octets) > _WORD_OCTETS:
            words.append(chunk)
            chunk = b""
        chunk += octets
    return [f"=?utf-8?b?{base64.b64encode(word).decode()}?=" for word in [*words, chunk]]


def _assemble(name: str, words: Sequence[str]) -> bytes:
    """Fold before the word that would pass the width (RFC 2047 2: 76 columns where encoded words are); a fold never
    makes a line of blanks only (RFC 5322 3.2.2), and right after the name only an encoded word is worth one."""
    if not _NAME.fullmatch(name):
        raise InvalidError("malformed header name", code="header-name")
    lines, line = [], f"{name}:"
    for word in words:
        first = line == f"{name}:" and not word.startswith("=?")
        if len(line) + 1 + len(word) > _WIDTH and line.strip() and word and not first:
            lines.append(line)
            line = ""
        line += f" {word}"
    return "\r\n".join([*lines, line]).encode() + b"\r\n"
