"""What a server offered, and the MAIL and RCPT lines that say as much of a message as it understands. Pure.

SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), REQUIRETLS (RFC 8689), BY (RFC 2852), MT-PRIORITY (RFC 6710), RET
ENVID NOTIFY ORCPT (RFC 3461, RFC 6533), AUTH= (RFC 4954 5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.envelope import Schedule
from delivery.types import Job, JobRecipient
from smtp import xtext
from smtp.outbound.requirements import needs_utf8
from smtp.parameters import MAX_AUTH
from smtp.schedule import by_parameter

_LIMIT = re.compile(r"[A-Za-z0-9_-]+(?:=[!-:<-~]+)?")  # RFC 9422 3
_LIMIT_VALUE = re.compile(r"[1-9][0-9]{0,5}")  # RFC 9422 4


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Upper-case EHLO keywords with their parameters; none after HELO."""

    keywords: dict[str, str]

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.keywords

    def without(self, keyword: str) -> Capabilities:
        return Capabilities({key: value for key, value in self.keywords.items() if key != keyword})

    @property
    def size(self) -> int:
        """The fixed limit of RFC 1870 3, 0 when there is none."""
        value = self.keywords.get("SIZE", "").split(" ")[0]
        return int(value) if value.isdecimal() and len(value) <= 20 else 0

    def limit(self, name: str) -> int:
        """Of RFC 9422 4 (RCPTMAX, MAILMAX, RCPTDOMAINMAX); 0 when there is none. A value that cannot be read is no
        limit, and a list that is none has no limits at all (3.7)."""
        items = self.keywords.get("LIMITS", "").split()
        if not all(_LIMIT.fullmatch(item) for item in items):
            return 0
        values = [value for key, _, value in (item.partition("=") for item in items) if key.upper() == name]
        return next((int(value) for value in values if _LIMIT_VALUE.fullmatch(value)), 0)

    @property
    def shortest_by(self) -> int:
        """The min-by-time of RFC 2852 2, the first of a list that later documents may make longer; 0 when there is
        none."""
        value = re.split("[, ]", self.keywords.get("DELIVERBY", ""), maxsplit=1)[0]
        return int(value) if value.isdecimal() and len(value) <= 9 else 0


def mail_line(job: Job, recipients: tuple[JobRecipient, ...], capabilities: Capabilities, size: int, now: float) -> str:
    parts = [f"MAIL FROM:<{job.sender or ''}>"]
    if "SIZE" in capabilities:
        parts.append(f"SIZE={size}")
    if "8BITMIME" in capabilities and job.body == "8BITMIME":
        parts.append("BODY=8BITMIME")
    # An alias may lead to an address beyond ASCII whatever the message came with (RFC 6531 3.4).
    if "SMTPUTF8" in capabilities and (job.smtputf8 or needs_utf8(job, recipients)):
        parts.append("SMTPUTF8")
    if "REQUIRETLS" in capabilities and job.require_tls:
        parts.append("REQUIRETLS")
    if "DELIVERBY" in capabilities and job.schedule.by_mode:
        parts.append(by_parameter(job.schedule, now))
    if "MT-PRIORITY" in capabilities:  # RFC 6710 4.2: 0, too, which is what 4.1 makes of no word
        parts.append(f"MT-PRIORITY={job.schedule.priority}")
    if "DSN" in capabilities:
        parts += [f"RET={job.ret}"] if job.ret else []
        parts += [f"ENVID={xtext.encode(job.envid)}"] if job.envid else []
    return " ".join(parts)


def rcpt_line(recipient: JobRecipient, capabilities: Capabilities, schedule: Schedule) -> str:
    parts = [f"RCPT TO:<{recipient.address}>"]
    if "DSN" in capabilities:
        dsn = recipient.dsn
        notify = _notify(dsn.notify, capabilities, schedule)
        parts += [f"NOTIFY={','.join(sorted(notify))}"] if notify else []
        kind, _, original = dsn.original.partition(";")
        if kind.lower() == "utf-8":
            # RFC 6533 3: the address type is for who knows both extensions.
            parts += [f"ORCPT=utf-8;{xtext.encode_utf8(original)}"] if original and "SMTPUTF8" in capabilities else []
        elif original and original.isascii():
            parts.append(f"ORCPT={kind};{xtext.encode(original)}")
    return " ".join(parts)


def _notify(asked: frozenset[str], capabilities: Capabilities, schedule: Schedule) -> frozenset[str]:
    """RFC 2852 4.1.4.2: a server that knows no time limits is asked to tell of delays at least."""
    if schedule.by_mode != "N" or "DELIVERBY" in capabilities or "NEVER" in asked:
        return asked
    return (asked or frozenset({"FAILURE"})) | {"DELAY"}


def submitter(job: Job) -> str:
    """RFC 4954 5: a mailbox as xtext, `<>` for nobody. Beyond ASCII, or longer than the command may grow, nobody is."""
    try:
        encoded = xtext.encode(job.submitter)
    except xtext.XtextError:
        return "<>"
    return encoded if 0 < len(encoded) <= MAX_AUTH else "<>"
