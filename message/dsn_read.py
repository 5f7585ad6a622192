"""Delivery status notifications, read: who failed, and why (RFC 3464, RFC 6533). Values only; believes nothing.

Bounded by the structure's own limits and `_MAX_RECIPIENTS`; never raises on bad mail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.config import Limits
from message import charset, mime
from message.content import Content
from message.header import LIMITS, Head, split
from message.parts import Part
from message.transfer import decoded

_MAX_REPORT = 256 * 1024
_MAX_RECIPIENTS = 1000
_STATUS_TYPES = (b"delivery-status", b"global-delivery-status")
_BLANK = re.compile(rb"\r\n(?:\r\n)+")
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_ACTIONS = frozenset(("failed", "delayed", "delivered", "relayed", "expanded"))


@dataclass(frozen=True, slots=True)
class ReportedRecipient:
    """`address` and `original` without their address type; `action` is one of RFC 3464 2.3.3 or ""; `status` "x.y.z"
    or ""; texts are single lines for show."""

    address: str
    original: str
    action: str
    status: str
    diagnostic: str
    remote: str

    @property
    def failed(self) -> bool:
        return self.action == "failed"


@dataclass(frozen=True, slots=True)
class Report:
    """`envid` the Original-Envelope-Id or ""; `returned` where the returned message or header lies, None if it does
    not."""

    reporting_mta: str
    envid: str
    recipients: tuple[ReportedRecipient, ...]
    returned: tuple[int, int] | None = None


def read(content: Content, structure: mime.Structure | None = None, limits: Limits = LIMITS) -> Report | None:
    """None when the message is no multipart/report of delivery status (RFC 6522 3)."""
    structure = structure or mime.scan(content, limits)
    about = structure.media[0]
    kind = (about.parameter(b"report-type") or b"").lower()
    if (about.type, about.subtype) != (b"multipart", b"report") or kind != b"delivery-status":
        return None
    for part in structure.root.children:
        media = structure.media[part.index]
        if media.type == b"message" and media.subtype in _STATUS_TYPES:
            return _report(content, structure, part, limits)
    return None


def _report(content: Content, structure: mime.Structure, part: Part, limits: Limits) -> Report:
    data = content.read(part.body_start, min(part.body_end, part.body_start + _MAX_REPORT))
    text = b"".join(decoded(part.encoding, [data])).strip(b"\r\n")
    groups = [split(group + b"\r\n", limits) for group in _BLANK.split(text, _MAX_RECIPIENTS)]
    recipients = tuple(_recipient(group) for group in groups[1 : _MAX_RECIPIENTS + 1] if group.fields)
    return Report(
        _typed(groups[0], b"reporting-mta"),
        _text(groups[0], b"original-envelope-id"),
        recipients,
        _returned(structure, part),
    )


def _recipient(group: Head) -> ReportedRecipient:
    action = _text(group, b"action").lower()
    status = _STATUS.match(_text(group, b"status"))
    return ReportedRecipient(
        _typed(group, b"final-recipient"),
        _typed(group, b"original-recipient"),
        action if action in _ACTIONS else "",
        status[0] if status else "",
        _typed(group, b"diagnostic-code"),
        _typed(group, b"remote-mta"),
    )


def _text(group: Head, name: bytes) -> str:
    return charset.shown(charset.guess(group.value(name) or b""))[:1000]


def _typed(group: Head, name: bytes) -> str:
    """What follows the type and its semicolon (RFC 3464 2.1.2)."""
    kind, semicolon, text = _text(group, name).partition(";")
    return text.strip() if semicolon else kind


def _returned(structure: mime.Structure, status: Part) -> tuple[int, int] | None:
    parts = structure.root.children
    after = parts.index(status) + 1
    return (parts[after].body_start, parts[after].body_end) if after < len(parts) else None
