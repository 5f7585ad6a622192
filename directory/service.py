"""`SqlDirectory`: the directory of one process, on SQLAlchemy. Puts the parts together and does nothing itself.

Lookups: `lookups`. Login: `login`. Administration: one function of `services` inside one `boundary` transaction,
bounded by `scope`. Passwords are judged and hashed before the transaction begins.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

from core.address import Address
from core.clock import Clock
from core.config import Limits
from core.database import create_engine
from core.ids import Ids
from core.log import Secret, get
from core.tally import Tally
from directory import policy, rules, sasl, scope, scram
from directory.annotations import Annotations, SqlAnnotations
from directory.attempts import Attempts
from directory.authentication import Door, ScramExchange
from directory.boundary import Boundary
from directory.codes import refusal
from directory.database import Database
from directory.importing import Importer
from directory.login import Login
from directory.lookups import Lookups
from directory.news import News
from directory.passwords import Passwords
from directory.proving import Means, Proving
from directory.services import accounts, administrators, aliases, domains, organisations
from directory.services import app_passwords as app_password_services
from directory.services import keys as key_services
from directory.sharing import Sharing, SqlSharing
from directory.throttle import Throttle
from directory.types import (
    Account,
    Actor,
    Administrator,
    Alias,
    AppPassword,
    AuditEntry,
    DkimKey,
    Domain,
    Grant,
    ImportResult,
    ImportRow,
    KeyState,
    LoggedIn,
    LoginResult,
    Organisation,
    Resolution,
    Role,
    Scope,
    Standing,
    State,
)

# The command line and `dkim_keys` act for the installation itself.
SYSTEM = Actor("system", Role.OPERATOR, None)
MAX_TARGET = 320  # characters of what a recorded fact is about
PASSWORDS_ONLY = Means()
_log = get(__name__)


class SqlDirectory:
    """Implements `directory.directory.Directory`."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        ids: Ids,
        limits: Limits,
        hostname: str = "",
        means: Means = PASSWORDS_ONLY,
        tally: Tally | None = None,
    ) -> None:
        self._database = database
        self._means = means
        self._limits = limits
        self._passwords = Passwords(limits)
        self._news = News(database.watch, self._forget)
        self._lookups = Lookups(database, clock, limits, hostname, self._news)
        attempts = Attempts(Throttle(clock, limits.exempt_networks, tally))
        self._login = Login(database, self._lookups, self._passwords, clock, attempts)
        self._proving = Proving(database, attempts, clock, means)
        self._boundary = Boundary(database, clock, ids, self._forget)
        self._sharing = SqlSharing(database, self._boundary, clock, self._news)
        self._annotations = SqlAnnotations(database, self._boundary, limits)

    def _forget(self) -> None:
        self._lookups.forget()
        self._sharing.forget()

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        clock: Clock,
        ids: Ids,
        limits: Limits,
        hostname: str = "",
        means: Means = PASSWORDS_ONLY,
        tally: Tally | None = None,
    ) -> SqlDirectory:
        """`url` as in the configuration; `means` of logging in beside passwords, closed with the directory. Raises
        `SchemaError` when it was not migrated to our version, `ConfigError` for a URL we do not know, `TemporaryError`
        when the database is away. `hostname`: this machine's own name, whose postmaster@ is the operator's.
        `tally`: where failed logins are counted; without one, in this process alone."""
        database = Database(create_engine(url))
        try:
            await database.check_schema()
        except BaseException:
            await database.close()
            raise
        return cls(database, clock=clock, ids=ids, limits=limits, hostname=hostname, means=means, tally=tally)

    async def close(self) -> None:
        self._news.close()
        await self._login.close()
        self._passwords.close()
        if self._means.tokens is not None:
            await self._means.tokens.close()
        await self._database.close()

    @property
    def sharing(self) -> Sharing:
        return self._sharing

    @property
    def annotations(self) -> Annotations:
        return self._annotations

    def changes(self) -> int:
        self._news.heed()
        return self._news.changes

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        return self._news.listen(callback)

    # --- lookups -------------------------------------------------------------------------------------------------

    async def resolve(self, address: Address) -> Resolution:
        return await self._lookups.resolve(address)

    async def hosted_domain(self, name: str) -> Domain | None:
        return await self._lookups.hosted_domain(name)

    async def account_by_id(self, account_id: str) -> Account | None:
        return await self._lookups.account_by_id(account_id)

    async def may_send_as(self, account: Account, address: Address) -> bool:
        return await self._lookups.may_send_as(account, address)

    async def login(self, identity: str, secret: Secret, *, protocol: str, remote: str) -> LoginResult:
        return await self._login.login(identity, secret, protocol=protocol, remote=remote)

    def mechanisms(self, *, certificate: bool) -> tuple[str, ...]:
        means = self._means
        return (
            *sasl.PASSWORDS,
            *((scram.MECHANISM,) if means.scram else ()),
            *(sasl.TOKENS if means.tokens is not None else ()),
            *(("EXTERNAL",) if means.certificates is not None and certificate else ()),
        )

    async def login_token(self, identity: str, token: Secret, door: Door) -> LoginResult:
        return await self._proving.token(identity, token, door)

    async def login_certificate(self, authorization: str, door: Door) -> LoginResult:
        return await self._proving.certificate(authorization, door)

    async def scram(self, first: scram.First, door: Door) -> ScramExchange:
        return await self._proving.scram(first, door)

    async def standing(self, account_ids: Collection[str]) -> Standing:
        return await self._lookups.standing(account_ids)

    async def suspended(self) -> frozenset[str]:
        return await self._lookups.suspended()

    async def version(self) -> int:
        return await self._lookups.version()

    async def identity(self) -> str:
        return await self._lookups.identity()

    async def still_open(self, login: LoggedIn) -> bool:
        return await self._lookups.still_open(login)

    async def administrator(self, token: Secret) -> Administrator | None:
        return await self._lookups.administrator(administrators.token_hash(token.reveal()))

    # --- organisations, domains ----------------------------------------------------------------------------------

    async def add_organisation(self, actor: Actor, name: str) -> Organisation:
        return await self._boundary.write(actor, lambda work: organisations.add(work, actor, name))

    async def organisations(self, actor: Actor) -> Sequence[Organisation]:
        return await self._boundary.read(actor, lambda work: organisations.all_(work, actor))

    async def organisation(self, actor: Actor, id_or_name: str) -> Organisation:
        return await self._boundary.read(actor, lambda work: scope.organisation(work, actor, id_or_name))

    async def accounts_of(self, actor: Actor, organisation: str) -> Sequence[Account]:
        return await self._boundary.read(actor, lambda work: organisations.accounts(work, actor, organisation))

    async def suspend_organisation(self, actor: Actor, id_or_name: str) -> Organisation:
        return await self._boundary.write(
            actor, lambda work: organisations.set_state(work, actor, id_or_name, State.SUSPENDED)
        )

    async def set_organisation_quota(self, actor: Actor, id_or_name: str, quota: int) -> Organisation:
        return await self._boundary.write(actor, lambda work: organisations.set_quota(work, actor, id_or_name, quota))

    async def resume_organisation(self, actor: Actor, id_or_name: str) -> Organisation:
        return await self._boundary.write(
            actor, lambda work: organisations.set_state(work, actor, id_or_name, State.ACTIVE)
        )

    async def add_domain(self, actor: Actor, name: str, organisation: str) -> Domain:
        return await self._boundary.write(actor, lambda work: domains.add(work, actor, name, organisation))

    async def domains(self, actor: Actor) -> Sequence[Domain]:
        return await self._boundary.read(actor, lambda work: domains.all_(work, actor))

    async def domain(self, actor: Actor, name: str) -> Domain:
        return await self._boundary.read(actor, lambda work: scope.domain(work, actor, name))

    async def remove_domain(self, actor: Actor, name: str) -> None:
        await self._boundary.write(actor, lambda work: domains.remove(work, actor, name))

    # --- accounts ------------------------------------------------------------------------------------------------

    async def add_account(
        self,
        actor: Actor,
        address: Address,
        *,
        password: Secret | None,
        quota: int = 0,
        display_name: str = "",
        shared: bool = False,
    ) -> Account:
        await self._boundary.read(actor, lambda work: accounts.may_add(work, actor, address))
        checked = rules.account_address(address)
        secret_hash = await self._hashed(actor, checked, password) if password is not None else ""
        return await self._boundary.write(
            actor,
            lambda work: accounts.add(
                work, actor, checked, secret_hash=secret_hash, quota=quota, display_name=display_name, shared=shared
            ),
        )

    async def accounts(self, actor: Actor, domain: str | None = None) -> Sequence[Account]:
        return await self._boundary.read(actor, lambda work: accounts.all_(work, actor, domain))

    async def account(self, actor: Actor, address: Address) -> Account:
        return (await self._boundary.read(actor, lambda work: scope.account(work, actor, address))).own

    async def set_password(self, actor: Actor, address: Address, password: Secret) -> None:
        account = await self.account(actor, address)
        secret_hash = await self._hashed(actor, account.address, password)
        await self._boundary.write(actor, lambda work: accounts.set_password(work, actor, address, secret_hash))

    async def set_quota(self, actor: Actor, address: Address, quota: int) -> None:
        await self._boundary.write(actor, lambda work: accounts.set_quota(work, actor, address, quota))

    async def set_display_name(self, actor: Actor, address: Address, display_name: str) -> None:
        await self._boundary.write(actor, lambda work: accounts.set_display_name(work, actor, address, display_name))

    async def set_shared(self, actor: Actor, address: Address, shared: bool) -> None:
        await self._boundary.write(actor, lambda work: accounts.set_shared(work, actor, address, shared))

    async def suspend(self, actor: Actor, address: Address) -> None:
        await self._boundary.write(actor, lambda work: accounts.set_state(work, actor, address, State.SUSPENDED))

    async def resume(self, actor: Actor, address: Address) -> None:
        await self._boundary.write(actor, lambda work: accounts.set_state(work, actor, address, State.ACTIVE))

    async def remove_account(self, actor: Actor, address: Address) -> Account:
        return await self._boundary.write(actor, lambda work: accounts.remove(work, actor, address))

    # --- app passwords -------------------------------------------------------------------------------------------

    async def add_app_password(
        self,
        actor: Actor,
        address: Address,
        label: str,
        wanted: Scope,
        *,
        networks: Sequence[str] = (),
        expires_at: float | None = None,
        bare_lines: bool = False,
    ) -> tuple[AppPassword, Secret]:
        return await self._boundary.write(
            actor,
            lambda work: app_password_services.add(
                work, actor, address, label, wanted, networks=networks, expires_at=expires_at, bare_lines=bare_lines
            ),
        )

    async def app_passwords(self, actor: Actor, address: Address) -> Sequence[AppPassword]:
        return await self._boundary.read(actor, lambda work: app_password_services.all_(work, actor, address))

    async def remove_app_password(self, actor: Actor, address: Address, app_id: str) -> None:
        await self._boundary.write(actor, lambda work: app_password_services.remove(work, actor, address, app_id))

    # --- aliases, grants -----------------------------------------------------------------------------------------

    async def add_alias(self, actor: Actor, address: Address, targets: Sequence[Address]) -> Alias:
        return await self._boundary.write(actor, lambda work: aliases.add(work, actor, address, targets))

    async def aliases(self, actor: Actor, domain: str | None = None) -> Sequence[Alias]:
        return await self._boundary.read(actor, lambda work: aliases.all_(work, actor, domain))

    async def remove_alias(self, actor: Actor, address: Address) -> None:
        await self._boundary.write(actor, lambda work: aliases.remove(work, actor, address))

    async def add_grant(self, actor: Actor, owner: Address, grantee: Address) -> Grant:
        return await self._boundary.write(actor, lambda work: aliases.grant(work, actor, owner, grantee))

    async def grants(self, actor: Actor) -> Sequence[Grant]:
        return await self._boundary.read(actor, lambda work: aliases.grants(work, actor))

    async def remove_grant(self, actor: Actor, owner: Address, grantee: Address) -> None:
        await self._boundary.write(actor, lambda work: aliases.revoke(work, actor, owner, grantee))

    # --- administrators, audit -----------------------------------------------------------------------------------

    async def add_administrator(
        self, actor: Actor, name: str, role: Role, organisation: str | None
    ) -> tuple[Administrator, Secret]:
        return await self._boundary.write(actor, lambda work: administrators.add(work, actor, name, role, organisation))

    async def administrators(self, actor: Actor) -> Sequence[Administrator]:
        return await self._boundary.read(actor, lambda work: administrators.all_(work, actor))

    async def remove_administrator(self, actor: Actor, name: str, organisation: str | None) -> None:
        _tell_removed(
            actor,
            await self._boundary.write(actor, lambda work: administrators.remove(work, actor, name, organisation)),
        )

    async def remove_administrator_by_id(self, actor: Actor, administrator_id: str) -> None:
        _tell_removed(
            actor,
            await self._boundary.write(actor, lambda work: administrators.remove_by_id(work, actor, administrator_id)),
        )

    async def set_operator_postmaster(self, actor: Actor, address: Address | None) -> None:
        await self._boundary.write(actor, lambda work: administrators.set_operator_postmaster(work, actor, address))

    async def record(self, actor: Actor, action: str, target: str) -> None:
        await self._boundary.write(actor, lambda work: administrators.record(work, actor, action, target[:MAX_TARGET]))

    async def audit(self, actor: Actor, *, limit: int = 100) -> Sequence[AuditEntry]:
        return await self._boundary.read(actor, lambda work: administrators.audit(work, actor, limit))

    # --- DKIM keys -----------------------------------------------------------------------------------------------

    async def dkim_keys(self, domain: str) -> Sequence[DkimKey]:
        asked = rules.lookup_domain(domain)
        return await self._boundary.read(SYSTEM, lambda work: work.keys.of(asked)) if asked else ()

    async def add_dkim_keys(self, keys: Sequence[DkimKey]) -> None:
        await self._boundary.write(SYSTEM, lambda work: key_services.add(work, keys))

    async def set_dkim_key_states(self, states: Mapping[str, KeyState]) -> None:
        await self._boundary.write(SYSTEM, lambda work: key_services.set_states(work, states))

    # --- import --------------------------------------------------------------------------------------------------

    def import_accounts(self, actor: Actor, rows: Sequence[ImportRow], *, dry_run: bool) -> AsyncIterator[ImportResult]:
        return Importer(self._boundary, actor, self._limits, dry_run=dry_run).run(rows)

    async def _hashed(self, actor: Actor, address: Address, password: Secret) -> str:
        """A weak password is refused; from the console it is accepted with a warning (`policy.weakness` says why)."""
        text = self._passwords.prepared(password)
        weakness = policy.weakness(text, address)
        if weakness:
            if actor != Actor.console():
                raise refusal("weak-password", weakness=weakness)
            _log.warning("weak-password", address=str(address), weakness=weakness)
        return await self._passwords.hash(text)


def _tell_removed(actor: Actor, gone: Administrator) -> None:
    _log.info("administrator-removed", actor=actor.name, administrator=gone.name, organisation=gone.organisation_id)
