"""MTA-STS, read: the TXT record, the policy text, whether an MX is one that a policy allows. Pure (RFC 8461 3, 4.1).

Knows neither DNS nor HTTPS: `sts_source` fetches the text and says which policy holds now.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from core.domain import DomainError, to_ascii

MAX_POLICY = 64 * 1024  # RFC 8461 3.3 suggests it
MAX_AGE = 31_557_600  # RFC 8461 3.2: a year
MAX_PATTERNS = 100
_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_TAG = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31})[ \t]*=[ \t]*([!-:<-~]+)")
_FIELD = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31})[ \t]*:[ \t]*(.*?)[ \t]*")


class Mode(Enum):
    """RFC 8461 5."""

    NONE = "none"
    TESTING = "testing"
    ENFORCE = "enforce"


class PolicyFault(ValueError):
    """The text is no policy; the message is safe to show."""


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """`patterns`: A-labels, perhaps with "*." in front; `max_age` seconds; `id` of the TXT record it was fetched for;
    `fetched` in Unix seconds."""

    domain: str
    mode: Mode
    patterns: tuple[str, ...]
    max_age: int
    id: str
    fetched: float

    def holds(self, now: float) -> bool:
        """A clock that went back makes no policy eternal (fault 163)."""
        return 0 <= now - self.fetched < self.max_age

    def allows(self, host: str) -> bool:
        return any(_fits(pattern, host) for pattern in self.patterns)

    @property
    def lines(self) -> tuple[str, ...]:
        """The policy as TLS reports quote it (RFC 8460 4.4, policy-string)."""
        mx = tuple(f"mx: {pattern}" for pattern in self.patterns)
        return ("version: STSv1", f"mode: {self.mode.value}", *mx, f"max_age: {self.max_age}")


def _fits(pattern: str, host: str) -> bool:
    """RFC 8461 4.1: a wildcard stands for exactly one label, the leftmost."""
    if pattern.startswith("*."):
        return host.partition(".")[2] == pattern[2:]
    return host == pattern


def record_id(records: Sequence[bytes]) -> str:
    """The id of the one STSv1 record among TXT records of `_mta-sts.<domain>`, "" when there is none or several
    (RFC 8461 3.1)."""
    ids = [found for found in map(_record, records) if found is not None]
    return ids[0] if len(ids) == 1 else ""


def _record(data: bytes) -> str | None:
    """None for a record of something else; "" for a faulty one of ours."""
    text = data.decode("ascii", "replace")
    parts = [part.strip(" \t") for part in text.split(";")]
    if parts[0].replace(" ", "").replace("\t", "") != "v=STSv1" or len(parts) < 2:
        return None
    tags = [_TAG.fullmatch(part) for part in parts[1:] if part]
    value = next((tag[2] for tag in tags if tag and tag[1] == "id"), "")
    return value if all(tags) and _ID.fullmatch(value) else ""


def read_policy(domain: str, text: bytes, id_: str, now: float) -> StsPolicy:
    """RFC 8461 3.2. Raises `PolicyFault`."""
    if len(text) > MAX_POLICY:
        raise PolicyFault("policy is too long")
    fields = _fields(text)
    first: dict[str, str] = {}
    for name, value in fields:
        first.setdefault(name, value)  # of a field that may stand once the first counts
    if first.get("version") != "STSv1":
        raise PolicyFault("no version STSv1")
    try:
        mode = Mode(first.get("mode", ""))
    except ValueError as error:
        raise PolicyFault("no such mode") from error
    age = first.get("max_age", "")
    if not re.fullmatch(r"[0-9]{1,10}", age) or int(age) > MAX_AGE:
        raise PolicyFault("no max_age of at most a year")
    patterns = tuple(_pattern(value) for name, value in fields if name == "mx")
    if len(patterns) > MAX_PATTERNS or (not patterns and mode is not Mode.NONE):
        raise PolicyFault("no mx, or too many")
    return StsPolicy(domain, mode, patterns, int(age), id_, now)


def _fields(text: bytes) -> list[tuple[str, str]]:
    try:
        lines = text.decode("utf-8").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise PolicyFault("not UTF-8") from error
    fields = []
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match:
            fields.append((match[1], match[2]))
        elif line.strip():
            raise PolicyFault("a line that is no field")
    return fields


def _pattern(value: str) -> str:
    wildcard, name = ("*.", value[2:]) if value.startswith("*.") else ("", value)
    try:
        return wildcard + to_ascii(name)
    except DomainError as error:
        raise PolicyFault("an mx that is no host name") from error
