"""A real directory with one account and every way to log in to it: what the wires of IMAP and SMTP are tried with."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import trustme
from scramp import ScramClient

from core.address import parse
from core.clock import SystemClock
from core.config import Limits
from core.ids import RandomIds
from core.log import Secret
from core.tls import ServerTls
from directory.proving import Means
from directory.service import SqlDirectory
from directory.tokens import TokenFacts
from directory.types import Actor, Scope
from migrations import runner

USER = "anne@brou.test"
OWN = "trois petits chats gris"
TOKEN = "vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
MECHANISMS = ("PLAIN", "LOGIN", "SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2")


class OneToken:
    async def check(self, token: Secret) -> TokenFacts | None:
        return TokenFacts(USER, None) if token.reveal() == TOKEN else None

    async def close(self) -> None:
        pass


@dataclass
class Ways:
    """`tls`: a server that knows who signs client certificates. `clear`: an app password for mail programs."""

    directory: SqlDirectory
    tls: ServerTls
    authority: trustme.CA
    clear: str

    def client(self, *names: str) -> ssl.SSLContext:
        """A client's context, with a certificate for `names` if there are any."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if names:
            self.authority.issue_cert(*names).configure_cert(context)
        return context


@functools.cache
def _authority() -> tuple[trustme.CA, trustme.LeafCert]:
    authority = trustme.CA()
    return authority, authority.issue_cert("127.0.0.1")


@contextlib.asynccontextmanager
async def ways_in(path: Path) -> AsyncIterator[Ways]:
    url = f"sqlite:///{path}/directory.db"
    await asyncio.to_thread(runner.upgrade, url)
    authority, issued = _authority()
    chain, key, roots = path / "chain.pem", path / "key.pem", path / "roots.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(roots))
    clock = SystemClock()
    directory = await SqlDirectory.open(
        url, clock=clock, ids=RandomIds(clock), limits=Limits(exempt=["127.0.0.0/8"]), means=Means(True, OneToken(), {})
    )
    try:
        console = Actor.console()
        organisation = await directory.add_organisation(console, "Brou")
        await directory.add_domain(console, "brou.test", organisation.id)
        await directory.add_account(console, parse(USER), password=Secret(OWN))
        _, clear = await directory.add_app_password(console, parse(USER), "Téléphone", Scope.MAIL)
        yield Ways(directory, ServerTls(chain, key, roots), authority, clear.reveal())
    finally:
        await directory.close()


class Sasl:
    """The client's side: `answer(challenge)` gives the next words; the first challenge is None."""

    def __init__(self, mechanism: str, password: str, token: str = TOKEN) -> None:
        self.mechanism = mechanism
        self._password, self._token = password, token
        self._scram = ScramClient(["SCRAM-SHA-256"], USER, password) if mechanism.startswith("SCRAM") else None
        self._step = 0

    def answer(self, challenge: bytes | None) -> bytes:
        self._step += 1
        if self._scram is not None:
            return self._scram_answer(challenge or b"")
        words = {
            "PLAIN": [f"\0{USER}\0{self._password}"],
            "LOGIN": [USER, self._password],
            "OAUTHBEARER": [f"n,a={USER},\x01host=h\x01port=143\x01auth=Bearer {self._token}\x01\x01", "\x01"],
            "XOAUTH2": [f"user={USER}\x01auth=Bearer {self._token}\x01\x01", ""],
            "EXTERNAL": [""],
        }[self.mechanism]
        return words[self._step - 1].encode()

    def _scram_answer(self, challenge: bytes) -> bytes:
        assert self._scram is not None
        if self._step == 1:
            return str(self._scram.get_client_first()).encode()
        if self._step == 2:
            self._scram.set_server_first(challenge.decode())
            return str(self._scram.get_client_final()).encode()
        self._scram.set_server_final(challenge.decode())  # raises unless the server proved itself
        return b""

    def line(self, challenge: bytes | None) -> bytes:
        """The same in base64, from and to."""
        return base64.b64encode(self.answer(base64.b64decode(challenge) if challenge is not None else None))
