"""The DNS records a commune publishes for its domain, as values and as zone file lines.

Knows what to ask for, not what is published (`check` does). Sentences are French: the secretary of a mairie reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from directory.types import DkimKey, KeyState
from dkim_keys.sts_policy import policy_id

TTL = 3600
STRING = 255  # RFC 1035 3.3: a character-string holds at most 255 octets


class Kind(Enum):
    MX = "mx"
    SPF = "spf"
    DKIM = "dkim"
    DMARC = "dmarc"
    STS = "sts"
    STS_HOST = "sts-host"
    TLSRPT = "tlsrpt"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class DnsRecord:
    """`name` absolute without final dot; `value` as one string; `required` false for a record that may be removed."""

    name: str
    type: str
    value: str
    purpose: str
    kind: Kind
    required: bool = True

    def zone_line(self) -> str:
        """One line for a zone file (RFC 1035 5.1); TXT values in strings of at most 255 octets."""
        return f"{self.name}. {TTL} IN {self.type} {quoted(self.value) if self.type == 'TXT' else self.value}"


def quoted(value: str) -> str:
    """A TXT value as quoted strings, in parentheses when there are several."""
    escaped = [
        value[start : start + STRING].replace("\\", "\\\\").replace('"', '\\"')
        for start in range(0, max(len(value), 1), STRING)
    ]
    strings = " ".join(f'"{piece}"' for piece in escaped)
    return f"( {strings} )" if len(escaped) > 1 else strings


def domain_records(
    domain: str, hostname: str, keys: Sequence[DkimKey], *, dmarc_policy: str = "quarantine", sts_policy: str = ""
) -> list[DnsRecord]:
    """What `domain` publishes: MX to `hostname`, SPF, one DKIM record per key, DMARC; with an MTA-STS policy the three
    records that go with it."""
    return [
        DnsRecord(domain, "MX", f"10 {hostname}.", "Le courrier de la commune arrive sur ce serveur.", Kind.MX),
        DnsRecord(
            domain,
            "TXT",
            "v=spf1 mx -all",
            "SPF : seul ce serveur peut envoyer du courrier au nom de la commune.",
            Kind.SPF,
        ),
        *dkim_records(keys),
        DnsRecord(
            f"_dmarc.{domain}",
            "TXT",
            f"v=DMARC1; p={dmarc_policy}",
            "DMARC : ce que les autres serveurs font d'un message qui usurpe la commune.",
            Kind.DMARC,
        ),
        *(sts_records(domain, hostname, sts_policy) if sts_policy else ()),
    ]


def sts_records(domain: str, hostname: str, policy: str) -> list[DnsRecord]:
    """RFC 8461 3.1, 8.2; RFC 8460 3. May be left out; the mail then travels with less certainty."""
    return [
        DnsRecord(
            f"_mta-sts.{domain}",
            "TXT",
            f"v=STSv1; id={policy_id(policy)};",
            "MTA-STS : annonce que le courrier destiné à la commune doit arriver chiffré.",
            Kind.STS,
            required=False,
        ),
        DnsRecord(
            f"mta-sts.{domain}",
            "CNAME",
            f"{hostname}.",
            "MTA-STS : adresse du site qui publie cette règle.",
            Kind.STS_HOST,
            required=False,
        ),
        DnsRecord(
            f"_smtp._tls.{domain}",
            "TXT",
            f"v=TLSRPTv1; rua=mailto:postmaster@{domain}",
            "TLS-RPT : où les autres serveurs signalent un chiffrement qui ne marche pas.",
            Kind.TLSRPT,
            required=False,
        ),
    ]


_PURPOSES = {
    KeyState.PUBLISHED: "DKIM : prochaine clé de signature, utilisée dès que cet enregistrement est visible.",
    KeyState.ACTIVE: "DKIM : clé qui signe le courrier de la commune.",
    KeyState.RETIRED: "DKIM : ancienne clé ; à laisser encore 14 jours après le changement, puis à retirer.",
}


def dkim_records(keys: Sequence[DkimKey]) -> list[DnsRecord]:
    """One TXT record per key, in their order (RFC 6376 3.6.1)."""
    return [
        DnsRecord(
            f"{key.selector}._domainkey.{key.domain}",
            "TXT",
            f"v=DKIM1; k={key.algorithm}; p={key.public_key}",
            _PURPOSES[key.state],
            Kind.DKIM,
            required=key.state is not KeyState.RETIRED,
        )
        for key in keys
    ]
