"""What was negotiated, as the envelope and the Received field tell it; the contexts are `core.tls`'s."""

from __future__ import annotations

import ssl

from core.envelope import Tls


def facts(session: ssl.SSLObject | ssl.SSLSocket | None) -> Tls | None:
    """What was negotiated, as the envelope tells it."""
    cipher = session.cipher() if session is not None else None
    if session is None or cipher is None:
        return None
    name, _, bits = cipher
    return Tls(version=session.version() or "", cipher=name, bits=bits)
