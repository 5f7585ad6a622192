"""May this host send for this domain: `check_host` of RFC 7208 4, async over a `Resolver`.

Knows nothing of messages. Bounds: 10 terms that ask DNS, 2 void answers, 10 names per MX or PTR, 20 s (RFC 7208
4.6.4; security.md row 74). Ordinary failing is a value with a named reason.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import field, replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from antispam.authentication import spf_macro
from antispam.authentication.spf_macro import MacroError, MacroString
from antispam.authentication.spf_record import Kind, Mechanism, Record, SpfSyntaxError, parse_record, select
from antispam.types import Result
from core.frozen import dataclass
from core.resolver import Answer, Outcome, Resolver
from core.waiting import within

MAX_LOOKUPS = 10
MAX_VOIDS = 2
MAX_NAMES = 10


@dataclass(frozen=True, slots=True)
class SpfOutcome:
    """`explanation` is the domain owner's text for a fail, printable ASCII, "" unless it was asked for and found."""

    result: Result
    reason: str
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is checked. `sender` is "local@domain" (RFC 7208 4.3: "postmaster" where there is no local part); `receiver`
    and `now` (Unix seconds) are told in explanations only."""

    address: IPv4Address | IPv6Address
    sender: str
    helo: str
    receiver: str = "unknown"
    now: float = 0.0


class _TempError(Exception):
    pass


class _PermError(Exception):
    pass


@dataclass
class _State:
    """What one check has used up, over all its includes and redirects."""

    resolver: Resolver
    identity: Identity
    lookups: int = 0
    voids: int = 0
    validated: dict[str, str] = field(default_factory=dict)  # domain > its %{p}

    def count_lookup(self) -> None:
        self.lookups += 1
        if self.lookups > MAX_LOOKUPS:
            raise _PermError("too-many-lookups")

    def count_void(self, answer: Answer[str] | Answer[object]) -> None:
        if answer.outcome in (Outcome.EMPTY, Outcome.NXDOMAIN):
            self.voids += 1
            if self.voids > MAX_VOIDS:
                raise _PermError("too-many-void-lookups")


async def check_host(
    identity: Identity, domain: str, resolver: Resolver, *, timeout: float = 20.0, explain: bool = False
) -> SpfOutcome:
    """`check_host(<ip>, <domain>, <sender>)` of RFC 7208 4.1. `domain` may be hostile; `timeout` in seconds."""
    if not _checkable(domain):
        return SpfOutcome(Result.NONE, "no-domain")
    state = _State(resolver, identity if isinstance(identity.address, IPv4Address) else _plain(identity))
    domain = domain.removesuffix(".")
    try:
        if explain:
            return await within(timeout, _explained(state, domain))
        result, _, _ = await within(timeout, _check(state, domain))
        return _outcome(result)
    except TimeoutError:
        return SpfOutcome(Result.TEMPERROR, "timeout")
    except _TempError:
        return SpfOutcome(Result.TEMPERROR, "dns")
    except _PermError as error:
        return SpfOutcome(Result.PERMERROR, str(error))
    except SpfSyntaxError:
        return SpfOutcome(Result.PERMERROR, "malformed-record")


async def _explained(state: _State, domain: str) -> SpfOutcome:
    result, record, where = await _check(state, domain)
    explanation = await _explain(state, record, where) if result is Result.FAIL else ""
    return replace(_outcome(result), explanation=explanation)


@lru_cache(maxsize=len(Result))
def _outcome(result: Result) -> SpfOutcome:
    return SpfOutcome(result, "no-record" if result is Result.NONE else result.value)


def _plain(identity: Identity) -> Identity:
    """An IPv4-mapped address is an IPv4 address (RFC 7208 5)."""
    address = identity.address
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return replace(identity, address=mapped) if mapped else identity


@lru_cache(maxsize=1024)
def _checkable(domain: str) -> bool:
    """RFC 7208 4.3: malformed, single-label and literal domains have no SPF result."""
    labels = domain.removesuffix(".").split(".")
    try:
        ip_address(domain.strip("[]"))
    except ValueError:
        return len(labels) > 1 and len(domain) <= 254 and all(0 < len(label) <= 63 for label in labels)
    return False


async def _check(state: _State, domain: str) -> tuple[Result, Record | None, str]:
    """One record with what it redirects to: result, the record that decided and its domain. DNS that is away is a
    temperror (RFC 7208 4.4)."""
    answer = await state.resolver.txt(domain)
    if answer.outcome is Outcome.FAILED:
        raise _TempError
    record = _record(answer.records)
    if record is None:
        return Result.NONE, None, domain
    for mechanism in record.mechanisms:
        network = mechanism.network
        if network is not None:
            met = state.identity.address in network
        else:
            met = await _MATCHERS[mechanism.kind](state, mechanism, domain)
        if met:
            return mechanism.result, record, domain
    if record.redirect is None:
        return Result.NEUTRAL, record, domain
    # RFC 7208 6.1: redirect counts as a lookup, replaces the domain, and a target without record is an error
    state.count_lookup()
    outcome = await _check(state, await _target(state, record.redirect, domain))
    if outcome[0] is Result.NONE:
        raise _PermError("redirect-without-record")
    return outcome


def _record(records: Sequence[bytes]) -> Record | None:
    """RFC 7208 4.5: no record none, several permerror."""
    found = select(records) if records else ()
    if len(found) > 1:
        raise _PermError("several-records")
    return parse_record(found[0]) if found else None


async def _all(_state: _State, _mechanism: Mechanism, _domain: str) -> bool:
    return True


async def _include(state: _State, mechanism: Mechanism, domain: str) -> bool:
    """RFC 7208 5.2: the table of what an included result means."""
    state.count_lookup()
    result, _, _ = await _check(state, await _target(state, mechanism.domain, domain))
    if result is Result.NONE:
        raise _PermError("include-without-record")
    return result is Result.PASS


async def _a(state: _State, mechanism: Mechanism, domain: str) -> bool:
    state.count_lookup()
    answer = await _addresses(state, await _target(state, mechanism.domain, domain))
    state.count_void(answer)
    return _inside(state, mechanism, answer.records)


async def _mx(state: _State, mechanism: Mechanism, domain: str) -> bool:
    state.count_lookup()
    answer = await state.resolver.mx(await _target(state, mechanism.domain, domain))
    if answer.outcome is Outcome.FAILED:
        raise _TempError
    state.count_void(Answer(answer.outcome))
    if len(answer.records) > MAX_NAMES:
        raise _PermError("too-many-mx")
    for mx in sorted(answer.records, key=lambda record: record.preference):
        if mx.host and _inside(state, mechanism, (await _addresses(state, mx.host)).records):
            return True
    return False


async def _ptr(state: _State, mechanism: Mechanism, domain: str) -> bool:
    state.count_lookup()
    target = (await _target(state, mechanism.domain, domain)).lower()
    answer = await state.resolver.ptr(str(state.identity.address))
    state.count_void(answer)
    return any([_under(name, target) async for name in _Validated(state, answer.records)])


async def _exists(state: _State, mechanism: Mechanism, domain: str) -> bool:
    """Always an A question, whatever the connection (RFC 7208 5.7)."""
    state.count_lookup()
    answer = await state.resolver.a(await _target(state, mechanism.domain, domain))
    if answer.outcome is Outcome.FAILED:
        raise _TempError
    state.count_void(answer)
    return answer.outcome is Outcome.OK


_MATCHERS: dict[Kind, Callable[[_State, Mechanism, str], Awaitable[bool]]] = {
    Kind.ALL: _all,
    Kind.INCLUDE: _include,
    Kind.A: _a,
    Kind.MX: _mx,
    Kind.PTR: _ptr,
    Kind.EXISTS: _exists,
}


async def _addresses(state: _State, name: str) -> Answer[str]:
    four = isinstance(state.identity.address, IPv4Address)
    answer = await (state.resolver.a(name) if four else state.resolver.aaaa(name))
    if answer.outcome is Outcome.FAILED:
        raise _TempError
    return answer


def _inside(state: _State, mechanism: Mechanism, addresses: tuple[str, ...]) -> bool:
    client = state.identity.address
    cidr = mechanism.cidr4 if client.version == 4 else mechanism.cidr6
    # The answers are of the client's family: `_addresses` asks for no other.
    return any(client in ip_network((text, cidr), strict=False) for text in addresses)


class _Validated:
    """The names among the first ten that lead back to the client (RFC 7208 5.5); DNS faults skip a name."""

    def __init__(self, state: _State, names: tuple[str, ...]) -> None:
        self._state = state
        self._names = iter(names[:MAX_NAMES])

    def __aiter__(self) -> _Validated:
        return self

    async def __anext__(self) -> str:
        for name in self._names:
            try:
                answer = await _addresses(self._state, name)
            except _TempError:
                continue
            if any(ip_address(text) == self._state.identity.address for text in answer.records):
                return name.lower()
        raise StopAsyncIteration


def _under(name: str, domain: str) -> bool:
    return name == domain or name.endswith("." + domain)


async def _target(state: _State, spec: MacroString | None, domain: str) -> str:
    """The name a term is about: the current domain, or its expanded domain-spec."""
    if spec is None:
        return domain
    return spec.name(await _values(state, spec, domain))


async def _values(state: _State, spec: MacroString, domain: str) -> dict[str, str]:
    """The letters of RFC 7208 7.2. The sender's bytes enter here and only become DNS labels or checked text."""
    identity = state.identity
    local, _, sender_domain = identity.sender.rpartition("@")
    values = {
        "s": identity.sender,
        "l": local,
        "o": sender_domain,
        "d": domain,
        "i": _dotted(identity.address),
        "v": "in-addr" if isinstance(identity.address, IPv4Address) else "ip6",
        "h": identity.helo,
        "c": str(identity.address),
        "r": identity.receiver,
        "t": str(int(identity.now)),
    }
    if spec.needs_validated_name:
        values["p"] = await _validated_name(state, domain)
    return values


def _dotted(address: IPv4Address | IPv6Address) -> str:
    """IPv6 as dot-separated nibbles (RFC 7208 7.3)."""
    return str(address) if isinstance(address, IPv4Address) else ".".join(address.exploded.replace(":", "").upper())


async def _validated_name(state: _State, domain: str) -> str:
    """%{p}: the domain itself if validated, else a name below it, else any, else "unknown" (RFC 7208 7.3)."""
    if domain not in state.validated:
        answer = await state.resolver.ptr(str(state.identity.address))
        names = [name async for name in _Validated(state, answer.records)]
        wanted = domain.lower()
        ranked = sorted(names, key=lambda name: (name != wanted, not _under(name, wanted)))
        state.validated[domain] = ranked[0] if ranked else "unknown"
    return state.validated[domain]


async def _explain(state: _State, record: Record | None, domain: str) -> str:
    """RFC 7208 6.2: exactly one TXT record, ASCII, a valid macro string; any fault means no explanation."""
    if record is None or record.explanation is None:
        return ""
    answer = await state.resolver.txt(await _target(state, record.explanation, domain))
    if len(answer.records) != 1:
        return ""
    try:
        text = spf_macro.parse_explanation(answer.records[0].decode("ascii"))
    except (UnicodeDecodeError, MacroError):
        return ""
    expanded = text.expand(await _values(state, text, domain))[: spf_macro.MAX_EXPLANATION]
    return expanded if expanded.isascii() and expanded.isprintable() else ""
