"""SELECT and EXAMINE (RFC 9051 6.3.2, 6.3.3; RFC 3501 for RECENT and UNSEEN; RFC 7162 3.1.8, 3.2.5; RFC 8474 4.2).

O(1): the view's map comes later, unless a client that comes back (QRESYNC) missed something.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from core.frozen import dataclass
from imap import responses
from imap.command import AFTER_LOGIN, Command
from imap.errors import Bad, BadSyntax, Code
from imap.permits import CHANGES
from imap.responses import Ok
from imap.resync import EVERY_UID, Match, Since, pairs, since
from imap.session import Selected, Session
from imap.types import MAX_MODSEQ, MAX_NUMBER, STAR, Feature, FlagSet, Ranges, SeqNum, SequenceSet
from imap.updates import BATCH, announce_keywords
from imap.view import View
from imap.wire.scanner import Scanner
from store.types import Message, Snapshot

MAX_MATCH = 10_000  # pairs of QRESYNC's match data that are looked at; the client may send fewer, and so may we use
NO_MATCH: Match = ()
NOTHING = Since()


@dataclass(frozen=True, slots=True)
class Resync:
    """QRESYNC's argument: what the client knew of the mailbox."""

    uidvalidity: int
    modseq: int
    known: Ranges = EVERY_UID
    match: Match = NO_MATCH


@dataclass(frozen=True, slots=True)
class Select:
    """`spelt`: the name as the client wrote it, when it is another spelling."""

    name: str
    condstore: bool = False
    resync: Resync | None = None
    spelt: str = ""


def parse(scanner: Scanner) -> Select:
    """select = "SELECT" SP mailbox [SP "(" select-param *(SP select-param) ")"] (RFC 4466 2.1)"""
    scanner.space()
    name = scanner.mailbox()
    spelt = scanner.names[-1][1]
    params: dict[str, Resync | None] = {}
    if scanner.try_space():
        params = dict(scanner.parenthesised(lambda: _param(scanner)))
    scanner.end()
    return Select(name, "CONDSTORE" in params, params.get("QRESYNC"), spelt)


def _param(scanner: Scanner) -> tuple[str, Resync | None]:
    name = scanner.keyword()
    if name not in PARAMS:
        raise BadSyntax("unknown SELECT parameter")
    return name, PARAMS[name](scanner)


def _condstore(_: Scanner) -> None:
    return None


def _qresync(scanner: Scanner) -> Resync:
    """ "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP "(" known-sequence-set SP known-uid-set ")"] ")" """
    scanner.space()
    scanner.token(b"(")
    uidvalidity = scanner.nz_number()
    scanner.space()
    modseq = scanner.number(MAX_MODSEQ)  # 0 is not in the grammar, but clients that know nothing yet send it
    known, match = EVERY_UID, NO_MATCH
    more = scanner.try_space()
    if more and scanner.peek() != b"(":
        known = _plain(scanner.sequence_set())
        more = scanner.try_space()
    if more:
        match = _match(scanner)
    scanner.token(b")")
    return Resync(uidvalidity, modseq, known, match)


def _match(scanner: Scanner) -> Match:
    scanner.token(b"(")
    numbers = _plain(scanner.sequence_set())
    scanner.space()
    uids = _plain(scanner.sequence_set())
    scanner.token(b")")
    match = pairs(numbers, uids, MAX_MATCH)
    if match is None:
        raise BadSyntax("sets of different size")
    return match


def _plain(wanted: SequenceSet) -> Ranges:
    """known-uids and match data name UIDs the client has: "*" is not allowed there (RFC 7162 7)."""
    if wanted.saved or any(STAR in pair for pair in wanted.pairs):
        raise BadSyntax('"*" and "$" are not allowed here')
    return wanted.resolve(MAX_NUMBER)


PARAMS: dict[str, Callable[[Scanner], Resync | None]] = {"CONDSTORE": _condstore, "QRESYNC": _qresync}


async def _select(session: Session, asked: Select) -> Ok:
    await _open(session, asked, examined=False)
    return Ok("SELECT completed", Code.READ_ONLY if session.selected.read_only else Code.READ_WRITE)


async def _examine(session: Session, asked: Select) -> Ok:
    await _open(session, asked, examined=True)
    return Ok("EXAMINE completed", Code.READ_ONLY)


async def _open(session: Session, asked: Select, *, examined: bool) -> None:
    """The former mailbox is left first, whatever comes of it (RFC 9051 6.3.2)."""
    if asked.resync and not session.qresync:
        raise Bad("ENABLE QRESYNC first")  # RFC 7162 3.2.5
    if asked.resync and asked.resync.match and session.uid_only:
        raise Bad("no message numbers once UIDONLY is enabled", Code.UIDREQUIRED)  # RFC 9586 3
    if session.selection is not None:
        session.unselect()
        session.say("OK", "previous mailbox closed", Code.CLOSED)
    if asked.condstore:
        session.enable(Feature.CONDSTORE)
    selected = await _selected(session, asked.name, examined=examined)
    snapshot = selected.snapshot
    missed = NOTHING
    # RFC 7162 3.2.5: known UIDs of another UIDVALIDITY mean nothing.
    if (known := asked.resync) and known.uidvalidity == snapshot.uidvalidity:
        missed = await since(selected, known.modseq, known.known, known.match, untold=True)
    session.select(selected)
    session.writer.write(describe(session, selected, selected.view.snapshot, asked.spelt))
    if missed is not NOTHING:
        await _tell_missed(session, missed)


async def _selected(session: Session, name: str, *, examined: bool) -> Selected:
    """EXAMINE leaves what is recent to others (RFC 3501 6.3.2)."""
    glanced = await session.store.glance(name, take_recent=not examined)
    if glanced is not None:
        mailbox, snapshot = glanced
        read_only = examined
    else:
        mailbox = await session.store.mailbox(name)
        read_only = examined or not mailbox.opened_with & CHANGES
        snapshot = await mailbox.snapshot(take_recent=not read_only)
    return begun(session, Selected.begin(name, mailbox, snapshot, read_only=read_only), examined=examined)


def begun(session: Session, selected: Selected, *, examined: bool) -> Selected:
    """As this session selects it."""
    selected.most_keywords = session.limits.keywords
    selected.examined = examined
    if session.rev2:
        selected.view.forget_recent()
    return selected


def describe(session: Session, selected: Selected, snapshot: Snapshot, spelt: str = "") -> bytes:
    """With the LIST response that IMAP4rev2 asks for and without what it dropped, once that is enabled (RFC 9051
    6.3.2, appendix E). One LIST only (6.3.9.3), with OLDNAME where the client wrote `spelt`."""
    folder = snapshot.folder
    parts = [
        responses.flags(snapshot.keywords),
        responses.exists(snapshot.messages),
        selected.permanent_flags(snapshot.keywords),
        responses.selected(
            uidnext=snapshot.uidnext, uidvalidity=snapshot.uidvalidity, modseq=snapshot.modseq, folder_id=folder.id
        ),
    ]
    if session.rev2 or (session.utf8 and spelt):
        uses = [folder.special_use] if folder.special_use else []
        parts.append(responses.listed("LIST", uses, selected.name, utf8=True, old_name=spelt))
    if session.rev2:
        return b"".join(parts)
    parts.insert(2, responses.recent(snapshot.recent))
    if snapshot.first_unseen and not session.uid_only:  # a message number
        parts.insert(3, responses.untagged("OK", "first unseen", f"UNSEEN {snapshot.first_unseen}"))
    return b"".join(parts)


async def _tell_missed(session: Session, missed: Since) -> None:
    """As if the client had sent UID FETCH known-uids (UID FLAGS) (CHANGEDSINCE modseq VANISHED) (RFC 7162 3.2.5.1)."""
    selected, writer = session.selected, session.writer
    if missed.vanished:
        writer.write(responses.vanished(missed.vanished, earlier=True))
    announce_keywords(writer, selected, (word for row in missed.messages for word in row.keywords))
    uid_only, number_of = session.uid_only, selected.view.number_of
    for start in range(0, len(missed.messages), BATCH):
        some = missed.messages[start : start + BATCH]
        numbered = [(number, row) for row in some if (number := number_of(row.uid)) is not None]
        writer.write(b"".join([_told(selected.view, number, row, uid_only=uid_only) for number, row in numbered]))
        if len(some) == BATCH:
            await writer.drain()
            await asyncio.sleep(0)
    selected.view.told(missed.messages)


def _told(view: View, number: SeqNum, row: Message, *, uid_only: bool) -> bytes:
    have = FlagSet(row.flags, row.keywords, recent=view.is_recent(row.uid))
    return responses.fetch_flags(number, have, uid=row.uid, modseq=row.modseq, uid_only=uid_only)


SELECT = Command("SELECT", AFTER_LOGIN, parse, _select, tells_updates=False)
EXAMINE = Command("EXAMINE", AFTER_LOGIN, parse, _examine, tells_updates=False)
