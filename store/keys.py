"""Sort keys as a row of `sorting`: what delivery inserts and what a migration makes again."""

from __future__ import annotations

from message.sorting import SortKeys

SORT_ROW = "INSERT INTO sorting VALUES (?,?,?,?,?,?,?,?,?,?,?)"


def sort_row(keys: SortKeys) -> tuple[object, ...]:
    """The columns of `sorting` after its key."""
    return (
        keys.subject,
        keys.reply,
        keys.sender,
        keys.recipient,
        keys.copied,
        keys.shown_sender,
        keys.shown_recipient,
        keys.fields,
        keys.message,
        keys.parents,
    )
