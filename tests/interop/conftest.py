"""One world for the whole run: signed DNS, a partner's Postfix with a verifying opendkim, rspamd, and the suite with
two communes that were set up over REST alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.peers.dns import Dns, mail_zone, txt, unbound
from tests.peers.opendkim import OpenDkim, opendkim
from tests.peers.postfix import Postfix, postfix
from tests.peers.process import wait_until
from tests.peers.rspamd import Rspamd, rspamd
from tests.peers.suite import HOSTNAME, Settings, Suite, suite

if TYPE_CHECKING:
    from tests.interop.logins import Doors
    from tests.interop.ways import Ways

PARTNER = "partner.test"
AUBIN, FLEURI = "saint-aubin.test", "val-fleuri.test"
PASSWORD = "le beffroi sonne a midi"
REVERSE = "1.0.0 IN PTR mx.partner.test.\n"
PARTNER_ZONE = mail_zone('@ IN TXT "v=spf1 ip4:127.0.0.0/8 -all"\n_dmarc IN TXT "v=DMARC1; p=reject"')
# SPF fails for everybody, DMARC asks for rejection: what a spoofed bank looks like
SPOOFED = "banque.test"
SPOOFED_ZONE = mail_zone('@ IN TXT "v=spf1 ip4:192.0.2.1 -all"\n_dmarc IN TXT "v=DMARC1; p=reject"')
QUARANTINED = "fournisseur.test"
QUARANTINED_ZONE = mail_zone('@ IN TXT "v=spf1 ip4:192.0.2.1 -all"\n_dmarc IN TXT "v=DMARC1; p=quarantine"')


@dataclass
class World:
    dns: Dns
    partner: Postfix
    verifier: OpenDkim
    rspamd: Rspamd
    suite: Suite

    @property
    def ports(self) -> dict[str, int]:
        return self.suite.ports


def set_up_communes(world: World) -> None:
    """Over REST alone, as the département's script would; then the DNS records it answered are published."""
    api = world.suite.api
    for organisation, domain, mailboxes in (
        ("Saint-Aubin", AUBIN, ("secretariat", "maire", "urbanisme")),
        ("Val-Fleuri", FLEURI, ("mairie", "compta")),
    ):
        api("POST", "/organisations", {"name": organisation})
        created = api("POST", "/domains", {"name": domain, "organisation": organisation})
        assert isinstance(created, dict)
        for local in mailboxes:
            api("POST", "/mailboxes", {"address": f"{local}@{domain}", "password": PASSWORD, "quota": 1 << 30})
        publish(world, domain, created["records"])
    api("POST", "/aliases", {"address": f"contact@{AUBIN}", "targets": [f"secretariat@{AUBIN}", f"maire@{AUBIN}"]})


def publish(world: World, domain: str, records: list[dict[str, str]]) -> None:
    """Exactly what the API said, plus the address of the mail host (which lies in the département's zone)."""
    lines = []
    for record in records:
        value = txt(record["value"]) if record["type"] == "TXT" else record["value"]
        lines.append(f"{record['name']}. IN {record['type']} {value}")
    world.dns.zone(domain, "\n".join(lines) + "\n")
    world.verifier.publish({r["name"]: r["value"] for r in records if "._domainkey." in r["name"]})


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        zones = {
            PARTNER: PARTNER_ZONE, SPOOFED: SPOOFED_ZONE, QUARANTINED: QUARANTINED_ZONE,
            "dept.test": "mx IN A 127.0.0.1\n", AUBIN: "", FLEURI: "", "127.in-addr.arpa": REVERSE,
        }  # fmt: skip
        dns = stack.enter_context(unbound(zones))
        verifier = stack.enter_context(opendkim())
        scanner = stack.enter_context(rspamd(dns.port))
        # The partner must know our port before we run, and we its port: both are chosen before either starts.
        installation = stack.enter_context(suite(Settings(dns.endpoint, rspamd=scanner.url), started=False))
        hop = f"127.0.0.1:{installation.ports['mx']}"
        partner = stack.enter_context(
            postfix(PARTNER, ["alice", "bob"], {AUBIN: hop, FLEURI: hop}, milters=verifier.milter)
        )
        installation.settings.partner_port = partner.port
        installation.config.write_text(installation.settings.toml(installation.ports))
        installation.start()
        world = World(dns, partner, verifier, scanner, installation)
        set_up_communes(world)
        yield world


@pytest.fixture(scope="session")
def place() -> Iterator[Ways]:
    """Postfix in every mode; see `tests.interop.ways`."""
    from tests.interop.ways import ways  # it uses this module

    with ways() as found:
        yield found


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Whose client certificates `logins` takes."""
    return trustme.CA()


@pytest.fixture(scope="session")
def logins(authority: trustme.CA) -> Iterator[Doors]:
    """Every mechanism is offered there; see `tests.interop.logins`."""
    from tests.interop.logins import login_doors  # it uses this module

    with login_doors(authority) as found:
        yield found


def settled(world: World) -> None:
    """Nothing waits anywhere: our queue and the partner's are empty."""
    wait_until(lambda: not world.suite.api("GET", "/queue") and not world.partner.queued(), what="queues to empty")


__all__ = ["AUBIN", "FLEURI", "HOSTNAME", "PARTNER", "PASSWORD", "World", "settled"]
