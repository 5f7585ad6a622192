"""Messages for tests: small, whole, different."""

from __future__ import annotations

from typing import Any

from message.content import BytesContent


def mail(number: int = 1, *, size: int = 0, extra: str = "", body: str = "Bonjour") -> bytes:
    """A message with CRLF line ends, padded with lines of "x" up to about `size` octets."""
    head = (
        f"From: Citoyen <citoyen{number}@exemple.test>\r\nTo: maire@mairie.test\r\nSubject: Demande {number}\r\n"
        f"Date: Tue, 3 Nov 2026 10:00:00 +0100\r\nMessage-ID: <m{number}@exemple.test>\r\n{extra}\r\n"
    ).encode()
    text = f"{body} {number}\r\n".encode()
    lines = max(0, size - len(head) - len(text)) // 74
    return head + text + (b"x" * 72 + b"\r\n") * lines


def content(number: int = 1, **options: Any) -> BytesContent:
    return BytesContent(mail(number, **options))
