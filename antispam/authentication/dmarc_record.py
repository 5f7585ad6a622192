"""A DMARC policy record as a value (RFC 9989 4.7, 4.8); records written for RFC 7489 read the same, `pct` counts for
nothing any more (RFC 9989 appendix on the removal of pct; security.md row 86).

Lenient where the RFC is: unknown tags and bad values of optional tags are as if absent; only v= must be exact.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache

from core.frozen import dataclass

# dmarc-version = "v" equals %s"DMARC1"; dmarc-sep = *WSP ";" *WSP
_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-+\--~]+")
MAX_RECORD = 4096


class Policy(Enum):
    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"


class Psd(Enum):
    YES = "y"
    NO = "n"
    UNKNOWN = "u"


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """`sp`, `np` None when absent. `reports`: rua has a URI we could read (RFC 9989 4.10.1 asks that)."""

    policy: Policy
    sp: Policy | None = None
    np: Policy | None = None
    strict_dkim: bool = False
    strict_spf: bool = False
    testing: bool = False
    psd: Psd = Psd.UNKNOWN
    reports: tuple[str, ...] = ()

    def for_subdomain(self, *, exists: bool) -> Policy:
        """What is asked for a name below this one: np, then sp, then p (RFC 9989 4.7)."""
        if not exists and self.np is not None:
            return self.np
        return self.policy if self.sp is None else self.sp


def choose(records: Sequence[bytes]) -> DmarcRecord | None:
    """The one DMARC record among TXT records; several count as none (RFC 9989 4.10 step 2)."""
    found = [text for record in records if (text := _text(record)) is not None and _VERSION.match(text)]
    return parse_record(found[0]) if len(found) == 1 else None


@lru_cache(maxsize=1024)
def parse_record(text: str) -> DmarcRecord | None:
    """None when DMARC does not apply: a bad p, sp or np without anybody to report to (RFC 9989 4.10.1)."""
    tags = _tags(text)
    reports = tuple(uri for part in tags.get("rua", "").split(",") if (uri := _uri(part.strip(" \t"))))
    policies = {name: _policy(tags[name]) for name in ("p", "sp", "np") if name in tags}
    if None in policies.values():
        if not reports:
            return None
        policies = {}
    return DmarcRecord(
        policy=policies.get("p") or Policy.NONE,  # RFC 9989 4.7: without p, as if p=none
        sp=policies.get("sp"),
        np=policies.get("np"),
        strict_dkim=tags.get("adkim", "r").lower() == "s",
        strict_spf=tags.get("aspf", "r").lower() == "s",
        testing=tags.get("t", "n").lower() == "y",
        psd=_PSD.get(tags.get("psd", "u").lower(), Psd.UNKNOWN),
        reports=reports,
    )


_PSD = {psd.value: psd for psd in Psd}
_POLICIES = {policy.value: policy for policy in Policy}


def _text(record: bytes) -> str | None:
    if len(record) > MAX_RECORD:
        return None
    try:
        return record.decode("ascii")
    except UnicodeDecodeError:
        return None


def _tags(text: str) -> dict[str, str]:
    """The first of each tag; what is no tag is ignored (RFC 9989 4.7)."""
    tags: dict[str, str] = {}
    for spec in text.split(";")[1:]:
        name, equals, value = spec.partition("=")
        if equals:
            tags.setdefault(name.strip(" \t").lower(), value.strip(" \t"))
    return tags


def _policy(text: str) -> Policy | None:
    return _POLICIES.get(text.lower())


def _uri(text: str) -> str:
    """RFC 7489's size suffix "!10m" is ignored (RFC 9989 4.7)."""
    uri = text.partition("!")[0]
    return uri if _URI.fullmatch(uri) else ""
