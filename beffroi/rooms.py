"""Opening one room at a time: what a command of the command line needs, and what `beffroi.wiring` joins.

Each room is an async context manager, so that what was opened is closed, however a process ends. Rooms are imported
when they are opened: `beffroi organisation list` does not pay for the store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from core import log
from core.clock import Clock, SystemClock
from core.config import Auth, Config
from core.ids import Ids, RandomIds
from core.log import Secret

if TYPE_CHECKING:
    from core.dns import DnsResolver
    from core.tally import Tally
    from delivery.queue.queue import Queue
    from delivery.srs import Srs
    from delivery.types import QueueAdministration
    from directory.directory import Directory
    from directory.proving import Means
    from dkim_keys.keyring import Keyring
    from store.store import Store

CLOCK: Clock = SystemClock()
IDS: Ids = RandomIds(CLOCK)


@asynccontextmanager
async def open_directory(config: Config, tally: Tally | None = None) -> AsyncIterator[Directory]:
    from directory.service import SqlDirectory

    directory = await SqlDirectory.open(
        config.database_url,
        clock=CLOCK,
        ids=IDS,
        limits=config.limits,
        hostname=config.hostname,
        means=_means(config.auth),
        tally=tally,
    )
    try:
        yield directory
    finally:
        await directory.close()


@contextmanager
def open_tally(config: Config) -> Iterator[Tally]:
    """The machine's counts; where their file cannot be had, this process counts alone and says so."""
    from core.tally import Tally

    try:
        tally = Tally.shared(config.run_dir, CLOCK)
    except OSError as error:
        log.get(__name__).warning("tally-private", error=error.strerror or str(error))
        tally = Tally.private(CLOCK)
    try:
        yield tally
    finally:
        tally.close()


def _means(auth: Auth) -> Means:
    from directory.proving import Means

    tokens = None
    if auth.introspection:
        from directory.introspection import Introspection, Server

        secret = Secret(auth.introspection_secret) if auth.introspection_secret else None
        tokens = Introspection(
            Server(
                auth.introspection,
                auth.introspection_client,
                secret,
                auth.introspection_claim,
                auth.introspection_scope,
            ),
            CLOCK,
        )
    return Means(auth.scram, tokens, auth.client_certificates if auth.client_ca else None)


@asynccontextmanager
async def open_resolver(config: Config) -> AsyncIterator[DnsResolver]:
    from core.dns import DnsResolver

    resolver = DnsResolver(config.dns.resolvers, config.dns.timeout, CLOCK)
    try:
        yield resolver
    finally:
        await resolver.close()


def open_keyring(config: Config, directory: Directory) -> Keyring:
    from dkim_keys.keyring import Keyring
    from dkim_keys.sealing import load

    return Keyring(directory, load(config.keys_dir), CLOCK, IDS)


def open_srs(config: Config) -> Srs:
    from delivery.srs import Srs
    from dkim_keys.sealing import load

    return Srs(load(config.keys_dir).derive("srs"))


@asynccontextmanager
async def open_store(config: Config) -> AsyncIterator[Store]:
    from store.service import MaildirStore

    store = MaildirStore(
        config.data,
        clock=CLOCK,
        ids=IDS,
        limits=config.limits,
        standard=config.imap.folders.uses,
        fold_accents=config.search.fold_accents,
        kernel_syncs=True,
    )
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def open_any_queue(config: Config) -> AsyncIterator[Queue]:
    """Whosever it is: for those who make it theirs. All others take `open_queue`."""
    from delivery.queue.queue import Queue

    queue = Queue(
        config.queue_file,
        config.run_dir,
        clock=CLOCK,
        url=config.database.queue,
        trace=config.delivery.trace_seconds,
        home=config.hostname,
    )
    await queue.open()
    try:
        yield queue
    finally:
        await queue.close()


@asynccontextmanager
async def open_queue(config: Config) -> AsyncIterator[Queue]:
    """`RefusedError` where one on PostgreSQL is another directory's. A command makes none its own: to serve does."""
    async with open_any_queue(config) as queue:
        if config.database.queue:
            async with open_directory(config) as directory:
                await queue.is_not_of_another(await directory.identity())
        yield queue


@asynccontextmanager
async def open_queue_administration(config: Config) -> AsyncIterator[QueueAdministration]:
    async with open_queue(config) as queue:
        yield queue.administration
