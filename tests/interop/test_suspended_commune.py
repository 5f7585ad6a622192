"""A commune is suspended and resumed, as the département does it: on the command line and over REST, seen by its
people, by its administrators and by those who write to it."""

from __future__ import annotations

import contextlib
import imaplib
import json
import smtplib
from collections.abc import Callable, Iterator

import pytest

from tests.interop.mail import await_mark, imap, marked
from tests.interop.ways import ALICE, HOME, PASSWORD, Ways
from tests.peers.process import wait_until
from tests.peers.suite import ApiError

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

WRITER, FAR = f"secretariat@{HOME}", "bob@grey.test"


def by_command(place: Ways, state: str) -> None:
    action = "suspend" if state == "suspended" else "resume"
    done = json.loads(place.suite.run("--json", "organisation", action, "Commune"))
    assert (done["name"], done["state"]) == ("Commune", state)


def by_rest(place: Ways, state: str) -> None:
    done = place.suite.api("PATCH", "/organisations/Commune", {"state": state})
    assert isinstance(done, dict)
    assert done["state"] == state


@pytest.fixture(params=[by_command, by_rest], ids=["command", "rest"])
def become(request: pytest.FixtureRequest, place: Ways) -> Iterator[Callable[[str], None]]:
    way = request.param
    place.policy.script("grey.test", ["450 4.7.1 not now"] * 1000)
    yield lambda state: way(place, state)
    place.policy.script("grey.test", [])
    place.suite.api("PATCH", "/organisations/Commune", {"state": "active"})


def held_by(place: Ways) -> list[list[str]]:
    return [item["held_by"] for item in place.waiting(FAR)]


def logs_in(place: Ways) -> bool:
    client = imaplib.IMAP4_SSL("127.0.0.1", place.ports["imaps"], ssl_context=place.suite.tls(), timeout=30)
    try:
        client.authenticate("PLAIN", lambda _: f"\0{WRITER}\0{PASSWORD}".encode())
    except client.error:
        return False
    finally:
        client.shutdown()
    return True


def handed_over(place: Ways) -> int:
    """Messages for the suspended that Postfix got rid of; its queue may hold what other tests left there."""
    return sum(f"to=<{WRITER}>" in line and "status=sent" in line for line in place.postfix.log().splitlines())


def test_a_suspended_commune_receives_and_neither_sends_nor_logs_in_until_it_is_resumed(
    place: Ways, become: Callable[[str], None]
) -> None:
    clerk = {"name": f"clerk {id(become)}", "role": "organisation", "organisation": "Commune"}
    made = place.suite.api("POST", "/administrators", clerk)
    assert isinstance(made, dict)
    token = made["token"]
    queued, incoming = marked(WRITER, FAR), marked(ALICE, WRITER)
    place.submit([FAR], queued.raw)
    wait_until(lambda: place.attempts(FAR), what="the first attempt")
    session = imap(place, WRITER)
    become("suspended")
    assert held_by(place) == [["suspension"]]
    with pytest.raises(smtplib.SMTPAuthenticationError):
        place.submit([FAR], queued.raw)
    assert not logs_in(place)
    with pytest.raises(ApiError) as refused:
        place.suite.api("GET", "/mailboxes", token=token)
    assert refused.value.status == 401

    def ended() -> bool:
        with contextlib.suppress(session.abort, OSError):
            return session.noop()[0] != "OK"
        return True

    wait_until(ended, what="the open session to end")
    session.shutdown()
    place.policy.script("grey.test", [])
    before = handed_over(place)
    place.hand_over([WRITER], incoming.raw)  # nothing that others write is lost
    wait_until(lambda: handed_over(place) > before, what="Postfix to have handed it over")
    assert not place.received("@grey.test", queued)
    become("active")
    place.retried(FAR)
    assert len(place.await_received("@grey.test", queued)) == 1
    assert logs_in(place)
    assert await_mark(place, WRITER, incoming.mark)
    place.settled(FAR)
    assert PASSWORD not in place.suite.log()
