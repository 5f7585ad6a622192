"""Devices whose owner listed them: bare line ends are mended for them, for nobody else, and on submission only."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace

import pytest

from core.config import Auth
from core.envelope import Listener
from core.log import Secret
from directory.types import LoggedIn, LoginResult
from tests.fakes.smtp_server import PASSWORD, FakeAcceptor, FakeLogins, Wire, running, service

COPIER = b"A: b\n\ntext\nMAIL FROM:<x@y.fr>\n.\nmore\r\n.\r\n"


@dataclass
class Devices(FakeLogins):
    """Everybody is the copier, or nobody is."""

    listed: bool = True

    async def login(self, identity: str, secret: Secret, *, protocol: str, remote: str) -> LoginResult:
        answer = await super().login(identity, secret, protocol=protocol, remote=remote)
        return replace(answer, bare_lines=self.listed) if isinstance(answer, LoggedIn) else answer


@pytest.mark.parametrize("listed", [True, False])
async def test_h007_a_listed_copier_is_mended_and_an_unlisted_one_refused(listed: bool) -> None:
    acceptor, logins = FakeAcceptor(), Devices(listed=listed)
    what = service(Listener.SUBMISSION, acceptor=acceptor, logins=logins, auth=Auth(plaintext_on_loopback=True))
    secret = base64.b64encode(f"\0copieur@mairie.test\0{PASSWORD}".encode()).decode()
    async with running(what) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        assert (await wire.say(f"AUTH PLAIN {secret}")).startswith("235")
        await wire.say("MAIL FROM:<copieur@mairie.test>")
        await wire.say("RCPT TO:<agent@mairie.test>")
        assert (await wire.say("DATA")).startswith("354")
        answer = await wire.say(COPIER)
        assert (await wire.say("NOOP")).startswith("250")  # one message, one answer
        assert (await wire.say(b"NOOP\n")).startswith("500 5.5.2")  # commands are as strict as for anybody
    if listed:
        assert answer.startswith("250")
        assert acceptor.messages == [b"A: b\r\n\r\ntext\r\nMAIL FROM:<x@y.fr>\r\n.\r\nmore\r\n"]
    else:
        assert answer.startswith("550 5.5.2")
        assert not acceptor.messages
