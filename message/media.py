"""What a part says about itself in its Content- fields (RFC 2045 5-8, RFC 2183, RFC 2557, RFC 3282, RFC 1864)."""

from __future__ import annotations

import re

from core.frozen import dataclass
from message import parameters
from message.header import Head
from message.parameters import Pairs
from message.transfer import NAMES, Encoding, encoding

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`{|}~0-9A-Za-z]+")
_FIELDS = frozenset(
    (b"content-type", b"content-transfer-encoding", b"content-id", b"content-description", b"content-md5",
     b"content-disposition", b"content-language", b"content-location")
)  # fmt: skip
_LANGUAGES = 50  # language tags kept of one field
_LONGEST = 4096  # octets kept of one value: more serves nobody and would swell the index


@dataclass(frozen=True, slots=True)
class Media:
    """`type`, `subtype`, `encoding_token` lower case; parameters raw with continuations joined; None where absent.
    `disposition` is (type lower case, parameters)."""

    type: bytes = b"text"
    subtype: bytes = b"plain"
    parameters: Pairs = ()
    encoding_token: bytes = b""
    id: bytes | None = None
    description: bytes | None = None
    md5: bytes | None = None
    disposition: tuple[bytes, Pairs] | None = None
    languages: tuple[bytes, ...] = ()
    location: bytes | None = None

    @property
    def encoding(self) -> Encoding:
        return encoding(self.encoding_token)

    def parameter(self, name: bytes) -> bytes | None:
        for key, value in self.parameters:
            if key.lower() == name:
                return value
        return None

    def is_message(self) -> bool:
        """RFC 9051 7.5.2 media-message: rfc822 and global."""
        return self.type == b"message" and self.subtype in (b"rfc822", b"global")


PLAIN = Media()
DIGEST = Media(b"message", b"rfc822")  # what a part of multipart/digest is when it does not say (RFC 2046 5.1.5)
OPAQUE = Media(b"application", b"octet-stream")


def read(head: Head, most: int, default: Media = PLAIN) -> Media:
    """The media of one header block, `most` parameters of a field; the first field of each name counts. A Content-Type
    that does not parse is the default of RFC 2045 5.2, text/plain. `default` knows its type and nothing else."""
    if head.lacks(_FIELDS):
        return default
    kind, subtype, pairs = _content_type(head.value(b"content-type"), most, default)
    return Media(
        kind,
        subtype,
        pairs,
        _encoding_token(head.value(b"content-transfer-encoding")),
        _cut(head.value(b"content-id")),
        _cut(head.value(b"content-description")),
        _cut(head.value(b"content-md5")),
        _disposition(head.value(b"content-disposition"), most),
        _languages(head.value(b"content-language")),
        _cut(head.value(b"content-location")),
    )


def _content_type(value: bytes | None, most: int, default: Media) -> tuple[bytes, bytes, Pairs]:
    if value is None:
        return default.type, default.subtype, ()
    parsed = parameters.parse(value, most)
    kind, slash, subtype = parsed.head.replace(b" ", b"").lower().partition(b"/")
    if not slash or not _TOKEN.fullmatch(kind) or not _TOKEN.fullmatch(subtype):
        return PLAIN.type, PLAIN.subtype, ()
    return _short(kind), _short(subtype), _pairs(parsed.pairs)


def _encoding_token(value: bytes | None) -> bytes:
    if value is None:
        return b""
    token = value.lower()
    if token in NAMES:  # nearly always
        return token
    token = parameters.parse(value, 0).head.lower()
    return _short(token) if _TOKEN.fullmatch(token) else b""


def _disposition(value: bytes | None, most: int) -> tuple[bytes, Pairs] | None:
    if value is None:
        return None
    parsed = parameters.parse(value, most)
    return _short(parsed.head.lower()), _pairs(parsed.pairs)


def _languages(value: bytes | None) -> tuple[bytes, ...]:
    if value is None:
        return ()
    tags = [tag.strip() for tag in parameters.parse(value, 0).head.split(b",", _LANGUAGES)]
    return tuple(_short(tag) for tag in tags[:_LANGUAGES] if tag)


def _pairs(pairs: Pairs) -> Pairs:
    return tuple((_short(name), _short(value)) for name, value in parameters.merged(pairs))


def _cut(value: bytes | None) -> bytes | None:
    return None if value is None else _short(value)


def _short(value: bytes) -> bytes:
    return value[:_LONGEST]
