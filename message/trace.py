"""Trace fields: Received, Return-Path, the hop count, and what of a stranger's header must not stay.

RFC 5321 4.4, RFC 3848 and RFC 6531 3.7.3 (the "with" types), RFC 8601 5 (forged results). Values come from a stranger
and are reduced to harmless characters here, the last place before they become header lines (promise P9).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from core.address import Address
from core.envelope import Listener, Peer
from core.networks import parsed
from core.tls import registered_suite
from message import dates, parameters
from message.header import Field, Head

SOFTWARE = "Beffroi"
_NOT_NAME = re.compile(r"[^A-Za-z0-9.:_\[\]-]")
_NOT_WORD = re.compile(r"[^A-Za-z0-9._-]")
# The first Received field of a block and, when it has the form `received` gives it, what it says.
_TOP = re.compile(
    rb"(?:\A|\r\n)(?i:Received)[ \t]*:"
    rb"(?: from (?P<name>[!-~]{1,255}) \([!-~]{1,255} (?P<literal>\[[0-9A-Za-z:.]{1,64}\])\)"
    rb"\r\n\tby (?P<by>[!-~]{1,255}) \(" + SOFTWARE.encode() + rb"\)\r\n)?"
)
_MAX_NAME = 255  # RFC 5321 4.5.3.1.2
# The name that stands for a client of ours: where staff work from is nobody else's business (RFC 2606 2).
_OUR_CLIENT = "authenticated.invalid"


def received(
    peer: Peer,
    hostname: str,
    queue_id: str,
    recipients: Sequence[Address],
    when: float,
    *,
    smtputf8: bool = False,
    priority: int = 0,
) -> bytes:
    """One Received field with its CRLF, folded. `hostname` is ours, `when` Unix seconds.

    "for" appears with a single recipient only, so that Bcc stays blind (RFC 5321 7.2). The address and name of a
    logged-in client stay out: they are personal data of staff and lie in our log under the queue id.
    """
    lines = [f"Received: {_from(peer)}", f"\tby {_name(hostname)} ({SOFTWARE})"]
    lines.append(f"\twith {_with(peer, smtputf8)} id {_word(queue_id)}")
    if peer.tls is not None:
        lines.append(f"\t(using {_word(peer.tls.version)} with cipher {_word(peer.tls.cipher)} ({peer.tls.bits} bits))")
    if len(recipients) == 1:
        lines.append(f"\tfor <{recipients[0]}>")
    if peer.tls is not None and (suite := registered_suite(peer.tls.cipher)):  # RFC 8314 4.3, a registered clause
        lines.append(f"\ttls {suite}")
    if priority:  # RFC 6710 4.2, a registered clause
        lines.append(f"\tPRIORITY {priority}")
    return ("\r\n".join(lines) + f";\r\n\t{dates.format_date(when)}\r\n").encode()


def _from(peer: Peer) -> str:
    """Extended-Domain of RFC 5321 4.4: the name it gave, and what we know: its reverse name and its address."""
    if peer.account_id is not None:
        return f"from {_OUR_CLIENT}"
    name = _name(peer.helo) or "unknown"
    if peer.listener is Listener.LOCAL and not peer.address:
        return f"from {name}"
    return f"from {name} ({_name(peer.hostname) or 'unknown'} {_literal(peer.address)})"


def received_from(head: bytes, hostname: str) -> str:
    """Who a message came from, out of our own Received field on top of its header block: "mx.partner.test
    ([192.0.2.7])", printable ASCII. "" when the top field is not ours, or says that the sender had logged in."""
    found = _TOP.search(head)
    if found is None or found["by"] != hostname.encode("ascii"):
        return ""
    return f"{found['name'].decode()} ({found['literal'].decode()})"


@lru_cache(maxsize=4096)  # as `core.networks.parsed`
def _literal(text: str) -> str:
    """An address literal of RFC 5321 4.1.3; an IPv4 address inside IPv6 is shown as what it is."""
    try:
        address = parsed(text)
    except ValueError:
        return "[unknown]"
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


def _with(peer: Peer, smtputf8: bool) -> str:
    """RFC 3848: E for EHLO, S for TLS, A for a login; UTF8 in front when SMTPUTF8 was used (RFC 6531 4.3)."""
    if peer.listener is Listener.LMTP:
        base = "UTF8LMTP" if smtputf8 else "LMTP"
    elif smtputf8:
        base = "UTF8SMTP"
    else:
        extended = peer.extended or peer.tls is not None or peer.account_id is not None
        base = "ESMTP" if extended else "SMTP"
    return base + ("S" if peer.tls is not None else "") + ("A" if peer.account_id is not None else "")


@lru_cache(maxsize=4096)  # likewise
def _name(text: str) -> str:
    return _NOT_NAME.sub("?", text[:_MAX_NAME])


def _word(text: str) -> str:
    return _NOT_WORD.sub("?", text[:_MAX_NAME]) or "unknown"


def return_path(sender: Address | None) -> bytes:
    """The field final delivery puts on top (RFC 5321 4.4)."""
    return f"Return-Path: <{sender or ''}>\r\n".encode()


def hops(head: Head) -> int:
    """How many servers have seen it: the loop guard compares with `limits.hops` (RFC 5321 6.3)."""
    return len(head.all(b"received"))


# What a forward leaves with (`delivery.passed`); it stays when it comes back, as it is the proof of it.
PASSED = b"x-beffroi-passed"
# Fields that only the final delivery may write, whoever sent them.
_OURS = (b"return-path",)
_OUR_PREFIXES = (b"x-spam-", b"x-beffroi-")
_RESULTS = b"authentication-results"
_SUSPECT = (*_OURS, *_OUR_PREFIXES, _RESULTS)  # how the name of a field begins that is looked at closer


def without_forgeries(head: Head, authserv_id: str) -> Head:
    """For mail from outside: without Return-Path, spam fields of our making, and Authentication-Results that claim to
    be ours or whose claim cannot be read (RFC 8601 5, security.md row 84)."""
    kept = [field for field in head.fields if not (field.name.startswith(_SUSPECT) and _forged(field, authserv_id))]
    return head if len(kept) == len(head.fields) else Head(tuple(kept), head.rest, head.defects)


def without_bcc(head: Head) -> Head:
    """For mail from a client (RFC 5322 3.6.3), Return-Path gone with it (RFC 5321 4.4)."""
    return head.without_names(b"bcc", b"resent-bcc", b"return-path")


def _forged(field: Field, authserv_id: str) -> bool:
    if field.name in _OURS or field.name.startswith(_OUR_PREFIXES):
        return field.name != PASSED
    return field.name == _RESULTS and _claims(field.value, authserv_id)


def _claims(value: bytes, authserv_id: str) -> bool:
    """Whether the authserv-id is ours as a lenient reader might see it: case, width, a final dot, a sub-name of it,
    blanks and comments inside it."""
    words = parameters.parse(value, 0).head.split()
    if len(words) > 1 and words[-1].isdigit():  # RFC 8601 2.2: authres-version
        words.pop()
    names = {_as_seen(b"".join(words)), _as_seen(words[0] if words else b"")}
    if "" in names or b"=?" in value.partition(b";")[0] or not all(name.isascii() for name in names):
        return True
    ours = authserv_id.lower().rstrip(".")
    return any(name == ours or name.startswith((f"{ours}/", f"{ours}.")) for name in names)


def _as_seen(word: bytes) -> str:
    return unicodedata.normalize("NFKC", word.decode("utf-8", "replace")).lower()
