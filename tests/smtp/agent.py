"""The delivery agent as the tests of this folder start it, and the peers that several of them meet."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from delivery.types import Job, Result
from smtp.outbound.agent import SmtpAgent
from smtp.outbound.connection import PATIENCE, Caller
from smtp.outbound.dialogue import Stage
from smtp.outbound.mx import MxResolver
from smtp.outbound.pool import Pool
from smtp.outbound.tls_policy import Opportunistic
from tests.fakes.resolver import FakeResolver
from tests.fakes.scripted_smtp import Remote, Script, job, scripted

SHORT = dict.fromkeys(Stage, 0.3)


@contextlib.asynccontextmanager
async def agent(
    resolver: FakeResolver | None = None,
    *,
    port: int = 25,
    patience: dict[Stage, float] | None = None,
    ca_file: str = "",
    ours: Callable[[str, int], bool] = lambda address, port: False,
    idle: float = 0.0,
    deadline: float = 60.0,
) -> AsyncIterator[SmtpAgent]:
    mx = MxResolver(resolver or FakeResolver(), port=port, ours=ours, allow_private=True, shuffle=lambda records: None)
    caller = Caller("mx.mairie.test", patience=patience or PATIENCE, connect=2.0)
    made = SmtpAgent(caller, mx, Opportunistic(ca_file), pool=Pool(idle=idle), deadline=deadline)
    try:
        yield made
    finally:
        await made.close()


async def deliver(work: Callable[[int], Job], *scripts: Script, **options: Any) -> tuple[list[Result], list[str]]:
    async with scripted(*scripts) as remote, agent(**options) as made:
        results = await made.deliver(work(remote.port))
        return results, remote.heard


def to(*recipients: str, **more: Any) -> Callable[[int], Job]:
    return lambda port: job(f"127.0.0.1:{port}", *recipients, **more)


async def good(remote: Remote) -> None:
    await remote.greet()
    for answer in ("250 ok", "250 ok"):
        await remote.hear(answer=answer)
    await remote.hear(answer="354 go")
    assert await remote.body() == b"Subject: x\r\n\r\nbody\r\n.\r\n"
    await remote.say("250 2.0.0 queued as 42")
    await remote.hear(answer="221 bye")


async def stall(remote: Remote) -> None:
    assert not await remote.reader.read()


async def _say_and_stall(remote: Remote, *texts: str) -> None:
    for text in texts:
        await remote.say(text)
    assert await remote.reader.read() in (b"", b"QUIT\r\n")


def says(*texts: str) -> Script:
    return lambda remote: _say_and_stall(remote, *texts)


async def never_354(remote: Remote) -> None:
    await remote.greet()
    await remote.hear(answer="250 ok")
    await remote.hear(answer="250 ok")
    await remote.hear()
    await remote.reader.read()


async def after_the_dot(remote: Remote) -> None:
    await remote.greet()
    for answer in ("250 ok", "250 ok", "354 go"):
        await remote.hear(answer=answer)
    await remote.body()


async def cut_at_mail(remote: Remote) -> None:
    await remote.greet()
    await remote.hear(answer="421 4.3.2 going down")


def two_hosts(port: int) -> FakeResolver:
    return FakeResolver(
        {
            "r.test": {"MX": [(10, "one.r.test"), (20, "two.r.test")]},
            "one.r.test": {"A": ["127.0.0.1"]},
            "two.r.test": {"A": ["127.0.0.1"]},
        }
    )


async def by_mx(*scripts: Script, patience: dict[Stage, float] | None = None) -> tuple[Result, int]:
    async with scripted(*scripts) as remote:
        async with agent(two_hosts(remote.port), port=remote.port, patience=patience) as made:
            (result,) = await made.deliver(job("r.test", "a@r.test", static=False))
        return result, remote.connections
