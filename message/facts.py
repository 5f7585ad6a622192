"""Everything the index keeps about a message, computed once at delivery from its bytes.

Serves `store`: one call per message, pure, bounded (security.md section 2), linear, never raises on bad mail.
"""

from __future__ import annotations

import re

from core.config import Limits
from core.frozen import dataclass
from message import dates, mime, sorting, structure, summary, text
from message.content import Content
from message.header import LIMITS, Defect, Head, Headed, split
from message.sorting import SortKeys

_LONGEST_STRUCTURE = 1024 * 1024  # octets of BODYSTRUCTURE: past it only an attack (the index keeps it for ever)
_MAX_REFERENCES = 100
_ID = re.compile(rb"<([^<>\s]{1,998})>")
_BARE_ID = re.compile(rb"[^<>\s]{1,998}")

# The fields Thunderbird, Outlook, Apple Mail, K-9 and mutt ask for in their first synchronisation.
KEPT_FIELDS = frozenset(
    b"from to cc bcc sender reply-to subject date message-id in-reply-to references content-type "
    b"content-transfer-encoding content-language mime-version list-id list-post list-unsubscribe delivered-to "
    b"return-path received authentication-results x-priority priority importance x-spam-flag x-spam-status "
    b"disposition-notification-to newsgroups user-agent x-mailer autocrypt x-label keywords comments "
    b"auto-submitted precedence resent-from resent-to resent-date".split()
)


@dataclass(frozen=True, slots=True)
class Facts:
    """`envelope`, `bodystructure`, `body`: IMAP wire forms without the item name (RFC 9051 7.5.2); strings are quoted
    or, when they cannot be (8-bit, CR, LF, NUL replaced), literals. `parts`: `mime.Structure.pack()`. `headers`: the
    raw `KEPT_FIELDS` in their order, each with its CRLF, without the empty line. `preview`: at most 200 characters of
    text (RFC 8970). `sent_date`: Unix seconds of Date, None if absent or absurd. For THREADID, without brackets:
    `message_id`, and `references` with In-Reply-To before References; `keys` for SORT, THREAD and search.
    """

    envelope: bytes
    bodystructure: bytes
    body: bytes
    parts: bytes
    headers: bytes
    preview: str
    sent_date: int | None
    message_id: str
    references: tuple[str, ...]
    keys: SortKeys


@dataclass(frozen=True, slots=True)
class Relations:
    """What THREADID comes from: the fields of the same names in `Facts`."""

    message_id: str
    references: tuple[str, ...]


def relations(head: Head) -> Relations:
    """From a header, or from its `KEPT_FIELDS`."""
    return Relations(_message_id(head), _references(head))


def gather(content: Content, limits: Limits = LIMITS) -> Facts:
    """Scan a message once. Runs in a thread for long ones: each step works on at most `content.BLOCK` octets."""
    if isinstance(content, Headed):
        head = content.fields
    else:
        head = split(content.read(0, min(content.size, limits.header_block + 4)), limits)  # 4: to see that it goes on
    scanned = mime.scan(content, limits, None if head.defects.any_of(Defect.BLOCK_TOO_LONG) else head)
    wire, plain = structure.forms(scanned)
    if len(wire) > _LONGEST_STRUCTURE:
        scanned = mime.opaque(content, limits)
        wire, plain = structure.forms(scanned)
    date = dates.parse(head.value(b"date"))
    return Facts(
        envelope=summary.envelope(head, limits),
        bodystructure=wire,
        body=plain,
        parts=scanned.pack(),
        headers=b"".join([field.raw for field in head.fields if field.name in KEPT_FIELDS]),
        preview=text.preview(content, scanned),
        sent_date=None if date is None else date.seconds,
        message_id=_message_id(head),
        references=_references(head),
        keys=sorting.keys(head, limits),
    )


def _ids(value: bytes | None) -> list[str]:
    """The ids of a field without brackets; ids are compared octet by octet, so nothing is folded (RFC 5256 2.2)."""
    return [match.decode("utf-8", "replace") for match in _ID.findall(value or b"")]


def _message_id(head: Head) -> str:
    """The id; one without brackets, which some senders write, is taken when it is a single word."""
    value = head.value(b"message-id") or b""
    if found := _ID.search(value):
        return found[1].decode("utf-8", "replace")
    bare = value.strip(b"<>")
    return bare.decode("utf-8", "replace") if _BARE_ID.fullmatch(bare) else ""


def _references(head: Head) -> tuple[str, ...]:
    """In-Reply-To, then References; of very many the first and the latest, which is where threads meet."""
    reply, references = head.value(b"in-reply-to"), head.value(b"references")
    if reply is None and references is None:
        return ()
    ids = list(dict.fromkeys(_ids(reply) + _ids(references)))
    return tuple(ids if len(ids) <= _MAX_REFERENCES else ids[:2] + ids[2 - _MAX_REFERENCES :])
