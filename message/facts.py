"""Everything the index keeps about a message, computed once at delivery from its bytes.

Serves `store`: one call per message, pure, bounded (security.md section 2), linear, never raises on bad mail.
"""

from __future__ import annotations

from dataclasses import dataclass

from message.content import Content

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
    text (RFC 8970). `sent_date`: Unix seconds of Date, None if absent or absurd. `thread_ids`: Message-ID,
    In-Reply-To and References ids in that order (without brackets), for threading; `base_subject` as RFC 5256 2.1.
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
    base_subject: str


def gather(content: Content) -> Facts:
    """Scan a message once. Runs in a thread for long ones: each step works on at most `content.BLOCK` octets."""
    raise NotImplementedError
