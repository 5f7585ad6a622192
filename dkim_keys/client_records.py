"""SRV records by which mail programs find where to read and to send mail of a domain (RFC 6186, RFC 8314 5.1).

Where a service has a door with TLS from the first octet, that one is told and no other (RFC 8314 3); a door that only
the machine itself can reach is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from core.config import Listen, parse_endpoint
from dkim_keys.records import DnsRecord, Kind


@dataclass(frozen=True, slots=True)
class ClientService:
    """`label`: the service's name in DNS (RFC 6186 3, RFC 8314 7), `port` where it listens."""

    label: str
    port: int


_PURPOSES = {
    "_imaps": "SRV : les logiciels de messagerie y trouvent où lire le courrier de la commune.",
    "_submissions": "SRV : les logiciels de messagerie y trouvent où envoyer le courrier de la commune.",
}
_PURPOSES |= {"_imap": _PURPOSES["_imaps"], "_submission": _PURPOSES["_submissions"]}


def client_services(listen: Listen) -> list[ClientService]:
    """One for reading and one for sending, as far as there is a door for it."""
    doors = (
        (("_imaps", listen.imaps), ("_imap", listen.imap)),
        (("_submissions", listen.submissions), ("_submission", listen.submission)),
    )
    found = []
    for ways in doors:
        usable = [ClientService(label, port) for label, places in ways for port in _ports(places)]
        found += usable[:1]
    return found


def _ports(places: Sequence[str]) -> list[int]:
    return [port for address, port in map(parse_endpoint, places) if not _on_loopback(address)]


def _on_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:  # a name
        return address == "localhost"


def client_records(domain: str, hostname: str, services: Sequence[ClientService]) -> list[DnsRecord]:
    """They may be left out: people then type the server's name once."""
    return [
        DnsRecord(
            f"{service.label}._tcp.{domain}",
            "SRV",
            f"0 1 {service.port} {hostname}.",
            _PURPOSES[service.label],
            Kind.CLIENT,
            required=False,
        )
        for service in services
    ]
