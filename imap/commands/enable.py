"""ENABLE (RFC 5161): unknown names are passed over, known ones answered once they count."""

from __future__ import annotations

from imap import responses
from imap.annotations import Watch
from imap.command import AFTER_LOGIN, Command
from imap.responses import Ok
from imap.session import Session
from imap.types import Feature
from imap.wire.scanner import Scanner

# What ENABLE can switch on; a row appears here together with its capability.
ENABLEABLE: dict[str, Feature] = {
    "CONDSTORE": Feature.CONDSTORE,  # RFC 7162 3.1
    "QRESYNC": Feature.QRESYNC,  # RFC 7162 3.2.3
    "UTF8=ACCEPT": Feature.UTF8,  # RFC 6855 3
    "UIDONLY": Feature.UIDONLY,  # RFC 9586 3
    "METADATA": Feature.METADATA,  # RFC 5464 4.4
    "IMAP4REV2": Feature.REV2,  # RFC 9051 6.3.1
}
SPELLED = {"IMAP4REV2": "IMAP4rev2"}  # as the capability is


def _parse(scanner: Scanner) -> tuple[str, ...]:
    """enable = "ENABLE" 1*(SP capability)"""
    names = []
    scanner.space()
    names.append(scanner.keyword())
    while scanner.try_space():
        names.append(scanner.keyword())
    scanner.end()
    return tuple(names)


async def _handle(session: Session, names: tuple[str, ...]) -> Ok:
    known = [name for name in dict.fromkeys(names) if name in ENABLEABLE and name not in session.withheld]
    for name in known:
        session.enable(ENABLEABLE[name])
    if "METADATA" in known and session.annotations is None:
        watch = Watch(lambda folder, own: True, server=True)
        await watch.begin(session)
        session.annotations = watch
    session.writer.write(responses.enabled([SPELLED.get(name, name) for name in known]))
    return Ok("ENABLE completed")


# RFC 5161 3.1: clients must not send it once a mailbox is selected; servers need not check, and some clients do.
ENABLE = Command("ENABLE", AFTER_LOGIN, _parse, _handle)
