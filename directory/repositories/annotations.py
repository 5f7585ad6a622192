"""SQL of annotations (RFC 5464)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from directory.models import AnnotationRow

SERVER = ""  # the folder id of entries that belong to no folder
EVERYBODY = ""  # the reader of shared entries


class Annotations:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def of(
        self, account_id: str, readers: Collection[str], folder_ids: Collection[str] | None = None
    ) -> Mapping[str, Mapping[str, bytes]]:
        """By folder id (None: all folders), then by entry: what `readers` see of an account's folders."""
        query = select(AnnotationRow).where(
            AnnotationRow.account_id == account_id, AnnotationRow.reader.in_(sorted(readers))
        )
        if folder_ids is not None:
            query = query.where(AnnotationRow.folder_id.in_(sorted(folder_ids)))
        found: dict[str, dict[str, bytes]] = {}
        for row in await self._session.scalars(query.order_by(AnnotationRow.entry)):
            found.setdefault(row.folder_id, {})[row.entry] = row.value
        return found

    async def marked(self, reader: str, entry: str) -> Collection[str]:
        """The ids of the folders, whoever owns them, of which `reader` has this private entry."""
        query = select(AnnotationRow.folder_id).where(AnnotationRow.reader_id == reader, AnnotationRow.entry == entry)
        return set(await self._session.scalars(query))

    async def count(self, account_id: str, folder_id: str, reader: str) -> int:
        query = select(func.count()).where(
            AnnotationRow.account_id == account_id,
            AnnotationRow.folder_id == folder_id,
            AnnotationRow.reader == reader,
        )
        return await self._session.scalar(query) or 0

    async def octets(self, payer: str) -> int:
        """What one account has stored: private entries are their reader's, shared ones the folder owner's."""
        paid_by = func.coalesce(AnnotationRow.reader_id, AnnotationRow.account_id)
        query = select(func.sum(func.length(AnnotationRow.value))).where(paid_by == payer)
        return int(await self._session.scalar(query) or 0)

    async def put(self, new_id: str, account_id: str, folder_id: str, reader: str, entry: str, value: bytes) -> None:
        here = (
            AnnotationRow.account_id == account_id,
            AnnotationRow.folder_id == folder_id,
            AnnotationRow.reader == reader,
            AnnotationRow.entry == entry,
        )
        changed = await self._session.execute(
            update(AnnotationRow).where(*here).values(value=value).returning(AnnotationRow.id)
        )
        if changed.first() is None:
            await self._session.execute(
                insert(AnnotationRow).values(
                    id=new_id,
                    account_id=account_id,
                    folder_id=folder_id,
                    reader=reader,
                    reader_id=reader or None,
                    entry=entry,
                    value=value,
                )
            )

    async def remove(self, account_id: str, folder_id: str, reader: str, entry: str) -> None:
        await self._session.execute(
            delete(AnnotationRow).where(
                AnnotationRow.account_id == account_id,
                AnnotationRow.folder_id == folder_id,
                AnnotationRow.reader == reader,
                AnnotationRow.entry == entry,
            )
        )

    async def remove_folder(self, account_id: str, folder_id: str) -> None:
        await self._session.execute(
            delete(AnnotationRow).where(AnnotationRow.account_id == account_id, AnnotationRow.folder_id == folder_id)
        )
