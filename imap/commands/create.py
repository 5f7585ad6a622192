"""CREATE with an optional special use (RFC 9051 6.3.4, RFC 6154 3)."""

from __future__ import annotations

from dataclasses import dataclass

from imap import responses
from imap.command import AFTER_LOGIN, Command
from imap.commands.guards import check_new_name
from imap.errors import Code, No
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner
from store.types import INBOX

SPECIAL_USES = {use.upper(): use for use in ("\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash")}


@dataclass(frozen=True, slots=True)
class Create:
    """`spelt`: the name as the client wrote it, when it is another spelling."""

    name: str
    uses: tuple[str, ...] = ()
    spelt: str = ""


def _parse(scanner: Scanner) -> Create:
    """create = "CREATE" SP mailbox [SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"]"""
    scanner.space()
    name = scanner.mailbox()
    spelt = scanner.names[0][1]
    uses: list[str] = []
    if scanner.try_space():
        scanner.token(b"(USE ")
        uses = scanner.parenthesised(lambda: _use(scanner), empty=True)
        scanner.token(b")")
    scanner.end()
    return Create(name, tuple(uses), spelt)


def _use(scanner: Scanner) -> str:
    scanner.token(b"\\")
    return "\\" + scanner.keyword()


async def _handle(session: Session, create: Create) -> Ok:
    name = check_new_name(create.name)
    if name == INBOX:
        raise No("mailbox exists", Code.ALREADYEXISTS)
    if len(create.uses) > 1 or any(use not in SPECIAL_USES for use in create.uses):
        raise No("special use is not supported", "USEATTR")  # RFC 6154 3
    use = SPECIAL_USES[create.uses[0]] if create.uses else ""
    # To subscribe is the client's own affair (RFC 9051 6.3.7).
    made = await session.store.create(name, special_use=use, subscribed=False)
    await session.named(made.name)
    if create.spelt and session.utf8:  # RFC 9051 6.3.9.7: what the name the client gave has become
        session.writer.write(responses.listed("LIST", [], made.name, utf8=True, old_name=create.spelt))
    return Ok("CREATE completed", responses.mailbox_id_code(made.id))  # RFC 8474 4.1


CREATE = Command("CREATE", AFTER_LOGIN, _parse, _handle)
