"""The questions on every message's way: what an address means, is a domain ours, who may send as whom.

Positive exact answers are cached (`directory.cache`) as long as nothing changes: SQLite tells of every commit at once
(`core.sqlite.Watch`), elsewhere the directory's version is looked at every 2 s. Where it is told at once, that a domain
is not ours, what an account logs in with, that a login holds and the version itself are cached, too; the rest asks the
database. Refuses to change anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from sqlalchemy.ext.asyncio import AsyncSession

from core.address import Address, AddressError, parse
from core.clock import Clock
from core.config import Limits
from directory import rules
from directory.cache import Cache
from directory.database import Database
from directory.news import News
from directory.repositories.accounts import Accounts, StoredAccount
from directory.repositories.administrators import Administrators
from directory.repositories.aliases import Aliases
from directory.repositories.audit import DirectoryState
from directory.repositories.credentials import CERTIFICATE, TOKEN, Credentials, Opening
from directory.repositories.domains import Domains
from directory.repositories.grants import Grants
from directory.types import (
    Account,
    Administrator,
    AliasOf,
    Domain,
    ForeignDomain,
    LocalAccount,
    LoggedIn,
    Resolution,
    Standing,
    State,
    UnknownUser,
    keeper,
)

# RFC 5321 4.5.1 demands postmaster of every domain, RFC 2142 asks for abuse (security.md row 56).
ALWAYS = frozenset({"postmaster", "abuse"})
CATCH_ALL = "*"  # the alias of a domain that gets what nobody else of it gets
LOOK_EVERY = 2.0  # seconds that an answer may be behind another process's change


class Lookups:
    """Implements the lookups of `directory.directory.Directory`, whose methods say what is answered. They raise
    `TemporaryError` when the database is away; answers are at most `LOOK_EVERY` behind another process."""

    def __init__(
        self, database: Database, clock: Clock, limits: Limits, hostname: str = "", news: News | None = None
    ) -> None:
        """`news`: the directory's, which calls `forget`; without one, its own."""
        self._database = database
        self._news = news or News(database.watch, self.forget)
        self._clock = clock
        self._hostname = hostname
        self._depth = limits.alias_depth
        self._keeper = keeper(hostname, limits.postmaster_mailbox) if hostname else None
        self._resolutions: Cache[Resolution] = Cache(clock)
        self._domains: Cache[Domain] = Cache(clock)
        self._accounts: Cache[Account] = Cache(clock)
        self._senders: Cache[bool] = Cache(clock)
        self._foreign: Cache[ForeignDomain] = Cache(clock)
        self._logins: Cache[bool] = Cache(clock)
        self._openings: Cache[tuple[Opening | None]] = Cache(clock)
        self._versions: Cache[int] = Cache(clock)
        self._version = -1
        self._looked_until = 0.0
        self._looking: asyncio.Future[None] | None = None

    async def _stay_current(self) -> None:
        """Where nobody tells: forget what another process has changed, once the last look is too old. Raises
        `TemporaryError`."""
        if self._clock.monotonic() < self._looked_until:
            return
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look())
            self._looking.add_done_callback(self._looked)
        await asyncio.shield(self._looking)  # one look for all who wait, and one failure

    async def _look(self) -> None:
        now = self._clock.monotonic()  # before the look: what changes meanwhile is seen by the next one
        version = await self.version()
        if version != self._version:
            self.forget()
            self._version = version
        self._looked_until = now + LOOK_EVERY

    def _looked(self, look: asyncio.Future[None]) -> None:
        self._looking = None
        if not look.cancelled():
            look.exception()  # whoever waited may have left

    def forget(self) -> None:
        for cache in (
            self._resolutions, self._domains, self._accounts, self._senders, self._foreign, self._logins,
            self._openings, self._versions,
        ):  # fmt: skip
            cache.clear()

    async def resolve(self, address: Address) -> Resolution:
        if not self._news.heed():
            await self._stay_current()
        kept = self._resolutions.get(address.key) or self._foreign.get(address.domain)
        if kept is not None:
            return kept
        epoch = self._resolutions.epoch
        async with self._database.read() as session:
            exact = await _exact(session, address.key)
            if exact is not None:
                self._resolutions.put(address.key, exact, epoch)
                return exact
            found = await self._inexact(session, address)
        if isinstance(found, ForeignDomain):
            self._keep_foreign(address.domain, epoch)
        return found

    def _keep_foreign(self, domain: str, epoch: int) -> None:
        """Nothing of a domain that is not ours can be ours, but for this host's own postmaster. (All caches are cleared
        together: an epoch of one is that of all.)"""
        if self._database.watch is not None and domain != self._hostname:
            self._foreign.put(domain, ForeignDomain(), epoch)

    async def _inexact(self, session: AsyncSession, address: Address) -> Resolution:
        base = address.without_subaddress()
        if base != address:
            found = await _exact(session, base.key)
            if found is not None:
                return found
        domain = await Domains(session).by_name(address.domain)
        if domain is None:
            # RFC 5321 4.5.1: <postmaster> without a domain is this host's, hosted domain or not.
            ours = address.domain == self._hostname and base.local.casefold() in ALWAYS
            return await self._operators(session) if ours else ForeignDomain()
        if base.local.casefold() in ALWAYS:
            return await self._always(session, domain)
        return await _exact(session, Address(CATCH_ALL, domain.name).key) or UnknownUser()

    async def _always(self, session: AsyncSession, domain: Domain) -> Resolution:
        """postmaster@ and abuse@: the organisation's first account, else where the operator wants them."""
        first = await Accounts(session).first_of(domain.organisation_id)
        return LocalAccount(first.effective) if first is not None else await self._operators(session)

    async def _operators(self, session: AsyncSession) -> Resolution:
        """Whom the operator named; before he did, a mailbox that keeps it for him (RFC 5321 4.5.1: never refused)."""
        try:
            return AliasOf((parse(await DirectoryState(session).operator_postmaster()),))
        except AddressError:
            return LocalAccount(self._keeper) if self._keeper is not None else UnknownUser()

    async def hosted_domain(self, name: str) -> Domain | None:
        asked = rules.lookup_domain(name)
        if asked is None:
            return None
        if not self._news.heed():
            await self._stay_current()
        kept, epoch = self._domains.get(asked), self._domains.epoch
        if kept is not None:
            return kept
        if self._foreign.get(asked) is not None:
            return None
        async with self._database.read() as session:
            found = await Domains(session).by_name(asked)
        if found is not None:
            self._domains.put(asked, found, epoch)
        else:
            self._keep_foreign(asked, epoch)
        return found

    async def account_by_id(self, account_id: str) -> Account | None:
        if not self._news.heed():
            await self._stay_current()
        kept, epoch = self._accounts.get(account_id), self._accounts.epoch
        if kept is not None:
            return kept
        async with self._database.read() as session:
            found = await Accounts(session).by_id(account_id)
        if found is None:
            return None
        self._accounts.put(account_id, found.effective, epoch)
        return found.effective

    async def standing(self, account_ids: Collection[str]) -> Standing:
        """Never cached: whoever changed something asks what counts now."""
        async with self._database.read() as session:
            return await Accounts(session).standing(account_ids)

    async def suspended(self) -> frozenset[str]:
        async with self._database.read() as session:
            return await Accounts(session).suspended()

    async def version(self) -> int:
        """Each front asks by the clock: where every change is told at once, the database is asked after one only."""
        told, epoch = self._news.heed(), self._versions.epoch
        if told and (kept := self._versions.get("")) is not None:
            return kept
        async with self._database.read() as session:
            found = await DirectoryState(session).version()
        if told:
            self._versions.put("", found, epoch)
        return found

    async def identity(self) -> str:
        async with self._database.read() as session:
            return await DirectoryState(session).identity()

    async def opening(self, key: str) -> Opening | None:
        """What the holder of the address `key` logs in with. Kept only where every change is told at once; that there
        is none is kept as well, so that time does not tell who exists (row 55)."""
        told, epoch = self._news.heed(), self._openings.epoch
        if told and (kept := self._openings.get(key)) is not None:
            return kept[0]
        async with self._database.read() as session:
            found = await Credentials(session).opening(key)
        if told:
            self._openings.put(key, (found,), epoch)
        return found

    async def still_open(self, login: LoggedIn) -> bool:
        """At every message of a session, and whenever something has changed: nothing that may be out of date counts."""
        if login.expires_at is not None and self._clock.now() >= login.expires_at:
            return False
        told, key = self._news.heed(), (login.account.id, login.account.address.key, login.credential)
        if told and self._logins.get(key):
            return True
        epoch = self._logins.epoch
        still = await self._still_open(login)
        if still and told:
            self._logins.put(key, True, epoch)
        return still

    async def _still_open(self, login: LoggedIn) -> bool:
        async with self._database.read() as session:
            table = Credentials(session)
            now = await table.opening(login.account.address.key)
            if now is None or now.account.id != login.account.id or now.account.state is not State.ACTIVE:
                return False
            if now.credential == login.credential or login.credential.startswith((TOKEN, CERTIFICATE)):
                return True
            return any(app.about.id == login.credential for app in await table.apps(login.account.id))

    async def administrator(self, token_hash: str) -> Administrator | None:
        """Never cached: a token that was taken away stops at once (row 117)."""
        async with self._database.read() as session:
            return await Administrators(session).by_token(token_hash, now_ms=int(self._clock.now() * 1000))

    async def may_send_as(self, account: Account, address: Address) -> bool:
        if not self._news.heed():
            await self._stay_current()
        key = (account.id, address.key)
        kept, epoch = self._senders.get(key), self._senders.epoch
        if kept is not None:
            return kept
        async with self._database.read() as session:
            allowed = await self._may_send_as(session, account.id, address)
        if allowed:
            self._senders.put(key, True, epoch)
        return allowed

    async def _may_send_as(self, session: AsyncSession, account_id: str, address: Address) -> bool:
        """By what the directory says now, not by what the session knew at its login (row 117)."""
        current = await Accounts(session).by_id(account_id)
        if current is None or current.effective.state is not State.ACTIVE:
            return False
        account = current.effective
        wanted = {address.key, address.without_subaddress().key}
        if account.address.key in wanted or await self._alias_leads(session, account, wanted):
            return True
        for key in sorted(wanted):
            owner = await Accounts(session).by_key(key)
            if owner and await Grants(session).exists(owner.own.id, account.id):
                return owner.own.organisation_id == account.organisation_id
        return False

    async def _alias_leads(self, session: AsyncSession, account: Account, wanted: set[str]) -> bool:
        """Upwards from the account, alias by alias of its own organisation, until one of `wanted` is met. Another
        organisation's alias that leads here gives no right to its name."""
        aliases = Aliases(session)
        reached, level = {account.address.key}, {account.address.key}
        for _ in range(self._depth):
            above = await aliases.leading_to(level)
            level = {alias.address.key for alias in above if alias.organisation_id == account.organisation_id} - reached
            if level & wanted:
                return True
            if not level:
                return False
            reached |= level
        return False


async def _exact(session: AsyncSession, key: str) -> Resolution | None:
    holder = await Accounts(session).holder(key)
    if holder is None:
        return None
    if isinstance(holder, StoredAccount):
        return LocalAccount(holder.effective)
    targets = await Aliases(session).targets([holder])
    return AliasOf(targets[holder]) if targets else None
