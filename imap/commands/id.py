"""ID (RFC 2971): who we are, and for the log who the client says it is (bounded, security.md row 142)."""

from __future__ import annotations

from core.log import get
from imap import responses
from imap.command import ANY, Command
from imap.errors import BadSyntax
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner

log = get(__name__)

MAX_FIELDS = 30  # RFC 2971 3.3: at most 30 pairs, names of 30 octets, values of 1024
MAX_NAME = 30
MAX_VALUE = 1024

Fields = tuple[tuple[str, str], ...]


def _parse(scanner: Scanner) -> Fields:
    """id_params_list = "(" [string SP nstring *(SP string SP nstring)] ")" / nil"""
    scanner.forgive_octets()
    scanner.space()
    fields: list[tuple[str, str]] = []
    if not scanner.try_token(b"NIL"):
        fields = scanner.parenthesised(lambda: _field(scanner), empty=True)
    scanner.end()
    if len(fields) > MAX_FIELDS:
        raise BadSyntax("too many ID fields")
    return tuple(fields)


def _field(scanner: Scanner) -> tuple[str, str]:
    name = scanner.string()
    scanner.space()
    value = scanner.nstring() or b""
    if len(name) > MAX_NAME or len(value) > MAX_VALUE:
        raise BadSyntax("ID field too long")
    return name.decode("ascii", "replace").lower(), value.decode("utf-8", "replace")


async def _handle(session: Session, fields: Fields) -> Ok:
    session.identify(fields)
    # One text, so that the log's own bound holds for all of it (row 142).
    log.info("imap-client", client="; ".join(f"{name}={value}" for name, value in fields))
    session.writer.write(responses.server_id((("name", "Beffroi"), ("version", session.services.version))))
    return Ok("ID completed")


ID = Command("ID", ANY, _parse, _handle)
