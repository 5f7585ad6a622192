"""NAMESPACE (RFC 2342): one's own folders, other people's, those of functions."""

from __future__ import annotations

from imap import responses
from imap.command import AFTER_LOGIN, Command, no_arguments
from imap.responses import Ok
from imap.session import Session


async def _handle(session: Session, _: None) -> Ok:
    session.writer.write(responses.namespace(session.store.namespaces, utf8=session.utf8))
    return Ok("NAMESPACE completed")


NAMESPACE = Command("NAMESPACE", AFTER_LOGIN, no_arguments, _handle)
