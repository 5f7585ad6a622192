"""SEARCH and UID SEARCH as a story: resolve numbers, evaluate, answer (RFC 9051 6.4.4, 6.4.9, RFC 4731, RFC 5182).

`matching` and `answer` serve SORT and THREAD too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.errors import MailError
from imap import responses
from imap.command import WHEN_SELECTED, Command
from imap.commands.search.criteria import Among, And, Key, Numbered, leaves
from imap.commands.search.evaluate import Search, folding
from imap.commands.search.fuzzy import Scores, settle
from imap.commands.search.grouping import narrowed, resolved, with_recent
from imap.commands.search.parse import SearchArgs, parse
from imap.commands.search.result import Result, extended, plain, told
from imap.commands.search.returns import Returns, Want
from imap.commands.search.updating import check_update, keep_up
from imap.commands.share import limit_code, partly
from imap.errors import Bad, BadSyntax, Code, No
from imap.progress import working
from imap.responses import Ok
from imap.session import Session
from imap.types import MAX_NUMBER, Feature, ranges_of, spans, turns
from imap.view import View
from store.store import Mailbox
from store.types import Column

FEW = 8  # times fewer than the view holds: their numbers are looked up one by one
REV2 = Returns(Want.ALL)  # what a SEARCH without RETURN means once IMAP4rev2 is enabled (RFC 9051 6.4.4)


async def search(session: Session, args: SearchArgs) -> Ok:
    return await _search(session, args, by_uid=False)


async def uid_search(session: Session, args: SearchArgs) -> Ok:
    """The same criteria, answered in UIDs; sequence numbers inside them stay sequence numbers (RFC 9051 6.4.9)."""
    return await _search(session, args, by_uid=True)


async def _search(session: Session, args: SearchArgs, *, by_uid: bool) -> Ok:
    if args.charset and Feature.UTF8 in session.features:
        raise Bad("no CHARSET once UTF8=ACCEPT is enabled")  # RFC 6855 3
    returns = args.returns or (REV2 if session.rev2 else None)
    check_update(session, returns, "CONTEXT=SEARCH")
    check_fuzzy(session, returns, fuzzy=args.fuzzy)
    with saving(session, returns):
        if args.refused:
            raise args.refused
        key, code = await _share(session, args.key)
        matched = await matching(session, key, mod_seq=args.mod_seq, by_uid=by_uid)
        await answer(session, "SEARCH", matched, matched.uids, returns, mod_seq=args.mod_seq, by_uid=by_uid)
        keep_up(session, returns, matched.key, matched.uids, by_uid=by_uid, fuzzy=args.fuzzy)
    return partly(session, Ok("SEARCH completed"), code)


async def _share(session: Session, key: Key) -> tuple[Key, str]:
    """The criterion for as many messages as one command looks at, the newest, and MESSAGELIMIT when that is not all.
    RFC 9738 3.1: the messages searched count, those outside a set that stands at the top are none of them."""
    limit = session.message_limit
    if not limit:
        return key, Code.NONE
    view = await session.selected.numbered()
    _, searched = narrowed(resolved(key, view, session.services.clock.now()), list(view.uids))
    if len(searched) <= limit:
        return key, Code.NONE
    lowest = searched[-limit]
    return And((Among(((lowest, MAX_NUMBER),)), key)), limit_code(limit, lowest)


def check_fuzzy(session: Session, returns: Returns | None, *, fuzzy: bool) -> None:
    """RFC 6203 4, 6: no relevancy without a FUZZY key."""
    if fuzzy and "SEARCH=FUZZY" in session.withheld:
        raise BadSyntax("unknown search key")
    if returns and returns.relevancy and not fuzzy:
        raise Bad("RELEVANCY needs a FUZZY search key")


def check_numbers(session: Session, key: Key, *, by_uid: bool) -> None:
    """Message numbers among the criteria: refused by UIDONLY; a UID command that has some holds removals back as the
    others do (RFC 7162 3.2.10.2)."""
    numbers = any(isinstance(leaf, Numbered) and not leaf.by_uid and leaf.numbers.pairs for leaf in leaves(key))
    if numbers and session.uid_only:
        raise Bad("no message numbers once UIDONLY is enabled", Code.UIDREQUIRED)  # RFC 9586 3
    session.keep_numbers = by_uid and numbers


@contextlib.contextmanager
def saving(session: Session, returns: Returns | None) -> Iterator[None]:
    """RFC 5182 2.1: a search that was to be kept and ends with NO empties "$"; one that ends with BAD does not."""
    try:
        yield
    except (No, MailError):
        if returns and Want.SAVE in returns.wants and session.selection is not None:
            session.selection.view.saved = ()
        raise


@dataclass(frozen=True, slots=True)
class Matched:
    """`uids` ascending; `key`: the criterion in terms of this view and this moment."""

    uids: tuple[int, ...]
    key: Key
    scores: Scores


async def matching(session: Session, key: Key, *, mod_seq: bool, by_uid: bool) -> Matched:
    """What matches in the selected mailbox."""
    view = await session.selected.numbered()
    if mod_seq:
        session.enable(Feature.CONDSTORE)  # RFC 7162 3.1
    check_numbers(session, key, by_uid=by_uid)
    now = session.services.clock.now()
    mailbox = session.selected.mailbox
    search = Search(mailbox, view.uids, fold=folding(exact=session.services.exact_collation))
    with working(session, search.progress):
        meant = resolved(key, view, now)
        await asyncio.sleep(0)  # it may name ten thousand fragments
        settled = await settle(mailbox, view.uids, meant)
        return Matched(await search.run(with_recent(settled.key, view)), settled.key, settled.scores)


async def answer(
    session: Session,
    kind: str,
    matched: Matched,
    uids: Sequence[int],
    returns: Returns | None,
    *,
    mod_seq: bool,
    by_uid: bool,
) -> None:
    """Tell and keep what `returns` asks for of a result in its order."""
    view = session.selected.view
    about = told(tuple(uids), returns)
    modseq = await highest(session.selected.mailbox, view, about) if mod_seq else None
    scores = tuple(matched.scores.get(uid, 1) for uid in uids) if returns and returns.relevancy else ()
    result = Result(tuple(uids) if by_uid else await _numbers(view, uids), by_uid, modseq, scores)
    await asyncio.sleep(0)
    if returns is None:
        for piece in plain(result, kind):
            session.writer.write(piece)
            await session.writer.drain()
            await asyncio.sleep(0)
    elif not returns.only_saves:
        session.writer.write(extended(result, returns, responses.correlator(session.tag)))
    if returns and Want.SAVE in returns.wants:
        view.saved = ranges_of(about)
    await session.writer.drain()


async def _numbers(view: View, uids: Sequence[int]) -> tuple[int, ...]:
    if len(uids) * FEW <= view.exists:
        return tuple(number for uid in uids if (number := view.number_of(uid)) is not None)
    numbers: dict[int, int] = {}
    for some in turns(view.uids):
        numbers.update(zip(some, range(len(numbers) + 1, len(numbers) + len(some) + 1), strict=True))
        await asyncio.sleep(0)
    found: list[int] = []
    for some in turns(uids):
        found += [numbers[uid] for uid in some if uid in numbers]
        await asyncio.sleep(0)
    return tuple(found)


async def highest(mailbox: Mailbox, view: View, uids: Sequence[int]) -> int | None:
    """The highest mod-sequence among these messages (RFC 7162 3.1.5)."""
    found = frozenset(uids)
    modseq = 0
    async for batch in mailbox.rows(spans(sorted(found), view.uids, bridge=0), Column.NONE):
        modseq = max(modseq, max((row.modseq for row in batch if row.uid in found), default=0))
    return modseq or None


SEARCH = Command(
    name="SEARCH", states=WHEN_SELECTED, parse=parse, handle=search, by_number=True, uses_sequence_numbers=True
)
UID_SEARCH = Command(name="UID SEARCH", states=WHEN_SELECTED, parse=parse, handle=uid_search)
