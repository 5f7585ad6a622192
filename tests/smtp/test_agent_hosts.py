"""The delivery agent among the hosts of a domain: whom it asks next, and whom not (security.md rows 140, f146)."""

from __future__ import annotations

import pytest

from delivery.types import ResultKind
from smtp.outbound.connection import PATIENCE
from smtp.outbound.dialogue import Stage
from tests.fakes.resolver import FakeResolver
from tests.fakes.scripted_smtp import Remote, Script, job, scripted
from tests.smtp.agent import after_the_dot, agent, by_mx, cut_at_mail, good, never_354, says, stall, two_hosts


@pytest.mark.parametrize("first", [says("421 busy"), says("554 no"), stall, cut_at_mail, never_354])
async def test_the_next_host_is_tried(first: Script) -> None:
    patience = {**PATIENCE, Stage.GREETING: 0.3, Stage.DATA: 0.3}
    result, connections = await by_mx(first, good, patience=patience)
    assert result.kind is ResultKind.DELIVERED
    assert result.remote == "two.r.test"
    assert connections == 2


async def later(remote: Remote) -> None:
    await remote.greet()
    for answer in ("250 ok", "450 4.7.1 greylisted", "503 none"):
        await remote.hear(answer=answer)


async def less_able(remote: Remote) -> None:
    await remote.greet(ehlo="250-remote.test\r\n250 SIZE 10")
    await remote.hear()


async def cut_without_a_word(remote: Remote) -> None:
    await remote.greet()
    await remote.hear()


@pytest.mark.parametrize("second", [says("421 busy"), cut_without_a_word, less_able])
async def test_a_backup_host_does_not_hide_what_the_first_one_said(second: Script) -> None:
    """A greylisting host beside a dead one looked like a domain that is away: all its mail was put off; beside one that
    takes less, the message came back at once."""
    result, connections = await by_mx(later, second)
    assert (result.kind, result.status.enhanced, connections) == (ResultKind.DEFERRED, "4.7.1", 2)
    assert result.remote == "one.r.test"


async def test_what_one_host_cannot_take_another_may() -> None:
    result, connections = await by_mx(less_able, good)
    assert (result.kind, connections) == (ResultKind.DELIVERED, 2)
    result, _ = await by_mx(less_able, says("421 busy"))
    assert result.kind is ResultKind.DEFERRED
    result, _ = await by_mx(less_able, less_able)
    assert (result.kind, result.status.enhanced) == (ResultKind.FAILED, "5.3.4")


async def test_a_refusal_for_good_is_not_taken_elsewhere() -> None:
    async def script(remote: Remote) -> None:
        await remote.greet()
        for answer in ("250 ok", "550 5.1.1 unknown", "503 none"):
            await remote.hear(answer=answer)

    result, connections = await by_mx(script, good)
    assert (result.kind, connections) == (ResultKind.FAILED, 1)


async def test_f146_a_lost_answer_after_the_dot_is_not_sent_twice_at_once() -> None:
    result, connections = await by_mx(after_the_dot, good)
    assert (result.kind, connections) == (ResultKind.DEFERRED, 1)


@pytest.mark.parametrize(
    ("zone", "status"),
    [
        ({"r.test": {"MX": [(0, "")]}}, "5.1.10"),
        ({}, "5.1.2"),
        ({"r.test": {"TXT": ["x"]}}, "5.4.4"),
    ],
)
async def test_h140_domains_without_mail(zone: dict[str, dict[str, list[object]]], status: str) -> None:
    async with agent(FakeResolver(zone)) as made:
        (result,) = await made.deliver(job("r.test", "a@r.test", static=False))
    assert (result.kind, result.status.enhanced) == (ResultKind.FAILED, status)


async def test_h140_mail_to_ourselves_is_a_loop() -> None:
    async with agent(two_hosts(25), ours=lambda address, port: True) as made:
        (result,) = await made.deliver(job("r.test", "a@r.test", static=False))
    assert (result.kind, result.status.enhanced) == (ResultKind.FAILED, "5.4.6")


@pytest.mark.parametrize("named", [{"MX": [(10, "alias.r.test")]}, {"CNAME": ["real.r.test"]}])
async def test_an_exchanger_that_is_an_alias_and_a_domain_that_is_one_are_followed(
    named: dict[str, list[object]],
) -> None:
    """RFC 5321 5.1: the first is forbidden, and met often."""
    async with scripted(good) as remote:
        zone: dict[str, dict[str, list[object]]] = {
            "r.test": named,
            "alias.r.test": {"CNAME": ["host.r.test"]},
            "real.r.test": {"MX": [(10, "host.r.test")]},
            "host.r.test": {"A": ["127.0.0.1"]},
        }
        async with agent(FakeResolver(zone), port=remote.port) as made:
            (result,) = await made.deliver(job("r.test", "a@r.test", static=False))
    assert result.kind is ResultKind.DELIVERED


async def test_h140_ourselves_under_another_name_end_the_list_of_exchangers() -> None:
    """RFC 5321 5.1: who is no better than we are would bring the mail back; who is better gets it."""
    zone: dict[str, dict[str, list[object]]] = {
        "r.test": {"MX": [(10, "best.r.test"), (20, "relay.elsewhere.test"), (30, "last.r.test")]},
        "best.r.test": {"A": ["127.0.0.1"]},
        "relay.elsewhere.test": {"A": ["127.0.0.2"]},
        "last.r.test": {"A": ["127.0.0.3"]},
    }
    async with (
        scripted(cut_at_mail) as remote,
        agent(FakeResolver(zone), port=remote.port, ours=lambda address, port: address == "127.0.0.2") as made,
    ):
        (result,) = await made.deliver(job("r.test", "a@r.test", static=False))
        assert remote.connections == 1
    assert (result.kind, result.remote) == (ResultKind.DEFERRED, "best.r.test")
    zone["r.test"]["MX"] = [(20, "relay.elsewhere.test"), (30, "last.r.test")]
    async with agent(FakeResolver(zone), ours=lambda address, port: address == "127.0.0.2") as made:
        (result,) = await made.deliver(job("r.test", "a@r.test", static=False))
    assert (result.kind, result.status.enhanced) == (ResultKind.FAILED, "5.4.6")
