"""Does somebody who may speak for the From domain vouch for the message: DMARC (RFC 9989, which replaced RFC 7489).

Organisational domains come from the DNS tree walk of RFC 9989 4.10 alone; the public suffix list of RFC 7489 is not
consulted, because two methods would align differently from what the domain's owner tested. Asks TXT records, and once
whether a name exists (np=). Knows nothing of what is done with the answer: `disposition` is the owner's wish.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import field

from antispam.authentication.dmarc_record import DmarcRecord, Policy, Psd, choose
from antispam.types import Dkim, Dmarc, Result, Spf
from core.domain import parents
from core.frozen import dataclass
from core.resolver import Outcome, Resolver
from core.waiting import within

MAX_QUERIES = 8  # RFC 9989 4.10: names of more labels are cut to seven after the first question
MAX_FROM_DOMAINS = 10
TOO_MANY_DOMAINS = "too-many-from-domains"
TIMEOUT = 7.0  # for each From domain; after the 20 s of SPF and before 2 s for its words within what all evidence gets

_ONE_LEVEL_DOWN = {Policy.REJECT: Policy.QUARANTINE, Policy.QUARANTINE: Policy.NONE, Policy.NONE: Policy.NONE}
_SEVERITY = {"none": 0, "quarantine": 1, "reject": 2}
_RESULT_SEVERITY = {Result.PASS: 0, Result.NONE: 1, Result.PERMERROR: 2, Result.TEMPERROR: 3, Result.FAIL: 4}


class _TempError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class _Found:
    """The record that applies to an author domain, where it stands, and what it asks for this domain."""

    record: DmarcRecord
    at: str
    policy: Policy


@dataclass
class _Walks:
    """The questions of one message, each asked once, however many identifiers share parents."""

    resolver: Resolver
    records: dict[str, DmarcRecord | None] = field(default_factory=dict)

    async def record(self, domain: str) -> DmarcRecord | None:
        if domain not in self.records:
            answer = await self.resolver.txt(f"_dmarc.{domain}")
            if answer.outcome is Outcome.FAILED:
                raise _TempError
            self.records[domain] = choose(answer.records)
        return self.records[domain]

    async def walk(self, domain: str) -> list[tuple[str, DmarcRecord]]:
        """The valid records from `domain` upwards, longest name first; stops at psd=y or psd=n (RFC 9989 4.10)."""
        found: list[tuple[str, DmarcRecord]] = []
        for name in tree(domain):
            record = await self.record(name)
            if record is not None:
                found.append((name, record))
                if record.psd is not Psd.UNKNOWN:
                    break
        return found

    async def organisation(self, domain: str) -> str:
        """The Organizational Domain of `domain` (RFC 9989 4.10.2)."""
        return select_organisation(domain, await self.walk(domain))


def tree(domain: str) -> list[str]:
    """The names a tree walk asks, at most eight: the domain, then its parents of at most seven labels."""
    names = parents(domain)
    return [names[0], *[name for name in names[1:] if name.count(".") < MAX_QUERIES - 1]]


def select_organisation(domain: str, found: Sequence[tuple[str, DmarcRecord]]) -> str:
    """RFC 9989 4.10.2, the three rules in their order; without any record the domain itself."""
    for name, record in found:
        if record.psd is Psd.NO:
            return name
        if record.psd is Psd.YES and name != domain:
            labels = domain.split(".")
            return ".".join(labels[-(name.count(".") + 2) :])
    return found[-1][0] if found else domain


async def evaluate(
    from_domains: Sequence[str], spf: Spf, dkim: Sequence[Dkim], resolver: Resolver, *, timeout: float = TIMEOUT
) -> Dmarc:
    """DMARC of one message. `from_domains` are A-labels of every address in From: all are judged and the strictest
    outcome stands (security.md row 85; RFC 9989 11.5 leaves it to the receiver)."""
    domains = list(dict.fromkeys(from_domains))
    if not domains:
        return Dmarc(Result.PERMERROR, "", reason="no-from-domain")
    if len(domains) > MAX_FROM_DOMAINS:
        return Dmarc(Result.PERMERROR, domains[0], disposition="reject", reason=TOO_MANY_DOMAINS)
    walks = _Walks(resolver)
    if len(domains) == 1:
        return await _in_time(domains[0], spf, dkim, walks, timeout)
    # Each in its own time: a slow domain of the writer's must not hide what the other one asks for.
    outcomes = await asyncio.gather(*(_in_time(domain, spf, dkim, walks, timeout) for domain in domains))
    return max(outcomes, key=_severity)


def _severity(item: Dmarc) -> tuple[int, int, int]:
    """What is done, then what might have to be done, had DNS answered, then how bad the result sounds."""
    possible = _SEVERITY.get(item.policy, 0) if item.result is Result.TEMPERROR else 0
    return _SEVERITY[item.disposition], possible, _RESULT_SEVERITY[item.result]


async def _in_time(domain: str, spf: Spf, dkim: Sequence[Dkim], walks: _Walks, timeout: float) -> Dmarc:
    try:
        return await within(timeout, _one(domain, spf, dkim, walks))
    except TimeoutError:
        return Dmarc(Result.TEMPERROR, domain, reason="timeout")


async def _one(domain: str, spf: Spf, dkim: Sequence[Dkim], walks: _Walks) -> Dmarc:
    try:
        found = await _discover(domain, walks)
    except _TempError:
        return Dmarc(Result.TEMPERROR, domain, reason="dns")
    if found is None:
        return Dmarc(Result.NONE, domain, reason="no-record")
    result, reason = await _align(domain, found.record, spf, dkim, walks)
    wish = _ONE_LEVEL_DOWN[found.policy] if found.record.testing else found.policy  # RFC 9989 4.7 t=y
    return Dmarc(
        result=result,
        domain=domain,
        policy=found.policy.value,
        disposition=wish.value if result is Result.FAIL else "none",
        organisation=found.at,
        reason=reason,
    )


async def _discover(domain: str, walks: _Walks) -> _Found | None:
    """RFC 9989 4.10.1: the author domain's record, else its organisation's, else its public suffix's."""
    own = await walks.record(domain)
    if own is not None:
        return _Found(own, domain, own.policy)
    found = await walks.walk(domain)
    if not found:
        return None
    organisation = select_organisation(domain, found)
    at, record = next((item for item in found if item[0] == organisation), found[-1])
    exists = True
    if record.np is not None:
        # RFC 9989 3.2.11 with RFC 8020: only NXDOMAIN means that a name does not exist
        exists = (await walks.resolver.a(domain)).outcome is not Outcome.NXDOMAIN
    return _Found(record, at, record.for_subdomain(exists=exists))


async def _align(domain: str, record: DmarcRecord, spf: Spf, dkim: Sequence[Dkim], walks: _Walks) -> tuple[Result, str]:
    """Pass when one aligned identifier passes (RFC 9989 5.3.5); temperror when one might have, had DNS answered."""
    doubt = False
    for result, name, strict in _identifiers(record, spf, dkim):
        try:
            aligned = await _aligned(domain, name, strict, walks)
        except _TempError:
            doubt = True
            continue
        if aligned and result is Result.PASS:
            return Result.PASS, "aligned"
        doubt = doubt or (aligned and result is Result.TEMPERROR)
    return (Result.TEMPERROR, "dns") if doubt else (Result.FAIL, "not-aligned")


def _identifiers(record: DmarcRecord, spf: Spf, dkim: Sequence[Dkim]) -> list[tuple[Result, str, bool]]:
    """Who vouches or might: (result, domain, strict). Weak signatures do not vouch (security.md rows 77, 78)."""
    useful = (Result.PASS, Result.TEMPERROR)
    names = [(item.result, item.domain, record.strict_dkim) for item in dkim if item.result in useful and not item.weak]
    if spf.result in useful and spf.domain:
        names.append((spf.result, spf.domain, record.strict_spf))
    return list(dict.fromkeys(names))


async def _aligned(domain: str, name: str, strict: bool, walks: _Walks) -> bool:
    """RFC 9989 4.10.2: identical, or in relaxed mode of the same organisation. A name's organisation is the name or
    above it: one that is not below the author's has another, and is not asked for, because a stranger's DNS that fails
    or dawdles must not leave a verdict open (row 89)."""
    name = name.lower().removesuffix(".")
    if name == domain or strict:
        return name == domain
    # Two names of one organisation share their last label; anything else needs no question.
    if name.rpartition(".")[2] != domain.rpartition(".")[2]:
        return False
    ours = await walks.organisation(domain)
    if name != ours and not name.endswith(f".{ours}"):
        return False
    return await walks.organisation(name) == ours
