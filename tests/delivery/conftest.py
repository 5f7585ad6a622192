"""One small commune and its whole delivery, on fakes and a real queue file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.address import Address, parse
from core.clock import ManualClock
from core.config import Config
from core.envelope import Dsn, Listener, Peer, Tls
from core.status import Status
from delivery.agents import Agents
from delivery.commit import Committer
from delivery.inbound import Inbound
from delivery.local import LocalAgent
from delivery.next_hop import Routes
from delivery.outcome import Backoff, Rules
from delivery.queue.queue import LEASE, Queue
from delivery.reporter import Reporter
from delivery.scheduler import Means, Scheduler
from delivery.submission import Submission
from delivery.types import Acceptor, MailParameters, Transaction
from delivery.vacation import Responder
from dkim_keys.sign import Signer
from tests.delivery.queue_alone import another
from tests.delivery.town import Town, open_town
from tests.fakes.delivery_world import CountingIds, FakeAuthenticator, FakeDirectory, FakeStore, ScriptedAgent

HOST = "mx.dept.test"


class NoKeys:
    async def signers(self, domain: str) -> tuple[Signer, ...]:
        return ()


class OneKey:
    """Every domain signs with this one."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    async def signers(self, domain: str) -> tuple[Signer, ...]:
        return (Signer(domain, "s1", "ed25519-sha256", self._key),)


class World:
    """Everything one process joins; `remote` stands for the Internet."""

    def __init__(self, data: Path, **config: Any) -> None:
        self.config = Config(hostname=HOST, data=data, **config)
        self.clock = ManualClock()
        self.ids = CountingIds()
        self.directory: Any = FakeDirectory()
        self.store: Any = cast(Any, FakeStore())
        self.authenticator = FakeAuthenticator()
        self.scanner: Any = None
        self.keys: Any = NoKeys()
        self.queue = self.another_queue()
        self.rules = Rules(Backoff.of(self.config.delivery), now=self.clock.now, chance=lambda: 0.5)
        self.committer = Committer(self.store, self.queue, self.rules)
        self.remote = ScriptedAgent()

    def another_queue(self, lease: float = LEASE) -> Queue:
        return Queue(self.config.queue_file, self.config.run_dir, clock=self.clock, lease=lease)

    def inbound(self) -> Inbound[Any]:
        return Inbound(
            self.config, self.directory, self.store, self.authenticator, self.scanner, self.committer, self.clock
        )

    def submission(self) -> Submission:
        return Submission(
            self.config, self.directory, self.store, self.keys, self.committer, self.queue, self.clock, self.ids
        )

    def means(self, queue: Queue | None = None, responder: Responder | None = None) -> Means:
        queue = queue or self.queue
        local = LocalAgent(self.directory, self.store, queue, self.ids, alias_depth=10, responder=responder)
        lifetime = self.config.delivery.lifetime_seconds
        reporter = Reporter(queue, self.directory, hostname=HOST, lifetime=lifetime, clock=self.clock, ids=self.ids)
        return Means(Agents(local, self.remote), self.rules, reporter, Routes(self.config.delivery.routes))

    def scheduler(self, queue: Queue | None = None, **options: Any) -> Scheduler:
        queue = queue or self.queue
        means = self.means(queue, options.pop("responder", None))
        options = {"run_dir": self.config.run_dir, "clock": self.clock, "poll": 0.05, **options}
        return Scheduler(queue, means, **options)

    def peer(self, account: str = "") -> Peer:
        account_id = f"id-{account}" if account else None
        listener = Listener.SUBMISSION if account else Listener.MX
        tls = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
        return Peer("192.0.2.7", 4711, listener, "c1", helo="client.sender.test", tls=tls, account_id=account_id)

    async def send(
        self,
        acceptor: Acceptor,
        data: bytes,
        *recipients: str,
        sender: str = "a@sender.test",
        account: str = "",
        dsn: Dsn | None = None,
        parameters: MailParameters | None = None,
        block: int = 1 << 18,
    ) -> Status:
        """One whole transaction as a session would do it; the first refusal is the answer."""
        parameters = parameters or MailParameters()
        peer, from_ = self.peer(account), parse(sender) if sender else None
        transaction = Transaction(self.ids.queue_id(), peer, from_, parameters)
        status = await acceptor.sender(peer, from_, parameters)
        if not status.ok:
            return status
        accepted: list[tuple[Address, Dsn]] = []
        for text in recipients:
            status = await acceptor.recipient(transaction, parse(text), dsn or Dsn())
            if status.ok:
                accepted.append((parse(text), dsn or Dsn()))
                transaction.recipients[:] = accepted
        if not accepted:
            return status
        reception = acceptor.begin(transaction)
        for start in range(0, len(data), block):
            await reception.feed(data[start : start + block])
        return await reception.finish()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    made.directory.account("maire@ville.test")
    made.directory.account("agent@ville.test")
    made.directory.account("voisin@bourg.test")
    await made.queue.open()
    yield made
    await made.queue.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def queue(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Queue]:
    opened = await another(tmp_path, clock)
    yield opened
    await opened.close()


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with open_town(tmp_path) as made:
        yield made
