"""SASL exchanges as SMTP AUTH and IMAP AUTHENTICATE share them, sans-I/O: PLAIN (RFC 4616), LOGIN (its draft), EXTERNAL
(RFC 4422 A), OAUTHBEARER (RFC 7628), XOAUTH2, SCRAM-SHA-256 (RFC 7677).

`start` gives a `Challenge` to send, `Failed`, or a claim that `directory.authentication` settles with the directory.
Everything from the peer is base64 as it stood on the wire, without line end. Refuses to know who exists and how replies
are written.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from core.log import Secret
from directory import scram
from directory.types import LoginResult

MAX_RESPONSE = 12288  # octets of one base64 line, RFC 4954 4
MAX_FIELD = 1024  # octets of a name or password once decoded; `login` is stricter
MAX_TOKEN = 8192  # octets of an access token
CANCEL = b"*"  # RFC 4954 4, RFC 9051 6.2.2
EMPTY = b"="  # an initial response of no octets, RFC 4954 4, RFC 4959 3
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]+=*)")  # RFC 6750 2.1
_GS2 = re.compile(r"[ny],(?:a=([^,\0]*))?,")  # RFC 7628 3.1; no channel binding is offered


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the client claims: `identity` is the authentication identity, as sent."""

    identity: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class Bearer:
    """An access token; `identity` is whom the client says it belongs to, "" when it does not say. `refusal`: the error
    that the mechanism tells when the token is not taken (RFC 7628 3.2.2)."""

    identity: str
    token: Secret
    refusal: bytes


@dataclass(frozen=True, slots=True)
class External:
    """The certificate of the TLS connection is to speak; `authorization` "" or the account the client wants."""

    authorization: str


@dataclass(frozen=True, slots=True)
class ScramFirst:
    first: scram.First


@dataclass(frozen=True, slots=True)
class ScramFinal:
    message: bytes


@dataclass(frozen=True, slots=True)
class Decided:
    """The exchange is over and this came of it."""

    result: LoginResult


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


Claim = Credentials | Bearer | External | ScramFirst | ScramFinal
Step = Challenge | Claim | Decided | Failed


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


def challenge(octets: bytes, then: Callable[[bytes], Step]) -> Challenge:
    return Challenge(base64.b64encode(octets), then)


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
        return challenge(b"Username:", _login)
    return challenge(b"Password:", lambda password: _credentials(response, password))


def _credentials(identity: bytes, password: bytes) -> Step:
    if not identity or not password or b"\0" in identity or b"\0" in password:
        return Failed("malformed")
    if len(identity) > MAX_FIELD or len(password) > MAX_FIELD:
        return Failed("too-long")
    try:
        return Credentials(identity.decode("utf-8"), Secret(password.decode("utf-8")))
    except UnicodeDecodeError:
        return Failed("malformed")


def _external(response: bytes | None) -> Step:
    """RFC 4422 A.1: an empty response asks for the account that the certificate names."""
    if response is None:
        return Challenge(b"", _external)
    if len(response) > MAX_FIELD or b"\0" in response:
        return Failed("malformed")
    try:
        return External(response.decode("utf-8"))
    except UnicodeDecodeError:
        return Failed("malformed")


def _oauthbearer(response: bytes | None) -> Step:
    """gs2-header kvsep *(key "=" value kvsep) kvsep, kvsep = %x01 (RFC 7628 3.1)."""
    if response is None:
        return Challenge(b"", _oauthbearer)
    header, *pairs = response.decode("utf-8", "replace").split("\x01")
    gs2 = _GS2.fullmatch(header)
    if gs2 is None:
        return Failed("malformed")
    refusal = {"status": "invalid_token", "schemes": "bearer"}
    identity = (gs2[1] or "").replace("=2C", ",").replace("=3D", "=")
    return _bearer(identity, pairs, json.dumps(refusal).encode("ascii"))


def _xoauth2(response: bytes | None) -> Step:
    """ "user=" name %x01 "auth=Bearer " token %x01 %x01, as Google and Microsoft have it."""
    if response is None:
        return Challenge(b"", _xoauth2)
    user, *pairs = response.decode("utf-8", "replace").split("\x01")
    if not user.lower().startswith("user="):
        return Failed("malformed")
    refusal = {"status": "401", "schemes": "bearer"}
    return _bearer(user[len("user=") :], pairs, json.dumps(refusal).encode("ascii"))


def _bearer(identity: str, pairs: list[str], refusal: bytes) -> Step:
    if len(pairs) < 2 or pairs[-2:] != ["", ""]:
        return Failed("malformed")
    values = dict(pair.partition("=")[::2] for pair in pairs[:-2])
    token = _BEARER.fullmatch(values.get("auth", ""))
    if token is None or len(token[1]) > MAX_TOKEN or len(identity) > MAX_FIELD or "\0" in identity:
        return Failed("malformed")
    return Bearer(identity, Secret(token[1]), refusal)


def _scram(response: bytes | None) -> Step:
    if response is None:
        return Challenge(b"", _scram)
    first = scram.read_first(response)
    if first is None or len(first.user) > MAX_FIELD:
        return Failed("malformed")
    if first.authorization and first.authorization.lower() != first.user.lower():
        return Failed("authorization")
    return ScramFirst(first)


def _decoded(line: bytes, go_on: Callable[[bytes], Step]) -> Step:
    if len(line) > MAX_RESPONSE:
        return Failed("too-long")
    try:
        return go_on(base64.b64decode(line, validate=True))
    except binascii.Error:
        return Failed("invalid-base64")


MECHANISMS: dict[str, Callable[[bytes | None], Step]] = {
    "PLAIN": _plain,
    "LOGIN": _login,
    "EXTERNAL": _external,
    "OAUTHBEARER": _oauthbearer,
    "XOAUTH2": _xoauth2,
    scram.MECHANISM: _scram,
}
PASSWORDS = ("PLAIN", "LOGIN")  # what needs nothing but accounts
TOKENS = ("OAUTHBEARER", "XOAUTH2")
