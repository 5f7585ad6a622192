"""A failing disk in a recorded day: one call of one operation is refused, so that its undo is on the tape, and a power
loss may strike in the middle of it or after it.

While it is under way, what was asked for may be there whole, in parts, or not at all. From the refusal on nothing of it
is: it reaches nobody (promise P2), whatever a power loss keeps of what was linked, synced and taken back.
"""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from store.flush import flush
from store.transaction import Transaction
from store.writer import Writer
from tests.torture.recorder import Fault
from tests.torture.seen import Flags, FolderSeen, Key, Mail, Seen

# What fails, up to which of its calls, and how often: mostly what comes late, when there is something to undo.
FAULTS: tuple[tuple[tuple[str, ...], int, int], ...] = (
    (("xWrite",), 8, 8),  # the commit, when names are synced
    (("sync",), 4, 5),
    (("sync_data",), 2, 2),  # a journal
    (("link", "link_open", "rename"), 4, 3),
    (("write", "truncate", "make_directory", "create", "nameless", "open_to_update"), 6, 3),
    (("unlink", "set_time", "xSync"), 3, 1),
)
# Those whose whole effect can be told beforehand.
KINDS = {
    "deliver": 6,
    "deliver several": 6,
    "append": 4,
    "append each": 3,
    "copy": 4,
    "move": 5,
    "replace": 4,
    "expunge": 2,
    "flags": 1,
    "create": 1,
    "rename": 2,
    "delete": 2,
}


def drawn(dice: random.Random) -> tuple[str, Fault]:
    """The operation, and what it will meet."""
    kind = dice.choices(list(KINDS), list(KINDS.values()))[0]
    calls, most, _ = dice.choices(FAULTS, [weight for _, _, weight in FAULTS])[0]
    return kind, Fault(dice.choice((errno.ENOSPC, errno.EIO)), calls, dice.randint(1, most))


@asynccontextmanager
async def with_a_flush() -> AsyncIterator[None]:
    """What is done inside shares its batch with a flush, as it may each second: what one does behind answers is done
    before the other is kept."""
    plain, flushes = Writer.submit, list[asyncio.Future[OSError | None]]()

    async def shared(writer: Writer, work: Callable[[Transaction], Any], **options: Any) -> Any:
        flushes.append(asyncio.ensure_future(plain(writer, flush, durable=True)))
        return await plain(writer, work, **options)

    with patch.object(Writer, "submit", shared):
        try:
            yield
        finally:
            await asyncio.gather(*flushes, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Bound:
    """What one operation is about to do to an account: `new` EMAILIDs, `gone` messages, folders `renamed` (by id, to
    which name), with the parents that these names want, `deleted`, and the `flags` that messages would have."""

    account: str
    new: tuple[str, ...] = ()
    gone: tuple[Key, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    deleted: tuple[str, ...] = ()
    flags: Mapping[Key, Flags] = field(default_factory=dict)

    def done(self, state: Seen) -> Seen:
        """The account as it would have become; a message that has no UID yet stands under a key of its own."""
        mail = {
            key: replace(item, flags=self.flags.get(key, item.flags))
            for key, item in state.mail.items()
            if key not in self.gone and key[0] not in self.deleted
        }  # fmt: skip
        mail |= {(f"refused {id(self)}", n): Mail(email, "", 0, 0, (0, ())) for n, email in enumerate(self.new)}
        folders = {
            folder_id: replace(folder, name=self.renamed.get(folder_id, folder.name))
            for folder_id, folder in state.folders.items()
            if folder_id not in self.deleted
        }
        folders |= {f"refused {name}": FolderSeen(name, 0, 0, 0, "", subscribed=True) for name in self._parents()}
        return replace(state, mail=mail, folders=folders)

    def _parents(self) -> set[str]:
        names = [name.split("/") for name in self.renamed.values()]
        return {"/".join(levels[:depth]) for levels in names for depth in range(1, len(levels))}


def all_done(state: Seen, bound: Sequence[Bound]) -> Seen:
    for item in bound:
        state = item.done(state)
    return state
