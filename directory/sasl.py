"""SASL exchanges as SMTP AUTH and IMAP AUTHENTICATE share them: PLAIN (RFC 4616) and LOGIN (its draft). Sans-I/O.

`start` gives a `Challenge` to send, `Credentials` to check with `Directory.login`, or `Failed`. Everything from the
peer is base64 as it stood on the wire, without line end. Refuses to know who exists and how replies are written.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field

from core.log import Secret

MAX_RESPONSE = 12288  # octets of one base64 line, RFC 4954 4
MAX_FIELD = 1024  # octets of a name or password once decoded; `login` is stricter
CANCEL = b"*"  # RFC 4954 4, RFC 9051 6.2.2
EMPTY = b"="  # an initial response of no octets, RFC 4954 4, RFC 4959 3


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the client claims: `identity` is the authentication identity, as sent."""

    identity: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class Failed:
    """`reason`: "cancelled" (SMTP 501, IMAP BAD), "invalid-base64" and "malformed" (501, BAD/NO), "too-long" (500),
    "unsupported-mechanism" (504, NO), "authorization" (535: somebody else's name was asked for)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Challenge:
    """`text` is base64 to stand after "334 " or "+ "; `respond` takes the client's next line."""

    text: bytes
    _next: Callable[[bytes], Step] = field(repr=False)

    def respond(self, line: bytes) -> Step:
        if line == CANCEL:
            return Failed("cancelled")
        return _decoded(line, self._next)


Step = Challenge | Credentials | Failed


def start(mechanism: str, initial: bytes | None = None) -> Step:
    """Begin. `initial`: the initial response as on the wire ("=" for an empty one), None when there was none."""
    first = MECHANISMS.get(mechanism.upper())
    if first is None:
        return Failed("unsupported-mechanism")
    if initial is None:
        return first(None)
    if initial == CANCEL:
        return Failed("cancelled")
    return _decoded(b"" if initial == EMPTY else initial, first)


def _plain(response: bytes | None) -> Step:
    """message = [authzid] UTF8NUL authcid UTF8NUL passwd (RFC 4616 2)."""
    if response is None:
        return Challenge(b"", _plain)
    parts = response.split(b"\0")
    if len(parts) != 3:
        return Failed("malformed")
    authorization, identity, password = parts
    if authorization and authorization.lower() != identity.lower():
        return Failed("authorization")
    return _credentials(identity, password)


def _login(response: bytes | None) -> Step:
    """Two questions; some clients answer the first with the command itself."""
    if response is None:
        return Challenge(base64.b64encode(b"Username:"), _login)
    return Challenge(base64.b64encode(b"Password:"), lambda password: _credentials(response, password))


def _credentials(identity: bytes, password: bytes) -> Step:
    if not identity or not password or b"\0" in identity or b"\0" in password:
        return Failed("malformed")
    if len(identity) > MAX_FIELD or len(password) > MAX_FIELD:
        return Failed("too-long")
    try:
        return Credentials(identity.decode("utf-8"), Secret(password.decode("utf-8")))
    except UnicodeDecodeError:
        return Failed("malformed")


def _decoded(line: bytes, go_on: Callable[[bytes], Step]) -> Step:
    if len(line) > MAX_RESPONSE:
        return Failed("too-long")
    try:
        return go_on(base64.b64decode(line, validate=True))
    except binascii.Error:
        return Failed("invalid-base64")


MECHANISMS: dict[str, Callable[[bytes | None], Step]] = {"PLAIN": _plain, "LOGIN": _login}
