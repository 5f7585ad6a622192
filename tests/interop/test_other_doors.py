"""The ways in that the other files do not take: behind a balancer that speaks the PROXY protocol, and over LMTP; with
swaks and with a real Postfix, at the program's own doors."""

from __future__ import annotations

import contextlib
import smtplib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.interop.mail import await_mark, body, find, marked, parsed
from tests.interop.sender import HOME, PASSWORD
from tests.peers.postfix import Postfix, postfix
from tests.peers.process import program, wait_until
from tests.peers.suite import Settings, Suite, suite

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

BALANCER = "127.0.0.9"
CLIENT = "192.0.2.77"
ALICE, MAIRE, SECRETARIAT = "alice@partner.test", f"maire@{HOME}", f"secretariat@{HOME}"


@dataclass
class Doors:
    suite: Suite
    postfix: Postfix

    @property
    def ports(self) -> dict[str, int]:
        return self.suite.ports

    def swaks(self, door: str, raw: bytes, *arguments: str, to: str = MAIRE) -> subprocess.CompletedProcess[str]:
        command = [program("swaks", "swaks"), "--server", "127.0.0.1", "--port", str(self.ports[door]),
                   "--timeout", "20", "--to", to, "--data", raw.decode().replace("\r\n", "\n")]  # fmt: skip
        return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        # Nobody answers names here: mail that nothing is known of goes by the rules for that.
        settings = Settings("127.0.0.1:1", workers=1, listen=f'proxy_from = ["{BALANCER}"]')
        running = enter(suite(settings))
        running.api("POST", "/organisations", {"name": "Commune"})
        running.api("POST", "/domains", {"name": HOME, "organisation": "Commune"})
        for address in (MAIRE, SECRETARIAT):
            running.api("POST", "/mailboxes", {"address": address, "password": PASSWORD, "quota": 1 << 30})
        hop = f"lmtp:127.0.0.1:{running.ports['lmtp']}"
        yield Doors(running, enter(postfix("partner.test", ["alice"], {HOME: hop})))


def proxied(version: str) -> tuple[str, ...]:
    family = "TCP4" if version == "1" else "AF_INET"
    return (
        "--local-interface", BALANCER, "--proxy-version", version, "--proxy-family", family, "--proxy-source", CLIENT,
        "--proxy-source-port", "4321", "--proxy-dest", "127.0.0.1", "--proxy-dest-port", "25",
    )  # fmt: skip


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_balancer_names_its_client_at_the_mx_and_at_submission(doors: Doors, version: str) -> None:
    message = marked(SECRETARIAT, MAIRE)
    login = ("--tls", "--auth", "PLAIN", "--auth-user", SECRETARIAT, "--auth-password", PASSWORD)
    done = doors.swaks("submission", message.raw, "--from", SECRETARIAT, *login, *proxied(version))
    assert done.returncode == 0, done.stdout
    await_mark(doors, MAIRE, message.mark)
    strange = marked(ALICE, MAIRE)
    done = doors.swaks("mx", strange.raw, "--from", ALICE, "--quit-after", "RCPT", *proxied(version))
    assert done.returncode == 0, done.stdout

    def told() -> bool:
        seen = [(event["listener"], event["peer"]) for event in doors.suite.events("smtp-connection")]
        return seen[-2:] == [("submission", CLIENT), ("mx", CLIENT)]

    wait_until(told, what="the log to name the client")


def test_who_is_no_balancer_and_speaks_as_one_is_cut(doors: Doors) -> None:
    message = marked(ALICE, MAIRE)
    forged = tuple(item if item != BALANCER else "127.0.0.10" for item in proxied("1"))
    done = doors.swaks("mx", message.raw, "--from", ALICE, *forged)
    assert done.returncode != 0
    assert CLIENT not in {event.get("peer") for event in doors.suite.events("smtp-connection")[-1:]}
    assert not find(doors, MAIRE, message.mark)


def test_swaks_delivers_over_lmtp_and_hears_of_each_recipient(doors: Doors) -> None:
    message = marked(ALICE, MAIRE)
    both = f"{MAIRE},{SECRETARIAT}"
    done = doors.swaks("lmtp", message.raw, "--protocol", "LMTP", "--from", ALICE, to=both)
    assert done.returncode == 0, done.stdout
    assert done.stdout.split("<-  354")[1].count("<-  250 2.") == 2, done.stdout
    for user in (MAIRE, SECRETARIAT):
        assert body(await_mark(doors, user, message.mark)) == body(message.raw) + b"\r\n"  # swaks ends it with a line


def test_postfix_delivers_over_lmtp_and_returns_what_nobody_takes(doors: Doors) -> None:
    message = marked(ALICE, MAIRE)
    with smtplib.SMTP("127.0.0.1", doors.postfix.port, timeout=60) as client:
        client.ehlo()
        assert not client.sendmail(ALICE, [MAIRE, f"personne@{HOME}"], message.raw)
    raw = await_mark(doors, MAIRE, message.mark)
    assert body(raw) == body(message.raw)
    assert "with LMTP" in str(parsed(raw).get_all("Received", [])[0])
    wait_until(lambda: doors.postfix.messages("alice"), what="the notice of the other")
    [notice] = doors.postfix.messages("alice")
    assert b"550 5.1.1" in notice
    assert f"personne@{HOME}".encode() in notice
    assert len(find(doors, MAIRE, message.mark)) == 1
    assert not doors.suite.tracebacks()
