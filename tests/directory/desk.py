"""Where logins are asked for, with what they cost counted."""

from __future__ import annotations

from core.clock import ManualClock
from core.config import Limits
from core.database import create_engine
from core.log import Secret
from directory.attempts import Attempts
from directory.database import Database
from directory.login import Login
from directory.lookups import Lookups
from directory.passwords import Passwords, hasher
from directory.service import SqlDirectory
from directory.throttle import Throttle
from directory.types import ImportRow, LoginRefused, LoginResult
from tests.directory.helpers import CONSOLE, LOCAL

ANNE = "anne@brou.test"
PAUL = "paul@brou.test"
BAD = LoginRefused("bad-credentials")


class Desk:
    """A `Login` whose hashes are counted and whose waits are noted instead of slept."""

    def __init__(self, url: str, clock: ManualClock, limits: Limits) -> None:
        self.clock = clock
        self.database = Database(create_engine(url))
        self.passwords = Passwords(limits)
        self.waits: list[float] = []
        self.hashed: list[str] = []
        self.login = Login(
            self.database,
            Lookups(self.database, clock, limits),
            self.passwords,
            clock,
            Attempts(Throttle(clock, limits.exempt_networks), sleep=self._sleep),
        )
        verify = self.passwords.verify

        async def counted(stored: str, text: str) -> bool:
            self.hashed.append(stored)
            return await verify(stored, text)

        self.passwords.verify = counted  # type: ignore[method-assign]  # counts what passes through

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.advance(seconds)

    async def try_(self, identity: str, password: str, *, protocol: str = "imap", remote: str = LOCAL) -> LoginResult:
        return await self.login.login(identity, Secret(password), protocol=protocol, remote=remote)

    async def close(self) -> None:
        await self.login.close()
        self.passwords.close()
        await self.database.close()


async def stored(directory: SqlDirectory, password: str) -> None:
    """Paul's password as an older release hashed it."""
    rows = [ImportRow(1, PAUL, Secret(hasher().hash(password)))]
    assert [result.error async for result in directory.import_accounts(CONSOLE, rows, dry_run=False)] == [""]
