"""An alias that leads to another server: real Postfix gets it under our sender, dkimpy finds the seal good, the bounce
finds the first sender; and the counts of two real fronts are one."""

from __future__ import annotations

import smtplib
import socket
from contextlib import ExitStack

import dkim
import dns.resolver
import pytest

from tests.interop.conftest import AUBIN, PARTNER, World
from tests.interop.mail import marked, parsed
from tests.peers.process import wait_until
from tests.peers.suite import Settings, suite

pytestmark = pytest.mark.interop


def received(world: World, user: str, mark: str) -> bytes:
    def found() -> list[bytes]:
        return [raw for raw in world.partner.messages(user) if mark.encode() in raw]

    wait_until(lambda: bool(found()), what=f"mail of {user}")
    return found()[0]


def test_a_forward_arrives_sealed_and_its_bounce_finds_the_first_sender(world: World) -> None:
    world.suite.api("POST", "/aliases", {"address": f"amis@{AUBIN}", "targets": [f"bob@{PARTNER}"]})
    message = marked(f"alice@{PARTNER}", f"amis@{AUBIN}")
    with smtplib.SMTP("127.0.0.1", world.ports["mx"], timeout=30) as client:
        client.sendmail(f"alice@{PARTNER}", [f"amis@{AUBIN}"], message.raw, mail_options=["BODY=8BITMIME"])
    raw = received(world, "bob", message.mark)
    sender = str(parsed(raw)["Return-Path"]).strip("<>")
    assert sender.startswith("SRS0=")
    assert sender.endswith(f"={PARTNER}=alice@{AUBIN}")

    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], world.dns.port

    def key(name: bytes, timeout: int = 5) -> bytes:
        [answer] = resolver.resolve(name.decode(), "TXT")
        return b"".join(answer.strings)

    # What Postfix put on top is not part of what was sealed, and stands above it.
    sealed = raw[raw.index(b"ARC-Seal:") :].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    verdict, sets, reason = dkim.arc_verify(sealed, dnsfunc=key)
    assert (verdict, len(sets)) == (b"pass", 1), reason

    bounce = marked("MAILER-DAEMON@ailleurs.test", sender)
    with smtplib.SMTP("127.0.0.1", world.ports["mx"], timeout=30) as client:
        client.sendmail("", [sender], bounce.raw, mail_options=["BODY=8BITMIME"])
    received(world, "alice", bounce.mark)


def test_h035_two_fronts_count_as_one(world: World) -> None:
    extra = "connections_per_address = 6"
    with suite(Settings(world.dns.endpoint, exempt=[], extra=extra)) as installation, ExitStack() as stack:
        greetings = []
        for _ in range(20):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", installation.ports["mx"]), timeout=30))
            greetings.append(sock.recv(4)[:3])
        assert greetings == [b"220"] * 6 + [b"421"] * 14
