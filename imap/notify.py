"""What a client asked to be told unasked (RFC 5465): event groups, and what has changed in other mailboxes since.

`Notifier` compares folders with what was last told, so that a lost or doubled hint of the store costs nothing; many
changes become one STATUS. Knows no parsing and no timing: `connection` and IDLE say when to `tell`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from core.errors import MailError
from core.log import get
from directory.rights import Right
from imap import responses, updates
from imap.annotations import Watch
from imap.listing import parents
from imap.renames import name_changes, of_nothing, state
from imap.session import NOTHING, Fetch, Notices, Session, Wanted
from store.types import INBOX, Folder, Hint

log = get(__name__)


class Event(Enum):
    """What is supported. Annotations of messages (RFC 5257) do not exist here."""

    MESSAGE_NEW = "MessageNew"
    MESSAGE_EXPUNGE = "MessageExpunge"
    FLAG_CHANGE = "FlagChange"
    MAILBOX_NAME = "MailboxName"
    SUBSCRIPTION_CHANGE = "SubscriptionChange"
    MAILBOX_METADATA_CHANGE = "MailboxMetadataChange"
    SERVER_METADATA_CHANGE = "ServerMetadataChange"


MESSAGES = frozenset({Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE, Event.FLAG_CHANGE})
ANNOTATIONS = frozenset({Event.MAILBOX_METADATA_CHANGE, Event.SERVER_METADATA_CHANGE})


class Where(Enum):
    """filter-mailboxes of RFC 5465 8, in the words of the wire."""

    SELECTED = "SELECTED"
    SELECTED_DELAYED = "SELECTED-DELAYED"
    INBOXES = "INBOXES"
    PERSONAL = "PERSONAL"
    SUBSCRIBED = "SUBSCRIBED"
    SUBTREE = "SUBTREE"
    MAILBOXES = "MAILBOXES"


OF_SELECTED = frozenset({Where.SELECTED, Where.SELECTED_DELAYED})
WITH_NAMES = frozenset({Where.SUBTREE, Where.MAILBOXES})
OF_OTHERS = frozenset({Where.SUBSCRIBED, *WITH_NAMES})  # filters that may name what others share
LOOK_EVERY = 5.0  # seconds until rights and annotations are looked at again, where the directory does not tell


@dataclass(frozen=True, slots=True)
class Group:
    """One event-group. `fetch`: tells new messages as MessageNew asked for."""

    where: Where
    names: tuple[str, ...]
    events: frozenset[Event]
    fetch: Fetch | None = None
    _named: frozenset[str] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_named", frozenset(self.names))

    def covers(self, folder: Folder, *, own: bool) -> bool:
        """Of the groups for mailboxes that are not selected. `own`: in the personal namespace."""
        match self.where:
            case Where.PERSONAL:
                return own
            case Where.INBOXES:  # RFC 5465 6.3: where delivery puts mail
                return own and (folder.name == INBOX or folder.special_use == "\\Junk")
            case Where.SUBSCRIBED:
                return folder.subscribed
            case Where.SUBTREE:
                return folder.name in self._named or not self._named.isdisjoint(parents(folder.name))
            case Where.MAILBOXES:
                return folder.name in self._named
            case _:
                return False


def wanted(groups: Sequence[Group]) -> Wanted:
    """Of the selected mailbox; without a group for it that is nothing (RFC 5465 3.1)."""
    for group in groups:
        if group.where in OF_SELECTED and group.events & MESSAGES:
            return Wanted(flags=Event.FLAG_CHANGE in group.events, fetch=group.fetch)
    return NOTHING


class Notifier:
    """Of one session, from NOTIFY SET to NOTIFY NONE or the end. `wake` is set when there may be something to tell."""

    def __init__(self, groups: Sequence[Group], wake: Callable[[], None]) -> None:
        self._others = [group for group in groups if group.where not in OF_SELECTED]
        self._selected = next((group for group in groups if group.where in OF_SELECTED), None)
        self._told: dict[str, Folder] = {}
        self._closed: dict[str, Folder] = {}  # by id: what may be looked up and not read
        self._stop: Callable[[], None] = lambda: None
        self._heard_of: tuple[str, ...] = ()  # accounts of others that are listened to
        events = frozenset[Event]().union(*(group.events for group in groups))
        self._wide = any(group.where in OF_OTHERS and group.events for group in self._others)
        self._annotations = self._watch(events)
        self._timer: asyncio.TimerHandle | None = None
        self._stop_news: Callable[[], None] = lambda: None
        self._wake = wake
        self.due = asyncio.Event()

    async def begin(self, session: Session, *, status: bool) -> None:
        """Listen; what is there now counts as told, with `status` after a STATUS of each mailbox (RFC 5465 3.1)."""
        self.listen(session)
        if self._looks:  # before the first look: what changes meanwhile is due
            self._stop_news = session.services.directory.listen(self._changed)
        for folder in await self._folders(session):
            self._told[folder.id] = folder
            events = self._events(session, folder) & MESSAGES
            if status and events and not self._is_selected(session, folder):
                self._write_status(session, folder, first=True, modseq=Event.FLAG_CHANGE in events)
        if self._annotations is not None:
            await self._annotations.begin(session)
        self.listen(session)
        self._look_later()

    def _watch(self, events: frozenset[Event]) -> Watch | None:
        if not events & ANNOTATIONS:
            return None
        covering = [group for group in self._others if Event.MAILBOX_METADATA_CHANGE in group.events]
        return Watch(
            lambda folder, own: any(group.covers(folder, own=own) for group in covering),
            server=Event.SERVER_METADATA_CHANGE in events,
        )

    def listen(self, session: Session) -> None:
        self._stop()
        self._stop = session.store.listen(self._heard, wide=self._wide)
        self._heard_of = tuple(store.ref.id for store in session.store.others)

    def close(self) -> None:
        self._stop()
        self._stop_news()
        if self._timer is not None:
            self._timer.cancel()

    def _look_later(self) -> None:
        if self._looks:
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look_again)

    @property
    def _looks(self) -> bool:
        """Rights come and go without a hint of the store, annotations of the server change without one."""
        return self._wide or self._annotations is not None

    def _look_again(self) -> None:
        self._look_later()
        self._changed()

    def _changed(self) -> None:
        self.due.set()
        self._wake()

    def annotated(self, folder_id: str, values: Mapping[str, bytes | None]) -> None:
        """RFC 5465 5: what the client does itself is not told."""
        if self._annotations is not None:
            self._annotations.mine(folder_id, values)

    async def named(self, session: Session, names: Collection[str]) -> None:
        """RFC 5465 5: mailboxes that the client gave these names, or took them from, are as they were told; with those
        below them and the levels above that came along. What others did meanwhile stays to be told."""

        above = {up for name in names for up in parents(name)}

        def mine(name: str) -> bool:
            return name in above or name in names or any(up in names for up in parents(name))

        store = session.store
        now = {each.id: each for each in await store.folders() if Right.READ in store.listed_rights(each)}
        told = {each: was for each, was in self._told.items() if each in now or not mine(was.name)}
        for each, folder in now.items():
            was = told.get(each)
            if was is None and mine(folder.name):
                told[each] = folder
            elif was is not None and (mine(folder.name) or mine(was.name)):
                told[each] = was._replace(
                    name=folder.name, subscribed=folder.subscribed, special_use=folder.special_use
                )
        self._told = told

    async def _folders(self, session: Session) -> list[Folder]:
        """All that may be looked up and read (RFC 5465 5). What may be looked up and not read is told to have no
        access, once, where a group is about its messages (RFC 5465 3.1, 5.9)."""
        found, closed = [], dict[str, Folder]()
        for folder in await session.store.folders():
            if Right.READ in session.store.listed_rights(folder):
                found.append(folder)
            elif self._events(session, folder):
                closed[folder.id] = folder
                if folder.id not in self._closed:
                    self._write_name(session, folder, ["\\NoAccess"])
        self._closed = closed
        return found

    def _heard(self, _: Hint) -> None:
        self._changed()

    # --- telling ---------------------------------------------------------------------------------------------------

    async def tell(self, session: Session, *, idle: bool = False) -> None:
        """All that is due, in IDLE removals, too. Of a selected mailbox that no group names nothing: that is SELECTED
        NONE (RFC 5465 3.1, 4). Raises `Bye` when the selected mailbox is gone."""
        self.due.clear()  # before looking: what comes during the look is due again
        if session.selection is not None and self._selected is not None:
            await self._tell_selected(session, self._selected, idle=idle)
        if self._others:
            await self._tell_others(session)
        if self._annotations is not None:
            await self._annotations.tell(session)

    async def _tell_selected(self, session: Session, group: Group, *, idle: bool) -> None:
        if group.events & MESSAGES:
            await updates.tell(session, expunge=idle or group.where is Where.SELECTED)

    async def _tell_others(self, session: Session) -> None:
        shut = self._closed
        before, now = self._told, {folder.id: folder for folder in await self._folders(session)}
        self._told = now
        above = {up for folder in now.values() for up in parents(folder.name)}
        for lost in shut.keys() - now.keys() - self._closed.keys():  # RFC 5465 5.4: the right to look it up went, too
            if Event.MAILBOX_NAME in self._events(session, shut[lost]):
                self._write_name(session, shut[lost], ["\\NonExistent"])
        for opened in shut.keys() & now.keys():  # RFC 5465 5.9: monitored again, and told without \NoAccess
            self._write_name(session, now[opened], state(now[opened], above))
            before = {**before, opened: now[opened]}
        named = {each: folder for each, folder in before.items() if each not in self._closed}
        for change in name_changes(named, now, session.store.namespaces.home):
            if Event.MAILBOX_NAME in self._events(session, change.folder):
                self._write_name(session, change.folder, change.attributes, old=change.old)
        self._tell_moved_away(session, named, now)
        if self._wide and self._heard_of != tuple(store.ref.id for store in session.store.others):
            self.listen(session)
        for folder in now.values():
            was = before.get(folder.id)
            other = was is not None and was.name == folder.name and was.subscribed != folder.subscribed
            if other and Event.SUBSCRIPTION_CHANGE in self._events(session, folder):
                self._write_name(session, folder, state(folder, above))
            self._tell_folder(session, was, folder)

    def _tell_moved_away(self, session: Session, before: Mapping[str, Folder], now: Mapping[str, Folder]) -> None:
        """What was renamed to a name that no group watches: its old name, which is watched, is nobody's now (RFC 5465
        5.4: \\NonExistent)."""
        names = {folder.name for folder in now.values()}
        above = {up for name in names for up in parents(name)}
        for each, was in before.items():
            folder = now.get(each)
            if folder is None or folder.name == was.name or was.name in names:
                continue
            if Event.MAILBOX_NAME in self._events(session, was) - self._events(session, folder):
                self._write_name(session, was, of_nothing(was.name, above))

    def _tell_folder(self, session: Session, before: Folder | None, folder: Folder) -> None:
        events = self._events(session, folder)
        renamed = before is not None and before.name != folder.name
        if self._is_selected(session, folder):
            return
        if before is None or _shape(before) != _shape(folder):
            changed = events & {Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE} and (before is not None or folder.messages)
        else:
            changed = Event.FLAG_CHANGE in events and before.highest_modseq != folder.highest_modseq and not renamed
        if changed:
            self._write_status(session, folder)

    def _events(self, session: Session, folder: Folder) -> frozenset[Event]:
        """Of all groups that name a mailbox (RFC 5465 6)."""
        own = session.store.namespaces.split(folder.name) is None
        return frozenset[Event]().union(*(group.events for group in self._others if group.covers(folder, own=own)))

    @staticmethod
    def _is_selected(session: Session, folder: Folder) -> bool:
        return session.selection is not None and session.selection.mailbox.folder_id == folder.id

    @staticmethod
    def _write_status(session: Session, folder: Folder, *, first: bool = False, modseq: bool = False) -> None:
        """RFC 5465 5.1-5.3; UNSEEN besides, because that is what a client shows, but not the `first` time, whose items
        3.1 names. `modseq`: HIGHESTMODSEQ though the client did not enable CONDSTORE (RFC 5465 3.1)."""
        items = [("MESSAGES", folder.messages), ("UIDNEXT", folder.uidnext), ("UIDVALIDITY", folder.uidvalidity)]
        if not first:
            items.append(("UNSEEN", folder.unseen))
        if modseq or session.condstore:
            items.append(("HIGHESTMODSEQ", folder.highest_modseq))
        told = [(name, str(value)) for name, value in items]
        session.writer.write(responses.status(folder.name, told, utf8=session.utf8))

    @staticmethod
    def _write_name(session: Session, folder: Folder, attributes: Sequence[str] = (), *, old: str = "") -> None:
        """RFC 5465 5.4, 5.5."""
        uses = [folder.special_use] if folder.special_use and "\\NonExistent" not in attributes else []
        listed = responses.listed("LIST", [*attributes, *uses], folder.name, utf8=session.utf8, old_name=old)
        session.writer.write(listed)


def _shape(folder: Folder) -> tuple[int, int, int]:
    return folder.messages, folder.uidnext, folder.uidvalidity


async def tell_or_give_up(session: Session, notices: Notices, *, idle: bool = False) -> None:
    """`Notifier.tell`; a store that fails ends the notifications, which the client is told: then it is as after NOTIFY
    NONE (RFC 5465 5.8)."""
    try:
        await notices.tell(session, idle=idle)
    except MailError as error:
        log.warning("imap-notify-ended", reason=error.code)
        session.notify(None)
        session.wanted = NOTHING
        session.say("OK", "ask again", "NOTIFICATIONOVERFLOW")
