"""Compare the records a domain should publish with those the DNS shows (through any `core.resolver.Resolver`).

Judges by meaning, not by spelling: another order of tags or a longer SPF record is still correct. What strangers
publish is shown to administrators as printable text only (promise P9).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from core.resolver import Outcome, Resolver
from dkim_keys.records import DnsRecord, Kind
from message.taglist import TagListError, parse, without_blanks

MAX_SHOWN = 10
MAX_LENGTH = 500


class Status(Enum):
    """INSECURE: published, but weaker than it should be. UNKNOWN: the DNS did not answer."""

    CORRECT = "correct"
    MISSING = "missing"
    INCORRECT = "incorrect"
    DUPLICATE = "duplicate"
    INSECURE = "insecure"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RecordCheck:
    """`observed`: what was found at the name that concerns this record, as printable text."""

    record: DnsRecord
    status: Status
    observed: tuple[str, ...]

    @property
    def good(self) -> bool:
        return self.status is Status.CORRECT or (self.status is Status.MISSING and not self.record.required)


async def check_domain(resolver: Resolver, records: Sequence[DnsRecord]) -> list[RecordCheck]:
    """One check per record, in their order, asked at once. Never raises."""
    return list(await asyncio.gather(*(check_record(resolver, record) for record in records)))


async def check_record(resolver: Resolver, record: DnsRecord) -> RecordCheck:
    outcome, values = await _observe(resolver, record)
    if outcome is Outcome.FAILED:
        return RecordCheck(record, Status.UNKNOWN, ())
    wanted = [value for value in values if _CONCERNS[record.kind](value)]
    status = _JUDGES[record.kind](record.value, wanted) if wanted else Status.MISSING
    return RecordCheck(record, status, tuple(_shown(value) for value in wanted[:MAX_SHOWN]))


async def _observe(resolver: Resolver, record: DnsRecord) -> tuple[Outcome, list[str]]:
    if record.type == "MX":
        mx = await resolver.mx(record.name)
        return mx.outcome, [f"{item.preference} {item.host}." for item in mx.records]
    if record.type == "SRV":
        srv = await resolver.srv(record.name)
        return srv.outcome, [f"{item.priority} {item.weight} {item.port} {item.host}." for item in srv.records]
    if record.type == "CNAME":
        alias = await resolver.cname(record.name)
        return alias.outcome, [f"{name}." for name in alias.records]
    txt = await resolver.txt(record.name)
    return txt.outcome, [value.decode("utf-8", "backslashreplace") for value in txt.records]


def _shown(value: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in value[:MAX_LENGTH])


def _judge_mx(expected: str, found: list[str]) -> Status:
    """Every MX must lead to us: a second host would take part of the mail."""
    hosts = [value.partition(" ")[2] for value in found]
    wanted = expected.partition(" ")[2]
    if set(hosts) != {wanted}:
        return Status.INCORRECT
    return Status.DUPLICATE if len(hosts) > 1 else Status.CORRECT


def _judge_spf(expected: str, found: list[str]) -> Status:
    """RFC 7208 3.2: one record only. More senders than ours are the commune's business; an open end is not."""
    if len(found) > 1:
        return Status.DUPLICATE
    terms = found[0].lower().split()
    if not {term for term in expected.split() if not term.endswith("all")} <= {
        term.removeprefix("+") for term in terms
    }:
        return Status.INCORRECT
    return Status.CORRECT if {"-all", "~all"} & set(terms) else Status.INSECURE


def _tags(expected: str, found: list[str]) -> tuple[Mapping[str, str], Mapping[str, str]] | Status:
    """What stands there and what should (RFC 6376 3.2); or what is wrong with it as a whole."""
    if len(found) > 1:
        return Status.DUPLICATE
    try:
        return parse(found[0].encode("utf-8")), parse(expected.encode("ascii"))
    except TagListError:
        return Status.INCORRECT


def _judge_dkim(expected: str, found: list[str]) -> Status:
    read = _tags(expected, found)
    if isinstance(read, Status):
        return read
    seen, wanted = read
    same = without_blanks(seen.get("p", "")) == wanted["p"] and seen.get("k", "rsa").lower() == wanted["k"]
    if not same or seen.get("v", "DKIM1") != "DKIM1":
        return Status.INCORRECT
    return Status.INSECURE if "y" in without_blanks(seen.get("t", "")).lower().split(":") else Status.CORRECT


_STRENGTH = {"none": 0, "quarantine": 1, "reject": 2}


def _judge_dmarc(expected: str, found: list[str]) -> Status:
    """A stricter policy than asked for is correct; a weaker one, or one in test mode (RFC 9989 t=y), is insecure."""
    read = _tags(expected, found)
    if isinstance(read, Status):
        return read
    seen, wanted = read
    strength = _STRENGTH.get(seen.get("p", "none").lower())
    if strength is None:
        return Status.INCORRECT
    weaker = strength < _STRENGTH[wanted["p"]] or seen.get("t", "n").lower() == "y"
    return Status.INSECURE if weaker else Status.CORRECT


def _judge_same(expected: str, found: list[str]) -> Status:
    if len(found) > 1:
        return Status.DUPLICATE
    return Status.CORRECT if _plain(found[0]) == _plain(expected) else Status.INCORRECT


def _plain(value: str) -> str:
    return value.replace(" ", "").rstrip(";.").lower()


def _judge_tlsrpt(_expected: str, found: list[str]) -> Status:
    """Where reports go is the commune's choice; that there is one record is the standard's (RFC 8460 3)."""
    return Status.DUPLICATE if len(found) > 1 else Status.CORRECT if "rua=" in found[0] else Status.INCORRECT


def _judge_client(expected: str, found: list[str]) -> Status:
    """Another server beside ours, or in its place, would be shown the passwords of the commune's people."""
    servers = {value.split(" ", 2)[2] for value in found}
    return Status.CORRECT if servers == {expected.split(" ", 2)[2]} else Status.INCORRECT


_JUDGES: dict[Kind, Callable[[str, list[str]], Status]] = {
    Kind.MX: _judge_mx,
    Kind.SPF: _judge_spf,
    Kind.DKIM: _judge_dkim,
    Kind.DMARC: _judge_dmarc,
    Kind.STS: _judge_same,
    Kind.STS_HOST: _judge_same,
    Kind.TLSRPT: _judge_tlsrpt,
    Kind.CLIENT: _judge_client,
}
_CONCERNS: dict[Kind, Callable[[str], bool]] = {
    Kind.MX: lambda value: True,
    Kind.SPF: lambda value: value.lower().split(" ")[0] == "v=spf1",
    Kind.DKIM: lambda value: True,
    Kind.DMARC: lambda value: value.startswith("v=DMARC1"),
    Kind.STS: lambda value: value.startswith("v=STSv1"),
    Kind.STS_HOST: lambda value: True,
    Kind.TLSRPT: lambda value: value.startswith("v=TLSRPTv1"),
    Kind.CLIENT: lambda value: True,
}
