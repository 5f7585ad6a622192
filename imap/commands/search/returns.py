"""RETURN (...) of SEARCH and SORT: what of a result is to be told (RFC 4731 3.1, 5182 2.1, 9394 3.1, 5267 4).

Values and their parser; refuses to know results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Flag, auto

from imap.commands.fetch.items import Item
from imap.commands.fetch.parse import attributes
from imap.commands.window import Window, read_window
from imap.errors import BadSyntax
from imap.wire.scanner import Scanner


class Want(Flag):
    NONE = 0
    MIN = auto()
    MAX = auto()
    ALL = auto()
    COUNT = auto()
    SAVE = auto()


@dataclass(frozen=True, slots=True)
class Returns:
    """`window`: PARTIAL. `context`: the same will be asked again, which needs nothing here (RFC 5267 4.2). `update`:
    tell how the result changes (RFC 5267 4.3), with `fetch` of new messages (RFC 5465 7)."""

    wants: Want = Want.NONE
    window: Window | None = None
    context: bool = False
    update: bool = False
    relevancy: bool = False  # scores (RFC 6203 4)
    fetch: tuple[Item, ...] = ()

    @property
    def only_saves(self) -> bool:
        """RFC 5182 2.1: SAVE alone is answered by the tagged OK only."""
        return self.wants is Want.SAVE and not (self.window or self.update or self.context or self.relevancy)


def try_parse(scanner: Scanner) -> Returns | None:
    """search-return-opts = SP "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")", behind the SP; the SP
    after it as well. None without it; "()" means ALL (RFC 4731 3.1)."""
    if not scanner.try_token(b"RETURN "):
        return None
    found = Returns()
    for change in scanner.parenthesised(lambda: _option(scanner), empty=True):
        found = change(found)
    scanner.space()
    if found.window and Want.ALL in found.wants:
        raise BadSyntax("ALL and PARTIAL exclude each other")  # RFC 9394 3.1
    return replace(found, wants=Want.ALL) if found == Returns() else found


Change = Callable[[Returns], Returns]


def _option(scanner: Scanner) -> Change:
    read = OPTIONS.get(scanner.keyword())
    if read is None:
        raise BadSyntax("unknown RETURN option")
    return read(scanner)


def _wanting(want: Want) -> Callable[[Scanner], Change]:
    return lambda _: lambda found: replace(found, wants=found.wants | want)


def _partial(scanner: Scanner) -> Change:
    scanner.space()
    window = read_window(scanner)

    def change(found: Returns) -> Returns:
        if found.window:
            raise BadSyntax("one PARTIAL only")  # RFC 9394 3.1
        return replace(found, window=window)

    return change


def _context(_: Scanner) -> Change:
    return lambda found: replace(found, context=True)


def _relevancy(_: Scanner) -> Change:
    return lambda found: replace(found, relevancy=True)


def _update(scanner: Scanner) -> Change:
    """modifier-update = "UPDATE" [ "(" fetch-att *(SP fetch-att) ")" ]; the RFC's example has a space before "(" """
    items: tuple[Item, ...] = ()
    if scanner.peek() == b"(" or scanner.try_token_before(b" ", b"("):
        items = attributes(scanner)
    return lambda found: replace(found, update=True, fetch=items)


OPTIONS: Mapping[str, Callable[[Scanner], Change]] = {
    "MIN": _wanting(Want.MIN),
    "MAX": _wanting(Want.MAX),
    "ALL": _wanting(Want.ALL),
    "COUNT": _wanting(Want.COUNT),
    "SAVE": _wanting(Want.SAVE),
    "PARTIAL": _partial,
    "CONTEXT": _context,
    "UPDATE": _update,
    "RELEVANCY": _relevancy,
}
