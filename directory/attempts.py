"""One attempt to log in, whatever the mechanism: it waits for earlier failures, counts, and is written down.

Knows the throttle and the log; refuses to know how anything is proved.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from core.address import AddressError, parse
from core.errors import TemporaryError
from core.log import get
from directory.throttle import Throttle, network_of
from directory.types import LoggedIn, LoginRefused, LoginResult

MAX_IDENTITY = 320  # characters
ATTEMPTS_AT_ONCE = 4  # different secrets of one remote for one account
SPRAY = 100  # failures of one remote that are worth a warning
_log = get(__name__)


class Attempts:
    """`sleep` is asyncio's, an argument for tests."""

    def __init__(self, throttle: Throttle, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self.throttle = throttle
        self._sleep = sleep
        self._per_pair: Counter[tuple[str, str]] = Counter()

    def crowded(self, remote: str, key: str) -> bool:
        return self._per_pair[(network_of(remote), key)] >= ATTEMPTS_AT_ONCE

    def enter(self, remote: str, key: str) -> Callable[[], None]:
        """Count one under way; returns how it ends."""
        pair = (network_of(remote), key)
        self._per_pair[pair] += 1

        def leave() -> None:
            self._per_pair[pair] -= 1
            if self._per_pair[pair] <= 0:
                del self._per_pair[pair]

        return leave

    async def wait(self, remote: str, key: str) -> None:
        await self._sleep(self.throttle.wait(remote, key))

    @asynccontextmanager
    async def one(self, remote: str, key: str) -> AsyncIterator[Attempt]:
        """Around one check, after its wait. Raises `TemporaryError` when too many of this pair wait already."""
        if self.crowded(remote, key):
            raise TemporaryError("busy", code="busy")
        leave = self.enter(remote, key)
        try:
            await self.wait(remote, key)
            yield Attempt(self, remote, key)
        finally:
            leave()

    def failed(self, remote: str, key: str) -> None:
        failures = self.throttle.failed(remote, key)
        if failures % SPRAY == 0:
            _log.warning("login-failures-many", remote=remote, failures=failures)

    def tell(self, result: LoginResult, identity: str, protocol: str, remote: str) -> None:
        """The line of the log that every login has; `LoginUnavailable` is told where its cause is known."""
        if isinstance(result, LoggedIn):
            _log.info("login", account=result.account.id, protocol=protocol, remote=remote)
        elif isinstance(result, LoginRefused):
            _log.info(
                "login-refused", identity=loggable(identity), protocol=protocol, remote=remote, reason=result.reason
            )


class Attempt:
    def __init__(self, attempts: Attempts, remote: str, key: str) -> None:
        self._attempts, self._remote, self._key = attempts, remote, key

    def failed(self, reason: str) -> LoginRefused:
        self._attempts.failed(self._remote, self._key)
        return LoginRefused(reason)

    def succeeded(self, login: LoggedIn) -> LoggedIn:
        self._attempts.throttle.succeeded(self._remote, login.account.address.key)
        return login


def canonical(identity: str) -> str:
    """The address key of a login name, else a text that no account has (row 108)."""
    try:
        return parse(identity[:MAX_IDENTITY]).key
    except AddressError:
        return "?" + identity[:MAX_IDENTITY].encode("utf-8", "replace").decode("utf-8")


def loggable(identity: str) -> str:
    """People type passwords into the name field: only what looks like an address is written down."""
    key = canonical(identity)
    return "" if key.startswith("?") else key
