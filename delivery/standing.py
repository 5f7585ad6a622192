"""What accounts have in the queue follows what the directory says of them.

Two databases and no transaction over both: the directory changes first, then the queue is told, then the directory is
asked again, until both say the same. So administrators who suspend and resume side by side end with holds that match
the last commit, whoever tells the queue last. Who is killed in between is caught up with by `Follower`: each step may
be taken again, and each can be seen to be missing from what the two databases say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from core import log
from core.address import Address
from core.errors import MailError
from delivery.types import QueueAdministration
from directory.directory import Directory
from directory.types import Actor, Organisation, Standing, State
from store import custody
from store.store import Store

ROUNDS = 10  # while others change the same; the last look is `Follower`'s
LOOK = 15.0  # seconds between two looks of a follower
WHOLE = 40  # looks until it looks whatever the directory says

_log = log.get(__name__)


async def suspend(directory: Directory, queue: QueueAdministration, actor: Actor, address: Address) -> None:
    """No login and no sending any more, and what the account has in the queue is held; mail is still received."""
    await directory.suspend(actor, address)
    await follow(directory, queue, [(await directory.account(actor, address)).id])


async def resume(directory: Directory, queue: QueueAdministration, actor: Actor, address: Address) -> None:
    """Undo `suspend`. What its domain or organisation suspends stays so."""
    await directory.resume(actor, address)
    await follow(directory, queue, [(await directory.account(actor, address)).id])


async def set_organisation_state(
    directory: Directory, queue: QueueAdministration, actor: Actor, id_or_name: str, state: State
) -> Organisation:
    """The same for all accounts of an organisation; its administrators' tokens do not work while it is suspended."""
    change = directory.resume_organisation if state is State.ACTIVE else directory.suspend_organisation
    organisation = await change(actor, id_or_name)
    await follow(directory, queue, [item.id for item in await directory.accounts_of(actor, organisation.id)])
    return organisation


async def remove(
    directory: Directory, store: Store, queue: QueueAdministration, actor: Actor, address: Address
) -> None:
    """Its mail goes to the recycle bin. What it has in the queue leaves as it was accepted, but for what a lock or a
    suspension holds: that waits for an administrator or its end. May be repeated, as `custody.remove_mailbox`."""
    removed = await custody.remove_mailbox(directory, store, actor, address)
    await follow(directory, queue, [removed.id])
    await queue.forget(removed.id)


async def follow(directory: Directory, queue: QueueAdministration, account_ids: Collection[str]) -> None:
    """Bring the queue to what the directory says of these accounts. Whoever writes last looks once more after it, so
    the last look sees every commit before it, and whose commit comes later writes later."""
    told = Standing()
    for _ in range(ROUNDS):
        now = await directory.standing(account_ids)
        if now == told:
            return
        await queue.orphan(now.gone - told.gone)
        await queue.reclaim((now.active | now.suspended) - (told.active | told.suspended))
        await queue.suspend(now.suspended - told.suspended)
        await queue.resume(now.active - told.active)
        told = now
    _log.warning("standing-unsettled", accounts=len(account_ids))


class Follower:
    """For changes whose maker did not come to tell the queue: looks at start, and when the directory has changed. Every
    ten minutes in any case: what was being tried, or came in, while its account went is marked then. Accounts that are
    suspended are told of though they have nothing in the queue: what still enters is to be held, too."""

    def __init__(self, directory: Directory, queue: QueueAdministration) -> None:
        self._directory = directory
        self._queue = queue
        self._version = -1
        self._looks = 0

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except MailError as error:
                _log.warning("standing-put-off", code=error.code)
            except Exception:  # the next look may fare better
                _log.exception("standing-failed")
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        version = await self._directory.version()  # before the rest: what changes meanwhile is seen by the next look
        self._looks += 1
        if version != self._version or self._looks >= WHOLE:
            suspended = await self._directory.suspended()
            await follow(self._directory, self._queue, {*await self._queue.concerned(), *suspended})
            await self._forget()
            self._version, self._looks = version, 0

    async def _forget(self) -> None:
        """What the queue remembers of accounts that are gone: `remove` was killed before it came to that. A directory
        that knows none of several is rather another one, restored or configured by mistake: holds of mail can be taken
        back, what is forgotten cannot."""
        now = await self._directory.standing(await self._queue.remembered())
        if len(now.gone) > 1 and not now.active and not now.suspended:
            _log.warning("standing-strange", accounts=len(now.gone))
            return
        for account_id in sorted(now.gone):
            await self._queue.forget(account_id)
