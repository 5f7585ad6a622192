"""Anne of Brou, the doors she comes by, and the ways to log in that several tests try."""

from __future__ import annotations

from typing import Any

from core.log import Secret
from directory.service import SqlDirectory
from directory.types import Account, LoginRefused, LoginResult, Scope
from tests.directory.helpers import GOOD, LOCAL, OPERATOR, at, commune, mailbox

ANNE = "anne@brou.test"
REFUSED = LoginRefused("bad-credentials")


async def at_once(_: float) -> None:
    """The waits of the throttle are tested where it is."""


async def anne(directory: SqlDirectory) -> Account:
    directory._login._attempts._sleep = at_once
    await commune(directory, "Brou", "brou.test")
    return await mailbox(directory, ANNE, GOOD)


async def login(directory: SqlDirectory, password: str, protocol: str = "imap", remote: str = LOCAL) -> LoginResult:
    return await directory.login(ANNE, Secret(password), protocol=protocol, remote=remote)


async def add(directory: SqlDirectory, scope: Scope = Scope.MAIL, **options: Any) -> tuple[str, str]:
    """(id, clear)."""
    about, clear = await directory.add_app_password(OPERATOR, at(ANNE), "Téléphone", scope, **options)
    return about.id, clear.reveal()
