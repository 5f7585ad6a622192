"""App passwords: made for one program or device, 130 random bits, so that a fast hash suffices and guessing is idle.

How one looks, how it is recognised, whether it opens this door now, and what the log says if it does not. People may
type it with or without the hyphens; SCRAM sees it as it is shown.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address, ip_network

from core.ids import ALPHABET, base32
from core.log import get
from directory.codes import refusal
from directory.repositories.credentials import StoredApp
from directory.types import AppPassword, Scope

LENGTH = 26  # characters of 5 bits
GROUP = 5
MAX_NETWORKS = 20
PROTOCOLS = {
    "imap": frozenset({Scope.MAIL, Scope.IMAP}),
    "smtp": frozenset({Scope.MAIL, Scope.SUBMISSION, Scope.SEND_ONLY}),
}
_log = get(__name__)
_SHAPE = re.compile(f"[{ALPHABET}]{{{LENGTH}}}")


def generate(entropy: str) -> str:
    """As it is shown: five groups. `entropy`: 256 random bits, as `Ids.token` makes them."""
    number = int.from_bytes(hashlib.sha256(b"app password\0" + entropy.encode("ascii")).digest())
    text = base32(number % 32**LENGTH, LENGTH)
    return "-".join(text[at : at + GROUP] for at in range(0, LENGTH - 1, GROUP)) + text[-1]


def canonical(password: str) -> str | None:
    """Without hyphens, blanks and capitals; None for what can be none."""
    text = password.replace("-", "").replace(" ", "").lower() if len(password) <= 4 * LENGTH else ""
    return text if _SHAPE.fullmatch(text) else None


def hashed(canonical_text: str) -> str:
    return "sha256:" + hashlib.sha256(canonical_text.encode("ascii")).hexdigest()


def find(apps: Sequence[StoredApp], password: str) -> AppPassword | None:
    text = canonical(password)
    if text is None:
        return None
    wanted = hashed(text)
    return next((app.about for app in apps if hmac.compare_digest(app.secret_hash, wanted)), None)


def why_not(app: AppPassword, *, protocol: str, remote: str, now: float) -> str:
    """ "" when it opens this door, else "expired", "protocol" or "network"."""
    if app.expires_at is not None and now >= app.expires_at:
        return "expired"
    if app.scope not in PROTOCOLS.get(protocol, frozenset()):
        return "protocol"
    return "" if _inside(remote, app.networks) else "network"


def tell_refused(account: str, app: str, why: str, remote: str) -> None:
    """The line of the log for one that is right and opens no door now; outside it looks like a wrong one."""
    _log.info("app-password-refused", account=account, app_password=app, reason=why, remote=remote)


def networks(wanted: Sequence[str]) -> tuple[str, ...]:
    """As they are stored. InvalidError for what is none, and for too many."""
    if len(wanted) > MAX_NETWORKS:
        raise refusal("invalid-network")
    try:
        return tuple(dict.fromkeys(str(ip_network(text.strip(), strict=False)) for text in wanted))
    except ValueError as error:
        raise refusal("invalid-network") from error


def _inside(remote: str, allowed: Sequence[str]) -> bool:
    if not allowed:
        return True
    try:
        address = ip_address(remote)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return any((mapped or address) in ip_network(network) for network in allowed)
