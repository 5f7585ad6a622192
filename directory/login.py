"""One login, from identity and password to an answer (security.md rows 55, 113 to 118).

The account is read from the database each time, so a suspension or a changed password counts at once. Order: proof
known as right > known as wrong > wait for earlier failures > argon2id. Unknown users take the same way with a dummy
hash, so that time tells nothing. Equal attempts under way share one hash: a client opens several connections at once.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from core.address import AddressError, parse
from core.clock import Clock
from core.config import Limits
from core.errors import InvalidError, MailError, TemporaryError
from core.log import Secret, get
from directory.database import Database
from directory.passwords import DUMMY, Passwords
from directory.repositories.credentials import Credentials, Opening
from directory.throttle import Throttle, network_of
from directory.types import LoggedIn, LoginRefused, LoginResult, LoginUnavailable, State
from directory.verified import Proofs

MAX_IDENTITY = 320  # characters
ATTEMPTS_AT_ONCE = 4  # different passwords of one remote for one account
SPRAY = 100  # failures of one remote that are worth a warning
_log = get(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One login under way. `identity` is the canonical address, or the text as sent when it is none."""

    identity: str
    remote: str
    protocol: str
    password: str
    opening: Opening | None

    @property
    def stored(self) -> str:
        return self.opening.secret_hash if self.opening else ""


class Login:
    """`sleep` is asyncio's, an argument for tests."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        clock: Clock,
        limits: Limits,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._sleep = sleep
        self._throttle = Throttle(clock, limits.exempt_networks)
        self._proofs = Proofs(secrets.token_bytes(32), clock)
        self._under_way: dict[bytes, asyncio.Task[bool]] = {}
        self._per_pair: Counter[tuple[str, str]] = Counter()

    async def login(self, identity: str, secret: Secret, *, protocol: str, remote: str) -> LoginResult:
        try:
            result = await self._login(identity, secret, protocol, remote)
        except TemporaryError as error:
            result = LoginUnavailable()
            _log.warning("login-unavailable", protocol=protocol, remote=remote, cause=error.code)
        if isinstance(result, LoggedIn):
            _log.info("login", account=result.account.id, protocol=protocol, remote=remote)
        elif isinstance(result, LoginRefused):
            _log.info(
                "login-refused", identity=_loggable(identity), protocol=protocol, remote=remote, reason=result.reason
            )
        return result

    async def close(self) -> None:
        """End the hashes under way; whoever waits for one gets `LoginUnavailable` or his own cancellation."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _login(self, identity: str, secret: Secret, protocol: str, remote: str) -> LoginResult:
        key = canonical(identity)
        try:
            password = self._passwords.normalise(secret)
        except InvalidError:
            # Refused for its form, whoever it is for: no hash is owed to equal time.
            self._throttle.failed(remote, key)
            return LoginRefused("bad-credentials")
        attempt = Attempt(key, remote, protocol, password, await self._opening(key))
        proof = self._proofs.of(key, protocol, attempt.stored, password)
        if self._proofs.is_right(proof):
            return self._opened(attempt)
        if self._proofs.is_wrong(network_of(remote), key, proof):
            return LoginRefused("bad-credentials")
        return await self._judged(attempt, proof)

    async def _opening(self, key: str) -> Opening | None:
        async with self._database.read() as session:
            return await Credentials(session).opening(key)

    async def _judged(self, attempt: Attempt, proof: bytes) -> LoginResult:
        """The slow way: at most a few different passwords at once, equal ones together."""
        task = self._under_way.get(proof)
        if task is None:
            pair = (network_of(attempt.remote), attempt.identity)
            if self._per_pair[pair] >= ATTEMPTS_AT_ONCE:
                return LoginRefused("throttled")
            self._per_pair[pair] += 1
            task = asyncio.create_task(self._check(attempt, proof))
            self._under_way[proof] = task
            task.add_done_callback(lambda done: self._forget(done, proof, pair))
        try:
            right = await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise TemporaryError("stopping", code="busy") from None
            raise
        return await self._confirmed(attempt) if right else LoginRefused("bad-credentials")

    async def _confirmed(self, attempt: Attempt) -> LoginResult:
        """The wait and the hash took time: what was right then must be right now (row 117)."""
        now = replace(attempt, opening=await self._opening(attempt.identity))
        proof = self._proofs.of(now.identity, now.protocol, now.stored, now.password)
        return self._opened(now) if self._proofs.is_right(proof) else LoginRefused("bad-credentials")

    def _forget(self, done: asyncio.Task[bool], proof: bytes, pair: tuple[str, str]) -> None:
        if not done.cancelled():
            done.exception()  # seen: who waited may be gone
        self._under_way.pop(proof, None)
        self._per_pair[pair] -= 1
        if self._per_pair[pair] <= 0:
            del self._per_pair[pair]

    async def _check(self, attempt: Attempt, proof: bytes) -> bool:
        await self._sleep(self._throttle.wait(attempt.remote, attempt.identity))
        right = await self._passwords.verify(attempt.stored or DUMMY, attempt.password)
        if right and attempt.stored:
            self._throttle.succeeded(attempt.remote, attempt.identity)
            self._proofs.keep_right(proof)
            await self._renew(attempt)
            return True
        failures = self._throttle.failed(attempt.remote, attempt.identity)
        self._proofs.keep_wrong(network_of(attempt.remote), attempt.identity, proof)
        if failures % SPRAY == 0:
            _log.warning("login-failures-many", remote=attempt.remote, failures=failures)
        return False

    async def _renew(self, attempt: Attempt) -> None:
        """A hash brought from elsewhere is made again with our parameters, so that all logins cost the same time."""
        if attempt.opening is None or not self._passwords.outdated(attempt.stored):
            return
        try:
            fresh = await self._passwords.hash(attempt.password)
            async with self._database.write() as session:
                renewed = await Credentials(session).rehash(attempt.opening.account.id, attempt.stored, fresh)
        except MailError as error:  # the next login tries again
            _log.warning("rehash-failed", account=attempt.opening.account.id, cause=error.code)
            return
        if renewed:
            self._proofs.keep_right(self._proofs.of(attempt.identity, attempt.protocol, fresh, attempt.password))

    @staticmethod
    def _opened(attempt: Attempt) -> LoginResult:
        """The password is right; only now may the answer tell that the account is suspended."""
        if attempt.opening is None:
            return LoginRefused("bad-credentials")
        account = attempt.opening.account
        if account.state is not State.ACTIVE:
            return LoginRefused("suspended")
        return LoggedIn(account, attempt.opening.credential)


def canonical(identity: str) -> str:
    """The address key of a login name, else a text that no account has (row 108)."""
    try:
        return parse(identity[:MAX_IDENTITY]).key
    except AddressError:
        return "?" + identity[:MAX_IDENTITY].encode("utf-8", "replace").decode("utf-8")


def _loggable(identity: str) -> str:
    """People type passwords into the name field: only what looks like an address is written down."""
    key = canonical(identity)
    return "" if key.startswith("?") else key
