"""From a claim to a login: the I/O between two steps of `directory.sasl`, the same for SMTP and IMAP.

Refuses to know bytes of either protocol. `Logins` is what it asks of the directory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from core.log import Secret
from directory import sasl, scram
from directory.types import LoggedIn, LoginRefused, LoginResult


@dataclass(frozen=True, slots=True)
class Door:
    """Where somebody knocks: `protocol` "imap" or "smtp", the peer's address, the verified certificate (DER) of the
    TLS connection, b"" without."""

    protocol: str
    remote: str
    certificate: bytes = field(default=b"", repr=False)


class ScramExchange(Protocol):
    """One SCRAM exchange under way."""

    challenge: bytes

    async def finish(self, message: bytes) -> tuple[LoginResult, bytes]:
        """The result, and our own proof when it is a login."""


class Logins(Protocol):
    """All that opens an account. None of these raises but `TemporaryError`; each counts in the same throttle."""

    def mechanisms(self, *, certificate: bool) -> tuple[str, ...]:
        """What is offered; `certificate`: the connection has a verified one."""

    async def login(self, identity: str, secret: Secret, *, protocol: str, remote: str) -> LoginResult: ...

    async def login_token(self, identity: str, token: Secret, door: Door) -> LoginResult: ...

    async def login_certificate(self, authorization: str, door: Door) -> LoginResult: ...

    async def scram(self, first: scram.First, door: Door) -> ScramExchange: ...


Outcome = sasl.Challenge | sasl.Failed | LoginResult


class Authentication:
    """One exchange. `step` is what `directory.sasl` made of the client's last words."""

    def __init__(self, logins: Logins, door: Door) -> None:
        self._logins, self._door = logins, door
        self._scram: ScramExchange | None = None

    def start(self, mechanism: str, initial: bytes | None) -> sasl.Step:
        """Refuses what is not offered here."""
        offered = self._logins.mechanisms(certificate=bool(self._door.certificate))
        if mechanism.upper() not in offered:
            return sasl.Failed("unsupported-mechanism")
        return sasl.start(mechanism, initial)

    async def settle(self, step: sasl.Step) -> Outcome:
        """Until the client must speak again, or the login is decided. Raises `TemporaryError`."""
        door = self._door
        match step:
            case sasl.Challenge() | sasl.Failed():
                return step
            case sasl.Decided(result):
                return result
            case sasl.Credentials(identity, secret):
                return await self._logins.login(identity, secret, protocol=door.protocol, remote=door.remote)
            case sasl.External(authorization):
                return await self._logins.login_certificate(authorization, door)
            case sasl.Bearer(identity, token, refusal):
                result = await self._logins.login_token(identity, token, door)
                # RFC 7628 3.2.3: the error is told as a challenge, which the client answers before the exchange fails.
                over = sasl.Decided(result)
                return sasl.challenge(refusal, lambda _: over) if isinstance(result, LoginRefused) else result
            case sasl.ScramFirst(first):
                self._scram = await self._logins.scram(first, door)
                return sasl.challenge(self._scram.challenge, sasl.ScramFinal)
            case sasl.ScramFinal(message):
                return await self._proved(message)

    async def _proved(self, message: bytes) -> Outcome:
        if self._scram is None:
            return sasl.Failed("malformed")
        result, proof = await self._scram.finish(message)
        # Neither protocol sends data with success, so our proof is a challenge of its own (RFC 4422 5.1).
        over = sasl.Decided(result)
        return sasl.challenge(proof, lambda _: over) if isinstance(result, LoggedIn) else result
