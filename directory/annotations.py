"""Annotations of folders and of the server (METADATA, RFC 5464): the face and its one implementation.

Names are in lower case (RFC 5464 3.2.1 compares them without case) and begin with "/shared/" or "/private/". Refuses to
know who may: the right to a folder is checked where the folder's name is resolved.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from core.config import Limits
from directory.boundary import Boundary
from directory.database import Database
from directory.repositories.annotations import EVERYBODY, SERVER
from directory.repositories.annotations import Annotations as Table
from directory.repositories.audit import DirectoryState
from directory.services import annotations as services
from directory.types import Account, Actor, Role

ADMIN = "/shared/admin"  # RFC 5464 6.2.2: how to reach the administrator, a URI; never set by a client


class Annotations(Protocol):
    """`folder_id` "" is the server as `reader` sees it, and `owner` is then the reader. Raises `TemporaryError`."""

    async def read(
        self, reader: Account, owner: Account, folder_ids: Collection[str]
    ) -> Mapping[str, Mapping[str, bytes]]:
        """By folder id, then by entry: the shared entries and `reader`'s private ones."""

    async def change(self, reader: Account, owner: Account, folder_id: str, values: Mapping[str, bytes | None]) -> None:
        """All or none. QuotaError `annotation-too-big`, `annotations-too-many`, `annotations-over-quota`."""


class SqlAnnotations:
    """Implements `Annotations`."""

    def __init__(self, database: Database, boundary: Boundary, limits: Limits) -> None:
        self._database = database
        self._boundary = boundary
        self._limits = limits

    async def read(
        self, reader: Account, owner: Account, folder_ids: Collection[str]
    ) -> Mapping[str, Mapping[str, bytes]]:
        async with self._database.read() as session:
            found = dict(await Table(session).of(owner.id, {reader.id, EVERYBODY}, folder_ids))
            if SERVER in folder_ids and (address := await DirectoryState(session).operator_postmaster()):
                found[SERVER] = {**found.get(SERVER, {}), ADMIN: f"mailto:{address}".encode()}
        return found

    async def change(self, reader: Account, owner: Account, folder_id: str, values: Mapping[str, bytes | None]) -> None:
        actor = Actor(str(reader.address), Role.ORGANISATION, reader.organisation_id)
        await self._boundary.write(
            actor, lambda work: services.change(work, self._limits, reader, owner, folder_id, values)
        )
