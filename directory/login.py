"""One login, from identity and password to an answer (security.md rows 55, 113 to 118).

The account is asked for each time (`Lookups.opening`), so a suspension or a changed password counts at once. Order:
proof known as right > known as wrong > wait for earlier failures > argon2id. Unknown users take the same way with a
dummy hash, so that time tells nothing. Equal attempts under way share one hash: a client opens several connections at
once.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, replace

from core.clock import Clock
from core.errors import InvalidError, MailError, TemporaryError
from core.log import Secret, get
from directory import app_passwords
from directory.attempts import Attempts, canonical
from directory.database import Database
from directory.lookups import Lookups
from directory.passwords import DUMMY, Passwords, composed
from directory.repositories.credentials import Credentials, Opening
from directory.throttle import network_of
from directory.types import (
    Account,
    AppPassword,
    LoggedIn,
    LoginRefused,
    LoginResult,
    LoginUnavailable,
    State,
)
from directory.verified import Proofs

_log = get(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One login under way. `identity` is the canonical address, or the text as sent when it is none; `older` the form
    of the password that older releases hashed."""

    identity: str
    remote: str
    protocol: str
    password: str
    opening: Opening | None
    older: str

    @property
    def stored(self) -> str:
        return self.opening.secret_hash if self.opening else ""


class Login:
    """Logins with passwords, of mailboxes and of app passwords. Never raises for a refusal: each ends in a value."""

    def __init__(
        self, database: Database, lookups: Lookups, passwords: Passwords, clock: Clock, attempts: Attempts
    ) -> None:
        self._database = database
        self._lookups = lookups
        self._passwords = passwords
        self._clock = clock
        self._attempts = attempts
        self._proofs = Proofs(secrets.token_bytes(32), clock)
        self._under_way: dict[bytes, asyncio.Task[bool]] = {}

    async def login(self, identity: str, secret: Secret, *, protocol: str, remote: str) -> LoginResult:
        """`identity` as it was sent; `protocol` "imap" or "smtp"; `remote` an address. `LoginUnavailable` when the
        database is away or too many wait for their hash."""
        try:
            result = await self._login(identity, secret, protocol, remote)
        except TemporaryError as error:
            result = LoginUnavailable()
            _log.warning("login-unavailable", protocol=protocol, remote=remote, cause=error.code)
        self._attempts.tell(result, identity, protocol, remote)
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
            self._attempts.failed(remote, key)
            return LoginRefused("bad-credentials")
        attempt = Attempt(key, remote, protocol, password, await self._lookups.opening(key), composed(secret))
        if self._proofs.is_right(self._proofs.of(key, protocol, attempt.stored, password)):
            return self._opened(attempt)
        app = await self._app(attempt)
        if app is not None:
            return app
        if self._proofs.is_wrong(network_of(remote), key, self._tried(attempt)):
            return LoginRefused("bad-credentials")
        return await self._judged(attempt)

    def _tried(self, attempt: Attempt) -> bytes:
        """What was typed, where its form matters: a wrong one must not stand for another of the same form of today."""
        return self._proofs.of(attempt.identity, attempt.protocol, attempt.stored, attempt.older)

    async def _app(self, attempt: Attempt) -> LoginResult | None:
        """An app password that opens this door now; None goes on as any other password does. Nobody guesses one, so it
        waits for nobody's failures."""
        if app_passwords.canonical(attempt.password) is None:
            return None
        async with self._database.read() as session:  # for unknown users as well: time tells nothing (row 55)
            apps = await Credentials(session).apps(attempt.opening.account.id if attempt.opening else "")
        app = app_passwords.find(apps, attempt.password)
        if app is None or attempt.opening is None:
            return None
        account = attempt.opening.account
        why = app_passwords.why_not(app, protocol=attempt.protocol, remote=attempt.remote, now=self._clock.now())
        if why:
            app_passwords.tell_refused(account.id, app.id, why, attempt.remote)
            return None
        if account.state is not State.ACTIVE:
            return LoginRefused("suspended")
        self._attempts.throttle.succeeded(attempt.remote, attempt.identity)
        return logged_in(account, app)

    async def _judged(self, attempt: Attempt) -> LoginResult:
        """The slow way: at most a few different passwords at once, equal ones together."""
        tried = self._tried(attempt)
        task = self._under_way.get(tried)
        if task is None:
            if self._attempts.crowded(attempt.remote, attempt.identity):
                return LoginRefused("throttled")
            leave = self._attempts.enter(attempt.remote, attempt.identity)
            task = asyncio.create_task(self._check(attempt, tried))
            self._under_way[tried] = task
            task.add_done_callback(lambda done: self._forget(done, tried))
            task.add_done_callback(lambda _: leave())
        try:
            right = await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise TemporaryError("stopping", code="busy") from None
            raise
        return await self._confirmed(attempt) if right else LoginRefused("bad-credentials")

    async def _confirmed(self, attempt: Attempt) -> LoginResult:
        """The wait and the hash took time: what was right then must be right now (row 117)."""
        now = replace(attempt, opening=await self._lookups.opening(attempt.identity))
        proof = self._proofs.of(now.identity, now.protocol, now.stored, now.password)
        return self._opened(now) if self._proofs.is_right(proof) else LoginRefused("bad-credentials")

    def _forget(self, done: asyncio.Task[bool], tried: bytes) -> None:
        if not done.cancelled():
            done.exception()  # seen: who waited may be gone
        self._under_way.pop(tried, None)

    async def _check(self, attempt: Attempt, tried: bytes) -> bool:
        await self._attempts.wait(attempt.remote, attempt.identity)
        right = await self._passwords.verify(attempt.stored or DUMMY, attempt.password)
        older = not right and attempt.older != attempt.password
        if older:  # for unknown users as well: time tells nothing (row 55)
            right = await self._passwords.verify(attempt.stored or DUMMY, attempt.older)
        if right and attempt.stored:
            self._attempts.throttle.succeeded(attempt.remote, attempt.identity)
            proof = self._proofs.of(attempt.identity, attempt.protocol, attempt.stored, attempt.password)
            self._proofs.keep_right(proof)
            await self._renew(attempt, older=older)
            return True
        self._attempts.failed(attempt.remote, attempt.identity)
        self._proofs.keep_wrong(network_of(attempt.remote), attempt.identity, tried)
        return False

    async def _renew(self, attempt: Attempt, *, older: bool) -> None:
        """A hash brought from elsewhere is made again with our parameters, so that all logins cost the same time; one
        of an `older` form, of today's form."""
        if attempt.opening is None or not (older or self._passwords.outdated(attempt.stored)):
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


def logged_in(account: Account, app: AppPassword) -> LoggedIn:
    return LoggedIn(account, app.id, app.expires_at, app.bare_lines)
