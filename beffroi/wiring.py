"""The object graph: which class implements which face, and in what order things open and close.

The only place that joins `delivery` with the SMTP client and the rooms with their neighbours.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from antispam.authentication.authenticator import Authenticator
from antispam.rspamd import TOTAL_TIMEOUT, Rspamd
from beffroi.rooms import (
    CLOCK,
    IDS,
    open_any_queue,
    open_directory,
    open_keyring,
    open_resolver,
    open_srs,
    open_store,
    open_tally,
)
from core.config import Config
from core.dns import DnsResolver
from core.https import Https
from core.log import Secret
from core.resolver import Resolver
from core.tally import Tally
from delivery.agents import Agents
from delivery.commit import Committer
from delivery.forward import Forwarder, Rewriting
from delivery.greylisting import Greylist
from delivery.inbound import Inbound
from delivery.local import LocalAgent
from delivery.next_hop import Routes
from delivery.outcome import Backoff, Rules
from delivery.queue.queue import Queue
from delivery.reporter import Reporter
from delivery.scheduler import Means, Scheduler
from delivery.submission import Submission
from delivery.types import Acceptor, DeliveryAgent
from delivery.vacation import Responder
from directory.directory import Directory
from smtp.outbound.agent import SmtpAgent
from smtp.outbound.mx import public
from smtp.outbound.tls_counts import TlsCounts
from smtp.outbound.tls_policy import verified_context
from smtp.outbound.tls_reporter import TlsReporter
from smtp.outbound.tls_results import TlsResults
from store.store import Store


@dataclass(frozen=True, slots=True)
class Rooms:
    """What lives as long as a front process, whatever is reloaded."""

    directory: Directory
    store: Store
    queue: Queue
    resolver: DnsResolver
    tally: Tally


@asynccontextmanager
async def open_rooms(config: Config) -> AsyncIterator[Rooms]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        tally = stack.enter_context(open_tally(config))
        rooms = Rooms(
            tally=tally,
            directory=await enter(open_directory(config, tally)),
            store=await enter(open_store(config)),
            queue=await enter(open_any_queue(config)),
            resolver=await enter(open_resolver(config)),
        )
        await rooms.queue.belong_to(await rooms.directory.identity())
        yield rooms


def rules(config: Config) -> Rules:
    return Rules(Backoff.of(config.delivery), now=CLOCK.now, chance=random.SystemRandom().random)


@dataclass(frozen=True, slots=True)
class Acceptors:
    """What SMTP sessions ask; made anew at each reload. `rspamd` is theirs to close."""

    inbound: Acceptor
    submission: Acceptor
    rspamd: Rspamd


def make_acceptors(config: Config, rooms: Rooms) -> Acceptors:
    addresses, forwarder = make_forwarding(config, rooms)
    keyring = open_keyring(config, rooms.directory)
    responder = make_responder(config, rooms)
    committer = Committer(rooms.store, rooms.queue, rules(config), forwarder, responder)
    rspamd = make_rspamd(config, rooms.tally)
    authenticator = Authenticator(rooms.resolver, CLOCK, config.limits, config.hostname)
    scanner = rspamd if config.antispam.rspamd else None
    greylist = Greylist(rooms.queue, config) if config.antispam.greylist else None
    inbound = Inbound(
        config, rooms.directory, rooms.store, authenticator, scanner, committer, CLOCK, rooms.tally, addresses, greylist
    )
    submission = Submission(config, rooms.directory, rooms.store, keyring, committer, rooms.queue, CLOCK, IDS)
    return Acceptors(inbound, submission, rspamd)


def make_responder(config: Config, rooms: Rooms) -> Responder:
    keyring = open_keyring(config, rooms.directory)
    return Responder(rooms.queue, rooms.directory, keyring, CLOCK, IDS, config.limits, config.hostname)


def make_forwarding(config: Config, rooms: Rooms) -> tuple[Rewriting, Forwarder]:
    """How recipients are resolved, and how aliases send on: two ends of one key."""
    srs = open_srs(config)
    keyring = open_keyring(config, rooms.directory)
    return (
        Rewriting(rooms.directory, srs, CLOCK),
        Forwarder(rooms.directory, srs, keyring, CLOCK, config.hostname),
    )


def make_rspamd(config: Config, tally: Tally | None = None) -> Rspamd:
    settings = config.antispam
    password = Secret(settings.rspamd_password) if settings.rspamd_password else None
    # Its own patience has to end first: who is cut off by the evidence's end never learns that the scanner hangs, and
    # goes on making every message wait for it (fault 160).
    patience = min(TOTAL_TIMEOUT, 0.9 * config.limits.evidence_timeout)
    return Rspamd(
        settings.rspamd,
        CLOCK,
        controller=settings.rspamd_controller,
        password=password,
        total_timeout=patience,
        tally=tally,
    )


def make_agent(config: Config, resolver: Resolver, results: TlsResults) -> SmtpAgent:
    """The agent `delivery` knows only by its Protocol."""
    return SmtpAgent.create(config, resolver, CLOCK, results)


def make_tls_reporter(config: Config, rooms: Rooms, counts: TlsCounts) -> TlsReporter:
    private = config.delivery.allow_private
    context = verified_context(config.delivery.ca_file)
    https = Https(rooms.resolver, context, lambda address: private or public(address))
    keys = open_keyring(config, rooms.directory)
    return TlsReporter(rooms.queue, counts, rooms.resolver, https, keys, hostname=config.hostname, clock=CLOCK, ids=IDS)


def make_means(config: Config, rooms: Rooms, remote: DeliveryAgent) -> Means:
    addresses, forwarder = make_forwarding(config, rooms)
    local = LocalAgent(
        addresses,
        rooms.store,
        rooms.queue,
        IDS,
        alias_depth=config.limits.alias_depth,
        forwarder=forwarder,
        responder=make_responder(config, rooms),
    )
    reporter = Reporter(
        rooms.queue,
        rooms.directory,
        hostname=config.hostname,
        lifetime=config.delivery.lifetime_seconds,
        clock=CLOCK,
        ids=IDS,
    )
    return Means(Agents(local, remote), rules(config), reporter, Routes(config.delivery.routes))


def make_scheduler(config: Config, rooms: Rooms, means: Means) -> Scheduler:
    return Scheduler(rooms.queue, means, run_dir=config.run_dir, clock=CLOCK)
