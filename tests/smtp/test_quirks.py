"""What programs and servers do beside the standard, on the wires of SMTP (docs/quirks.md)."""

from __future__ import annotations

from core.envelope import Listener
from tests.fakes.smtp_server import FakeAcceptor, Wire, running, service


async def test_a_blank_behind_the_colon_is_taken_and_missing_brackets_are_not() -> None:
    async with running(service()) as server:
        wire = await Wire.connect(server)
        await wire.ehlo()
        assert (await wire.say("MAIL FROM:a@client.test")).startswith("501")
        assert (await wire.say("MAIL FROM: <a@client.test>")).startswith("250")
        assert (await wire.say("RCPT TO:agent@mairie.test")).startswith("501")
        assert (await wire.say("RCPT TO: <agent@mairie.test>")).startswith("250")


async def test_a_name_that_is_no_host_is_unknown_on_submission_and_refused_on_the_mx() -> None:
    for listener, answer in ((Listener.SUBMISSION, "250"), (Listener.MX, "501")):
        async with running(service(listener)) as server:
            wire = await Wire.connect(server)
            assert (await wire.say("EHLO PC de l'accueil")).startswith(answer)
            assert (await wire.say("EHLO école.test")).startswith(answer)


async def test_an_underscore_in_the_name_of_a_host_is_taken() -> None:
    acceptor = FakeAcceptor()
    async with running(service(acceptor=acceptor)) as server:
        wire = await Wire.connect(server)
        assert (await wire.say("EHLO srv_mail.partner.test")).startswith("250")
        assert (await wire.say("MAIL FROM:<a@client.test>")).startswith("250")
        assert (await wire.say("RCPT TO:<agent@mairie.test>")).startswith("250")
        assert (await wire.say("DATA")).startswith("354")
        assert (await wire.say("Subject: x\r\n\r\nx\r\n.")).startswith("250")
    assert acceptor.receptions[0].transaction.peer.helo == "srv_mail.partner.test"
