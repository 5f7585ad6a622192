"""TLS contexts of every listener (ANSSI TLS guide; RFC 3207, RFC 8314).

TLS 1.2 and 1.3 only, ephemeral elliptic-curve keys, authenticated ciphers, no compression, no renegotiation (rows 29,
30). Each service has a context of its own, so a session ticket of one is worthless at another (row 32).
"""

from __future__ import annotations

import asyncio
import gc
import re
import ssl
from pathlib import Path
from typing import Protocol

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
# OpenSSL's names of what `CIPHERS` lets through under TLS 1.2, as the registry of RFC 8446 11 (TLS Cipher Suites) has
# them; those of TLS 1.3 have one name only.
_REGISTERED = {
    "ECDHE-ECDSA-AES256-GCM-SHA384": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384": "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "ECDHE-RSA-CHACHA20-POLY1305": "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}
_ONE_NAME = re.compile(r"TLS_[A-Z0-9_]{1,60}")


def registered_suite(cipher: str) -> str:
    """The registered name of a cipher suite that OpenSSL names `cipher`; "" when it is none of ours."""
    return cipher if _ONE_NAME.fullmatch(cipher) else _REGISTERED.get(cipher, "")


def harden(context: ssl.SSLContext) -> ssl.SSLContext:
    """The floor for both directions."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


class ServerTls:
    """One service's certificate and context; `reload` takes new files without dropping a connection."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None, *, alpn: str = "") -> None:
        """`client_ca`: who signs client certificates; they are then asked for, and a connection without one goes on.
        `alpn`: the registered name of the protocol, agreed on with who offers it (RFC 7301, row 33). Raises `OSError`
        or `ssl.SSLError` when the files cannot be used."""
        self._certificate, self._key, self._client_ca, self._alpn = certificate, key, client_ca, alpn
        self._context = self._load()

    @property
    def context(self) -> ssl.SSLContext:
        """For the next handshake; connections under way keep the one they began with."""
        return self._context

    def reload(self) -> None:
        """Raises like the constructor; the last good certificate then stays in use (fault 166)."""
        self._context = self._load()

    def _load(self) -> ssl.SSLContext:
        context = harden(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_SINGLE_ECDH_USE
        context.load_cert_chain(self._certificate, self._key)
        if self._client_ca is not None:
            context.load_verify_locations(self._client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
        if self._alpn:
            context.set_alpn_protocols([self._alpn])
        return context


def client_certificate(session: ssl.SSLObject | ssl.SSLSocket | None) -> bytes:
    """The peer's certificate (DER) that was verified against `client_ca`, b"" without one."""
    if session is None or session.context.verify_mode is ssl.CERT_NONE:
        return b""
    return session.getpeercert(binary_form=True) or b""


class Buffered(Protocol):
    """What `asyncio.BufferedProtocol` is here for."""

    def get_buffer(self, sizehint: int, /) -> memoryview: ...


def between(transport: asyncio.BaseTransport) -> Buffered | None:
    """What stands between a TLS transport and its socket and has the buffer for encrypted input, 256 KiB under both
    loops, of which neither speaks. None where there is none."""
    found = (each for each in gc.get_referents(transport) if hasattr(each, "get_buffer"))
    return next(found, None)
