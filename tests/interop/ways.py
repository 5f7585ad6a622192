"""Mail between the suite and a real Postfix in every mode: one Postfix, an address for each way it receives, a domain
for each way it sends.

Everything is on loopback at one port a server: the domains' MX records, in signed zones, lead to different addresses,
behind which the same Postfix listens with different settings. As a sender it finds us by MX, and our keys by TLSA.
"""

from __future__ import annotations

import contextlib
import random
import smtplib
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.interop.sender import HOME, PASSWORD, Sender
from tests.peers.cutter import Cutter, cutter
from tests.peers.dns import mail_zone, unbound
from tests.peers.policy import Policy, policy
from tests.peers.postfix import postfix
from tests.peers.process import free_port
from tests.peers.suite import HOSTNAME, Settings, Suite, suite

PARTNER = "partner.test"  # Postfix's own name, whose mail passes SPF and DMARC
ALICE = f"alice@{PARTNER}"

# Postfix receives: domain > (address, settings of smtpd there).
RECEIVING: Mapping[str, tuple[str, Mapping[str, str]]] = {
    PARTNER: ("127.0.0.31", {"syslog_name": "partner"}),
    "plain.test": ("127.0.0.11", {"smtpd_tls_security_level": "none"}),
    "encrypt.test": ("127.0.0.12", {"smtpd_tls_security_level": "encrypt"}),
    "old.test": (
        "127.0.0.13",
        {"smtpd_discard_ehlo_keywords": "8bitmime smtputf8 pipelining dsn size starttls chunking"},
    ),
    "small.test": ("127.0.0.14", {"message_size_limit": "20000"}),
    "silent.test": ("127.0.0.23", {"message_size_limit": "20000", "smtpd_discard_ehlo_keywords": "size"}),
    "grey.test": ("127.0.0.15", {"smtpd_recipient_restrictions": "check_policy_service inet:127.0.0.1:{policy}"}),
    "dot.test": ("127.0.0.16", {"smtpd_end_of_data_restrictions": "check_policy_service inet:127.0.0.1:{policy}"}),
    "tarpit.test": (
        "127.0.0.17",
        {
            "smtpd_delay_reject": "no",
            "smtpd_client_restrictions": "sleep 2",
            "smtpd_recipient_restrictions": "sleep 1 check_policy_service inet:127.0.0.1:{policy}",
            "smtpd_error_sleep_time": "2s",
            "smtpd_soft_error_limit": "1",
        },
    ),
    "few.test": ("127.0.0.18", {"smtpd_recipient_limit": "50"}),
    "crowded.test": (
        "127.0.0.24",
        {"smtpd_client_connection_count_limit": "2", "smtpd_client_event_limit_exceptions": ""},
    ),
    "late.test": ("127.0.0.19", {}),
    "fallback.test": ("127.0.0.20", {}),
}
CUT = "cut.test", "127.0.0.21"
# Domains of ours to which Postfix sends: domain > (its policy, its mail host's name, a certificate's digest or not).
SENDING: Mapping[str, tuple[str, str]] = {
    "in-none.test": ("none", HOSTNAME),
    "in-may.test": ("may", HOSTNAME),
    "in-encrypt.test": ("encrypt", HOSTNAME),
    "in-verify.test": ("verify", HOSTNAME),
    "in-secure.test": (f"secure match={HOSTNAME}", HOSTNAME),
    "in-dane.test": ("dane-only", HOSTNAME),
    "in-elsewhere.test": ("verify", "mx.in-elsewhere.test"),
    "in-mismatch.test": ("dane", "mx.in-mismatch.test"),
    "in-bogus.test": ("dane", "mx.in-bogus.test"),
    "in-cut.test": ("none", "mx.in-cut.test"),
}
CUT_IN = "127.0.0.22"
UNDELIVERED = ("in-elsewhere.test", "in-mismatch.test", "in-bogus.test")

EXTRA = """virtual_mailbox_domains = {domains}
smtp_tls_security_level = may
smtp_tls_policy_maps = lmdb:{{base}}/etc/policies
smtp_tls_CAfile = {authority}
smtp_dns_support_level = dnssec
smtp_host_lookup = dns
inet_protocols = all
smtp_connect_timeout = 5s
smtpd_client_connection_count_limit = 0
"""


LIMITS = """message_size = "3M"
recipients_submission = 400
account_recipients_per_day = 5000
account_new_recipients_per_day = 5000
account_hijack_per_hour = 5000
"""


@dataclass
class Ways(Sender):
    policy: Policy
    cut_out: Cutter
    cut_in: Cutter

    def hand_over(
        self, recipients: Sequence[str], raw: bytes, *, mail: Sequence[str] = (), rcpt: Sequence[str] = ()
    ) -> None:
        """To Postfix, which sends it on to us."""
        with smtplib.SMTP("127.0.0.1", self.postfix.port, timeout=60) as client:
            client.ehlo()
            assert not client.sendmail(ALICE, list(recipients), raw, mail_options=mail, rcpt_options=rcpt)


def resolver_address() -> str:
    """A loopback address nobody serves names at: Postfix asks port 53 and no other."""
    for _ in range(50):
        address = f"127.{random.randint(10, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"
        with contextlib.suppress(OSError), socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as packets:
            stream.bind((address, 53))
            packets.bind((address, 53))
            return address
    raise AssertionError("port 53 cannot be bound on loopback: these tests run as root")


def outside_zones(port: int) -> dict[str, str]:
    zones = {domain: mail_zone("").replace("127.0.0.1", address) for domain, (address, _) in RECEIVING.items()}
    spf = '@ IN TXT "v=spf1 ip4:127.0.0.0/8 -all"\n_dmarc IN TXT "v=DMARC1; p=reject"\n'
    zones[PARTNER] += spf
    zones["fallback.test"] += "mx IN AAAA ::1\n"  # where nobody listens at this port
    zones["late.test"] += wrong(port)
    zones[CUT[0]] = mail_zone("").replace("127.0.0.1", CUT[1])
    return {**zones, "null.test": "@ IN MX 0 .\n", "six.test": "@ IN MX 10 mx\nmx IN AAAA ::1\n"}


def wrong(port: int) -> str:
    return f"_{port}._tcp.mx IN TLSA 3 1 1 {sha256(b'else').hexdigest()}\n"


def own_zones(port: int, key: bytes) -> dict[str, str]:
    right = f"_{port}._tcp.mx IN TLSA 3 1 1 {sha256(key).hexdigest()}\n"
    zones = {HOME: f"@ IN MX 10 {HOSTNAME}.\n", "dept.test": f"mx IN A 127.0.0.1\n{right}"}
    for domain, (_, host) in SENDING.items():
        zones[domain] = f"@ IN MX 10 {host}.\n"
        if host != HOSTNAME:
            zones[domain] += "mx IN A 127.0.0.1\n"
    zones["in-mismatch.test"] += wrong(port)
    zones["in-bogus.test"] += right
    zones["in-cut.test"] = mail_zone("").replace("127.0.0.1", CUT_IN)
    return zones


def set_up(installation: Suite) -> None:
    api = installation.api
    api("POST", "/organisations", {"name": "Commune"})
    for domain in (HOME, *SENDING):
        api("POST", "/domains", {"name": domain, "organisation": "Commune"})
        api("POST", "/mailboxes", {"address": f"box@{domain}", "password": PASSWORD, "quota": 1 << 30})
    for local in ("secretariat", "maire"):
        api("POST", "/mailboxes", {"address": f"{local}@{HOME}", "password": PASSWORD, "quota": 1 << 30})


def settings_of(listener: int) -> dict[str, dict[str, str]]:
    return {
        address: {name: value.format(policy=listener) for name, value in options.items()}
        for address, options in RECEIVING.values()
    }


@contextlib.contextmanager
def ways() -> Iterator[Ways]:
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        judge = enter(policy())
        resolver = resolver_address()
        installation = enter(suite(Settings("127.0.0.1:53", retry="1s, 2s, 300s"), started=False))
        certificate = (installation.data / "tls/certificate.pem").read_bytes()
        public = x509.load_pem_x509_certificate(certificate).public_key()
        key = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        mx = installation.ports["mx"]
        six = free_port()
        extra = EXTRA.format(
            domains=" ".join([*RECEIVING, CUT[0], "six.test"]), authority=installation.data / "tls/certificate.pem"
        )
        partner = enter(
            postfix(
                PARTNER,
                ["alice", "bob", *(f"@{domain}" for domain in [*RECEIVING, CUT[0], "six.test"] if domain != PARTNER)],
                {domain: f"mx:{domain}:{mx}" for domain in (HOME, *SENDING)},
                doors=settings_of(judge.port) | {f"[::1]:{six}": {}},
                resolver=resolver,
                tables={"policies": {f"{domain}:{mx}": level for domain, (level, _) in SENDING.items()}},
                extra=extra,
            )
        )
        zones = (
            outside_zones(partner.port) | own_zones(mx, key) | {"127.in-addr.arpa": "1.0.0 IN PTR mx.partner.test.\n"}
        )
        dns = enter(unbound(zones, bogus=["in-bogus.test"], standard=resolver))
        cut_out = enter(cutter((CUT[1], partner.port), (RECEIVING["plain.test"][0], partner.port)))
        cut_in = enter(cutter((CUT_IN, mx), ("127.0.0.1", mx)))
        installation.settings.resolver = dns.endpoint
        installation.settings.partner_port = partner.port
        installation.settings.routes = {"six.test": f"[::1]:{six}"}
        installation.settings.extra = LIMITS
        installation.config.write_text(installation.settings.toml(installation.ports))
        installation.start()
        set_up(installation)
        yield Ways(dns, partner, installation, judge, cut_out, cut_in)


__all__ = ["ALICE", "HOME", "PARTNER", "PASSWORD", "RECEIVING", "SENDING", "UNDELIVERED", "Ways", "ways"]
