"""The words of the directory: organisation, domain, account, alias, operator; what a lookup and a login answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from core.address import Address
from core.log import Secret
from directory.rights import Right


class Role(Enum):
    """OPERATOR: the département, all organisations. ORGANISATION: one commune's administrator. No role reads mail."""

    OPERATOR = "operator"
    ORGANISATION = "organisation"


class State(Enum):
    ACTIVE = "active"
    SUSPENDED = "suspended"  # receives, cannot log in or send


@dataclass(frozen=True, slots=True)
class Standing:
    """What counts for some accounts, by id, at one moment: a suspended domain or organisation suspends its accounts.
    `gone`: there are none of these ids."""

    active: frozenset[str] = frozenset()
    suspended: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for an administrative operation. `organisation_id` is None exactly for an operator; the command line
    acts as `Actor.console()`."""

    name: str
    role: Role
    organisation_id: str | None

    @staticmethod
    def console() -> Actor:
        return Actor("console", Role.OPERATOR, None)


@dataclass(frozen=True, slots=True)
class Organisation:
    """`quota`: what all its accounts may hold together, in octets; 0 unlimited."""

    id: str
    name: str
    state: State
    quota: int = 0


@dataclass(frozen=True, slots=True)
class Domain:
    """`name` is the A-label."""

    id: str
    name: str
    organisation_id: str
    state: State


@dataclass(frozen=True, slots=True)
class Account:
    """A person's or a function's mailbox. `quota` in octets, 0 unlimited; `address` is the primary one. `shared`: of a
    function, so that whoever it is shared with finds it under "Shared" and not under "Other Users".
    `organisation_quota`: the ceiling of its organisation."""

    id: str
    address: Address
    organisation_id: str
    display_name: str
    quota: int
    state: State
    shared: bool = False
    organisation_quota: int = 0


# The mailbox of no person that keeps what comes for postmaster@ and abuse@ while nobody reads it (RFC 5321 4.5.1).
KEEPER = "postmaster"


def keeper(hostname: str, quota: int) -> Account:
    """It lies under this host's own name, belongs to no organisation, and nobody logs into it. Its address leads to
    postmaster@ (RFC 5233) and leaves that one to a mailbox, where the host's name is a domain of somebody."""
    return Account(KEEPER, Address("postmaster+kept", hostname), "", "", quota, State.ACTIVE)


@dataclass(frozen=True, slots=True)
class Alias:
    id: str
    address: Address
    targets: tuple[Address, ...]
    organisation_id: str


@dataclass(frozen=True, slots=True)
class Administrator:
    id: str
    name: str
    role: Role
    organisation_id: str | None


# What an address means (the answer of `Directory.resolve`):


@dataclass(frozen=True, slots=True)
class LocalAccount:
    account: Account


@dataclass(frozen=True, slots=True)
class AliasOf:
    targets: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class UnknownUser:
    """The domain is ours, the user is not there."""


@dataclass(frozen=True, slots=True)
class ForeignDomain:
    """Not ours: relaying, unless the sender is logged in."""


Resolution = LocalAccount | AliasOf | UnknownUser | ForeignDomain

# What a login answers:


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """`credential` names what was logged in with: a new password has a new name, and `Directory.still_open` then says
    that this login is over."""

    account: Account
    credential: str = ""
    expires_at: float | None = None  # Unix seconds after which this login is over
    bare_lines: bool = False  # its bare line ends are forgiven and mended (security.md, Decided)


@dataclass(frozen=True, slots=True)
class LoginRefused:
    """`reason`: "bad-credentials" (unknown user and wrong password look the same), "suspended", "throttled", "token",
    "certificate" (not known here, or not this account's)."""

    reason: str


@dataclass(frozen=True, slots=True)
class LoginUnavailable:
    """The directory or the hashing queue cannot answer now: 454 4.7.0, NO [UNAVAILABLE]."""


LoginResult = LoggedIn | LoginRefused | LoginUnavailable


class Scope(Enum):
    """What an app password opens. MAIL: a mail program on a device. SEND_ONLY: a copier, business software."""

    MAIL = "mail"
    IMAP = "imap"
    SUBMISSION = "submission"
    SEND_ONLY = "send-only"


@dataclass(frozen=True, slots=True)
class AppPassword:
    """A password made for one program or device, as it is listed; the password itself is shown once and kept nowhere.
    `networks` () is everywhere; times in Unix seconds."""

    id: str
    label: str
    scope: Scope
    networks: tuple[str, ...]
    expires_at: float | None
    bare_lines: bool
    created_at: float


class KeyState(Enum):
    """The life of a DKIM key: its record is published, it signs, its record stays until old mail has arrived."""

    PUBLISHED = "published"
    ACTIVE = "active"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class DkimKey:
    """One row of a domain's keys. `algorithm` "rsa" or "ed25519"; `public_key` as in the p= tag (base64);
    `sealed_private_key` is encrypted under the installation's master key (promise P10), opened by `dkim_keys` only."""

    id: str
    domain: str
    selector: str
    algorithm: str
    state: KeyState
    public_key: str
    sealed_private_key: bytes
    created_at: int


# What administration adds to these:


@dataclass(frozen=True, slots=True)
class Grant:
    """`grantee` may send in the name of `owner`; both are accounts of one organisation."""

    owner: Address
    grantee: Address


@dataclass(frozen=True, slots=True)
class Share:
    """`grantee` (None: everybody of the organisation) has these rights in all folders of `owner`. `set_quota`: and may
    set how much it may hold (RFC 9208 4.1.3)."""

    owner: Address
    grantee: Address | None
    rights: Right
    send_as: bool
    set_quota: bool = False


@dataclass(frozen=True, slots=True)
class AclEntry:
    """One line of a folder's access list. `grantee` None: anyone (RFC 4314 2), here everybody of the organisation.
    `negative`: these rights are taken from whoever it is, whatever else grants them."""

    grantee: Address | None
    rights: Right
    negative: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What SETACL does to one entry (RFC 4314 3.1): `sign` "+" adds, "-" removes, "" replaces. `negative`: the entry is
    one of negative rights (RFC 4314 2)."""

    sign: str
    rights: Right
    negative: bool = False

    def applied(self, before: Right) -> Right:
        if self.sign == "+":
            return before | self.rights
        return before & ~self.rights if self.sign == "-" else self.rights


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the audit: `at` in Unix seconds; `outcome` "done", or "denied" when it was not the actor's."""

    at: float
    actor: str
    role: Role
    organisation_id: str | None
    action: str
    target: str
    outcome: str


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One line of `mailbox import`, as written: `password` is clear or an argon2id hash, `quota` as "5G" or ""."""

    line: int
    address: str
    password: Secret
    quota: str = ""
    display_name: str = ""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What became of a line: `error` and `warning` are codes of `directory.codes`, "" when there is none. An added
    mailbox has `error` "" and is committed."""

    line: int
    address: str
    error: str = ""
    warning: str = ""
