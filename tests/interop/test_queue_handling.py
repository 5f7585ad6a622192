"""Hold, release, retry, drop and trace, as an operator does them: on the command line and over REST, seen at the remote
server. The server refuses for now until it is told otherwise, so that there is something to handle."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.interop.mail import Marked, await_mark, body, find, marked, parsed, seven_bit
from tests.interop.ways import HOME, Ways
from tests.peers.process import wait_until
from tests.peers.suite import ApiError

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

WRITER, FAR = f"secretariat@{HOME}", "bob@grey.test"
Act = Callable[[str, str], None]


def by_command(place: Ways, action: str, queue_id: str) -> None:
    done = json.loads(place.suite.run("--json", "queue", action, queue_id))
    assert done["queue_id"] == queue_id


def by_rest(place: Ways, action: str, queue_id: str) -> None:
    method, path = ("DELETE", f"/queue/{queue_id}") if action == "drop" else ("POST", f"/queue/{queue_id}/{action}")
    assert place.suite.api(method, path) is None


@pytest.fixture(params=[by_command, by_rest], ids=["command", "rest"])
def act(request: pytest.FixtureRequest, place: Ways) -> Iterator[Act]:
    way = request.param
    place.policy.script("grey.test", ["450 4.7.1 not now"] * 1000)
    yield lambda action, queue_id: way(place, action, queue_id)
    place.policy.script("grey.test", [])


def submitted(place: Ways) -> tuple[Marked, str]:
    """A message that was refused for now three times: it waits for minutes. And its queue id."""
    message = marked(WRITER, FAR)
    known = {item["queue_id"] for item in place.waiting(FAR)}
    place.submit([FAR], message.raw)
    [queue_id] = {item["queue_id"] for item in place.waiting(FAR)} - known
    wait_until(lambda: tries(place, queue_id) >= 3, what="three attempts")
    wait_until(lambda: state(place, queue_id)["recipients"][0]["state"] == "waiting", what="the third to end")
    return message, queue_id


def state(place: Ways, queue_id: str) -> dict[str, Any]:
    shown = place.suite.api("GET", f"/queue/{queue_id}")
    assert isinstance(shown, dict)
    return shown


def tries(place: Ways, queue_id: str) -> int:
    return sum(item["queue_id"] == queue_id for item in place.attempts(FAR))


def test_what_is_held_is_not_tried_until_it_is_released(place: Ways, act: Act) -> None:
    """Not even when it becomes due."""
    held, queue_id = submitted(place)
    act("hold", queue_id)
    assert state(place, queue_id)["held"] is True
    other, other_id = submitted(place)
    place.policy.script("grey.test", [])
    for each in (queue_id, other_id):
        act("retry", each)
    place.await_received("@grey.test", other)  # the server takes everything, and what is held stays
    assert not place.received("@grey.test", held)
    assert tries(place, queue_id) == 3
    act("release", queue_id)
    assert len(place.await_received("@grey.test", held)) == 1
    place.settled(FAR)


def test_retry_does_not_wait_for_the_next_interval(place: Ways, act: Act) -> None:
    message, queue_id = submitted(place)
    assert state(place, queue_id)["recipients"][0]["last_status"].startswith("450 4.7.1")
    act("retry", queue_id)
    wait_until(lambda: tries(place, queue_id) == 4, what="another attempt")
    place.policy.script("grey.test", [])
    act("retry", queue_id)
    assert len(place.await_received("@grey.test", message)) == 1
    place.settled(FAR)


def test_what_is_dropped_goes_nowhere_and_nobody_is_told(place: Ways, act: Act) -> None:
    message, queue_id = submitted(place)
    act("drop", queue_id)
    with pytest.raises(ApiError) as gone:
        state(place, queue_id)
    assert gone.value.status == 404
    assert place.suite.cli("queue", "show", queue_id).returncode == 1
    place.policy.script("grey.test", [])
    after = marked(WRITER, FAR)
    place.submit([FAR], after.raw)
    place.await_received("@grey.test", after)
    assert not place.received("@grey.test", message)
    assert not find(place, WRITER, message.mark)
    assert [item["event"] for item in traced(place, queue_id)][-1] == "dropped"


def traced(place: Ways, text: str) -> list[dict[str, Any]]:
    found = place.suite.api("GET", f"/trace?text={text}")
    assert isinstance(found, list)
    return found


def test_where_is_my_message_is_answered_by_every_handle_it_has(place: Ways, act: Act) -> None:
    """By Message-ID, by recipient, by queue id; accepted, put off, delivered, in this order, the same on both ways."""
    message, queue_id = submitted(place)
    place.policy.script("grey.test", [])
    act("retry", queue_id)
    place.await_received("@grey.test", message)

    def events(text: str) -> list[str]:
        return [item["event"] for item in traced(place, text) if item["queue_id"] == queue_id]

    wait_until(lambda: events(queue_id)[-1:] == ["delivered"], what="the trace")
    assert events(queue_id)[0] == "accepted"
    assert "deferred" in events(queue_id)
    for handle in (f"%3C{message.mark}%40test%3E", FAR, WRITER):
        assert events(handle) == events(queue_id), handle
    told = json.loads(place.suite.run("--json", "queue", "trace", f"<{message.mark}@test>"))
    assert [item["event"] for item in told] == events(queue_id)
    assert all("4.7.1" in item["status"] for item in told if item["event"] == "deferred")


# --- what a sender wishes of the queue (RFC 4865, RFC 2852, RFC 6710) -------------------------------------------------


def test_what_is_to_be_kept_back_leaves_at_its_time(place: Ways) -> None:
    message = seven_bit(WRITER, "bob@plain.test")
    begun = time.time()
    place.submit(["bob@plain.test"], message.raw, mail=("HOLDFOR=5",))
    accepted = time.time()
    [waiting] = place.waiting("bob@plain.test")
    assert begun + 4 < waiting["recipients"][0]["next_attempt"] < accepted + 6
    [raw] = place.await_received("@plain.test", message)
    assert time.time() >= begun + 5
    assert body(raw) == body(message.raw)


def test_a_time_limit_that_the_next_server_cannot_keep_returns_the_message_at_once(place: Ways) -> None:
    """Postfix offers no DELIVERBY."""
    returned, told = seven_bit(WRITER, "bob@plain.test"), seven_bit(WRITER, "bob@plain.test")
    place.submit(["bob@plain.test"], returned.raw, mail=("BY=600;R",))
    report = await_mark(place, WRITER, returned.mark)
    assert b"Status: 5.4.7" in report
    assert b"Deliver-By-Date:" in report
    place.submit(["bob@plain.test"], told.raw, mail=("BY=600;N",))
    assert b"Action: relayed" in await_mark(place, WRITER, told.mark)
    assert len(place.await_received("@plain.test", told)) == 1
    assert not place.received("@plain.test", returned)


def test_the_priority_that_was_given_stands_in_the_trace(place: Ways) -> None:
    message = seven_bit(WRITER, "bob@plain.test")
    place.submit(["bob@plain.test"], message.raw, mail=("MT-PRIORITY=-3",))
    [raw] = place.await_received("@plain.test", message)
    ours = [field for field in map(str, parsed(raw).get_all("Received", [])) if "by mx.dept.test" in field]
    assert "PRIORITY -3" in " ".join(ours)
