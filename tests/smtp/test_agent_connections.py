"""Connections that are kept for the next message, and those that are gone by then (RFC 2920 3.1, RFC 9422)."""

from __future__ import annotations

import pytest

from delivery.types import ResultKind
from smtp.outbound.connection import PATIENCE
from smtp.outbound.dialogue import Stage
from tests.fakes.scripted_smtp import EHLO, Remote, Script, job, scripted
from tests.smtp.agent import agent, good, to


async def serve_one(remote: Remote, *, reset: bool = False) -> None:
    for answer in (*(("250 ok",) if reset else ()), "250 ok", "250 ok", "354 go"):
        await remote.hear(answer=answer)
    await remote.body()
    await remote.say("250 done")


@pytest.mark.parametrize("ehlo", [EHLO, "250 remote.test"])
async def test_connections_are_used_again_after_rset(ehlo: str) -> None:
    async def script(remote: Remote) -> None:
        await remote.greet(ehlo)
        await serve_one(remote)
        await serve_one(remote, reset=True)
        await remote.hear(answer="221 bye")

    async with scripted(script) as remote, agent(idle=5.0) as made:
        for _ in range(2):
            (result,) = await made.deliver(job(f"127.0.0.1:{remote.port}"))
            assert result.kind is ResultKind.DELIVERED
    assert remote.connections == 1
    assert [line.split(" ")[0] for line in remote.heard] == [
        *("EHLO", "MAIL", "RCPT", "DATA", "RSET", "MAIL", "RCPT", "DATA", "QUIT"),
    ]


async def test_a_kept_connection_costs_no_round_trip_of_its_own() -> None:
    """RFC 2920 3.1: RSET goes with the next MAIL, RCPT and DATA."""

    async def script(remote: Remote) -> None:
        await remote.greet()
        await serve_one(remote)
        together = await remote.reader.readuntil(b"DATA\r\n")
        assert [line.split(b" ")[0] for line in together.splitlines()] == [b"RSET", b"MAIL", b"RCPT", b"DATA"]
        for answer in ("250 ok", "250 ok", "250 ok", "354 go"):
            await remote.say(answer)
        await remote.body()
        await remote.say("250 done")
        await remote.hear(answer="221 bye")

    async with scripted(script) as remote, agent(idle=5.0) as made:
        for _ in range(2):
            (result,) = await made.deliver(job(f"127.0.0.1:{remote.port}"))
            assert result.kind is ResultKind.DELIVERED


async def closes(_remote: Remote) -> None:
    """At once."""


async def was_bored(remote: Remote) -> None:
    await remote.say("421 4.4.2 timeout")


async def is_silent(remote: Remote) -> None:
    await remote.reader.read()


async def refuses_to_forget(remote: Remote) -> None:
    for answer in ("502 5.5.1 what", "503 5.5.1 nested MAIL", "250 ok", "354 go"):
        await remote.hear(answer=answer)
    assert b"\r\n.\r\n" not in await remote.reader.read()


@pytest.mark.parametrize("end", [closes, was_bored, is_silent, refuses_to_forget])
@pytest.mark.parametrize("ehlo", [EHLO, "250 remote.test"])
async def test_a_kept_connection_that_is_gone_is_replaced(end: Script, ehlo: str) -> None:
    async def first(remote: Remote) -> None:
        await remote.greet(ehlo)
        await serve_one(remote)
        await end(remote)

    patience = {**PATIENCE, Stage.RESET: 0.3}
    async with scripted(first, good) as remote, agent(idle=5.0, patience=patience) as made:
        for _ in range(2):
            (result,) = await made.deliver(job(f"127.0.0.1:{remote.port}"))
            assert result.kind is ResultKind.DELIVERED
    assert remote.connections == 2


async def test_a_new_connection_that_breaks_is_not_tried_for_ever() -> None:
    async def first(remote: Remote) -> None:
        await remote.greet()
        await serve_one(remote)

    async def breaks(remote: Remote) -> None:
        await remote.greet()
        await remote.hear()

    async with scripted(first, breaks) as remote, agent(idle=5.0) as made:
        (result,) = await made.deliver(job(f"127.0.0.1:{remote.port}"))
        assert result.kind is ResultKind.DELIVERED
        (result,) = await made.deliver(job(f"127.0.0.1:{remote.port}"))
        assert (result.kind, result.status.reason) == (ResultKind.DEFERRED, "connection-lost")
    assert remote.connections == 2


async def test_the_next_part_of_a_job_does_not_meet_the_mail_of_one_whose_recipients_were_all_refused() -> None:
    """A strict server still has that MAIL, and calls the next one nested."""

    async def strict(remote: Remote) -> None:
        await remote.greet("250-remote.test\r\n250 LIMITS RCPTMAX=1")
        open_ = False
        while (line := await remote.hear()) and line != "QUIT":
            verb = line[:4]
            if verb == "RCPT":
                await remote.say("550 5.1.1 unknown" if "a@" in line else "250 ok")
            elif verb == "DATA":
                await remote.say("354 go")
                await remote.body()
                await remote.say("250 done")
            else:
                await remote.say("503 5.5.1 nested MAIL" if verb == "MAIL" and open_ else "250 ok")
            open_ = verb in ("MAIL", "RCPT")
        await remote.say("221 bye")

    async with scripted(strict) as remote, agent(idle=5.0) as made:
        results = await made.deliver(to("a@r.test", "b@r.test")(remote.port))
    assert [result.kind for result in results] == [ResultKind.FAILED, ResultKind.DELIVERED]


async def test_rfc9422_no_more_recipients_and_messages_than_a_server_wants() -> None:
    """Five recipients, two a message, three messages a connection: the rest of them begin a new one."""

    async def limited(remote: Remote) -> None:
        await remote.greet("250-remote.test\r\n250 LIMITS RCPTMAX=2 MAILMAX=3")
        await take_all(remote)

    people = [f"{name}@r.test" for name in "abcde"]
    async with scripted(limited) as remote, agent(idle=5.0) as made:
        for _ in range(2):
            results = await made.deliver(to(*people)(remote.port))
            assert {result.kind for result in results} == {ResultKind.DELIVERED}
        assert remote.connections == 2
    groups = "".join(line[0] for line in remote.heard if line.startswith(("EHLO", "MAIL", "RCPT"))).split("E")[1:]
    assert groups == ["MRRMRRMR", "MRRMRRMR"]


async def take_all(remote: Remote) -> None:
    """Everything is taken, until QUIT."""
    while (line := await remote.hear()) and line != "QUIT":
        await remote.say("354 go" if line == "DATA" else "250 ok")
        if line == "DATA":
            await remote.body()
            await remote.say("250 done")
    await remote.say("221 bye")


@pytest.mark.parametrize(
    ("limits", "expected"),
    [("RCPTMAX=2 MAILMAX=2", ["MRRMRR", "MRRMR"]), ("RCPTMAX=1 MAILMAX=1", ["MR"] * 7)],
)
async def test_rfc9422_one_job_begins_no_more_messages_on_a_connection_than_a_server_wants(
    limits: str, expected: list[str]
) -> None:
    """Seven recipients, two a message, two messages a connection; and a server that takes one of each."""

    async def limited(remote: Remote) -> None:
        await remote.greet(f"250-remote.test\r\n250 LIMITS {limits}")
        await take_all(remote)

    async with scripted(limited) as remote, agent(idle=5.0) as made:
        results = await made.deliver(to(*(f"{name}@r.test" for name in "abcdefg"))(remote.port))
        assert {result.kind for result in results} == {ResultKind.DELIVERED}
    heard = "".join(line[0] for line in remote.heard if line.startswith(("EHLO", "MAIL", "RCPT")))
    assert heard.split("E")[1:] == expected


async def test_rfc9422_whom_a_lost_second_connection_was_for_is_tried_again() -> None:
    calls: list[Remote] = []

    async def once(remote: Remote) -> None:
        calls.append(remote)
        if len(calls) > 1:
            return
        await remote.greet("250-remote.test\r\n250 LIMITS RCPTMAX=1 MAILMAX=1")
        await take_all(remote)

    async with scripted(once) as remote, agent(idle=5.0) as made:
        results = await made.deliver(to("a@r.test", "b@r.test", "c@r.test")(remote.port))
        assert [result.kind for result in results] == [ResultKind.DELIVERED, *[ResultKind.DEFERRED] * 2]
        assert len(calls) == 2


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ("RCPTMAX=2", ["MRRMR"]),
        ("rcptmax=2 MAILMAX=none NEW", ["MRRMR"]),  # a limit with a wrong value is no limit
        ("RCPTMAX=02", ["MRRR"]),
        ("RCPTMAX=0", ["MRRR"]),
        ("RCPTMAX=1000000", ["MRRR"]),
        ("RCPTMAX", ["MRRR"]),
        ("RCPTMAX=2 what?=1", ["MRRR"]),  # a list that is none has no limits
        ("RCPTMAX=2 X=a;b", ["MRRR"]),
    ],
)
async def test_rfc9422_3_7_limits_that_cannot_be_read(limits: str, expected: list[str]) -> None:
    async def limited(remote: Remote) -> None:
        await remote.greet(f"250-remote.test\r\n250 LIMITS {limits}")
        await take_all(remote)

    async with scripted(limited) as remote, agent(idle=5.0) as made:
        await made.deliver(to("a@r.test", "b@r.test", "c@r.test")(remote.port))
    heard = "".join(line[0] for line in remote.heard if line.startswith(("EHLO", "MAIL", "RCPT")))
    assert heard.split("E")[1:] == expected


async def domains_asked(most: int, *jobs: tuple[str, ...]) -> list[list[str]]:
    """For each connection the domains of its recipients, in their order."""

    async def limited(remote: Remote) -> None:
        await remote.greet(f"250-remote.test\r\n250 LIMITS RCPTDOMAINMAX={most}")
        await take_all(remote)

    async with scripted(limited) as remote, agent(idle=5.0) as made:
        for people in jobs:
            results = await made.deliver(to(*people)(remote.port))
            assert [result.kind for result in results] == [ResultKind.DELIVERED] * len(people)
    sessions: list[list[str]] = []
    for line in remote.heard:
        if line.startswith("EHLO"):
            sessions.append([])
        elif line.startswith("RCPT"):
            sessions[-1].append(line.partition("@")[2].partition(".")[0])
    return sessions


async def test_rfc9422_4_3_a_session_has_no_more_domains_than_a_server_wants() -> None:
    """A route leads several domains to one server, and a kept connection serves one message after another."""
    assert await domains_asked(2, ("a@one.test", "a@two.test", "a@three.test", "b@one.test")) == [
        ["one", "two", "one"],
        ["three"],
    ]
    jobs = (("a@one.test",), ("b@one.test",), ("a@two.test",))
    assert await domains_asked(1, *jobs) == [["one", "one"], ["two"]]
    assert len(await domains_asked(1, *jobs, ("c@one.test",))) == 2  # one of those that were kept fits
