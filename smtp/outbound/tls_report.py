"""A day's TLS report for one domain, written: JSON, gzip, and the mail that carries it (RFC 8460 4, 5). Pure.

Who gets it and when is `tls_reporter`'s. French first in the part that people read.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from core.address import Address
from core.ids import Ids
from delivery.queue.tls_counts import TlsKey
from message import compose

DAY = 86_400
MAX_URIS = 5
MEDIA = "application/tlsrpt+gzip"
_URI = re.compile(r"(mailto|https):[!-~]{1,500}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TlsReport:
    """`data` is the gzipped JSON; `id` is the same whenever the same day is reported again."""

    domain: str
    submitter: str
    day: int
    id: str
    data: bytes
    sessions: int
    failures: int

    @property
    def filename(self) -> str:
        """RFC 8460 5.1"""
        start = self.day * DAY
        return f"{self.submitter}!{self.domain}!{start}!{start + DAY - 1}!{self.id[:12]}.json.gz"


def destinations(records: Sequence[bytes]) -> tuple[str, ...]:
    """The URIs of the one TLSRPTv1 record of a domain; none when there is none or several (RFC 8460 3)."""
    found = [text for text in (data.decode("ascii", "replace") for data in records) if _is_ours(text)]
    if len(found) != 1:
        return ()
    for part in found[0].split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip() == "rua":
            uris = [uri.strip() for uri in value.split(",")]
            return tuple(uri for uri in uris if _URI.fullmatch(uri))[:MAX_URIS]
    return ()


def _is_ours(text: str) -> bool:
    return re.match(r"v=TLSRPTv1[ \t]*;", text) is not None


def build(day: int, domain: str, counts: Mapping[TlsKey, int], *, submitter: str, contact: str) -> TlsReport:
    """RFC 8460 4.4. `submitter` is our host name, `contact` an address of ours."""
    identity = hashlib.sha256(f"{submitter} {domain} {day}".encode()).hexdigest()[:32]
    of_policy: dict[str, list[tuple[TlsKey, int]]] = defaultdict(list)
    for key, sessions in counts.items():
        of_policy[key.policy].append((key, sessions))
    report = {
        "organization-name": submitter,
        "date-range": {"start-datetime": _instant(day * DAY), "end-datetime": _instant(day * DAY + DAY - 1)},
        "contact-info": contact,
        "report-id": f"{identity}@{submitter}",
        "policies": [_policy(policy, rows) for policy, rows in sorted(of_policy.items())],
    }
    data = gzip.compress(json.dumps(report, indent=1).encode(), mtime=0)
    failures = sum(sessions for key, sessions in counts.items() if key.failure)
    return TlsReport(domain, submitter, day, identity, data, sum(counts.values()), failures)


def _instant(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _policy(policy: str, rows: Sequence[tuple[TlsKey, int]]) -> dict[str, object]:
    told: dict[str, object] = {
        "policy": json.loads(policy),
        "summary": {
            "total-successful-session-count": sum(sessions for key, sessions in rows if not key.failure),
            "total-failure-session-count": sum(sessions for key, sessions in rows if key.failure),
        },
    }
    details = [_detail(key, sessions) for key, sessions in rows if key.failure]
    if details:
        told["failure-details"] = details
    return told


def _detail(key: TlsKey, sessions: int) -> dict[str, object]:
    fields = {
        "result-type": key.failure,
        "sending-mta-ip": key.source,
        "receiving-mx-hostname": key.host,
        "receiving-ip": key.address,
        "failure-reason-code": key.reason,
    }
    return {name: text for name, text in fields.items() if text} | {"failed-session-count": sessions}


def mail(report: TlsReport, sender: Address, to: Address, *, ids: Ids, now: float) -> bytes:
    """RFC 8460 5.3. `TLS-Required: No`: the report of a broken TLS must not be stopped by it (RFC 8689 3)."""
    boundary = f"tlsrpt-{ids.token()}"
    date = _instant(report.day * DAY)[:10]
    text = (
        f"Rapport TLS de {report.submitter} pour {report.domain}, journée du {date} (UTC) :\n"
        f"{report.sessions} sessions SMTP, dont {report.failures} en échec. Détails dans la pièce jointe.\n\n"
        f"TLS report of {report.submitter} for {report.domain}, day {date} (UTC):\n"
        f"{report.sessions} SMTP sessions, {report.failures} of them failed. Details are attached.\n"
    )
    return b"".join(
        (
            compose.people("From", [compose.Person(sender)]),
            compose.people("To", [compose.Person(to)]),
            compose.raw_field(
                "Subject", f"Report Domain: {report.domain} Submitter: {report.submitter} Report-ID: <{report.id}>"
            ),
            compose.date(now),
            compose.message_id(ids, report.submitter),
            compose.raw_field("Auto-Submitted", "auto-generated"),
            compose.raw_field("TLS-Report-Domain", report.domain),
            compose.raw_field("TLS-Report-Submitter", report.submitter),
            compose.raw_field("TLS-Required", "No"),
            compose.raw_field("MIME-Version", "1.0"),
            f'Content-Type: multipart/report; report-type="tlsrpt";\r\n\tboundary="{boundary}"\r\n'.encode(),
            f"\r\n--{boundary}\r\n".encode(),
            compose.raw_field("Content-Type", "text/plain; charset=utf-8"),
            compose.raw_field("Content-Transfer-Encoding", "quoted-printable"),
            b"\r\n",
            compose.text_body(text),
            f"\r\n--{boundary}\r\n".encode(),
            compose.raw_field("Content-Type", MEDIA),
            compose.raw_field("Content-Transfer-Encoding", "base64"),
            f'Content-Disposition: attachment;\r\n\tfilename="{report.filename}"\r\n\r\n'.encode(),
            base64.encodebytes(report.data).replace(b"\n", b"\r\n"),
            f"\r\n--{boundary}--\r\n".encode(),
        )
    )
