"""xtext (RFC 3461 4): how ENVID, ORCPT and AUTH= carry any text inside one ESMTP parameter.

What is decoded is checked again for control characters: `+0A` once became a command elsewhere (security.md row 17).
"""

from __future__ import annotations

import re

# xchar = any ASCII CHAR between "!" (33) and "~" (126) inclusive, except for "+" and "="
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_HEXCHAR = re.compile(r"\+([0-9A-F]{2})")
_EMBEDDED = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_TO_ENCODE = re.compile(r"[^!-*,-<>-~]")


class XtextError(ValueError):
    """Not xtext, or it hides a character that is not printable ASCII."""


def decode(text: str) -> str:
    """The plain text, printable ASCII only. Raises `XtextError`."""
    if not _XTEXT.fullmatch(text):
        raise XtextError("not xtext")
    plain = _HEXCHAR.sub(lambda match: chr(int(match[1], 16)), text)
    if not all(" " <= c <= "~" for c in plain):
        raise XtextError("xtext hides a control character")
    return plain


def decode_wide(text: str) -> str:
    """xtext whose octets are UTF-8, which RFC 3461 does not know and Postfix sends for rfc822 addresses beyond ASCII.
    Raises `XtextError`."""
    if not _XTEXT.fullmatch(text):
        raise XtextError("not xtext")
    octets = re.sub(rb"\+([0-9A-F]{2})", lambda match: bytes.fromhex(match[1].decode()), text.encode("ascii"))
    try:
        return _printable(octets.decode("utf-8"))
    except UnicodeDecodeError:
        raise XtextError("xtext hides no text") from None


def decode_utf8(text: str) -> str:
    """utf-8-addr-xtext (RFC 6533 3): each EmbeddedUnicodeChar as the character it names. Raises `XtextError`."""
    plain = decode(text)
    try:
        return _printable(_EMBEDDED.sub(lambda match: chr(int(match[1], 16)), plain))
    except (ValueError, OverflowError):
        raise XtextError("no character") from None


def _printable(text: str) -> str:
    if not text.isprintable():
        raise XtextError("xtext hides a control character")
    return text


def encode_utf8(text: str) -> str:
    """utf-8-addr-xtext (RFC 6533 3): what is not QCHAR as an EmbeddedUnicodeChar. Raises `XtextError` for controls."""
    if not text.isprintable():
        raise XtextError("only printable text can be sent")
    return "".join(c if c != "\\" and _XTEXT.fullmatch(c) else f"\\x{{{ord(c):X}}}" for c in text)


def encode(text: str) -> str:
    """Printable ASCII as xtext. Raises `XtextError` for anything else."""
    if not all(" " <= c <= "~" for c in text):
        raise XtextError("only printable ASCII can be sent")
    return _TO_ENCODE.sub(lambda match: f"+{ord(match[0]):02X}", text)
