"""COMPRESS DEFLATE (RFC 4978), after login only: what is secret in a login must not be guessed from its length."""

from __future__ import annotations

from imap.command import AFTER_LOGIN, Command
from imap.errors import BadSyntax, No
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner


def _parse(scanner: Scanner) -> None:
    """compress = "COMPRESS" SP algorithm; algorithm = "DEFLATE" """
    scanner.space()
    algorithm = scanner.keyword()
    scanner.end()
    if algorithm != "DEFLATE":
        raise BadSyntax("unknown compression algorithm")


async def _handle(session: Session, _: None) -> Ok:
    if session.link.compressed:
        raise No("compression is on already", "COMPRESSIONACTIVE")  # RFC 4978 3
    session.link.before_compression()
    session.after_answer = session.link.compress
    return Ok("DEFLATE active")


COMPRESS = Command("COMPRESS", AFTER_LOGIN, _parse, _handle)
