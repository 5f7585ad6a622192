"""SEARCH and UID SEARCH as a story: resolve numbers, evaluate, answer (RFC 9051 6.4.4, 6.4.9)."""

from __future__ import annotations

from imap.command import WHEN_SELECTED, Command
from imap.commands.search.criteria import Numbered, leaves
from imap.commands.search.evaluate import Search
from imap.commands.search.grouping import resolved
from imap.commands.search.parse import SearchArgs, parse
from imap.commands.search.result import Result, search_response
from imap.responses import Ok
from imap.session import Selected, Session
from imap.types import Feature, spans
from imap.view import View
from store.types import Column


async def search(session: Session, args: SearchArgs) -> Ok:
    return await _search(session, args, by_uid=False)


async def uid_search(session: Session, args: SearchArgs) -> Ok:
    """The same criteria, answered in UIDs; sequence numbers inside them stay sequence numbers (RFC 9051 6.4.9)."""
    return await _search(session, args, by_uid=True)


async def _search(session: Session, args: SearchArgs, *, by_uid: bool) -> Ok:
    view = await session.selected.numbered()
    if args.mod_seq:
        session.enable(Feature.CONDSTORE)  # RFC 7162 3.1
    # RFC 7162 3.2.10.2: a UID command that names messages by number holds removals back as the others do
    session.keep_numbers = by_uid and any(isinstance(leaf, Numbered) and not leaf.by_uid for leaf in leaves(args.key))
    uids = await Search(session.selected.mailbox, view.uids).run(resolved(args.key, view))
    highest = await _highest(session.selected, view, uids) if args.mod_seq else None
    session.writer.write(search_response(Result(_numbers(view, uids, by_uid=by_uid), by_uid, highest)))
    await session.writer.drain()
    return Ok("SEARCH completed")


def _numbers(view: View, uids: tuple[int, ...], *, by_uid: bool) -> tuple[int, ...]:
    if by_uid:
        return uids
    return tuple(number for uid in uids if (number := view.number_of(uid)) is not None)


async def _highest(selected: Selected, view: View, uids: tuple[int, ...]) -> int | None:
    found = frozenset(uids)
    highest = 0
    async for batch in selected.mailbox.rows(spans(uids, view.uids, bridge=0), Column.NONE):
        highest = max(highest, max((row.modseq for row in batch if row.uid in found), default=0))
    return highest or None


SEARCH = Command(name="SEARCH", states=WHEN_SELECTED, parse=parse, handle=search, uses_sequence_numbers=True)
UID_SEARCH = Command(name="UID SEARCH", states=WHEN_SELECTED, parse=parse, handle=uid_search)
