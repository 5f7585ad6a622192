"""The resolver of a running suite: dnspython over UDP and TCP to configured resolvers (dnspython is touched here only).

Leaves recursion, CNAME chasing and DNSSEC validation to the resolver on loopback (RFC 4035 3.2.3: its AD bit is
believed from loopback only). Knows nothing of mail. RFC 1035, RFC 6891, RFC 2308; security.md row 89, fault 161.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, TypeVar

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.TLSA import TLSA
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.SRV import SRV

from core.breaker import Breaker
from core.clock import Clock
from core.config import parse_endpoint
from core.dns_cache import FLOOR, DnsCache
from core.domain import MAX_DOMAIN, MAX_LABEL
from core.log import get
from core.resolver import Answer, Mx, Outcome, Srv, Tlsa

T = TypeVar("T")
Asking = Coroutine[Any, Any, T]
_log = get(__name__)

PAYLOAD = 1232  # DNS flag day 2020: no fragments on any usual path
TRIES = 2
PROBE = 1.0  # seconds for a question that a living resolver answers from itself
CONCURRENT = 64  # fresh questions on the wire: more only wait for one another, and would slander the resolver
SLOW = 0.5  # seconds after which a question is no fresh one: it waits for a stranger's servers
CROWDED = 32  # questions under way that leave places for what is needed: who asks ahead asks no more
MOST = 512  # questions on the wire, the slow ones among them: each has a descriptor
MAX_CNAMES = 8
_NAME = re.compile(r"[!-~]+")  # printable ASCII; a control character never reaches a question (promise P9)
_FAULTS = (dns.exception.DNSException, OSError, EOFError, ValueError)


@dataclass(frozen=True, slots=True)
class _Server:
    host: str
    port: int
    loopback: bool
    breaker: Breaker


@dataclass(frozen=True, slots=True)
class _Reply:
    """What one server said: the outcome, the records, how long it holds and what it weighs."""

    outcome: Outcome
    records: tuple[dns.rdata.Rdata, ...] = ()
    secure: bool = False
    ttl: float = 0.0
    octets: int = 64
    canonical: str = ""


class _Places:
    """Who makes up names whose servers never answer, or late, must not keep the places of everybody's questions: what
    others publish about themselves (DMARC) would be unknown for as long as he likes (row 89). But a resolver that is
    itself slow is not asked more and more. `doubt` asks it for what it knows by itself; whatever is answered soon, by
    anybody, is told to `answered`."""

    def __init__(self, doubt: Callable[[], None]) -> None:
        self._all = asyncio.Semaphore(MOST)
        self._fresh = asyncio.Semaphore(CONCURRENT)
        self._doubt = doubt
        self._soon = 0.0  # the loop's time of the last answer that came soon

    def answered(self, began: float) -> None:
        now = asyncio.get_running_loop().time()
        if now - began < SLOW:
            self._soon = now

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """A place for one question: of all until it ends, of the fresh ones until it is slow."""
        loop = asyncio.get_running_loop()
        async with self._all:
            await self._fresh.acquire()
            held, timer = True, loop.call_later(SLOW, lambda: look())

            def give_back() -> None:
                nonlocal held
                if held:
                    held = False
                    self._fresh.release()

            def look() -> None:
                nonlocal timer
                if loop.time() - self._soon < 2 * SLOW:  # who waits longer waits for a stranger, not for the resolver
                    give_back()
                    return
                self._doubt()
                timer = loop.call_later(SLOW, look)

            try:
                yield
            finally:
                timer.cancel()
                give_back()


class DnsResolver:
    """Implements `core.resolver.Resolver`. `resolvers` are "address:port"; `timeout` seconds bound one question with
    all its tries. Answers are kept (5 s .. 1 h), and asked for again before they are gone where somebody wants them;
    equal questions under way are asked once, a resolver that failed five times in a row is left alone for 10 s. Bound
    to the event loop it is first asked on; `close` ends its tasks.
    """

    def __init__(
        self, resolvers: Sequence[str], timeout: float, clock: Clock, *, cache: DnsCache | None = None
    ) -> None:
        self._servers = tuple(_server(text, clock) for text in resolvers)
        self._timeout = timeout
        self._cache = cache if cache is not None else DnsCache(clock)
        self._places = _Places(self._doubt)
        self._pending: dict[tuple[str, str], asyncio.Task[Answer[Any]]] = {}
        self._probes: dict[tuple[str, int], asyncio.Task[bool]] = {}

    async def close(self) -> None:
        tasks: list[asyncio.Task[Any]] = [*self._pending.values(), *self._probes.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def crowded(self) -> bool:
        """A question outlives whoever asked it: who breaks off one message after the other, each from names that nobody
        answers for, would have everybody's places (row 89)."""
        return len(self._pending) >= CROWDED

    # Each hands on its question without a coroutine of its own: a message asks six.

    def txt(self, name: str) -> Asking[Answer[bytes]]:
        return self._answer(name, "TXT", _txt)

    def a(self, name: str) -> Asking[Answer[str]]:
        return self._answer(name, "A", _a)

    def aaaa(self, name: str) -> Asking[Answer[str]]:
        return self._answer(name, "AAAA", _aaaa)

    def mx(self, name: str) -> Asking[Answer[Mx]]:
        return self._answer(name, "MX", _mx)

    async def ptr(self, address: str) -> Answer[str]:
        try:
            name = _pointer(address)
        except ValueError:
            return Answer(Outcome.NXDOMAIN)
        return await self._answer(name, "PTR", _ptr)

    def tlsa(self, name: str) -> Asking[Answer[Tlsa]]:
        return self._answer(name, "TLSA", _tlsa)

    def srv(self, name: str) -> Asking[Answer[Srv]]:
        return self._answer(name, "SRV", _srv)

    def cname(self, name: str) -> Asking[Answer[str]]:
        return self._answer(name, "CNAME", _cname)

    async def _answer(self, name: str, kind: str, convert: Callable[[dns.rdata.Rdata], T]) -> Answer[T]:
        key = (name.removesuffix(".").lower(), kind)
        kept, fades = self._cache.asked(key)
        if kept is None:
            return await asyncio.shield(self._asked(key, convert)) if askable(key[0]) else Answer(Outcome.NXDOMAIN)
        if fades:  # so that nobody waits for what everybody asks
            self._asked(key, convert)
        return kept

    def _asked(self, key: tuple[str, str], convert: Callable[[dns.rdata.Rdata], T]) -> asyncio.Task[Answer[T]]:
        """The question belongs to the resolver, so a caller that gives up does not spoil it for the others."""
        task = self._pending.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key, convert))
            self._pending[key] = task
            task.add_done_callback(lambda _: self._pending.pop(key, None))
        return task

    async def _ask(self, key: tuple[str, str], convert: Callable[[dns.rdata.Rdata], T]) -> Answer[T]:
        try:
            async with asyncio.timeout(self._timeout), self._places.one():
                reply = await self._tries(key)
            records = tuple(convert(rdata) for rdata in reply.records)
            answer = Answer(reply.outcome, records, reply.secure, reply.canonical)
        except (TimeoutError, *_FAULTS) as error:
            _log.info("dns-failed", name=key[0], type=key[1], cause=type(error).__name__)
            return Answer(Outcome.FAILED)
        if reply.ttl > 0 and (reply.outcome is not Outcome.FAILED or self._cache.get(key) is None):
            self._cache.put(key, answer, reply.ttl, reply.octets)
        return answer

    async def _tries(self, key: tuple[str, str]) -> _Reply:
        """At most TRIES questions, each to the next resolver that is not resting; SERVFAIL is asked elsewhere only."""
        asked: list[_Server] = []
        reply = _Reply(Outcome.FAILED)
        for _ in range(TRIES):
            server = self._choose(asked)
            if server is None or (reply.ttl > 0 and server in asked):
                break
            asked.append(server)
            reply = await self._try(server, key)
            if reply.outcome is not Outcome.FAILED:
                break
        return reply

    def _choose(self, asked: list[_Server]) -> _Server | None:
        healthy = [server for server in self._servers if server.breaker.available]
        return next((server for server in healthy if server not in asked), healthy[0] if healthy else None)

    async def _try(self, server: _Server, key: tuple[str, str]) -> _Reply:
        try:
            response = await self._exchange(server, _question(*key), each=self._timeout / TRIES)
        except _FAULTS as error:
            await self._blame(server, type(error).__name__)
            return _Reply(Outcome.FAILED)
        server.breaker.succeeded()
        return _read(response, trusted=server.loopback)

    async def _blame(self, server: _Server, cause: str) -> None:
        """Is the resolver away, or only slow to find names whose servers do not answer? A stranger makes those up, ten
        with one message, and must not take everybody's DNS away. So before it rests it is asked what it knows by itself
        (RFC 6761 6.3, localhost); whatever it says, it is there."""
        if server.breaker.doubtful and await self._there(server):
            server.breaker.succeeded()
            return
        server.breaker.failed()
        if not server.breaker.available:
            _log.warning("resolver-resting", resolver=f"{server.host}:{server.port}", cause=cause)

    def _doubt(self) -> None:
        server = self._choose([])
        if server is not None:
            self._probed(server)

    async def _there(self, server: _Server) -> bool:
        return await asyncio.shield(self._probed(server))

    def _probed(self, server: _Server) -> asyncio.Task[bool]:
        """One question for all who doubt at the same moment: hundreds of them would themselves be what is too much."""
        key = (server.host, server.port)
        task = self._probes.get(key)
        if task is None:
            task = asyncio.create_task(self._probe(server))
            self._probes[key] = task
            task.add_done_callback(lambda _: self._probes.pop(key, None))
        return task

    async def _probe(self, server: _Server) -> bool:
        try:
            # Half of what one try gets, so that the answer comes while its question still has time.
            await self._exchange(server, _question("localhost", "A"), each=min(PROBE, self._timeout / TRIES / 2))
        except _FAULTS:
            return False
        return True

    async def _exchange(self, server: _Server, question: dns.message.Message, each: float) -> dns.message.Message:
        began = asyncio.get_running_loop().time()
        response = await self._sent(server, question, each)
        self._places.answered(began)
        return response

    async def _sent(self, server: _Server, question: dns.message.Message, each: float) -> dns.message.Message:
        """UDP, then TCP when truncated. Answers that fit no question of ours are waited past, not believed (row 89)."""
        try:
            return await dns.asyncquery.udp(
                question,
                server.host,
                timeout=each,
                port=server.port,
                ignore_unexpected=True,
                ignore_errors=True,
                raise_on_truncation=True,
            )
        except dns.message.Truncated:
            return await dns.asyncquery.tcp(question, server.host, timeout=each, port=server.port)


@lru_cache(maxsize=1024)
def _pointer(address: str) -> str:
    return ip_address(address).reverse_pointer


def askable(name: str) -> bool:
    """Whether `name` fits in a question: 1..253 printable characters, labels of 1..63 (RFC 1035 2.3.4)."""
    if not 0 < len(name) <= MAX_DOMAIN or not _NAME.fullmatch(name):
        return False
    return all(0 < len(label) <= MAX_LABEL for label in name.split("."))


def _server(text: str, clock: Clock) -> _Server:
    host, port = parse_endpoint(text)
    return _Server(host, port, ip_address(host).is_loopback, Breaker(clock))


def _question(name: str, kind: str) -> dns.message.Message:
    """RD, AD and DO set: we ask for validation's result, the resolver validates (RFC 6840 5.7)."""
    # Built from labels, because the text form would read escapes that a hostile macro may carry (row 74).
    asked = dns.name.Name([*(label.encode("ascii") for label in name.split(".")), b""])
    question = dns.message.make_query(asked, kind, use_edns=0, want_dnssec=True, payload=PAYLOAD)
    question.flags |= dns.flags.AD
    return question


def _read(response: dns.message.Message, *, trusted: bool) -> _Reply:
    code = response.rcode()
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        # RFC 9520 3.2: a failure is remembered for a moment, or a broken zone makes us hammer its servers.
        return _Reply(Outcome.FAILED, ttl=FLOOR)
    if not isinstance(response, dns.message.QueryMessage):
        raise ValueError("not an answer")
    chain = response.resolve_chaining()
    if len(chain.cnames) > MAX_CNAMES:
        return _Reply(Outcome.FAILED, ttl=FLOOR)
    secure = trusted and bool(response.flags & dns.flags.AD)
    ttl = max(float(chain.minimum_ttl), FLOOR)
    canonical = _host(chain.canonical_name) if chain.cnames else ""
    if chain.answer is not None:
        records = tuple(chain.answer)
        octets = 64 + sum(len(rdata.to_wire() or b"") + 64 for rdata in records)
        return _Reply(Outcome.OK, records, secure, ttl, octets, canonical)
    outcome = Outcome.NXDOMAIN if code == dns.rcode.NXDOMAIN else Outcome.EMPTY
    return _Reply(outcome, (), secure, ttl, canonical=canonical)


def _host(name: dns.name.Name) -> str:
    """Lower case without final dot; the root is "". dnspython escapes what is not printable (promise P9)."""
    return "" if name == dns.name.root else name.to_text(omit_final_dot=True).lower()


def _expect(rdata: dns.rdata.Rdata, kind: type[T]) -> T:
    if not isinstance(rdata, kind):
        raise ValueError("a record of another type")
    return rdata


def _txt(rdata: dns.rdata.Rdata) -> bytes:
    return b"".join(_expect(rdata, TXT).strings)


def _a(rdata: dns.rdata.Rdata) -> str:
    return str(_expect(rdata, A).address)


def _aaaa(rdata: dns.rdata.Rdata) -> str:
    return str(_expect(rdata, AAAA).address)


def _mx(rdata: dns.rdata.Rdata) -> Mx:
    record = _expect(rdata, MX)
    return Mx(record.preference, _host(record.exchange))


def _srv(rdata: dns.rdata.Rdata) -> Srv:
    record = _expect(rdata, SRV)
    return Srv(record.priority, record.weight, record.port, _host(record.target))


def _ptr(rdata: dns.rdata.Rdata) -> str:
    return _host(_expect(rdata, PTR).target)


def _cname(rdata: dns.rdata.Rdata) -> str:
    return _host(_expect(rdata, CNAME).target)


def _tlsa(rdata: dns.rdata.Rdata) -> Tlsa:
    record = _expect(rdata, TLSA)
    return Tlsa(record.usage, record.selector, record.mtype, record.cert)
