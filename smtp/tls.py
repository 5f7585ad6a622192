"""What was negotiated, as the envelope and the Received field tell it; the contexts are `core.tls`'s."""

from __future__ import annotations

import _ssl
import ssl

from core.envelope import Tls


def facts(session: ssl.SSLObject | ssl.SSLSocket | None) -> Tls | None:
    """What was negotiated, as the envelope tells it."""
    cipher = session.cipher() if session is not None else None
    if session is None or cipher is None:
        return None
    name, _, bits = cipher
    return Tls(version=session.version() or "", cipher=name, bits=bits)


def peer_chain(session: ssl.SSLObject | ssl.SSLSocket | None) -> tuple[bytes, ...]:
    """What the peer sent as its certificates, unverified: DER, leaf first; empty when there is none."""
    inner = getattr(session, "_sslobj", None)  # ssl gives the chain a public name in Python 3.13 only
    chain = inner.get_unverified_chain() if inner is not None else None
    return tuple(bytes(item.public_bytes(_ssl.ENCODING_DER)) for item in chain or ())
