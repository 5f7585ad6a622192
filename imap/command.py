"""One row of the command table: what a command is called, when it is allowed, how it is read and what it does.

The row knows its command only; running it, answering and telling updates is `imap.dispatch`'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from core.errors import MailError
from imap.responses import Ok
from imap.session import Session
from imap.types import State
from imap.wire.scanner import Scanner

A = TypeVar("A")

ANY = frozenset({State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED})
BEFORE_LOGIN = frozenset({State.NOT_AUTHENTICATED})
AFTER_LOGIN = frozenset({State.AUTHENTICATED, State.SELECTED})
WHEN_SELECTED = frozenset({State.SELECTED})


@dataclass(frozen=True, slots=True)
class Waiting:
    """A command that was read and is not done yet. With others of its kind that came right behind it, it is done
    together: `perform` takes the `load` of each and gives their outcomes in the same order. `small`: little enough to
    wait for the next one. `close` lets go of what was read, whatever became of it."""

    load: Any
    perform: Callable[[Session, Sequence[Any]], Awaitable[Sequence[Ok | MailError]]]
    small: bool
    close: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Command(Generic[A]):
    """`name` as dispatched: "FETCH", "UID FETCH". `parse` reads the arguments, the space before them included, up to
    the end of the command; it may use nothing but the scanner. `handle` does the work, writes untagged responses and
    returns the tagged OK, or what waits to be done; it raises `No`, `Bad`, `Bye` or a `MailError` otherwise.

    `by_number`: the command names or answers messages by number, which UIDONLY refuses (RFC 9586 3).
    `uses_sequence_numbers`: EXPUNGE is withheld while it runs and after it (RFC 9051 7.5.1). `tells_updates`: false
    for commands after which nothing is to be told (LOGOUT, CLOSE ...). `removes`: it takes messages out of the selected
    mailbox, which is told to who wants to be told nothing, too. `tells_spelling`: for each mailbox that it names
    the attributes with which another spelling than ours, NFC, is told as what it has become (RFC 9051 6.3.9.7).
    """

    name: str
    states: frozenset[State]
    parse: Callable[[Scanner], A]
    handle: Callable[[Session, A], Awaitable[Ok | Waiting]]
    by_number: bool = False
    uses_sequence_numbers: bool = False
    tells_updates: bool = True
    removes: bool = False
    tells_spelling: Sequence[Sequence[str]] = ()


def no_arguments(scanner: Scanner) -> None:
    """`parse` of commands that take none."""
    scanner.end()
