"""UPDATE of SEARCH and SORT: from now on the client is told how the result changes (RFC 5267 4.3, RFC 5465 7)."""

from __future__ import annotations

from collections.abc import Sequence

from imap.commands.fetch.handle import fetch_unasked
from imap.commands.fetch.items import Item
from imap.commands.fetch.parse import FetchArgs
from imap.commands.search.criteria import Key
from imap.commands.search.evaluate import Search, folding
from imap.commands.search.grouping import with_recent
from imap.commands.search.returns import Returns
from imap.contexts import Context, Fetch, Order, has_room
from imap.errors import Bad, BadSyntax
from imap.session import Session
from imap.types import Ranges, SequenceSet


def check_update(session: Session, returns: Returns | None, capability: str) -> None:
    """Before the search. RFC 5267 4.3: the tag names the context as long as it lives."""
    if returns is None or not (returns.update or returns.context):
        return
    if capability in session.withheld:
        raise BadSyntax("unknown RETURN option")
    if returns.update and session.selection and session.tag in session.selection.contexts:
        raise Bad("a search of this tag is still kept up")


def keep_up(
    session: Session,
    returns: Returns | None,
    key: Key,
    found: Sequence[int],
    *,
    by_uid: bool,
    order: Order | None = None,
    fuzzy: bool = False,
) -> None:
    """`key` with its sequence sets and ages resolved: they mean what they meant when the command came (RFC 5267 4.3).
    Refused with an untagged NO when too much is kept up already (RFC 5267 4.3.1), and of fuzzy results."""
    if not (returns and returns.update):
        return
    selected = session.selected
    if fuzzy or not has_room(selected.contexts.values(), found):
        session.say("NO", "this result is not kept up", f'NOUPDATE "{session.tag}"')
        return

    exact = session.services.exact_collation

    async def find(among: Sequence[int]) -> Sequence[int]:
        search = Search(selected.mailbox, selected.view.uids, among, fold=folding(exact=exact))
        return await search.run(with_recent(key, selected.view))

    fetch = _fetch(session, returns.fetch) if returns.fetch else None
    context = Context(session.tag, by_uid, find, order, fetch)
    context.keep(found)
    selected.contexts[session.tag] = context
    selected.view.touch_owed()


def _fetch(session: Session, items: tuple[Item, ...]) -> Fetch:
    async def fetch(ranges: Ranges) -> None:
        await fetch_unasked(session, FetchArgs(SequenceSet(ranges), items))

    return fetch
