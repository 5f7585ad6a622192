"""A DKIM-Signature field as a value: strict grammar, nothing verified (RFC 6376 3.5, RFC 8301, RFC 8463).

Every name that will go into a DNS question or a report is checked against its ABNF here (security.md row 82).
"""

from __future__ import annotations

import base64
import binascii
import re

from core.domain import DomainError, to_ascii
from core.frozen import dataclass
from message.taglist import TagListError, parse, without_blanks

ALGORITHMS = frozenset({"rsa-sha256", "ed25519-sha256"})
CANONICALISATIONS = frozenset({"simple", "relaxed"})
REQUIRED = ("v", "a", "b", "bh", "d", "h", "s")
MAX_HEADERS = 1000

_SELECTOR = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*")
_FIELD_NAME = re.compile(rb"[!-9;-~]+")  # RFC 5322 3.6.8 ftext
_NUMBER = re.compile(r"[0-9]{1,76}")  # RFC 6376 3.5: l= up to 76 digits
_TIME = re.compile(r"[0-9]{1,12}")
# Local-part of i=: what we are ready to print again; anything else is dropped, not refused (it is dkim-quoted text)
_IDENTITY = re.compile(r"([^@]*)@([^@]+)", re.DOTALL)
_PRINTABLE_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/?^_`{|}~.=-]{0,64}")


class SignatureError(ValueError):
    """The field is no signature we can use; the text is the reason word. `domain` and `selector` as far as read."""

    def __init__(self, reason: str, domain: str = "", selector: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.domain = domain
        self.selector = selector


@dataclass(frozen=True, slots=True)
class Signature:
    """`length` is l= or None; times are Unix seconds or None; `headers` lower case, in the order signed."""

    algorithm: str
    signature: bytes
    body_hash: bytes
    relaxed_headers: bool
    relaxed_body: bool
    domain: str
    selector: str
    headers: tuple[bytes, ...]
    identity: str
    identity_domain: str
    length: int | None = None
    expires: int | None = None


def parse_signature(value: bytes) -> Signature:
    """`value` is the field's body, folded as it came. Raises `SignatureError`."""
    tags = _tags(value)
    domain = read_domain(tags.get("d", ""))
    selector = read_selector(tags.get("s", ""), domain)
    try:
        return _signature(tags, domain, selector)
    except SignatureError as error:
        raise SignatureError(error.reason, domain, selector) from None


def parse_message_signature(value: bytes) -> Signature:
    """An ARC-Message-Signature: a DKIM signature whose v= means nothing (RFC 8617 4.1.2: ignored if seen) and whose i=
    is the instance and no identity. Raises `SignatureError`."""
    try:
        tags = parse(value)
    except TagListError as error:
        raise SignatureError("malformed-signature") from error
    if any(name not in tags for name in REQUIRED[1:]):
        raise SignatureError("missing-tag")
    tags.pop("i", None)
    domain = read_domain(tags["d"])
    signature = _signature(tags, domain, read_selector(tags["s"], domain))
    if b"arc-seal" in signature.headers:  # RFC 8617 4.1.2: MUST NOT
        raise SignatureError("malformed-header-list")
    return signature


def _tags(value: bytes) -> dict[str, str]:
    try:
        tags = parse(value)
    except TagListError as error:
        raise SignatureError("malformed-signature") from error
    if any(name not in tags for name in REQUIRED):
        raise SignatureError("missing-tag")
    if tags["v"] != "1":
        raise SignatureError("unknown-version")
    return tags


def _signature(tags: dict[str, str], domain: str, selector: str) -> Signature:
    algorithm = tags["a"].lower()
    if algorithm not in ALGORITHMS:
        # RFC 8301 3.1: rsa-sha1 MUST NOT be used for signing or verifying
        raise SignatureError("unusable-algorithm")
    if "dns/txt" not in [query.strip(" \t") for query in tags.get("q", "dns/txt").lower().split(":")]:
        raise SignatureError("unknown-query-method")
    header_canon, _, body_canon = tags.get("c", "simple/simple").lower().partition("/")
    body_canon = body_canon or "simple"
    if not {header_canon, body_canon} <= CANONICALISATIONS:
        raise SignatureError("unknown-canonicalisation")
    identity, identity_domain = _identity(tags.get("i", f"@{domain}"), domain)
    signed_at, expires = read_time(tags, "t"), read_time(tags, "x")
    if signed_at is not None and expires is not None and expires <= signed_at:
        raise SignatureError("expires-before-signed")  # RFC 6376 3.5 x=
    return Signature(
        algorithm=algorithm,
        signature=read_base64(tags["b"]),
        body_hash=read_base64(tags["bh"]),
        relaxed_headers=header_canon == "relaxed",
        relaxed_body=body_canon == "relaxed",
        domain=domain,
        selector=selector,
        headers=_headers(tags["h"]),
        identity=identity,
        identity_domain=identity_domain,
        length=_number(tags, "l", _NUMBER),
        expires=expires,
    )


def read_domain(text: str) -> str:
    """sub-domain 1*( "." sub-domain ): at least two labels (RFC 6376 3.5 d=); U-labels as in RFC 8616 4."""
    try:
        name = to_ascii(text)
    except DomainError as error:
        raise SignatureError("malformed-domain") from error
    if "." not in name or text.endswith("."):
        raise SignatureError("malformed-domain")
    return name


def read_selector(text: str, domain: str) -> str:
    """sub-domain *( "." sub-domain ) (RFC 6376 3.1). Underscores are let through: senders in the field use them."""
    name = text.lower()
    if not name.isascii():
        try:
            name = to_ascii(text)
        except DomainError:
            name = ""
    if not _SELECTOR.fullmatch(name) or len(f"{name}._domainkey.{domain}") > 253:
        raise SignatureError("malformed-selector", domain)
    return name


def _identity(text: str, domain: str) -> tuple[str, str]:
    """i= must be in d= or below it (RFC 6376 3.5). Returns what may be printed, and its domain."""
    match = _IDENTITY.fullmatch(text)
    try:
        name = to_ascii(match[2]) if match else ""
    except DomainError as error:
        raise SignatureError("malformed-identity") from error
    if match is None or not (name == domain or name.endswith("." + domain)):
        raise SignatureError("identity-outside-domain")
    local = match[1] if _PRINTABLE_LOCAL.fullmatch(match[1]) else ""
    return f"{local}@{name}", name


def _headers(text: str) -> tuple[bytes, ...]:
    """h= = hdr-name *( ":" hdr-name ); From must be among them (RFC 6376 5.4)."""
    names = tuple(name.strip(" \t\r\n").lower().encode("utf-8") for name in text.split(":"))
    if len(names) > MAX_HEADERS or not all(_FIELD_NAME.fullmatch(name) for name in names):
        raise SignatureError("malformed-header-list")
    if b"from" not in names:
        raise SignatureError("from-not-signed")
    return names


def read_time(tags: dict[str, str], name: str) -> int | None:
    """Unix seconds, None without the tag (RFC 6376 3.5 t=, x=). Raises `SignatureError`."""
    return _number(tags, name, _TIME)


def _number(tags: dict[str, str], name: str, pattern: re.Pattern[str]) -> int | None:
    if name not in tags:
        return None
    if not pattern.fullmatch(tags[name]):
        raise SignatureError("malformed-number")
    return int(tags[name])


def read_base64(text: str) -> bytes:
    try:
        data = base64.b64decode(without_blanks(text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignatureError("malformed-base64") from error
    if not data:
        raise SignatureError("empty-signature")
    return data
