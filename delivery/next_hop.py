"""Where mail for a domain goes next: a static route of the configuration, or the domain's own MX.

Exact name, then the longest ".suffix" (every name below it, not the name itself), then "*".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.domain import parents, to_ascii

HERE = ""  # the "domain" of recipients whose mailbox is here


@dataclass(frozen=True, slots=True)
class NextHop:
    """`name`: a domain whose MX is asked, "host:port" of a static route, or `HERE`."""

    name: str
    static: bool = False


class Routes:
    """`delivery.routes`, looked up by domain (A-label). Raises `DomainError` for a name that is none."""

    def __init__(self, table: Mapping[str, str]) -> None:
        self._default = table.get("*")
        self._exact = {to_ascii(name): hop for name, hop in table.items() if name != "*" and not name.startswith(".")}
        self._below = {to_ascii(name[1:]): hop for name, hop in table.items() if name.startswith(".")}

    def next_hop(self, domain: str) -> NextHop:
        if domain == HERE:
            return NextHop(HERE)
        static = self._exact.get(domain)
        for above in parents(domain)[1:]:
            static = static or self._below.get(above)
        static = static or self._default
        return NextHop(static, static=True) if static else NextHop(domain)
