"""Operations on annotations: set all or none, within bounds; forget a folder's."""

from __future__ import annotations

from collections.abc import Mapping

from core.config import Limits
from directory.codes import refusal
from directory.repositories.annotations import EVERYBODY
from directory.types import Account
from directory.work import Work

SHARED, PRIVATE = "/shared/", "/private/"


async def change(
    work: Work, limits: Limits, reader: Account, owner: Account, folder_id: str, values: Mapping[str, bytes | None]
) -> None:
    """RFC 5464 4.3: when one entry cannot be set, none is. None removes an entry; names are in lower case."""
    for entry, value in values.items():
        whose = reader.id if entry.startswith(PRIVATE) else EVERYBODY
        if value is None:
            await work.annotations.remove(owner.id, folder_id, whose, entry)
            continue
        if len(value) > limits.metadata_value:
            raise refusal("annotation-too-big")
        await work.annotations.put(work.new_id(), owner.id, folder_id, whose, entry, value)
    for whose in (reader.id, EVERYBODY):
        if await work.annotations.count(owner.id, folder_id, whose) > limits.metadata_entries:
            raise refusal("annotations-too-many")
    for payer in {reader.id, owner.id}:
        if await work.annotations.octets(payer) > limits.metadata_octets:
            raise refusal("annotations-over-quota")


async def forget_folder(work: Work, account_id: str, folder_id: str) -> None:
    await work.acl.remove_folder(account_id, folder_id)
    await work.annotations.remove_folder(account_id, folder_id)
