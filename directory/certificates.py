"""Which accounts a client certificate names (EXTERNAL, RFC 4422 A). Pure; `cryptography` parses it.

That the certificate is good is the TLS library's word. The operator's table, by SHA-256 fingerprint, stands over what
the certificate says of itself: the rfc822Name entries of its subjectAltName (RFC 5280 4.2.1.6).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from cryptography import x509

MAX_NAMES = 20


def fingerprint(certificate: bytes) -> str:
    """Of the DER octets: lower-case hexadecimal, without colons."""
    return hashlib.sha256(certificate).hexdigest()


def named(certificate: bytes, table: Mapping[str, str]) -> list[str]:
    """Addresses as text; nothing when it names nobody or cannot be read."""
    listed = table.get(fingerprint(certificate))
    if listed is not None:
        return [listed]
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return list(names.get_values_for_type(x509.RFC822Name))[:MAX_NAMES]
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return []
