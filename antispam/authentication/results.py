"""Authentication-Results, written and read (RFC 8601; authres is touched here only).

authres writes whatever it is given, a CR LF too: so every value passes `_token` first and is left out when it is not
plainly printable (promise P9, security.md row 83). What is read is somebody's claim; whose, the caller decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import authres
from authres.core import AuthenticationResult, AuthenticationResultProperty, AuthResError

from antispam.types import Arc, Authentication, Dkim, Result
from core.frozen import dataclass

MAX_DKIM = 10
MAX_PARSED = 16 * 1024
MAX_COMMENTS = 100
KEPT = 512  # lines of each kind that are remembered, of some 100 octets each
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=@:*-]{1,320}")
_REASON = re.compile(r"[a-z0-9-]{1,60}")
_DMARC_POLICIES = frozenset({"none", "quarantine", "reject"})


@dataclass(frozen=True, slots=True)
class Claim:
    """One result of a field read: `properties` as ("header.d", "example.org"), values unquoted."""

    method: str
    result: str
    properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Claims:
    authserv_id: str
    claims: tuple[Claim, ...]


def compose(authserv_id: str, authentication: Authentication, address: str) -> bytes:
    """The field with its CRLF, one result a line. `authserv_id` is our hostname, `address` the peer's."""
    spf, helo, dmarc, iprev = authentication.spf, authentication.helo, authentication.dmarc, authentication.iprev
    lines = [_spf(spf.result, spf.identity, spf.domain, spf.reason)]
    if helo is not None:
        lines.append(_spf(helo.result, helo.identity, helo.domain, helo.reason))
    lines += [_dkim(item) for item in authentication.dkim[:MAX_DKIM]] if authentication.dkim else [_UNSIGNED]
    if authentication.arc.result is not Result.NONE:
        lines.append(_arc(authentication.arc, address))
    lines.append(_dmarc(dmarc.result, dmarc.domain, dmarc.policy, dmarc.disposition, dmarc.reason))
    lines.append(_iprev(iprev.result, iprev.hostname, address))
    return _field(authserv_id, lines)


def compose_login(authserv_id: str, mechanism: str) -> bytes:
    """The field for mail of a logged-in sender. Neither login nor client address are told (RFC 8601 2.7.4)."""
    return _field(authserv_id, [_result("auth", Result.PASS, "", comment=_token(mechanism))])


def parse(value: bytes) -> Claims | None:
    """The claims of one unfolded field value; None when it is no valid Authentication-Results."""
    if len(value) > MAX_PARSED or value.count(b"(") > MAX_COMMENTS:
        return None
    try:
        header: Any = authres.all_features().parse_value(value.decode("utf-8"))
    except (AuthResError, UnicodeDecodeError, ValueError, AttributeError, TypeError, IndexError):
        # authres raises its own kind, and on odd shapes whatever its inner calls raise
        return None
    claims = tuple(_claim(item) for item in header.results if isinstance(item, AuthenticationResult))
    return Claims(str(header.authserv_id), claims)


def _claim(item: Any) -> Claim:
    properties = tuple((f"{p.type}.{p.name}", str(p.value or "")) for p in item.properties)
    return Claim(str(item.method), str(item.result), properties)


def _field(authserv_id: str, lines: Iterable[str]) -> bytes:
    return (";\r\n\t".join([_head(authserv_id), *lines]) + "\r\n").encode("ascii")


@lru_cache(maxsize=4)
def _head(authserv_id: str) -> str:
    header = authres.all_features().header(authserv_id=_token(authserv_id) or "localhost")
    return f"{header.HEADER_FIELD_NAME}: {header.authserv_id}"


# What is said of a host or a domain is said of many messages; of a signature it is said once. Remembered by the words,
# because the values that hold them are made for each message.
@lru_cache(maxsize=KEPT)
def _spf(result: Result, identity: str, domain: str, reason: str) -> str:
    name = "helo" if identity == "helo" else "mailfrom"
    return _result("spf", result, reason, (("smtp", name, domain),))


def _dkim(dkim: Dkim) -> str:
    properties = (
        ("header", "d", dkim.domain),
        ("header", "i", dkim.identity),
        ("header", "s", dkim.selector),
        ("header", "a", dkim.algorithm),
        ("header", "b", dkim.signature),
    )
    # A weak signature verifies, but must not read like one that vouches: RFC 8601 2.7.1 calls that "policy".
    return _result("dkim", Result.POLICY if dkim.weak else dkim.result, dkim.reason, properties)


@lru_cache(maxsize=KEPT)
def _dmarc(result: Result, domain: str, asked: str, disposition: str, reason: str) -> str:
    policy = asked if asked in _DMARC_POLICIES else "none"
    disposition = disposition if disposition in _DMARC_POLICIES else "none"
    comment = f"p={policy} dis={disposition}" if asked else ""
    return _result("dmarc", result, reason, (("header", "from", domain),), comment)


def _arc(arc: Arc, address: str) -> str:
    """RFC 8617 10.2 knows none, pass and fail only; "header.oldest-pass" is not computed, hence not told."""
    result = Result.PASS if arc.result is Result.PASS else Result.FAIL
    sealers = ",".join(filter(None, (_token(name) for name in arc.sealers[:MAX_DKIM])))
    return _result("arc", result, arc.reason, (("smtp", "remote-ip", address),), f"i={arc.sets} {sealers}".strip())


@lru_cache(maxsize=KEPT)
def _iprev(result: Result, hostname: str, address: str) -> str:
    return _result("iprev", result, "", (("policy", "iprev", address),), _token(hostname))


def _result(
    method: str, result: Result, reason: str, properties: Iterable[tuple[str, str, str]] = (), comment: str = ""
) -> str:
    """`reason` is told for what did not pass and only if it is one of our words."""
    kept = [AuthenticationResultProperty(t, n, safe) for t, n, value in properties if (safe := _token(value))]
    told = reason if result is not Result.PASS and _REASON.fullmatch(reason) else None
    return str(
        AuthenticationResult(method, result=result.value, result_comment=comment or None, reason=told, properties=kept)
    )


def _token(value: str) -> str:
    return value if _TOKEN.fullmatch(value) else ""


_UNSIGNED = _result("dkim", Result.NONE, "")
