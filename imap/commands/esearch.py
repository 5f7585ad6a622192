"""ESEARCH (RFC 7377): one search in many mailboxes, answered mailbox by mailbox, whatever is selected.

Each mailbox is looked at as SELECT would show it; the selected one as the client knows it. What may not be read is
passed over without a word, as is what does not exist.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from core.errors import ForbiddenError, NotFoundError
from directory.rights import Right
from imap import responses
from imap.command import AFTER_LOGIN, Command
from imap.commands.search.criteria import HeaderHas, Key, TextHas, leaves
from imap.commands.search.evaluate import Search, folding
from imap.commands.search.fuzzy import settle
from imap.commands.search.grouping import resolved, with_recent
from imap.commands.search.handle import REV2, Matched, check_fuzzy, check_numbers, highest, saving
from imap.commands.search.parse import SearchArgs, after_source
from imap.commands.search.result import Result, extended, told
from imap.commands.search.returns import Returns, Want
from imap.commands.search.updating import check_update, keep_up
from imap.errors import Bad, BadSyntax, Code, No
from imap.listing import parents
from imap.named import name_of
from imap.progress import working
from imap.responses import Ok
from imap.session import Selected, Session
from imap.types import Feature, ranges_of
from imap.view import View
from imap.wire.scanner import Scanner
from store.store import Mailbox
from store.types import DELIMITER, INBOX, Folder

MOST_NAMES = 1000  # of one command
MOST_MAILBOXES = 2000  # searched by one command
# What one command may cost, whatever it names (security.md row 100): questions about texts, each some milliseconds of a
# mailbox's index, and messages times keys, each some microseconds.
MOST_QUESTIONS = 4000
MOST_JUDGED = 20_000_000
FUZZY = 20  # questions of a text below FUZZY
SELECTED = "SELECTED"
WITH_NAMES = frozenset({"SUBTREE", "SUBTREE-ONE", "MAILBOXES"})
WITHOUT = frozenset({SELECTED, "PERSONAL", "INBOXES", "SUBSCRIBED"})


@dataclass(frozen=True, slots=True)
class Source:
    """filter-mailboxes of RFC 5465 6, with "subtree-one" and without "selected-delayed" (RFC 7377 2.2)."""

    kind: str
    names: tuple[str, ...] = ()
    _named: frozenset[str] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_named", frozenset(self.names))

    def covers(self, folder: Folder, *, own: bool) -> bool:
        """Of what LIST shows; names given are looked up besides."""
        match self.kind:
            case "PERSONAL":
                return own
            case "INBOXES":  # where delivery puts mail, as in NOTIFY
                return own and (folder.name == INBOX or folder.special_use == "\\Junk")
            case "SUBSCRIBED":
                return folder.subscribed
            case "SUBTREE":
                return not self._named.isdisjoint(parents(folder.name))
            case "SUBTREE-ONE":
                return folder.name.rpartition(DELIMITER)[0] in self._named
            case _:
                return False


DEFAULT: tuple[Source, ...] = (Source(SELECTED),)


@dataclass(frozen=True, slots=True)
class ESearch:
    sources: tuple[Source, ...]
    search: SearchArgs

    @property
    def of_selected(self) -> bool:
        return any(source.kind == SELECTED for source in self.sources)


def _parse(scanner: Scanner) -> ESearch:
    """esearch = "ESEARCH" [SP esearch-source-opts] [SP search-return-opts] SP search-program"""
    scanner.space()
    sources = DEFAULT
    if scanner.try_token(b"IN ("):
        sources = _sources(scanner)
        scanner.space()
    if sum(len(source.names) for source in sources) > MOST_NAMES:
        raise BadSyntax("too many mailboxes")
    return ESearch(sources, after_source(scanner))


def _sources(scanner: Scanner) -> tuple[Source, ...]:
    """source-mbox [SP "(" scope-options ")"] ")"; there are no scope options (RFC 7377 4)."""
    found = [_source(scanner)]
    while not scanner.try_token(b")"):
        scanner.space()
        found.append(_source(scanner))
    # One of a kind: each is asked about each folder.
    kinds: dict[str, list[str]] = {}
    for source in found:
        kinds.setdefault(source.kind, []).extend(source.names)
    return tuple(Source(kind, tuple(names)) for kind, names in kinds.items())


def _source(scanner: Scanner) -> Source:
    kind = scanner.keyword()
    if kind in WITHOUT:
        return Source(kind)
    if kind not in WITH_NAMES:
        raise BadSyntax("unknown mailbox filter")
    scanner.space()
    names = scanner.parenthesised(scanner.mailbox) if scanner.peek() == b"(" else [scanner.mailbox()]
    return Source(kind, tuple(name.removesuffix(DELIMITER) for name in names))


async def _handle(session: Session, asked: ESearch) -> Ok:
    args, returns = asked.search, asked.search.returns or REV2  # RFC 7377 2.1: without RETURN it is ALL
    _check(session, asked, returns)
    check_numbers(session, args.key, by_uid=True)
    if args.mod_seq:
        session.enable(Feature.CONDSTORE)
    with saving(session, returns):
        if args.refused:
            raise args.refused
        names = await _names(session, asked.sources)
        keys = list(leaves(args.key))
        questions = sum(FUZZY if leaf.fuzzy else 1 for leaf in keys if isinstance(leaf, TextHas | HeaderHas))
        if questions * len(names) > MOST_QUESTIONS:
            raise No("too many text searches for so many mailboxes", Code.LIMIT)
        done = judged = 0
        async for target in _targets(session, names, asked):
            judged += len(keys) * len(target.view.uids)
            if judged > MOST_JUDGED and target.selected is None:  # alone it costs what SEARCH does
                raise No("too many search keys for so many messages", Code.LIMIT)
            matched = await _search(session, target, args.key, (done, len(names) + 1))
            done += 1
            await _answer(session, target, matched, args, returns)
    return Ok("ESEARCH completed")


def _check(session: Session, asked: ESearch, returns: Returns) -> None:
    """RFC 7377 2.2."""
    if session.selection is None and (asked.of_selected or returns.update):
        raise Bad("no mailbox is selected")
    if Want.SAVE in returns.wants and asked.sources != DEFAULT:
        raise Bad("SAVE is for the selected mailbox alone")
    if asked.search.charset and Feature.UTF8 in session.features:
        raise Bad("no CHARSET once UTF8=ACCEPT is enabled")  # RFC 6855 3
    check_fuzzy(session, returns, fuzzy=asked.search.fuzzy)
    check_update(session, returns, "CONTEXT=SEARCH")


async def _names(session: Session, sources: Sequence[Source]) -> list[str]:
    """Each mailbox once. Those that are named need no right to be looked up, only the others do (RFC 7377 2.2)."""
    names: dict[str, None] = {}
    if any(source.kind not in (SELECTED, "MAILBOXES") for source in sources):
        listed = await session.store.folders()
    else:
        listed = ()
    namespaces = session.store.namespaces
    for source in sources:
        names.update(dict.fromkeys(source.names))
        for folder in listed:
            if source.covers(folder, own=namespaces.split(folder.name) is None):
                names[folder.name] = None
    if len(names) > MOST_MAILBOXES:
        raise No("too many mailboxes at once", Code.LIMIT)
    return list(names)


@dataclass(frozen=True, slots=True)
class Target:
    """A mailbox that is searched. `selected`: the selected one."""

    name: str
    mailbox: Mailbox
    view: View
    selected: Selected | None = None


async def _targets(session: Session, names: Sequence[str], asked: ESearch) -> AsyncIterator[Target]:
    """What exists and may be read, each once: a mailbox can have two names (RFC 7377 2.2)."""
    selected, seen = session.selection, set[str]()
    if asked.of_selected and selected is not None:
        seen.add(selected.mailbox.folder_id)
        name = await name_of(session, selected)
        yield Target(name, selected.mailbox, await selected.numbered(), selected)
    for name in names:
        try:
            place = await session.store.find(name)
            if place is None or Right.READ not in place.rights or place.folder.id in seen:
                continue
            seen.add(place.folder.id)
            if selected is not None and selected.mailbox.folder_id == place.folder.id:
                yield Target(place.name, selected.mailbox, await selected.numbered(), selected)
                continue
            mailbox = await session.store.mailbox(name)
            snapshot = await mailbox.snapshot()
            view = View(snapshot)
            if session.rev2:
                view.forget_recent()  # RFC 9051 appendix E
            view.build(await mailbox.uids(snapshot))
        except (NotFoundError, ForbiddenError):  # gone, or no longer ours to read
            continue
        yield Target(place.name, mailbox, view)


async def _search(session: Session, target: Target, key: Key, counts: tuple[int, int]) -> Matched:
    now, view, exact = session.services.clock.now(), target.view, session.services.exact_collation
    with working(session, lambda: counts):
        settled = await settle(target.mailbox, view.uids, resolved(key, view, now))
        found = await Search(target.mailbox, view.uids, fold=folding(exact=exact)).run(with_recent(settled.key, view))
    return Matched(found, settled.key, settled.scores)


async def _answer(session: Session, target: Target, matched: Matched, args: SearchArgs, returns: Returns) -> None:
    """Nothing at all where nothing matched (RFC 7377 2.1)."""
    uids = matched.uids
    about = told(uids, returns)
    if uids and not returns.only_saves:
        modseq = await highest(target.mailbox, target.view, about) if args.mod_seq else None
        scores = tuple(matched.scores.get(uid, 1) for uid in uids) if returns.relevancy else ()
        where = responses.correlator(session.tag, target.name, target.view.snapshot.uidvalidity, utf8=session.utf8)
        session.writer.write(extended(Result(uids, True, modseq, scores), returns, where))
    if target.selected is not None:
        if Want.SAVE in returns.wants:
            target.view.saved = ranges_of(about)
        keep_up(session, returns, matched.key, uids, by_uid=True, fuzzy=args.fuzzy)
    await session.writer.drain()


ESEARCH = Command("ESEARCH", AFTER_LOGIN, _parse, _handle)
UID_ESEARCH = Command("UID ESEARCH", AFTER_LOGIN, _parse, _handle)  # as RFC 7377 2 writes it; the answer is the same
