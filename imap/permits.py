"""A folder with the rights of whoever asks, and how what is not granted is refused (RFC 4314 4). Pure."""

from __future__ import annotations

from functools import lru_cache

from core.errors import ForbiddenError, NotFoundError
from core.frozen import dataclass
from directory.rights import Right
from directory.types import Account
from store.store import AccountStore
from store.types import NO_FLAGS, Flag, Folder

_FLAGS = (
    (Right.SEEN, Flag.SEEN),
    (Right.DELETE, Flag.DELETED),
    (Right.WRITE, Flag.ANSWERED | Flag.FLAGGED | Flag.DRAFT),
)
# RFC 4314 5.2: with none of these a mailbox is read-only. Flags are shared by all who read a folder.
CHANGES = Right.INSERT | Right.EXPUNGE | Right.SEEN | Right.WRITE | Right.DELETE


@dataclass(frozen=True, slots=True)
class Place:
    """A folder and what one may do there. `folder` is the owner's view of it, `name` the client's."""

    owner: Account
    store: AccountStore
    folder: Folder
    name: str
    rights: Right
    own: bool


@lru_cache(maxsize=64)  # each step with an enum's members takes as long as a look at the index
def allowed_flags(rights: Right) -> Flag:
    """RFC 4314 4: \\Seen needs s, \\Deleted t, all others w, keywords too."""
    allowed = NO_FLAGS
    for right, flags in _FLAGS:
        allowed |= flags if right in rights else NO_FLAGS
    return allowed


def forbidden() -> ForbiddenError:
    return ForbiddenError("your rights do not allow this", code="no-permission")


def absent() -> NotFoundError:
    """Exactly what the store says of a folder that is not there."""
    return NotFoundError("no such folder", code="no-folder")


def demand(place: Place, right: Right) -> None:
    """Of a place that may be seen."""
    if right not in place.rights:
        raise forbidden()
