"""The object graph: which class implements which face, and in what order things open and close.

The only place that joins `delivery` with the SMTP client and the rooms with their neighbours. Everything is an async
context manager, so that whatever was opened is closed in the reverse order, however a process ends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from antispam.rspamd import Rspamd
from core.clock import Clock, SystemClock
from core.config import Config
from core.dns import DnsResolver
from core.ids import Ids, RandomIds
from core.log import Secret
from directory.directory import Directory
from directory.service import SqlDirectory
from dkim_keys.keyring import Keyring
from dkim_keys.sealing import load as load_master_key

CLOCK: Clock = SystemClock()
IDS: Ids = RandomIds(CLOCK)


@asynccontextmanager
async def open_directory(config: Config) -> AsyncIterator[SqlDirectory]:
    directory = await SqlDirectory.open(config.database_url, clock=CLOCK, ids=IDS, limits=config.limits)
    try:
        yield directory
    finally:
        await directory.close()


@asynccontextmanager
async def open_resolver(config: Config) -> AsyncIterator[DnsResolver]:
    resolver = DnsResolver(config.dns.resolvers, config.dns.timeout, CLOCK)
    try:
        yield resolver
    finally:
        await resolver.close()


def open_keyring(config: Config, directory: Directory) -> Keyring:
    return Keyring(directory, load_master_key(config.keys_dir), CLOCK, IDS)


@asynccontextmanager
async def open_rspamd(config: Config) -> AsyncIterator[Rspamd]:
    settings = config.antispam
    password = Secret(settings.rspamd_password) if settings.rspamd_password else None
    rspamd = Rspamd(settings.rspamd, CLOCK, controller=settings.rspamd_controller, password=password)
    try:
        yield rspamd
    finally:
        await rspamd.close()
