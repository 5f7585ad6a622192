"""SUBSCRIBE and UNSUBSCRIBE (RFC 9051 6.3.7, 6.3.8)."""

from __future__ import annotations

from imap.command import AFTER_LOGIN, Command
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner


def _parse(scanner: Scanner) -> str:
    scanner.space()
    name = scanner.mailbox()
    scanner.end()
    return name


async def _subscribe(session: Session, name: str) -> Ok:
    await session.store.subscribe(name, True)
    await session.named(name)
    return Ok("SUBSCRIBE completed")


async def _unsubscribe(session: Session, name: str) -> Ok:
    await session.store.subscribe(name, False)
    await session.named(name)
    return Ok("UNSUBSCRIBE completed")


SUBSCRIBE = Command("SUBSCRIBE", AFTER_LOGIN, _parse, _subscribe)
UNSUBSCRIBE = Command("UNSUBSCRIBE", AFTER_LOGIN, _parse, _unsubscribe)
