"""Which mailbox names LIST and LSUB answer, and with which attributes (RFC 9051 6.3.9, RFC 5258, RFC 6154, RFC 3348).

Pure: folders and subscriptions in, rows out. Knows no wire and no store calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from imap.patterns import Pattern
from store.types import DELIMITER, Folder


@dataclass(frozen=True, slots=True)
class Query:
    """`patterns` are alternatives. Selection: `subscribed`, `special_use`, `recursive` (RECURSIVEMATCH).
    `return_subscribed`: tell \\Subscribed though it was not selected by. `extended`: \\NonExistent is understood."""

    patterns: tuple[Pattern, ...]
    subscribed: bool = False
    special_use: bool = False
    recursive: bool = False
    return_subscribed: bool = False
    extended: bool = False

    @property
    def matches(self) -> Callable[[str], bool]:
        """Whether a name does; mostly there is one pattern."""
        if len(self.patterns) == 1:
            return self.patterns[0].matches
        return lambda name: any(pattern.matches(name) for pattern in self.patterns)


class Row(NamedTuple):
    """`folder` None: a name without messages. `child_info`: selection options that names below it fulfil. `chosen`: it
    fulfils them itself; if not, RETURN adds nothing (RFC 9051 6.3.9.8, example 11)."""

    name: str
    attributes: tuple[str, ...]
    folder: Folder | None = None
    child_info: tuple[str, ...] = ()
    chosen: bool = True


_PARENT, _LEAF = ("\\HasChildren",), ("\\HasNoChildren",)


class Tree:
    """The names of an account: its folders, what it subscribes to, and the levels above them."""

    def __init__(self, folders: Sequence[Folder], subscriptions: Iterable[str]) -> None:
        self.folders = {folder.name: folder for folder in folders}
        self.subscriptions = frozenset(subscriptions)
        self._with_children = {above for name in self.folders if DELIMITER in name for above in parents(name)}

    def listed(self, query: Query) -> list[Row]:
        """The answer to LIST, INBOX first and then as the folders stand, levels without a folder by name."""
        chosen = set(self._candidates(query))
        if query.special_use:
            chosen = {name for name in chosen if self._selected(name)}
        matches = query.matches
        found = {name for name in chosen if matches(name)}
        # RFC 5258 3.5: a name that is not chosen itself appears only for a chosen one below it that does not.
        hidden = chosen - found
        above = {up for name in hidden for up in parents(name) if query.matches(up)} if query.recursive else set()
        info = self._child_info(query)
        with_info = {up for name in chosen for up in parents(name)} if query.recursive else set()
        return [
            self._row(name, query, info if name in with_info else (), chosen=name in chosen)
            for name in self._sorted(found | above)
        ]

    def lsub(self, query: Query) -> list[Row]:
        """RFC 3501 6.3.9: subscribed names; with "%", a level above one that is not matched itself is \\Noselect."""
        matches = query.matches
        found = {name for name in self.subscriptions if matches(name)}
        hidden = self.subscriptions - found
        above = {up for name in hidden for up in parents(name) if query.matches(up)} - found
        rows = {name: Row(name, ()) for name in found}
        rows |= {name: Row(name, ("\\Noselect",)) for name in above if self._ends_in_percent(query)}
        return [rows[name] for name in self._sorted(rows)]

    @staticmethod
    def _ends_in_percent(query: Query) -> bool:
        return any(pattern.text.endswith("%") for pattern in query.patterns)

    def _candidates(self, query: Query) -> Iterable[str]:
        if query.subscribed:
            return self.subscriptions
        return self.folders.keys() | self._with_children

    def _selected(self, name: str) -> bool:
        folder = self.folders.get(name)
        return folder is not None and bool(folder.special_use)

    @staticmethod
    def _child_info(query: Query) -> tuple[str, ...]:
        options = (("SUBSCRIBED", query.subscribed), ("SPECIAL-USE", query.special_use))
        return tuple(name for name, asked in options if asked)

    def _row(self, name: str, query: Query, child_info: tuple[str, ...], *, chosen: bool) -> Row:
        folder = self.folders.get(name)
        if folder and not folder.special_use and not query.subscribed and not query.return_subscribed:
            usual = _PARENT if name in self._with_children else _LEAF
            return Row(name, usual, folder, child_info, chosen)
        attributes = [] if folder else ["\\NonExistent" if query.extended else "\\Noselect"]
        attributes.append("\\HasChildren" if name in self._with_children else "\\HasNoChildren")
        if folder and folder.special_use:
            attributes.append(folder.special_use)
        if (query.subscribed or query.return_subscribed) and name in self.subscriptions:
            attributes.append("\\Subscribed")
        return Row(name, tuple(attributes), folder, child_info, chosen)

    def _sorted(self, names: Iterable[str]) -> list[str]:
        wanted = set(names)
        known = [name for name in self.folders if name in wanted]
        return known + sorted(wanted.difference(known))


def parents(name: str) -> list[str]:
    """The levels above a name, nearest first: a/b/c > a/b, a."""
    levels = name.split(DELIMITER)
    return [DELIMITER.join(levels[:depth]) for depth in range(len(levels) - 1, 0, -1)]
