"""Servers with limits and lies that one meets in the wild: room for few recipients, extensions that come and go with
TLS, PIPELINING that is none, words that nobody asked for (row 139)."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest

from core.tls import ServerTls
from delivery.types import ResultKind
from smtp.outbound.connection import PATIENCE
from smtp.outbound.dialogue import Stage
from tests.fakes.scripted_smtp import EHLO, Remote, Script, job, scripted
from tests.fakes.smtp_server import certificate
from tests.smtp.agent import agent, deliver, good, to

UNPIPELINED = EHLO.replace("250-PIPELINING\r\n", "")


def roomy(most: int, refusal: str, ehlo: str = EHLO) -> Script:
    """Takes so many recipients a message and refuses the others."""

    async def script(remote: Remote) -> None:
        await remote.greet(ehlo)
        taken = 0
        while line := await remote.hear():
            if line == "DATA":
                await remote.say("354 go" if taken else "554 nobody")
                if taken:
                    await remote.body()
                    await remote.say("250 2.0.0 ok")
                taken = 0
            elif line.startswith("RCPT") and (taken >= most or "nobody@" in line):
                await remote.say("550 5.1.1 unknown" if "nobody@" in line else refusal)
            else:
                taken += line.startswith("RCPT")
                await remote.say("250 ok")

    return script


def names(count: int) -> list[str]:
    return [f"a{number}@r.test" for number in range(count)]


def of_each(heard: Sequence[str]) -> list[int]:
    """Recipients named in each transaction."""
    counts: list[int] = []
    for line in heard:
        if line.startswith("MAIL"):
            counts.append(0)
        elif line.startswith("RCPT"):
            counts[-1] += 1
    return counts


@pytest.mark.parametrize("ehlo", [EHLO, UNPIPELINED])
@pytest.mark.parametrize("refusal", ["452 4.5.3 too many recipients", "452 too many", "552 too many", "552 5.5.3 x"])
async def test_h139_whom_a_server_has_no_room_for_it_gets_in_its_next_transaction(refusal: str, ehlo: str) -> None:
    """RFC 5321 4.5.3.1.10. A hundred recipients at ten a message waited for nine attempts of the queue."""
    results, heard = await deliver(to(*names(25)), roomy(10, refusal, ehlo))
    assert {result.kind for result in results} == {ResultKind.DELIVERED}
    assert of_each(heard) == [25, 15, 5]


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        ("452 4.2.2 mailbox full", ResultKind.DEFERRED),
        ("452 4.3.1 no room", ResultKind.DEFERRED),
        ("552 5.2.2 mailbox full", ResultKind.FAILED),
        ("451 4.5.3 later", ResultKind.DEFERRED),
    ],
)
async def test_h139_another_refusal_beside_good_ones_is_what_it_says(refusal: str, kind: ResultKind) -> None:
    results, heard = await deliver(to(*names(3)), roomy(2, refusal))
    assert [result.kind for result in results] == [ResultKind.DELIVERED, ResultKind.DELIVERED, kind]
    assert of_each(heard) == [3]


async def test_h139_a_server_without_room_for_anybody_is_asked_once() -> None:
    results, heard = await deliver(to(*names(3)), roomy(0, "452 4.5.3 too many recipients"))
    assert {result.kind for result in results} == {ResultKind.DEFERRED}
    assert of_each(heard) == [3]
    results, heard = await deliver(to(*names(2)), roomy(0, "552 too many"))
    assert {result.kind for result in results} == {ResultKind.FAILED}  # the first of a message is not one too many


async def test_h139_a_connection_lost_between_two_transactions_harms_nobody_who_has_it() -> None:
    async def script(remote: Remote) -> None:
        await remote.greet()
        for answer in ("250 ok", "250 ok", "452 4.5.3 too many", "354 go"):
            await remote.hear(answer=answer)
        await remote.body()
        await remote.say("250 ok")
        await remote.hear()

    results, _ = await deliver(to(*names(2)), script)
    assert [result.kind for result in results] == [ResultKind.DELIVERED, ResultKind.DEFERRED]


async def test_h139_who_has_it_before_the_jobs_time_is_over_in_the_next_transaction_gets_it_once() -> None:
    async def script(remote: Remote) -> None:
        await remote.greet()
        for answer in ("250 ok", "250 ok", "452 4.5.3 too many", "354 go"):
            await remote.hear(answer=answer)
        await remote.body()
        await remote.say("250 ok")
        await remote.reader.read()

    results, _ = await deliver(to(*names(2)), script, deadline=1.5)
    assert [result.kind for result in results] == [ResultKind.DELIVERED, ResultKind.DEFERRED]


# --- extensions and TLS ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder: Path = tmp_path_factory.mktemp("tls")
    _, chain, key = certificate(folder, "127.0.0.1")
    return ServerTls(chain, key).context


@pytest.mark.parametrize(("clear", "kind"), [(False, ResultKind.DELIVERED), (True, ResultKind.FAILED)])
async def test_h139_what_is_offered_counts_as_of_after_the_handshake(
    context: ssl.SSLContext, clear: bool, kind: ResultKind
) -> None:
    """8BITMIME and PIPELINING behind TLS only; and in clear only (RFC 3207 4.2)."""
    bare = "250-remote.test\r\n250 STARTTLS"
    rich = EHLO.replace("250 HELP", "250 STARTTLS")

    async def script(remote: Remote) -> None:
        await remote.greet(rich if clear else bare)
        await remote.hear(answer="220 go")
        await remote.start_tls(context)
        await remote.hear(answer="250 remote.test" if clear else EHLO)
        while line := await remote.hear():
            if line == "DATA":
                await remote.say("354 go")
                await remote.body()
            await remote.say("250 ok")

    (result,), heard = await deliver(to(content="Subject: x\r\n\r\né\r\n".encode()), script)
    assert result.kind is kind
    assert any("BODY=8BITMIME" in line or line == "DATA" for line in heard) is not clear


# --- lies ------------------------------------------------------------------------------------------------------------


async def stepwise(remote: Remote) -> None:
    """For who waits for each answer."""
    await remote.greet()
    for answer in ("250 ok", "250 ok", "354 go"):
        await remote.hear(answer=answer)
    await remote.body()
    await remote.say("250 ok")
    await remote.reader.read()


@pytest.mark.parametrize("stage", ["rcpt", "data"])
async def test_h139_pipelining_that_is_none_is_believed_once(stage: str) -> None:
    async def silent(remote: Remote) -> None:
        await remote.greet()
        await remote.hear(answer="250 ok")
        if stage == "data":
            await remote.hear(answer="250 ok")
        await remote.reader.read()

    patience = {**PATIENCE, Stage.RCPT: 0.2, Stage.DATA: 0.2}
    async with scripted(silent, stepwise) as remote, agent(patience=patience) as made:
        (first,) = await made.deliver(job(f"127.0.0.1:{remote.port}"))
        assert (first.kind, first.status.reason) == (ResultKind.DEFERRED, f"timeout-{stage}")
        (second,) = await made.deliver(job(f"127.0.0.1:{remote.port}"))
        assert second.kind is ResultKind.DELIVERED


async def test_h139_what_nobody_asked_for_is_no_answer_to_what_comes_next() -> None:
    """One reply too many, and each recipient got the answer to the one before: the last one's refusal was DATA's, and
    with it everybody's."""

    async def doubled(remote: Remote) -> None:
        await remote.say("220 one\r\n220 two")
        for answer in ("250-remote.test\r\n250 PIPELINING", "250 ok", "250 ok", "550 5.1.1 unknown", "354 go"):
            await remote.hear(answer=answer)
        await remote.reader.read()

    results, heard = await deliver(to("a@r.test", "b@r.test"), doubled)
    assert [(result.kind, result.status.reason) for result in results] == [(ResultKind.DEFERRED, "unasked-reply")] * 2
    assert not any(line.startswith("RCPT") for line in heard)


async def test_h139_a_kept_connection_that_said_something_meanwhile_is_not_used() -> None:
    async def talkative(remote: Remote) -> None:
        await remote.greet()
        for answer in ("250 ok", "250 ok", "354 go"):
            await remote.hear(answer=answer)
        await remote.body()
        await remote.say("250 ok\r\n250 and another")
        await remote.reader.read()

    async with scripted(talkative, good) as remote, agent(idle=5.0) as made:
        for _ in range(2):
            (result,) = await made.deliver(job(f"127.0.0.1:{remote.port}"))
            assert result.kind is ResultKind.DELIVERED
    assert remote.connections == 2
