"""Delivery status notifications, written: RFC 3464 in a multipart/report (RFC 6522), RFC 6533 where addresses need it.

The human part is French first, then English. Values from remote servers are one line of printable characters here,
whatever they were. Who gets a notification, and whether at all, is `delivery.bounce`'s to decide.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from core.address import Address
from core.ids import Ids
from core.status import Status
from message import charset, compose, dates, dsn_text
from message.content import Content

RETURN_LIMIT = 50_000  # octets of an original that is returned whole (Postfix's bounce_size_limit)
_HEADERS_LIMIT = 64 * 1024
_MAX_TEXT = 900
_XTEXT = re.compile(r"\+([0-9A-F]{2})")


class Action(Enum):
    """RFC 3464 2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """What became of one recipient. `original`: ORCPT as it came ("rfc822;" xtext) or ""; `remote`: the host whose
    words `diagnostic` are, "" when they are ours; times in Unix seconds, None where they mean nothing."""

    address: Address
    action: Action
    status: Status
    remote: str = ""
    diagnostic: str = ""
    original: str = ""
    last_attempt: float | None = None
    retry_until: float | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification: `to` is the envelope sender of the original, `postmaster` ours, `hostname` the reporting MTA;
    `arrived` when we took the message, `envid` decoded or "", `ret` "FULL", "HDRS" or "", `deliver_by` its time limit
    (RFC 2852), `held` the delay its sender asked for ("for;60", "until;" date; RFC 4865), `source` the server it came
    from as `message.trace.received_from` tells it, "" for mail of our own people."""

    hostname: str
    postmaster: Address
    to: Address
    queue_id: str
    arrived: float
    recipients: Sequence[RecipientReport]
    envid: str = ""
    ret: str = ""
    deliver_by: float | None = None
    held: str = ""
    source: str = ""


def write(notice: Notice, original: Content, *, ids: Ids, now: float) -> bytes:
    """The notification as a whole message; to be sent with the null reverse-path (RFC 3464 2)."""
    wide = _needs_utf8(notice)
    boundary = f"dsn-{ids.token()}"
    parts = (
        _part("text/plain; charset=utf-8", compose.text_body(dsn_text.body(notice)), "quoted-printable"),
        _status_part(notice, wide),
        _original_part(notice, original),
    )
    separator = f"\r\n--{boundary}\r\n".encode()
    return b"".join(
        (
            _head(notice, boundary, ids, now),
            # RFC 2045 6.4: a multipart says what its parts hold; 7bit would be the default
            b"" if all(part.isascii() for part in parts) else compose.raw_field("Content-Transfer-Encoding", "8bit"),
            b"\r\nThis is a delivery status notification in MIME format.\r\n",
            *(separator + part for part in parts),
            f"\r\n--{boundary}--\r\n".encode(),
        )
    )


def _head(notice: Notice, boundary: str, ids: Ids, now: float) -> bytes:
    sender = compose.Person(notice.postmaster, f"Messagerie {notice.hostname}")
    return b"".join(
        (
            compose.people("From", [sender]),
            compose.people("To", [compose.Person(notice.to)]),
            compose.field("Subject", dsn_text.subject(worst(notice.recipients))),
            compose.date(now),
            compose.message_id(ids, notice.hostname),
            compose.raw_field("Auto-Submitted", "auto-replied"),  # RFC 3834 5: nobody answers this by machine
            compose.raw_field("MIME-Version", "1.0"),
            b"Content-Type: multipart/report; report-type=delivery-status;\r\n"
            + f'\tboundary="{boundary}"\r\n'.encode(),
        )
    )


def worst(recipients: Sequence[RecipientReport]) -> Action:
    """The action that names the whole notification: a failure before a delay before a success."""
    return min((item.action for item in recipients), key=list(Action).index, default=Action.FAILED)


def _part(media: str, body: bytes, encoding: str = "7bit") -> bytes:
    fields = compose.raw_field("Content-Type", media) + compose.raw_field("Content-Transfer-Encoding", encoding)
    return fields + b"\r\n" + body


def _status_part(notice: Notice, wide: bool) -> bytes:
    """RFC 3464 2.1.1, or message/global-delivery-status (RFC 6533 4) when an address is not ASCII."""
    media = "message/global-delivery-status" if wide else "message/delivery-status"
    groups = [_message_fields(notice), *(_recipient_fields(item, notice.queue_id) for item in notice.recipients)]
    body = "\r\n".join("".join(f"{name}: {value}\r\n" for name, value in group if value) for group in groups)
    return _part(media, body.encode("utf-8" if wide else "ascii", "replace"), "8bit" if wide else "7bit")


def _message_fields(notice: Notice) -> list[tuple[str, str]]:
    """RFC 3464 2.2, with the fields of RFC 2852 5 and RFC 4865 5.1.2. DSN-Gateway is for mail of another kind."""
    return [
        ("Reporting-MTA", f"dns; {notice.hostname}"),
        ("Received-From-MTA", f"dns; {one_line(notice.source)}" if notice.source else ""),
        ("Original-Envelope-Id", one_line(notice.envid)),
        ("Arrival-Date", _date(notice.arrived)),
        ("Deliver-By-Date", _date(notice.deliver_by)),
        ("Future-Release-Request", one_line(notice.held)),
        ("X-Beffroi-Queue-Id", one_line(notice.queue_id)),
    ]


def _recipient_fields(item: RecipientReport, queue_id: str) -> list[tuple[str, str]]:
    """RFC 3464 2.3. Final-Log-ID is the log's of whoever had the last word: under what name a remote server keeps a
    message only its own words can tell. These alone are a diagnostic of SMTP (2.3.6), not what we say of a server that
    did not answer."""
    code = "smtp" if item.diagnostic else "x-beffroi"
    return [
        ("Original-Recipient", _original_recipient(item.original)),
        ("Final-Recipient", f"{'rfc822' if item.address.ascii else 'utf-8'}; {item.address}"),
        ("Action", item.action.value),
        ("Status", item.status.enhanced),
        ("Remote-MTA", f"dns; {one_line(item.remote)}" if item.remote else ""),
        ("Diagnostic-Code", f"{code}; {one_line(item.diagnostic or str(item.status))}"),
        ("Last-Attempt-Date", _date(item.last_attempt)),
        ("Final-Log-ID", "" if item.diagnostic else one_line(queue_id)),
        ("Will-Retry-Until", _date(item.retry_until) if item.action is Action.DELAYED else ""),
    ]


def _original_recipient(orcpt: str) -> str:
    """RFC 3461 4.2: addr-type ";" xtext; decoded for the notification (RFC 3464 2.3.1)."""
    kind, semicolon, text = orcpt.partition(";")
    if not semicolon or not kind.isascii():
        return ""
    return f"{one_line(kind)}; {one_line(_XTEXT.sub(lambda match: chr(int(match[1], 16)), text))}"


def _original_part(notice: Notice, original: Content) -> bytes:
    """The message, when something failed and it is short; else its header (RFC 3461 6.2: RET speaks of failures)."""
    whole = notice.ret != "HDRS" and worst(notice.recipients) is Action.FAILED and original.size <= RETURN_LIMIT
    data = original.read(0, original.size) if whole else _header_lines(original.head)
    plain, wide = ("message/rfc822", "message/global") if whole else ("text/rfc822-headers", "message/global-headers")
    media = plain if original.head.isascii() else wide  # RFC 6533 5, 6: UTF-8 header fields
    return _part(media, data, "7bit" if data.isascii() else "8bit")


def _header_lines(head: bytes) -> bytes:
    """At most `_HEADERS_LIMIT` octets of whole lines, without the empty line."""
    if len(head) > _HEADERS_LIMIT:
        head = head[: head.rfind(b"\r\n", 0, _HEADERS_LIMIT) + 2]
    return head.rstrip(b"\r\n") + b"\r\n"


def _needs_utf8(notice: Notice) -> bool:
    texts = [text for item in notice.recipients for text in (str(item.address), item.original)]
    return not all(text.isascii() for text in texts)


def _date(seconds: float | None) -> str:
    return "" if seconds is None else dates.format_date(seconds)


def one_line(text: str) -> str:
    """Safe in a field of ours: one line, no control character, bounded. Not ASCII only: xtext may carry UTF-8."""
    return charset.shown(text)[:_MAX_TEXT]
