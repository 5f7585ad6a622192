"""One transaction seen by an operation: its repositories, its time, its names, and what it tells the audit."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from core.clock import Clock
from core.ids import Ids
from directory.repositories.accounts import Accounts
from directory.repositories.acl import AccessLists
from directory.repositories.administrators import Administrators
from directory.repositories.aliases import Aliases
from directory.repositories.annotations import Annotations
from directory.repositories.audit import Audit, DirectoryState, Line
from directory.repositories.credentials import Credentials
from directory.repositories.domains import Domains
from directory.repositories.grants import Grants
from directory.repositories.keys import Keys
from directory.repositories.organisations import Organisations


class Work:
    """Operations (`directory.services`) read and change through this and never commit; `directory.boundary` does."""

    def __init__(self, session: AsyncSession, clock: Clock, ids: Ids) -> None:
        self._clock = clock
        self._ids = ids
        self.organisations = Organisations(session)
        self.domains = Domains(session)
        self.accounts = Accounts(session)
        self.aliases = Aliases(session)
        self.grants = Grants(session)
        self.acl = AccessLists(session)
        self.annotations = Annotations(session)
        self.credentials = Credentials(session)
        self.administrators = Administrators(session)
        self.keys = Keys(session)
        self.audit = Audit(session)
        self.state = DirectoryState(session)
        self.lines: list[Line] = []

    def now_ms(self) -> int:
        return int(self._clock.now() * 1000)

    def new_id(self) -> str:
        return self._ids.object_id()

    def new_token(self) -> str:
        return self._ids.token()

    def tell(self, action: str, target: str, organisation_id: str | None) -> None:
        """A fact for the audit, written in the same commit."""
        self.lines.append(Line(action, target, organisation_id))
