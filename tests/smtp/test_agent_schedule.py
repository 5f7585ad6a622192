"""What a sender asked about time goes on to the next server: DELIVERBY and MT-PRIORITY (RFC 2852, RFC 6710)."""

from __future__ import annotations

import functools
import re
import time

import pytest

from core.envelope import Dsn, Schedule
from delivery.types import ResultKind
from tests.fakes.scripted_smtp import EHLO, Remote
from tests.smtp.agent import deliver, to

BY_EHLO = "250-remote.test\r\n250-PIPELINING\r\n250-DSN\r\n250-MT-PRIORITY\r\n250 DELIVERBY 60"


async def takes_all(remote: Remote, ehlo: str = BY_EHLO) -> None:
    await remote.greet(ehlo)
    for answer in ("250 ok", "250 ok", "354 go"):
        await remote.hear(answer=answer)
    await remote.body()
    await remote.say("250 2.0.0 ok")


async def test_rfc2852_what_is_left_of_a_time_limit_and_the_priority_go_to_who_knows_them() -> None:
    limit = Schedule(deliver_by=time.time() + 500, by_mode="R", by_trace=True, priority=3)
    (result,), heard = await deliver(to(schedule=limit), takes_all)
    assert (result.kind, result.relayed_by) == (ResultKind.DELIVERED, True)
    assert re.fullmatch(r"MAIL FROM:<maire@mairie\.test> BY=(49\d|500);RT MT-PRIORITY=3", heard[1])


@pytest.mark.parametrize("priority", [-9, 0])
async def test_rfc6710_4_2_who_knows_priorities_is_told_of_every_one(priority: int) -> None:
    """0, too: it is what a message has of which nobody said anything (4.1)."""
    (result,), heard = await deliver(to(schedule=Schedule(priority=priority)), takes_all)
    assert result.kind is ResultKind.DELIVERED
    assert heard[1] == f"MAIL FROM:<maire@mairie.test> MT-PRIORITY={priority}"


@pytest.mark.parametrize(
    ("left", "ehlo"),
    [(500, EHLO), (59, BY_EHLO), (59, f"{BY_EHLO},LATER,ON")],
    ids=["no DELIVERBY", "a higher minimum than what is left", "one with what later documents add"],
)
async def test_rfc2852_by_mode_r_is_returned_where_it_cannot_be_kept(left: int, ehlo: str) -> None:
    async def greets(remote: Remote) -> None:
        await remote.greet(ehlo)

    limit = Schedule(deliver_by=time.time() + left, by_mode="R")
    (result,), heard = await deliver(to(schedule=limit), greets)
    assert (result.kind, result.status.enhanced) == (ResultKind.FAILED, "5.4.7")
    assert not any(line.startswith("MAIL") for line in heard)


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (frozenset[str](), " NOTIFY=DELAY,FAILURE"),
        (frozenset({"SUCCESS"}), " NOTIFY=DELAY,SUCCESS"),
        (frozenset({"NEVER"}), " NOTIFY=NEVER"),
    ],
)
async def test_rfc2852_by_mode_n_asks_who_knows_no_limits_to_tell_of_delays(asked: frozenset[str], sent: str) -> None:
    limit = Schedule(deliver_by=time.time() + 500, by_mode="N", priority=3)
    script = functools.partial(takes_all, ehlo=EHLO)
    (result,), heard = await deliver(to(schedule=limit, dsn=[Dsn(asked)]), script)
    assert (result.kind, result.relayed_by) == (ResultKind.DELIVERED, False)
    assert "BY=" not in heard[1]
    assert "MT-PRIORITY" not in heard[1]
    assert heard[2] == f"RCPT TO:<a@remote.test>{sent}"
