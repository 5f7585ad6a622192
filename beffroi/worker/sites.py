"""What the https door shows the world: the MTA-STS policy of each hosted domain (RFC 8461 3.2, 3.3), nothing else.

A host that is none of ours and a path that is not there look alike. Certificates are chosen by name (SNI): those in
`tls.sites`, else the one of `[tls]`; a reload reads them anew.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from core.config import Config
from core.domain import DomainError, to_ascii
from core.errors import MailError
from core.log import get
from core.tls import ServerTls, harden
from directory.directory import Directory
from dkim_keys.sts_policy import PATH, policy_text

PREFIX = "mta-sts."

_log = get(__name__)


class Certificates:
    """`context` for the listener; `reload` with new files. A faulty file of one name leaves the others in service."""

    def __init__(self, config: Config) -> None:
        """Raises `OSError` or `ssl.SSLError` when the certificate of `[tls]` cannot be used."""
        self._main, self._named = self._load(config)
        self.context = harden(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        self.context.load_cert_chain(config.certificate_file, config.key_file)
        self.context.sni_callback = self._choose

    def reload(self, config: Config) -> None:
        """Raises like the constructor; then what was loaded stays in use (fault 166)."""
        self._main, self._named = self._load(config)

    def _choose(self, session: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        found = self._named.get((name or "").lower(), self._main)
        session.context = found.context

    @staticmethod
    def _load(config: Config) -> tuple[ServerTls, dict[str, ServerTls]]:
        named: dict[str, ServerTls] = {}
        folder = config.sites_dir
        for file in sorted(folder.glob("*.pem")) if folder else ():
            try:
                named[file.stem.lower()] = ServerTls(file, file)
            except (OSError, ssl.SSLError) as error:
                _log.error("site-certificate-unusable", file=file.name, error=str(error))
        return ServerTls(config.certificate_file, config.key_file), named


class Sites:
    """The application of the https door. `policy` may change with a reload."""

    def __init__(self, directory: Directory, config: Callable[[], Config]) -> None:
        self._directory = directory
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        status, body = 404, b"not found\n"
        if scope["method"] in ("GET", "HEAD") and scope["path"] == PATH:
            try:
                status, body = await self._policy(scope)
            except MailError:
                status, body = 503, b"try again later\n"
        length = str(len(body)).encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _policy(self, scope: Scope) -> tuple[int, bytes]:
        text = policy_text(self._config())
        host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1").lower()
        name = host.partition(":")[0]
        if not text or not name.startswith(PREFIX):
            return 404, b"not found\n"
        try:
            domain = to_ascii(name.removeprefix(PREFIX))
        except DomainError:
            return 404, b"not found\n"
        if await self._directory.hosted_domain(domain) is None:
            return 404, b"not found\n"
        return 200, text.encode("ascii")
