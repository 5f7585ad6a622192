"""Domain names as mail knows them: one spelling (lower-case A-labels) everywhere inside, U-labels for people.

RFC 5890 (IDNA 2008), RFC 5321 4.1.2, RFC 1035 2.3.4. Lengths are checked before IDNA is asked, because the
conversion of hostile names was once quadratic (security.md row 50).
"""

from __future__ import annotations

import re
from functools import lru_cache

import idna

MAX_DOMAIN = 253
MAX_LABEL = 63
# RFC 5321 4.1.2: sub-domain = Let-dig [Ldh-str]; underscores are for DNS records, not for mail domains.
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class DomainError(ValueError):
    """The text is no domain name; the message is safe to show."""


@lru_cache(maxsize=4096)
def to_ascii(text: str) -> str:
    """The one inner spelling of a domain: lower-case A-labels without a final dot. Raises `DomainError`.

    UTS 46 mapping is applied once here (full-width dots, case), then strict IDNA 2008 (security.md row 49).
    """
    name = text[:-1] if text.endswith(".") else text
    if not name or len(name) > MAX_DOMAIN:
        raise DomainError("domain name is empty or too long")
    if not name.isascii():
        name = _encode(name)
    name = name.lower()
    labels = name.split(".")
    if len(name) > MAX_DOMAIN or not all(_LABEL.fullmatch(label) for label in labels):
        raise DomainError("malformed domain name")
    if any(label.startswith("xn--") for label in labels):
        _check_a_labels(labels)
    if labels[-1].isdigit():
        raise DomainError("a domain name does not end in digits")
    return name


def _encode(name: str) -> str:
    try:
        return idna.encode(name, uts46=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise DomainError("not a valid internationalised domain name") from error


def _check_a_labels(labels: list[str]) -> None:
    for label in labels:
        if label.startswith("xn--"):
            try:
                idna.ulabel(label)
            except (idna.IDNAError, UnicodeError) as error:
                raise DomainError("not a valid internationalised domain name") from error


def to_unicode(domain: str) -> str:
    """The spelling people read; a name that cannot be shown stays as it is."""
    try:
        return idna.decode(domain)
    except (idna.IDNAError, UnicodeError):
        return domain


def parents(domain: str) -> list[str]:
    """The domain and every name above it, longest first: a.b.fr > b.fr > fr."""
    labels = domain.split(".")
    return [".".join(labels[i:]) for i in range(len(labels))]
