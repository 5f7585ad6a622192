"""Telling a client what happened in its mailbox: EXPUNGE, EXISTS, FLAGS, FETCH at the end of commands and in IDLE.

Reads `Mailbox.changes`, lets the view decide what is owed, writes the responses. When EXPUNGE may be told is the
caller's knowledge (RFC 9051 5.2, 7.5.1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from core.errors import MailError, NotFoundError
from imap import responses
from imap.contexts import Change, Places
from imap.errors import Bye, Code
from imap.guarded import GuardedMailbox
from imap.permits import CHANGES
from imap.session import Selected, Session
from imap.types import MAX_NUMBER, TURN, ranges_of
from imap.view import FlagUpdate, Updates
from imap.writer import Writer
from store.types import Changes

BATCH = 500  # responses between two drains


async def tell(session: Session, *, expunge: bool) -> None:
    """Tell all that happened since the last time; without `expunge` removals stay owed, and flags that the client does
    not want to hear of. Raises `Bye` when the mailbox itself is gone (RFC 2180 3.3), `StorageError`."""
    selected = session.selection
    if selected is None:
        return
    view = selected.view
    await look(selected)
    view.admit()
    if view.owes_expunge:  # both may take long
        await asyncio.sleep(0)
    await _tell_rights(session, selected)
    first = view.judged
    if first < view.uidnext:
        await _judge(session, selected)
    if view.needs_map:
        await selected.numbered()
    changed = await _contexts(selected) if selected.contexts else []
    for change in changed:
        _tell_context(session, change, "REMOVEFROM", change.removed)
    for _ in view.begin_expunge() if expunge else ():
        await asyncio.sleep(0)
    await _write(session, selected, view.apply(expunge=expunge, flags=session.wanted.flags))
    for change in changed:
        if change.context.fetch is not None and change.arrived:
            await change.context.fetch(ranges_of(change.arrived))
        _tell_context(session, change, "REMOVEFROM", change.left)
        _tell_context(session, change, "ADDTO", change.added)
        change.context.keep(change.after)
    if first < view.uidnext:
        await _fetch_new(session, selected, first)


async def _fetch_new(session: Session, selected: Selected, first: int) -> None:
    """What NOTIFY promised of each message that came (RFC 5465 5.2), but for the client's own."""
    mine, fetch = session.mine, session.wanted.fetch
    session.mine = frozenset()
    if fetch is not None:
        view = await selected.numbered()
        new = [uid for uid in view.known(((first, view.uidnext - 1),)) if uid not in mine]
        if new:
            await fetch(session, ranges_of(new))


async def _judge(session: Session, selected: Selected) -> None:
    """New messages are recent for the first session that is told of them and may change the mailbox (RFC 3501 2.3.2,
    6.3.2). Who speaks IMAP4rev2 is told of them without the flag."""
    view = selected.view
    try:
        recent_from = await selected.mailbox.recent_from(view.uidnext, take=not selected.read_only)
    except NotFoundError as error:
        raise Bye("the selected mailbox was deleted", Code.UNAVAILABLE) from error
    view.judge(MAX_NUMBER if session.rev2 else recent_from)


async def _tell_rights(session: Session, selected: Selected) -> None:
    """RFC 4314 5.1.1, RFC 9051 7.1: what may be changed here is told again when the rights were. Who may no longer read
    finds the mailbox gone."""
    mailbox = selected.mailbox
    if not isinstance(mailbox, GuardedMailbox) or (rights := await mailbox.rights()) == selected.rights:
        return
    before, selected.rights = selected.read_only, rights
    selected.read_only = selected.examined or not rights & CHANGES
    if selected.read_only is not before:
        code = Code.READ_ONLY if selected.read_only else Code.READ_WRITE
        session.say("OK", "your rights have changed", code)
    session.writer.write(selected.permanent_flags(tuple(sorted(selected.keywords))))


async def _contexts(selected: Selected) -> list[Change]:
    """What the searches that keep up with this mailbox have to tell (RFC 5267 4.3)."""
    view = selected.view
    touched, view.touched = view.touched or {}, {}
    if not touched:
        return []
    try:
        await selected.numbered()
        alive = [uid for uid in sorted(touched) if view.number_of(uid) is not None and not view.is_gone(uid)]
        return [await context.look(touched, alive) for context in selected.contexts.values()]
    except MailError:
        view.touched = touched | view.touched  # told the next time
        raise


def _tell_context(session: Session, change: Change, word: str, places: Places) -> None:
    view, context = session.selected.view, change.context
    if session.uid_only and not context.by_uid:
        return  # RFC 9586 3: no more numbers, though it was asked before they were given up
    if not context.by_uid:
        places = tuple((at, tuple(number for uid in uids if (number := view.number_of(uid)))) for at, uids in places)
    if places:
        session.writer.write(responses.context_update(context.tag, word, places, by_uid=context.by_uid))


async def look(selected: Selected) -> None:
    """Take in what happened; nothing is told yet, and what arrived has no number yet. Raises as `tell`."""
    view, changes = selected.view, await _changes(selected)
    while len(changes.messages) > TURN:
        some, rest = changes.messages[:TURN], changes.messages[TURN:]
        # Until the last part the view stands where it stood, but for the UIDs it has seen: it may be asked again.
        view.absorb(Changes(view.modseq, some[-1].uid + 1, some))
        await asyncio.sleep(0)
        changes = replace(changes, messages=rest)
    view.absorb(changes)


async def _changes(selected: Selected) -> Changes:
    try:
        changes = await selected.mailbox.changes(selected.view.modseq, selected.view.uidnext)
    except NotFoundError as error:
        raise Bye("the selected mailbox was deleted", Code.UNAVAILABLE) from error
    if changes.gone:
        raise Bye("the selected mailbox was deleted", Code.UNAVAILABLE)
    return changes


async def _write(session: Session, selected: Selected, updates: Updates) -> None:
    writer = session.writer
    if (session.qresync or session.uid_only) and updates.vanished:  # RFC 7162 3.2.10, RFC 9586 3
        writer.write(responses.vanished(ranges_of(updates.vanished)))
    else:
        for start in range(0, len(updates.expunged), BATCH):
            writer.write(b"".join(map(responses.expunge, updates.expunged[start : start + BATCH])))
            await _breathe(writer)
    if updates.exists is not None:
        writer.write(responses.exists(updates.exists))
    if updates.recent is not None:
        writer.write(responses.recent(updates.recent))
    flags = iter(updates.flags)
    while some := list(islice(flags, BATCH)):
        announce_keywords(writer, selected, (word for update in some for word in update.have.keywords))
        writer.write(b"".join([_told(session, update) for update in some]))
        if len(some) == BATCH:
            await _breathe(writer)
    if session.qresync and (selected.view.owes_expunge or selected.held_back):
        # RFC 7162 3.2, 6: mod-sequences above a withheld removal were told; a client that leaves now must not skip it.
        # Once all is told it may go on from there, or it would hear of the same changes again.
        selected.held_back = selected.view.owes_expunge
        writer.write(responses.highest_modseq(selected.view.settled))


def _told(session: Session, update: FlagUpdate) -> bytes:
    modseq = update.modseq if session.condstore else None
    return responses.fetch_flags(update.number, update.have, uid=update.uid, modseq=modseq, uid_only=session.uid_only)


async def _breathe(writer: Writer) -> None:
    """Wait for the reader, and give others their turn: the whole of a mailbox may be told (promise P7)."""
    await writer.drain()
    await asyncio.sleep(0)


def announce_keywords(writer: Writer, selected: Selected, keywords: Iterable[str]) -> None:
    """FLAGS and PERMANENTFLAGS again when a keyword appears that the client was not told of (RFC 9051 7.3.5)."""
    new = set(keywords) - selected.keywords
    if new:
        selected.keywords |= new
        listed = tuple(sorted(selected.keywords))
        writer.write(responses.flags(listed))
        writer.write(selected.permanent_flags(listed))
