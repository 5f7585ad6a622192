"""Our client against a real Postfix at every level of TLS: DANE from signed zones in unbound, MTA-STS over HTTPS."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.clock import SystemClock
from core.config import Config, Delivery
from core.dns import DnsResolver
from delivery.types import Result, ResultKind
from smtp.outbound.agent import SmtpAgent
from smtp.outbound.tls_results import Session
from tests.fakes.scripted_smtp import job
from tests.peers.dns import Dns, mail_zone, unbound
from tests.peers.postfix import Postfix, postfix
from tests.peers.web import Web, web

pytestmark = pytest.mark.interop

PATH = "/.well-known/mta-sts.txt"
NAMES = (
    "ee", "ee-wrong", "ta", "ta-wrong", "unusable", "unsigned", "bogus", "none", "sts", "sts-else", "sts-testing",
    "sts-broken", "both",
)  # fmt: skip
DOMAINS = tuple(f"{name}.test" for name in NAMES)
EXTRA = """virtual_mailbox_domains = {domains}
virtual_mailbox_maps = static:box/
smtpd_discard_ehlo_keywords = {hidden}
smtpd_tls_chain_files = {chain}
smtpd_tls_cert_file =
smtpd_tls_key_file =
"""


@dataclass
class Place:
    dns: Dns
    tls: Postfix
    clear: Postfix
    web: Web
    authority: Path
    stranger: Path
    data: Path

    async def send(
        self, domain: str, *, clear: bool = False, trust: Path | None = None, require_tls: bool = False, head: str = ""
    ) -> tuple[Result, list[Session]]:
        """One message by the suite's own agent; `trust`: the authorities it knows. What TLS came to beside it."""
        server = self.clear if clear else self.tls
        delivery = Delivery(
            port=server.port, mta_sts_port=self.web.port, allow_private=True, ca_file=str(trust or self.authority)
        )
        config = Config(hostname="mx.dept.test", data=self.data, delivery=delivery)
        heard: list[Session] = []
        resolver = DnsResolver([self.dns.endpoint], 20.0, SystemClock())
        agent = SmtpAgent.create(config, resolver, SystemClock(), _Heard(heard))
        try:
            mail = f"From: maire@mairie.test\r\n{head}Subject: {domain}\r\n\r\nbonjour\r\n".encode()
            work = job(domain, f"box@{domain}", static=False, content=mail)
            [result] = await agent.deliver(replace(work, require_tls=require_tls))
        finally:
            await agent.close()
            await resolver.close()
        return result, heard


@dataclass
class _Heard:
    sessions: list[Session]

    def note(self, session: Session) -> None:
        self.sessions.append(session)


def tlsa(port: int, usage: int, selector: int, data: bytes) -> str:
    return f"_{port}._tcp.mx IN TLSA {usage} {selector} 1 {hashlib.sha256(data).hexdigest()}"


def zones(ports: tuple[int, int], leaf: x509.Certificate, root: bytes) -> dict[str, str]:
    """TLSA records stand for both servers' ports: one of them speaks no TLS at all."""
    key = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    records = {
        "ee": (3, 1, key), "ee-wrong": (3, 1, b"else"), "ta": (2, 0, root), "ta-wrong": (2, 0, b"else"),
        "unusable": (1, 1, key), "unsigned": (3, 1, b"else"), "bogus": (3, 1, key), "both": (3, 1, b"else"),
    }  # fmt: skip
    found = {}
    for name in NAMES:
        lines = [tlsa(port, *records[name]) for port in ports] if name in records else []
        if name.startswith("sts") or name == "both":
            lines += ['_mta-sts IN TXT "v=STSv1; id=1;"', "mta-sts IN A 127.0.0.1"]
        found[f"{name}.test"] = mail_zone("\n".join(lines))
    return found


def policy(mode: str, mx: str) -> bytes:
    return f"version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n".encode()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    base = tmp_path_factory.mktemp("tls")
    authority, stranger = trustme.CA(), trustme.CA()
    issued = authority.issue_cert(*(f"mx.{domain}" for domain in DOMAINS))
    (base / "authority.pem").write_bytes(authority.cert_pem.bytes())
    (base / "stranger.pem").write_bytes(stranger.cert_pem.bytes())
    chain = [issued.private_key_pem, *issued.cert_chain_pems, authority.cert_pem]
    (base / "chain.pem").write_bytes(b"".join(item.bytes() for item in chain))
    leaf = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
    root = x509.load_pem_x509_certificate(authority.cert_pem.bytes()).public_bytes(Encoding.DER)
    pages = {
        ("mta-sts.sts.test", PATH): policy("enforce", "mx.sts.test"),
        ("mta-sts.sts-else.test", PATH): policy("enforce", "mx.else.test"),
        ("mta-sts.sts-testing.test", PATH): policy("testing", "*.sts-testing.test"),
        ("mta-sts.sts-broken.test", PATH): b"nothing",
        ("mta-sts.both.test", PATH): policy("enforce", "mx.both.test"),
    }
    values = {"domains": " ".join(DOMAINS), "chain": base / "chain.pem"}
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        tls, clear = (
            enter(postfix("ee.test", [], {}, extra=EXTRA.format(hidden=hidden, **values)))
            for hidden in ("", "starttls")
        )
        ports = tls.port, clear.port
        dns = enter(unbound(zones(ports, leaf, root), unsigned=["unsigned.test"], bogus=["bogus.test"]))
        pages_at = enter(web(pages, authority, *(f"mta-sts.{domain}" for domain in DOMAINS)))
        yield Place(dns, tls, clear, pages_at, base / "authority.pem", base / "stranger.pem", base / "data")


@pytest.mark.parametrize(
    ("domain", "reason", "kind", "failure"),
    [
        ("ee.test", "remote-accepted", "tlsa", ""),
        ("ee-wrong.test", "tlsa-mismatch", "tlsa", "validation-failure"),
        ("ta.test", "remote-accepted", "tlsa", ""),
        ("ta-wrong.test", "tlsa-mismatch", "tlsa", "validation-failure"),
        ("unsigned.test", "remote-accepted", "no-policy-found", ""),
        ("none.test", "remote-accepted", "no-policy-found", ""),
        ("sts.test", "remote-accepted", "sts", ""),
        ("sts-else.test", "sts-mx-not-allowed", "sts", "validation-failure"),
        ("sts-testing.test", "remote-accepted", "sts", ""),
        ("both.test", "tlsa-mismatch", "tlsa", "validation-failure"),
    ],
)
async def test_every_level_with_a_good_certificate(
    place: Place, domain: str, reason: str, kind: str, failure: str
) -> None:
    result, heard = await place.send(domain)
    assert result.status.reason == reason
    assert result.kind is (ResultKind.DELIVERED if reason == "remote-accepted" else ResultKind.DEFERRED)
    assert [(item.applied.kind.value, item.failure) for item in heard] == [(kind, failure)]


async def test_records_nobody_can_use_demand_tls_all_the_same(place: Place) -> None:
    result, heard = await place.send("unusable.test")
    assert result.kind is ResultKind.DELIVERED
    assert [item.failure for item in heard] == ["tlsa-invalid", ""]
    result, _ = await place.send("unusable.test", clear=True)
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "no-tls")


async def test_a_zone_that_does_not_validate_defers(place: Place) -> None:
    result, _ = await place.send("bogus.test")
    assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "dns-failed")


@pytest.mark.parametrize(
    ("domain", "reason"),
    [
        ("sts.test", "certificate-not-trusted"),
        ("ee.test", "remote-accepted"),
        ("ta.test", "remote-accepted"),
        ("none.test", "remote-accepted"),
    ],
)
async def test_a_certificate_of_an_unknown_authority(place: Place, domain: str, reason: str) -> None:
    """DANE does not ask who issued it; MTA-STS does, and its policy from before holds although the web server is not
    trusted any more either."""
    if domain == "sts.test":
        await place.send(domain)
    result, _ = await place.send(domain, trust=place.stranger)
    assert result.status.reason == reason


async def test_testing_is_told_and_delivers(place: Place) -> None:
    await place.send("sts-testing.test")
    result, heard = await place.send("sts-testing.test", trust=place.stranger)
    assert result.kind is ResultKind.DELIVERED
    told = [(item.applied.kind.value, item.failure) for item in heard]
    assert told == [("sts", "certificate-not-trusted"), ("no-policy-found", "")]


async def test_a_policy_that_is_none_is_told(place: Place) -> None:
    result, heard = await place.send("sts-broken.test")
    assert result.kind is ResultKind.DELIVERED
    assert heard[0].failure == "sts-policy-invalid"


@pytest.mark.parametrize(
    ("domain", "reason"),
    [("ee.test", "no-tls"), ("sts.test", "no-tls"), ("none.test", "remote-accepted"),
     ("unsigned.test", "remote-accepted"), ("sts-testing.test", "remote-accepted")],
)  # fmt: skip
async def test_a_server_without_tls(place: Place, domain: str, reason: str) -> None:
    result, heard = await place.send(domain, clear=True)
    assert result.status.reason == reason
    assert heard[0].failure == "starttls-not-supported"


async def test_who_waives_protection_is_delivered(place: Place) -> None:
    result, _ = await place.send("ee-wrong.test", head="TLS-Required: No\r\n")
    assert result.kind is ResultKind.DELIVERED


async def test_requiretls_needs_a_next_server_that_carries_it_on(place: Place) -> None:
    """Postfix of Debian 12 does not know REQUIRETLS: the message comes back, over TLS or without."""
    result, _ = await place.send("ee.test", require_tls=True)
    assert (result.kind, result.status.reason) == (ResultKind.FAILED, "no-requiretls")
    result, _ = await place.send("unsigned.test", require_tls=True)
    assert (result.kind, result.status.reason) == (ResultKind.FAILED, "requiretls-unnamed")
