"""The operator's installation with its partner, without what the fault scenarios do not need (no rspamd)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.interop.conftest import AUBIN, FLEURI, PARTNER, PARTNER_ZONE, REVERSE, World, set_up_communes
from tests.peers.dns import unbound
from tests.peers.opendkim import opendkim
from tests.peers.postfix import postfix
from tests.peers.suite import Settings, suite


@contextlib.contextmanager
def town() -> Iterator[World]:
    """Signed DNS, a partner's Postfix with a verifying milter, the suite with two fronts, two communes over REST."""
    with contextlib.ExitStack() as stack:
        zones = {PARTNER: PARTNER_ZONE, "dept.test": "mx IN A 127.0.0.1\n", AUBIN: "", FLEURI: ""}
        dns = stack.enter_context(unbound({**zones, "127.in-addr.arpa": REVERSE}))
        verifier = stack.enter_context(opendkim())
        installation = stack.enter_context(suite(Settings(dns.endpoint, workers=2), started=False))
        hop = f"127.0.0.1:{installation.ports['mx']}"
        routes = {AUBIN: hop, FLEURI: hop}
        partner = stack.enter_context(postfix(PARTNER, ["alice", "bob"], routes, milters=verifier.milter))
        installation.settings.partner_port = partner.port
        installation.config.write_text(installation.settings.toml(installation.ports))
        installation.start()
        world = World(dns, partner, verifier, None, installation)  # type: ignore[arg-type]  # no scanner here
        set_up_communes(world)
        yield world
