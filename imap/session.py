"""What one connection is to IMAP: its state, who it is, its open store, its selected mailbox, its way back out.

Holds facts; decides nothing and knows no bytes. `connection` owns it, `dispatch` and the command handlers use it; its
doors to the outside are in `doors`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Protocol

from core.clock import Clock
from core.config import Imap, Limits
from core.errors import MailError
from core.wake import Alarms
from directory.directory import Directory
from directory.rights import ALL, Right
from directory.types import LoggedIn
from imap import responses
from imap.contexts import Context
from imap.doors import Link, Seats, Teacher
from imap.guarded import GuardedMailbox
from imap.language import DEFAULT, said
from imap.namespaces import NAMESPACES, Namespaces
from imap.places import Places
from imap.responses import Ok
from imap.types import Feature, Ranges, State
from imap.view import View
from imap.writer import Writer
from store.store import Mailbox, Store
from store.types import Snapshot

if TYPE_CHECKING:
    from imap.command import Waiting

_IN_UTF8 = Feature.UTF8 | Feature.REV2  # asked for each name: made once


class Notices(Protocol):
    """What the client wants to be told unasked (`notify.Notifier`)."""

    @property
    def due(self) -> asyncio.Event: ...

    def listen(self, session: Session) -> None:
        """To the accounts that matter now; again after each SELECT."""

    async def tell(self, session: Session, *, idle: bool = False) -> None: ...

    def annotated(self, folder_id: str, values: Mapping[str, bytes | None]) -> None:
        """The client changed these annotations itself."""

    async def named(self, session: Session, names: Collection[str]) -> None:
        """The client made, renamed, removed or (un)subscribed mailboxes of these names itself."""

    def close(self) -> None: ...


Fetch = Callable[["Session", Ranges], Awaitable[None]]  # tells these new messages


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events of the selected mailbox the client is told unasked, at the end of commands as between them (RFC 5465
    3.1). `messages`: arrivals and removals; `fetch`: what is told of each that arrives."""

    messages: bool = True
    flags: bool = True
    fetch: Fetch | None = None


EVERYTHING = Wanted()  # until the first NOTIFY
NOTHING = Wanted(messages=False, flags=False)


class Annotated(Protocol):
    """Changes of annotations that are told at the end of commands (`annotations.Watch`)."""

    async def tell(self, session: Session) -> None: ...

    def mine(self, folder_id: str, values: Mapping[str, bytes | None]) -> None: ...


@dataclass(frozen=True, slots=True)
class Services:
    """What every session of a server shares."""

    directory: Directory
    store: Store
    limits: Limits
    clock: Clock
    seats: Seats
    hostname: str
    version: str
    plaintext_on_loopback: bool = False
    proxy_from: tuple[IPv4Network | IPv6Network, ...] = ()  # balancers that say who is behind them
    namespaces: Namespaces = NAMESPACES
    settings: Imap = field(default_factory=Imap)
    teacher: Teacher | None = None  # None: nobody learns
    alarms: Alarms = field(default_factory=Alarms)  # of those who idle
    exact_collation: bool = False  # SEARCH compares by i;unicode-casemap and finds nothing besides (RFC 5255 4.2)


@dataclass(slots=True)
class Selected:
    """The selected mailbox: the store's handle, what the client believes, and how it may use it."""

    name: str
    mailbox: Mailbox
    snapshot: Snapshot
    read_only: bool
    view: View
    keywords: frozenset[str] = frozenset()  # in the FLAGS the client was told
    rights: Right = ALL  # when it was opened
    examined: bool = False  # by EXAMINE: read-only whatever the rights
    contexts: dict[str, Context] = field(default_factory=dict)  # by tag (RFC 5267 4.3)
    most_keywords: int | None = None  # that the folder may have; None: not known
    held_back: bool = False  # the client was told a HIGHESTMODSEQ below a removal that was withheld

    @staticmethod
    def begin(name: str, mailbox: Mailbox, snapshot: Snapshot, *, read_only: bool) -> Selected:
        rights = mailbox.opened_with if isinstance(mailbox, GuardedMailbox) else ALL
        return Selected(name, mailbox, snapshot, read_only, View(snapshot), frozenset(snapshot.keywords), rights)

    def permanent_flags(self, keywords: tuple[str, ...]) -> bytes:
        """PERMANENTFLAGS as they are this moment."""
        return responses.permanent_flags(
            keywords, read_only=self.read_only, rights=self.rights, most=self.most_keywords
        )

    async def numbered(self) -> View:
        """The view with its map of sequence numbers; handlers that name messages start with it."""
        if not self.view.mapped:
            self.view.build(await self.mailbox.uids(self.snapshot))
        return self.view


@lru_cache(maxsize=64)  # for most it is the same set
def _capabilities(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(str.upper, names))


class Session:
    """`login`, `store` are there after login, `selected` in the selected state: the properties raise outside them,
    which the command table's states make impossible."""

    __slots__ = (
        "_selected",
        "_store",
        "after_answer",
        "annotations",
        "client_id",
        "failed_logins",
        "features",
        "keep_numbers",
        "language",
        "link",
        "login",
        "mine",
        "notices",
        "services",
        "sets_quotas",
        "state",
        "tag",
        "waiting",
        "wanted",
        "withheld",
        "writer",
    )

    def __init__(self, services: Services, link: Link, writer: Writer) -> None:
        self.services = services
        self.link = link
        self.writer = writer
        self.state = State.NOT_AUTHENTICATED
        self.features = Feature.NONE
        self.language = DEFAULT  # in which people are spoken to (RFC 5255 3)
        self.tag = ""  # of the command that runs: ESEARCH repeats it (RFC 4731 3.1)
        self.keep_numbers = False  # the command that runs named messages by number after all: EXPUNGE stays owed
        # Tags of what was read and is done with what comes next, and what tells the names it was given.
        self.waiting: list[tuple[str, Waiting, Callable[[], None]]] = []
        self.failed_logins = 0
        self.client_id: Sequence[tuple[str, str]] = ()
        self.after_answer: Callable[[], Awaitable[None]] | None = None  # STARTTLS: what follows the tagged OK
        self.login: LoggedIn | None = None
        self.sets_quotas = False  # of mailboxes of others, as was granted: QUOTASET is announced
        self._store: Places | None = None
        self._selected: Selected | None = None
        self.notices: Notices | None = None
        self.wanted = EVERYTHING
        self.mine: frozenset[int] = frozenset()  # UIDs that this client put into the selected mailbox, not told yet
        self.annotations: Annotated | None = None  # once METADATA is enabled (RFC 5464 4.4)
        self.withheld: frozenset[str] = frozenset()  # capabilities this client is not offered
        self._withhold()

    def identify(self, fields: Sequence[tuple[str, str]]) -> None:
        """Who the client says it is (RFC 2971)."""
        self.client_id = fields
        self._withhold()

    def _withhold(self) -> None:
        """What is switched off for all, for this account, or for clients of this name (docs/quirks.md)."""
        settings = self.services.settings
        who = {value.casefold() for name, value in self.client_id if name == "name"}
        if self.login is not None:
            who.add(self.login.account.address.key)
        named = [names for key, names in settings.without_for.items() if key.casefold() in who]
        self.withheld = _capabilities(tuple(name for names in (settings.without, *named) for name in names))

    @property
    def limits(self) -> Limits:
        return self.services.limits

    @property
    def message_limit(self) -> int:
        """How many messages one command works on; 0: any number (RFC 9738 3). Who is not told is not limited."""
        return 0 if "MESSAGELIMIT" in self.withheld else self.limits.imap_messages

    @property
    def save_limit(self) -> int:
        """The same for COPY and APPEND."""
        return self.message_limit or (0 if "SAVELIMIT" in self.withheld else self.limits.imap_saved_messages)

    def words(self, text: str) -> str:
        """`text` in the language of this session."""
        return text if self.language == DEFAULT else said(self.language, text)

    def say(self, status: str, text: str, code: str = "") -> None:
        """An untagged status response."""
        self.writer.write(responses.untagged(status, self.words(text), code))

    @property
    def utf8(self) -> bool:
        """Names and quoted strings travel in UTF-8 (RFC 6855 3, RFC 9051 5.1)."""
        return bool(self.features & _IN_UTF8)

    @property
    def rev2(self) -> bool:
        """Answers in the forms of RFC 9051 where they differ from those of RFC 3501."""
        return Feature.REV2 in self.features

    @property
    def store(self) -> Places:
        if self._store is None:
            raise RuntimeError("no store before login")
        return self._store

    @property
    def selected(self) -> Selected:
        if self._selected is None:
            raise RuntimeError("no mailbox selected")
        return self._selected

    @property
    def selection(self) -> Selected | None:
        return self._selected

    @property
    def condstore(self) -> bool:
        """Mod-sequences and UIDs ride in every FETCH response that tells flags (RFC 7162 3.1)."""
        return Feature.CONDSTORE in self.features

    @property
    def qresync(self) -> bool:
        """VANISHED instead of EXPUNGE (RFC 7162 3.2.10)."""
        return Feature.QRESYNC in self.features

    @property
    def uid_only(self) -> bool:
        """Messages are named by UID alone: UIDFETCH and VANISHED, BAD for a message number (RFC 9586 3)."""
        return Feature.UIDONLY in self.features

    def enable(self, feature: Feature) -> None:
        """Switch on for the rest of the connection, QRESYNC with CONDSTORE (RFC 7162 3.2.3). The first CONDSTORE
        enabling command in a selected mailbox is answered with its HIGHESTMODSEQ (RFC 7162 3.1)."""
        before = self.condstore
        self.features |= feature | (Feature.CONDSTORE if Feature.QRESYNC in feature else Feature.NONE)
        if Feature.REV2 in feature and self._selected is not None:
            self._selected.view.forget_recent()
        if self.condstore and not before and self._selected is not None:
            self.writer.write(responses.highest_modseq(self._selected.view.settled))

    def logged_in(self, login: LoggedIn, store: Places, *, sets_quotas: bool = False) -> None:
        self.login, self._store, self.sets_quotas = login, store, sets_quotas
        self.state = State.AUTHENTICATED
        self._withhold()
        self.link.logged_in(login.account)

    def select(self, selected: Selected) -> None:
        if self._store is not None and isinstance(selected.mailbox, GuardedMailbox):
            self._store.attended = selected.mailbox.account
        self._selected = selected
        self.state = State.SELECTED
        if self.notices is not None:
            self.notices.listen(self)

    def made(self, folder_id: str, uids: Iterable[int]) -> None:
        """RFC 5465 5.2: of messages that the client makes itself nothing is fetched unasked."""
        if self.wanted.fetch is not None and self._selected and self._selected.mailbox.folder_id == folder_id:
            self.mine = self.mine.union(uids)

    @property
    def tells(self) -> bool:
        """Something of the selected mailbox is told unasked."""
        return self.wanted.messages or bool(self._selected and self._selected.contexts)

    def unselect(self) -> None:
        self.mine = frozenset()
        if self._selected is not None:
            self._selected = None
            self.state = State.AUTHENTICATED
            if self._store is not None:
                self._store.attended = None

    async def named(self, *names: str) -> None:
        """What the client does to the names of mailboxes itself is not told (RFC 5465 5). It is done already: a store
        that fails now has them told."""
        if self.notices is not None:
            with contextlib.suppress(MailError):
                await self.notices.named(self, names)

    def notify(self, notices: Notices | None) -> None:
        """From now on these, none others."""
        if self.notices is not None:
            self.notices.close()
        self.notices = notices

    def logged_out(self) -> None:
        """Nobody again (RFC 8437 3): nothing of the login or of what it switched on is left. Raises `Bye` when no seat
        before login is free."""
        self.notify(None)
        self.wanted = EVERYTHING
        self.annotations = None
        self.unselect()
        self.login = self._store = None
        self.sets_quotas = False
        self.language = DEFAULT
        self.features = Feature.NONE
        self.identify(())
        self.state = State.NOT_AUTHENTICATED
        self.link.logged_out()

    def log_out(self) -> Ok:
        """The tagged OK of LOGOUT; the connection closes once it is sent."""
        self.state = State.LOGOUT
        return Ok("LOGOUT completed")
