"""The directory's async face.

Lookups are on every message's way: positive answers are kept for at most 2 s (a suspension counts within 5 s, a new
address at once, because absence is never kept). Administration is transactional: one call, one commit.
`actor` bounds every administrative call in one place (`directory.scope`): what is not the actor's raises
`NotFoundError`, exactly as if it were absent (promise P8).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Protocol

from core.address import Address
from core.log import Secret
from directory.annotations import Annotations
from directory.authentication import Logins
from directory.sharing import Sharing
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
)

__all__ = ["Directory", "ImportResult", "ImportRow"]


class Directory(Logins, Protocol):
    """Raises `TemporaryError` when the database is away; other errors as in `core.errors`, with the codes of
    `directory.codes`. The state of an account in lookups and logins is the one that counts (a suspended domain or
    organisation suspends it); administration shows the one that was set on the account itself."""

    async def close(self) -> None: ...

    @property
    def sharing(self) -> Sharing:
        """Shared mailboxes and access lists."""

    @property
    def annotations(self) -> Annotations:
        """METADATA."""

    # --- news ----------------------------------------------------------------------------------------------------

    def changes(self) -> int:
        """How many changes were heard of, by whichever process; another number than before means: look again. It stands
        still where the database does not tell (PostgreSQL): look by the clock, too."""

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """`directory.news.News.listen`."""

    # --- lookups -------------------------------------------------------------------------------------------------

    async def resolve(self, address: Address) -> Resolution:
        """What an address means: exact address, then without its subaddress, then postmaster@ and abuse@ of a
        hosted domain (they always exist: the organisation's first account, or the operator's postmaster), then the
        domain's catch-all, an alias whose local part is "*"."""

    async def hosted_domain(self, name: str) -> Domain | None: ...

    async def account_by_id(self, account_id: str) -> Account | None: ...

    async def may_send_as(self, account: Account, address: Address) -> bool:
        """The account's own address (any subaddress), an alias of its organisation that leads to it, or a grant. False
        when the account is suspended or gone by now, whatever `account` says."""

    async def login(self, identity: str, secret: Secret, *, protocol: str, remote: str) -> LoginResult:
        """Argon2id in a bounded pool, a keyed cache of verified passwords, equal time for unknown users; app passwords
        by their scope. `protocol`: "imap", "smtp"; `remote`: the peer's address. The other ways in are those of
        `directory.authentication.Logins`."""

    async def version(self) -> int:
        """Rises with every administrative change, by whichever process: while it stands still, so does everything."""

    async def identity(self) -> str:
        """By which a directory is known again, after a restore or on another machine; those made apart differ."""

    async def standing(self, account_ids: Collection[str]) -> Standing:
        """What counts for these accounts this moment; never out of date."""

    async def suspended(self) -> frozenset[str]:
        """Ids of all accounts that are suspended: themselves, with their domain or with their organisation."""

    async def still_open(self, login: LoggedIn) -> bool:
        """False once the account is suspended or gone, or has another password than it had at that login, or the app
        password is gone or has ended, or the token has (row 117)."""

    async def administrator(self, token: Secret) -> Administrator | None:
        """Who holds this bearer token; only a hash of it is stored."""

    # --- administration ------------------------------------------------------------------------------------------

    async def add_organisation(self, actor: Actor, name: str) -> Organisation: ...

    async def organisations(self, actor: Actor) -> Sequence[Organisation]: ...

    async def organisation(self, actor: Actor, id_or_name: str) -> Organisation: ...

    async def accounts_of(self, actor: Actor, organisation: str) -> Sequence[Account]:
        """All of an organisation, by id or name."""

    async def suspend_organisation(self, actor: Actor, id_or_name: str) -> Organisation:
        """Its accounts receive but neither log in nor send, its administrators' tokens stop, within 5 s (row 117).
        Operators only. Through `delivery.standing`, like those of accounts: what is queued follows."""

    async def set_organisation_quota(self, actor: Actor, id_or_name: str, quota: int) -> Organisation:
        """What all its accounts may hold together, in octets; 0 unlimited. Operators only."""

    async def resume_organisation(self, actor: Actor, id_or_name: str) -> Organisation: ...

    async def add_domain(self, actor: Actor, name: str, organisation: str) -> Domain: ...

    async def domains(self, actor: Actor) -> Sequence[Domain]: ...

    async def domain(self, actor: Actor, name: str) -> Domain: ...

    async def remove_domain(self, actor: Actor, name: str) -> None:
        """ConflictError while it still has accounts or aliases."""

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
        """`shared`: the mailbox of a function (`directory.types.Account`)."""

    async def accounts(self, actor: Actor, domain: str | None = None) -> Sequence[Account]: ...

    async def account(self, actor: Actor, address: Address) -> Account: ...

    async def set_password(self, actor: Actor, address: Address, password: Secret) -> None:
        """Its app passwords end with the old one (row 117)."""

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
        """The password is shown once and never stored. `networks` () is everywhere, `expires_at` in Unix seconds;
        `bare_lines`: for SEND_ONLY, the device's bare line ends are forgiven."""

    async def app_passwords(self, actor: Actor, address: Address) -> Sequence[AppPassword]: ...

    async def remove_app_password(self, actor: Actor, address: Address, app_id: str) -> None:
        """Sessions that it opened end within 5 s."""

    async def set_quota(self, actor: Actor, address: Address, quota: int) -> None: ...

    async def set_display_name(self, actor: Actor, address: Address, display_name: str) -> None: ...

    async def set_shared(self, actor: Actor, address: Address, shared: bool) -> None: ...

    async def suspend(self, actor: Actor, address: Address) -> None: ...

    async def resume(self, actor: Actor, address: Address) -> None: ...

    async def remove_account(self, actor: Actor, address: Address) -> Account:
        """Aliases forget it as a target; ConflictError (`alias-leads-here`) when one leads here alone."""

    async def add_alias(self, actor: Actor, address: Address, targets: Sequence[Address]) -> Alias: ...

    async def aliases(self, actor: Actor, domain: str | None = None) -> Sequence[Alias]: ...

    async def remove_alias(self, actor: Actor, address: Address) -> None: ...

    async def add_grant(self, actor: Actor, owner: Address, grantee: Address) -> Grant:
        """`grantee` may send in the name of `owner`; both accounts of one organisation. Idempotent."""

    async def grants(self, actor: Actor) -> Sequence[Grant]: ...

    async def remove_grant(self, actor: Actor, owner: Address, grantee: Address) -> None: ...

    async def add_administrator(
        self, actor: Actor, name: str, role: Role, organisation: str | None
    ) -> tuple[Administrator, Secret]:
        """The bearer token is shown once and never stored."""

    async def administrators(self, actor: Actor) -> Sequence[Administrator]: ...

    async def remove_administrator(self, actor: Actor, name: str, organisation: str | None) -> None:
        """`organisation` None: an operator; the last operator cannot be removed. The tokens stop at once."""

    async def remove_administrator_by_id(self, actor: Actor, administrator_id: str) -> None:
        """As `remove_administrator`; `unknown-administrator`, too, for one that the actor does not see."""

    async def set_operator_postmaster(self, actor: Actor, address: Address | None) -> None:
        """Where postmaster@ and abuse@ of this host, and of an organisation without accounts, lead; unset, they are
        unknown there."""

    async def record(self, actor: Actor, action: str, target: str) -> None:
        """A fact for the audit about something that is not the directory's (the queue, say)."""

    async def audit(self, actor: Actor, *, limit: int = 100) -> Sequence[AuditEntry]:
        """Newest first, those of the actor's organisation; at most 1,000."""

    # --- DKIM keys (owned by `dkim_keys`, kept here because this is the only SQL) ---------------------------------

    async def dkim_keys(self, domain: str) -> Sequence[DkimKey]:
        """Every key of a hosted domain, oldest first; empty for others."""

    async def add_dkim_keys(self, keys: Sequence[DkimKey]) -> None: ...

    async def set_dkim_key_states(self, states: Mapping[str, KeyState]) -> None:
        """By key id, all in one commit."""

    # --- import ----------------------------------------------------------------------------------------------------

    def import_accounts(self, actor: Actor, rows: Sequence[ImportRow], *, dry_run: bool) -> AsyncIterator[ImportResult]:
        """`mailbox import`: argon2id hashes taken as they are, clear passwords hashed on all cores."""
