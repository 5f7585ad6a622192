"""Before a front says that it is ready it serves itself once (`imap.rehearsal`), on a store beside the real one that is
removed again. Whatever goes wrong with that is told, and keeps nobody from his mail."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

from core import log
from core.errors import MailError
from imap.rehearsal import rehearse
from imap.session import Services
from store.service import MaildirStore, initialise
from store.store import Store

PATIENCE = 5.0  # seconds; it takes 0.1

_log = log.get(__name__)


async def rehearsed(services: Services, path: Path) -> None:
    """`path` is this process's alone: what a killed one left there goes first."""
    began = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE), _scratch(path, services) as store:
            with log.silence():
                commands = await rehearse(services, store)
    except (OSError, TimeoutError, MailError) as error:
        _log.warning("rehearsal-failed", reason=type(error).__name__)
    except Exception:  # a bug in a rehearsal keeps no process from its work
        _log.exception("rehearsal-failed")
    else:
        _log.debug("rehearsed", commands=commands, seconds=round(time.perf_counter() - began, 3))


@contextlib.asynccontextmanager
async def _scratch(path: Path, services: Services) -> AsyncIterator[Store]:
    """Made and removed on the loop: nobody is served yet."""
    shutil.rmtree(path, ignore_errors=True)
    try:
        initialise(path)
        store = MaildirStore(path, limits=services.limits, open_accounts=1, standard={})
        try:
            await store.open()
            yield store
        finally:
            await store.close()
    finally:
        shutil.rmtree(path, ignore_errors=True)
