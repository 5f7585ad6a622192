"""REPLACE (RFC 8508): a new message appended and an old one expunged in one commit, so that no client ever sees both or
neither.

The new name is linked and synced before the journal removes the old one, as in a move (`store.copy`): a crash in
between leaves both, never neither.
"""

from __future__ import annotations

from core.errors import NotFoundError
from store import expunge, place
from store.expunge import Removed
from store.schema import key
from store.stage import TemporaryFile
from store.transaction import Transaction
from store.types import Appended, Placement, Room


def replace(
    transaction: Transaction, folder_id: str, uid: int, file: TemporaryFile, placement: Placement, room: Room
) -> Appended:
    """`file` into `placement.folder`, `uid` out of `folder_id`. Raises NotFoundError when it, or a folder, is gone
    (nothing is appended then, RFC 8508 3.2); QuotaError. The room of the old message counts as free: a draft can be
    saved again in a full mailbox."""
    source = transaction.folder(folder_id)
    row = transaction.db.one(
        "SELECT name, flags, size, content FROM messages WHERE key = ?", (key(source.number, uid),)
    )
    if row is None:
        raise NotFoundError("a message is gone", code="no-message")
    old: Removed = (uid, *row)
    gained = file.prepared.size - old[3]
    if gained > 0:
        place.check_room(transaction, room, gained, 0)
    appended = place.put(transaction, file, placement)
    transaction.sync_links()  # the new name is durable before the journal removes the old one
    expunge.remove(transaction, source, [old])
    return appended
