"""Who is away and what answers by itself, over the wire: two communes both away, and robots elsewhere that do not say
that they are robots. At most one notice for each sender, and nothing goes round (RFC 3834 2; security.md row 136)."""

from __future__ import annotations

import contextlib
import email.utils
import re
import smtplib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.interop.conftest import PASSWORD
from tests.interop.mail import await_mark, fetch_all, marked, parsed
from tests.peers.process import wait_until
from tests.peers.sink import Capture, Sink, sink
from tests.peers.suite import Settings, Suite, suite

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

MAIRE, MAIRIE, GUICHET = "maire@saint-aubin.test", "mairie@val-fleuri.test", "guichet@saint-aubin.test"
ROUNDS = 4


@dataclass
class Away:
    suite: Suite
    elsewhere: Sink

    @property
    def ports(self) -> dict[str, int]:
        return self.suite.ports

    def submit(self, sender: str, to: str) -> str:
        message = marked(sender, to)
        with smtplib.SMTP_SSL("127.0.0.1", self.ports["submissions"], context=self.suite.tls(), timeout=60) as client:
            client.login(sender, PASSWORD)
            assert not client.sendmail(sender, [to], message.raw, mail_options=("BODY=8BITMIME",))
        await_mark(self, to, message.mark)
        return message.mark

    def hand_over(self, sender: str, to: str, *, envelope: str = "", extra: str = "") -> None:
        message = marked(sender, to, extra=extra)
        with smtplib.SMTP("127.0.0.1", self.ports["mx"], local_hostname="mx.robot.test", timeout=60) as client:
            assert not client.sendmail(envelope or sender, [to], message.raw, mail_options=("BODY=8BITMIME",))
        await_mark(self, to, message.mark)

    def withheld(self) -> list[str]:
        return [str(event["reason"]) for event in self.suite.events("vacation-withheld")]

    def sent(self) -> int:
        return len(self.suite.events("vacation-sent"))

    def settled(self) -> None:
        wait_until(lambda: self.suite.api("GET", "/queue") == [], what="an empty queue")


@pytest.fixture(scope="module")
def away() -> Iterator[Away]:
    with contextlib.ExitStack() as stack:
        elsewhere = stack.enter_context(sink())
        # Nobody answers names here: mail that nothing is known of goes by the rules for that.
        settings = Settings("127.0.0.1:1", workers=1, routes={"robot.test": f"127.0.0.1:{elsewhere.port}"})
        running = stack.enter_context(suite(settings))
        for address in (MAIRE, MAIRIE, GUICHET):
            domain = address.partition("@")[2]
            if address != GUICHET:
                running.api("POST", "/organisations", {"name": domain})
                running.api("POST", "/domains", {"name": domain, "organisation": domain})
            running.api("POST", "/mailboxes", {"address": address, "password": PASSWORD, "quota": 1 << 30})
            dates = {"starts": "2020-01-01T00:00:00Z", "ends": "2090-01-01T00:00:00Z"}
            running.api("PUT", f"/mailboxes/{address}/vacation", {"text": f"Absence de {address}", **dates})
        yield Away(running, elsewhere)


def notices(place: Away, user: str) -> list[bytes]:
    return [raw for raw in fetch_all(place, user).values() if b"\r\nAuto-Submitted: auto-replied\r\n" in raw]


def test_two_who_are_away_tell_each_other_once(away: Away) -> None:
    """A notice is answered by nobody; it stands in the mailbox of who is away himself."""
    before, withheld = away.sent(), len(away.withheld())
    for number in range(1, ROUNDS + 1):
        away.submit(MAIRE, MAIRIE)
        wait_until(lambda: len(notices(away, MAIRE)) == 1, what="the notice")
        away.submit(MAIRIE, MAIRE)
        wait_until(lambda: len(notices(away, MAIRIE)) == 1, what="the other's notice")
        wait_until(
            lambda number=number: len(away.withheld()) == withheld + 2 * (number - 1),  # type: ignore[misc]  # bound here
            what="the messages after the first to be passed over",
        )
    away.settled()
    assert away.sent() == before + 2
    for user, other in ((MAIRE, MAIRIE), (MAIRIE, MAIRE)):
        [notice] = notices(away, user)
        assert (parsed(notice)["From"], parsed(notice)["Return-Path"]) == (other, "<>")
        assert len(fetch_all(away, user)) == ROUNDS + 1


def answer(place: Away, notice: Capture, name: str, envelope: str, *, says_what_it_answers: bool) -> None:
    """As a robot does that looks at From and neither at the null sender nor at Auto-Submitted."""
    found = re.search(rb"(?mi)^Message-ID: (<[^>]+>)", notice.raw)
    assert found is not None
    extra = f"In-Reply-To: {found[1].decode()}\r\n" if says_what_it_answers else ""
    to = email.utils.parseaddr(str(parsed(notice.raw)["From"]))[1]
    place.hand_over(f"{name}@robot.test", to, envelope=f"{envelope}@robot.test", extra=extra)


@pytest.mark.parametrize(
    ("names", "says_what_it_answers"),
    [
        (("accueil{}", "accueil{}"), True),  # a new address for each answer, both ways, and it says what it answers
        (("support+{}", "support+{}"), False),
        (("service", "retour-{}"), False),
        (("bureau", "bureau"), False),
    ],
    ids=["refers", "detail", "envelope", "same"],
)
def test_a_robot_that_answers_everything_is_told_once(
    away: Away, names: tuple[str, str], *, says_what_it_answers: bool
) -> None:
    """One with a new address for each answer had a notice for each: they answered each other for ever."""
    before, captures = away.sent(), len(away.elsewhere.captures)
    away.hand_over(f"{names[0].format(0)}@robot.test", GUICHET, envelope=f"{names[1].format(0)}@robot.test")
    wait_until(lambda: len(away.elsewhere.captures) == captures + 1, what="the notice")
    notice = away.elsewhere.captures[-1]
    assert (notice.sender, notice.recipients) == ("", (f"{names[1].format(0)}@robot.test",))
    for number in range(1, ROUNDS):
        withheld = len(away.withheld())
        answer(
            away, notice, names[0].format(number), names[1].format(number), says_what_it_answers=says_what_it_answers
        )
        wait_until(
            lambda withheld=withheld: len(away.withheld()) == withheld + 1,  # type: ignore[misc]  # bound here
            what="its answer to be passed over",
        )
    away.settled()
    assert away.sent() == before + 1
    assert len(away.elsewhere.captures) == captures + 1
