"""CANCELUPDATE (RFC 5267 4.3.5): nothing more is told of these searches."""

from __future__ import annotations

from imap.command import WHEN_SELECTED, Command
from imap.errors import BadSyntax, Code, No
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner

MOST_TAGS = 100


def _parse(scanner: Scanner) -> tuple[str, ...]:
    """command-select =/ "CANCELUPDATE" 1*(SP quoted)"""
    tags: list[str] = []
    while not tags or not scanner.at_end:
        scanner.space()
        tags.append(scanner.string().decode("ascii", "replace"))
    if len(tags) > MOST_TAGS:
        raise BadSyntax("too many tags")
    return tuple(tags)


async def _handle(session: Session, tags: tuple[str, ...]) -> Ok:
    contexts = session.selected.contexts
    unknown = [tag for tag in tags if contexts.pop(tag, None) is None]
    if not contexts:
        session.selected.view.touched = None
    if unknown:
        raise No("no such search is kept up", Code.NONEXISTENT)
    return Ok("no further updates")


CANCELUPDATE = Command("CANCELUPDATE", WHEN_SELECTED, _parse, _handle)
