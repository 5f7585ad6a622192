"""LIST with its extended form, and LSUB (RFC 9051 6.3.9, RFC 5258, RFC 5819, RFC 6154; RFC 3501 6.3.9)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from directory.rights import ALL
from imap import responses
from imap.command import AFTER_LOGIN, Command
from imap.commands.returned import Extras, read_extra
from imap.errors import BadSyntax
from imap.listing import Query, Row, Tree
from imap.patterns import Pattern
from imap.responses import Ok
from imap.session import Session
from imap.wire import encode
from imap.wire.scanner import Scanner

MAX_PATTERNS = 20
BATCH = 200  # rows between two drains
INLINE = 50_000  # characters of patterns times folders: some 5 ms; more is matched beside the loop (promise P7)
SELECTION = frozenset({"SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"})
NOTHING_MORE = Extras()
BASE_SELECTION = frozenset({"SUBSCRIBED", "SPECIAL-USE"})  # what RECURSIVEMATCH can go with (RFC 5258 3.1)
RETURNED = frozenset({"SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "STATUS", "MYRIGHTS", "METADATA"})


@dataclass(frozen=True, slots=True)
class List:
    """`delimiter_only`: the pattern was empty, so the client asks for the delimiter."""

    query: Query
    extras: Extras = NOTHING_MORE
    delimiter_only: bool = False


def _parse_list(scanner: Scanner) -> List:
    """list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]"""
    scanner.space()
    selection: set[str] | None = None
    if scanner.peek() == b"(":
        selection = _options(scanner, SELECTION)
        scanner.space()
        if "RECURSIVEMATCH" in selection and not selection & BASE_SELECTION:
            raise BadSyntax("RECURSIVEMATCH needs another selection option")
    reference = scanner.list_mailbox()
    scanner.space()
    several = scanner.peek() == b"("
    texts = scanner.parenthesised(scanner.list_mailbox) if several else [scanner.list_mailbox()]
    if len(texts) > MAX_PATTERNS:
        raise BadSyntax("too many patterns")
    returned, extras = _returned(scanner)
    scanner.end()
    extended = selection is not None or several or returned is not None
    chosen = selection or set[str]()
    query = Query(
        _patterns(reference, texts),
        subscribed="SUBSCRIBED" in chosen,
        special_use="SPECIAL-USE" in chosen,
        recursive="RECURSIVEMATCH" in chosen,
        return_subscribed="SUBSCRIBED" in (returned or ()),
        extended=extended,
    )
    return List(query, extras, delimiter_only=texts == [""] and not extended)


def _parse_lsub(scanner: Scanner) -> List:
    """lsub = "LSUB" SP mailbox SP list-mailbox"""
    scanner.space()
    reference = scanner.list_mailbox()
    scanner.space()
    text = scanner.list_mailbox()
    scanner.end()
    return List(Query(_patterns(reference, [text])), delimiter_only=text == "")


def _patterns(reference: str | None, texts: Sequence[str | None]) -> tuple[Pattern, ...]:
    """What is no canonical spelling of a name matches none (security.md row 96)."""
    if reference is None:
        return ()
    return tuple(Pattern(reference, text) for text in texts if text is not None)


def _options(scanner: Scanner, known: frozenset[str]) -> set[str]:
    options = set(scanner.parenthesised(scanner.keyword, empty=True))
    if not options <= known:
        raise BadSyntax("unknown LIST option")
    return options


def _returned(scanner: Scanner) -> tuple[set[str] | None, Extras]:
    """list-return-opts = "RETURN" SP "(" [return-option *(SP return-option)] ")" """
    if scanner.at_end:
        return None, NOTHING_MORE
    scanner.token(b" RETURN ")
    extras = NOTHING_MORE

    def option() -> str:
        nonlocal extras
        name = scanner.keyword()
        if name not in RETURNED:
            raise BadSyntax("unknown LIST option")
        extras = read_extra(scanner, name, extras)
        return name

    return set(scanner.parenthesised(option, empty=True)), extras


async def _tree(session: Session, *, subscriptions: bool = True) -> Tree:
    return Tree(await session.store.folders(), await session.store.subscriptions() if subscriptions else ())


async def _list(session: Session, asked: List) -> Ok:
    if asked.delimiter_only:
        session.writer.write(responses.listed("LIST", ["\\Noselect"], ""))
    else:
        tree = await _tree(session, subscriptions=asked.query.subscribed or asked.query.return_subscribed)
        await _write(session, "LIST", await _matched(tree, tree.listed, asked.query), asked.extras)
    return Ok("LIST completed")


async def _lsub(session: Session, asked: List) -> Ok:
    if asked.delimiter_only:
        session.writer.write(responses.listed("LSUB", ["\\Noselect"], ""))
    else:
        tree = await _tree(session)
        await _write(session, "LSUB", await _matched(tree, tree.lsub, asked.query), NOTHING_MORE)
    return Ok("LSUB completed")


async def _matched(tree: Tree, match: Callable[[Query], list[Row]], query: Query) -> list[Row]:
    names = len(tree.folders) + len(tree.subscriptions)
    if names * sum(len(pattern.text) for pattern in query.patterns) <= INLINE:
        return match(query)
    return await asyncio.to_thread(match, query)


async def _write(session: Session, kind: str, rows: Sequence[Row], extras: Extras) -> None:
    """All lines of a batch are joined once."""
    utf8, writer, store = session.utf8, session.writer, session.store
    rights = [ALL if row.folder is None else store.listed_rights(row.folder) for row in rows]
    more = await extras.prepared(session, rows, rights)
    for start in range(0, len(rows), BATCH):
        lines: list[bytes] = []
        for row, granted in zip(rows[start : start + BATCH], rights[start : start + BATCH], strict=True):
            name, folder = encode.mailbox(row.name, utf8=utf8), row.folder
            lines.append(responses.list_line(kind, extras.attributes(row, granted), name, row.child_info))
            if more is not None and folder is not None and row.chosen:
                lines += more.lines(folder, name, granted)
        writer.write(b"".join(lines))
        if len(rows) - start >= BATCH:
            await writer.drain()


LIST = Command("LIST", AFTER_LOGIN, _parse_list, _list)
LSUB = Command("LSUB", AFTER_LOGIN, _parse_lsub, _lsub)
