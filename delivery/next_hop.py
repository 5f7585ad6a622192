"""Where mail for a domain goes next: a static route of the configuration, or the domain's own MX.

Exact name, then the longest ".suffix" (every name below it, not the name itself), then "*". A route is "host:port", or
an address with more to say: "smtp://user:secret@host:587", "smtps://user:secret@host:465", "lmtp://host:24", each
perhaps with "?tls=none", "may", "encrypt" or "verify". A secret never becomes part of a route's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import parse_qsl, unquote, urlsplit

from core.config import parse_endpoint
from core.domain import parents, to_ascii
from core.log import Secret

HERE = ""  # the "domain" of recipients whose mailbox is here


class Protocol(Enum):
    SMTP = "smtp"
    SMTPS = "smtps"  # TLS from the first octet (RFC 8314 3.3)
    LMTP = "lmtp"  # RFC 2033


class RouteTls(Enum):
    """What a route's TLS has to bring. DEFAULT: verified where a password goes along, else as for any server."""

    DEFAULT = ""
    NONE = "none"
    MAY = "may"
    ENCRYPT = "encrypt"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class Route:
    """One static next hop. `name` is how queue, window and log call it."""

    host: str
    port: int
    protocol: Protocol = Protocol.SMTP
    user: str = ""
    password: Secret = field(default_factory=lambda: Secret(""), compare=False)
    tls: RouteTls = RouteTls.DEFAULT
    written: str = ""

    @property
    def name(self) -> str:
        if self.written:
            return self.written
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        return f"{self.protocol.value}://{user}{host}:{self.port}"


def parse_route(text: str) -> Route:
    """Raises `ValueError` with a message that shows no secret."""
    if "://" not in text:
        if "@" in text:
            raise ValueError("a route with a password begins with smtp:// or smtps://")
        host, port = parse_endpoint(text)
        return Route(host, port, written=text)
    parts = urlsplit(text)
    try:
        protocol = Protocol(parts.scheme)
        written = parts.port
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        tls = RouteTls(options.pop("tls", ""))
    except ValueError:
        raise ValueError(
            "a route is host:port, or smtp://, smtps:// or lmtp:// with ?tls=none|may|encrypt|verify"
        ) from None
    if not parts.hostname or written is None or options or parts.path not in ("", "/") or parts.fragment:
        raise ValueError("a route names a host and a port, and no more than ?tls=")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not all(c.isprintable() for c in user + password) or bool(user) != bool(password):
        raise ValueError("a route's user and password belong together")
    if user and tls in (RouteTls.NONE, RouteTls.MAY):
        raise ValueError("a route with a password needs ?tls=encrypt or verify")
    return Route(parts.hostname, written, protocol, user, Secret(password), tls)


@dataclass(frozen=True, slots=True)
class NextHop:
    """`name`: a domain whose MX is asked, the name of a static route, or `HERE`."""

    name: str
    static: bool = False


class Routes:
    """`delivery.routes`, looked up by domain (A-label). Raises `DomainError` or `ValueError` for what is none."""

    def __init__(self, table: Mapping[str, str]) -> None:
        parsed = {name: parse_route(hop) for name, hop in table.items()}
        self._default = parsed.get("*")
        self._exact = {to_ascii(name): hop for name, hop in parsed.items() if name != "*" and not name.startswith(".")}
        self._below = {to_ascii(name[1:]): hop for name, hop in parsed.items() if name.startswith(".")}
        self._named: dict[str, Route] = {}
        for route in parsed.values():  # jobs know a route by its name, which holds no secret
            known = self._named.setdefault(route.name, route)
            if known != route or known.password.reveal() != route.password.reveal():
                raise ValueError(f"two routes to {route.name} differ in their passwords or in ?tls=")

    def next_hop(self, domain: str) -> NextHop:
        if domain == HERE:
            return NextHop(HERE)
        static = self._exact.get(domain)
        for above in parents(domain)[1:]:
            static = static or self._below.get(above)
        static = static or self._default
        return NextHop(static.name, static=True) if static else NextHop(domain)

    def route(self, name: str) -> Route:
        """The route a job's `next_hop` names. Raises `ValueError`: a configuration that changed under a job."""
        return self._named.get(name) or parse_route(name)
