"""Our side of a comparison: the suite with one domain and the pair's users, checks on, DNS warm."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.pair import DOMAIN, PASSWORD, descendants
from tests.peers.dns import mail_zone, unbound
from tests.peers.suite import Settings, Suite, suite

PARTNER = "partner.test"
ZONES = {
    PARTNER: mail_zone('@ IN TXT "v=spf1 ip4:127.0.0.0/8 -all"\n_dmarc IN TXT "v=DMARC1; p=reject"'),
    DOMAIN: "",
    "127.in-addr.arpa": "1.0.0 IN PTR mx.partner.test.\n",
}


@dataclass
class Ours:
    suite: Suite
    users: list[str]

    def pids(self) -> list[int]:
        return descendants({self.suite.supervisor})


@contextlib.contextmanager
def beffroi(users: int, secret: str = PASSWORD, *, workers: int = 2) -> Iterator[Ours]:
    """`secret`: what the list of accounts names for each, a password or the argon2id hash of PASSWORD."""
    with unbound(ZONES) as dns, suite(Settings(dns.endpoint, workers=workers)) as installation:
        installation.run("organisation", "add", "bench")
        installation.run("domain", "add", DOMAIN, "--organisation", "bench")
        rows = "".join(f'u{i}@{DOMAIN},"{secret}",0,\n' for i in range(users))
        path = installation.base / "users.csv"
        path.write_text(rows)
        installation.run("mailbox", "import", str(path))
        yield Ours(installation, [f"u{i}@{DOMAIN}" for i in range(users)])
