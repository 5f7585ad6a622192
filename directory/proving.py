"""Logins without a password sent: access tokens, client certificates, SCRAM (security.md rows 55, 113 to 117).

The same throttle as for passwords counts and delays them, the account is read from the database each time, and all
causes look the same from outside. Refuses to know the wire (`directory.sasl`) and how a token is checked
(`directory.tokens`).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass

from core.clock import Clock
from core.errors import TemporaryError
from core.log import Secret, get
from directory import app_passwords, certificates, scram
from directory.attempts import Attempts, canonical
from directory.authentication import Door
from directory.database import Database
from directory.login import logged_in
from directory.repositories.credentials import CERTIFICATE, TOKEN, Credentials, Opening
from directory.tokens import TokenCheck
from directory.types import AppPassword, LoggedIn, LoginRefused, LoginResult, LoginUnavailable, State

_log = get(__name__)


@dataclass(frozen=True, slots=True)
class Means:
    """What the configuration allows beside passwords. `certificates`: fingerprint > address."""

    scram: bool = False
    tokens: TokenCheck | None = None
    certificates: Mapping[str, str] | None = None


class Proving:
    """One method for each means; all answer like `login.Login.login`, and are refused where `means` lacks them."""

    def __init__(self, database: Database, attempts: Attempts, clock: Clock, means: Means) -> None:
        self._database = database
        self._attempts = attempts
        self._clock = clock
        self._means = means

    # --- access tokens -----------------------------------------------------------------------------------------------

    async def token(self, identity: str, token: Secret, door: Door) -> LoginResult:
        return await self._told(identity, door, self._token(identity, token, door))

    async def _token(self, identity: str, token: Secret, door: Door) -> LoginResult:
        if self._means.tokens is None:
            return LoginRefused("token")
        claimed = canonical(identity) if identity else ""
        async with self._attempts.one(door.remote, claimed) as attempt:
            facts = await self._means.tokens.check(token)
            found = await self._opening(canonical(facts.address)) if facts is not None else None
            if facts is None or found is None or claimed not in ("", found.account.address.key):
                return attempt.failed("token")
            name = f"{TOKEN}{hashlib.sha256(token.reveal().encode('utf-8')).hexdigest()[:16]}"
            return attempt.succeeded(LoggedIn(found.account, name, facts.expires_at))

    # --- client certificates -----------------------------------------------------------------------------------------

    async def certificate(self, authorization: str, door: Door) -> LoginResult:
        return await self._told(authorization, door, self._certificate(authorization, door))

    async def _certificate(self, authorization: str, door: Door) -> LoginResult:
        if self._means.certificates is None or not door.certificate:
            return LoginRefused("certificate")
        named = {canonical(name) for name in certificates.named(door.certificate, self._means.certificates)}
        wanted = {canonical(authorization)} & named if authorization else named
        key = next(iter(wanted)) if len(wanted) == 1 else ""
        async with self._attempts.one(door.remote, canonical(authorization) if authorization else key) as attempt:
            found = await self._opening(key) if key else None
            if found is None:
                return attempt.failed("certificate")
            name = f"{CERTIFICATE}{certificates.fingerprint(door.certificate)[:16]}"
            return attempt.succeeded(LoggedIn(found.account, name))

    # --- SCRAM -------------------------------------------------------------------------------------------------------

    async def scram(self, first: scram.First, door: Door) -> ScramLogin:
        key = canonical(first.user)
        async with self._database.read() as session:
            table = Credentials(session)
            found = await table.opening(key)
            apps = await table.apps(found.account.id if found else "")
        # Those that open no door now are held against the proof, too: the log then says what is wrong.
        candidates = {app.about.id: keys for app in apps if (keys := scram.Keys.of(app.scram))}
        exchange = scram.Exchange(first, key, candidates, secrets.token_urlsafe(24))
        return ScramLogin(self, exchange, first.user, door, {app.about.id: app.about for app in apps})

    async def finished(self, login: ScramLogin, message: bytes) -> tuple[LoginResult, bytes]:
        proof = b""

        async def work() -> LoginResult:
            nonlocal proof
            key = canonical(login.user)
            async with self._attempts.one(login.door.remote, key) as attempt:
                proved = login.exchange.finish(message)
                found = await self._opening(key) if proved else None
                if proved is None or found is None or not self._opens(login.apps[proved[0]], found, login.door):
                    return attempt.failed("bad-credentials")
                name, proof = proved
                return attempt.succeeded(logged_in(found.account, login.apps[name]))

        return await self._told(login.user, login.door, work()), proof

    def _opens(self, app: AppPassword, found: Opening, door: Door) -> bool:
        why = app_passwords.why_not(app, protocol=door.protocol, remote=door.remote, now=self._clock.now())
        if why:
            app_passwords.tell_refused(found.account.id, app.id, why, door.remote)
        return not why

    # --- what they share -------------------------------------------------------------------------------------------

    async def _opening(self, key: str) -> Opening | None:
        async with self._database.read() as session:
            return await Credentials(session).opening(key)

    async def _told(self, identity: str, door: Door, work: Awaitable[LoginResult]) -> LoginResult:
        try:
            result = await work
        except TemporaryError as error:
            result = LoginUnavailable()
            _log.warning("login-unavailable", protocol=door.protocol, remote=door.remote, cause=error.code)
        if isinstance(result, LoggedIn) and result.account.state is not State.ACTIVE:
            result = LoginRefused("suspended")
        self._attempts.tell(result, identity, door.protocol, door.remote)
        return result


class ScramLogin:
    """Implements `directory.authentication.ScramExchange`."""

    def __init__(
        self, proving: Proving, exchange: scram.Exchange, user: str, door: Door, apps: Mapping[str, AppPassword]
    ) -> None:
        self._proving = proving
        self.exchange, self.user, self.door, self.apps = exchange, user, door, apps
        self.challenge = exchange.challenge

    async def finish(self, message: bytes) -> tuple[LoginResult, bytes]:
        return await self._proving.finished(self, message)
