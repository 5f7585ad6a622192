"""The words the store speaks: accounts, folders, messages, flags, changes. Values only; no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import Enum, IntFlag
from typing import Any, NamedTuple, NewType

from core.frozen import dataclass
from directory.types import Account

Uid = NewType("Uid", int)
ModSeq = NewType("ModSeq", int)

MAX_UID = 2**32 - 1
DELIMITER = "/"  # between levels of a folder name, as IMAP shows it
INBOX = "INBOX"


class Flag(IntFlag):
    """System flags of RFC 9051 2.3.2 with their Maildir letters S R F T D. \\Recent is no message's but a session's
    (`Snapshot.recent_from`)."""

    SEEN = 1
    ANSWERED = 2
    FLAGGED = 4
    DELETED = 8
    DRAFT = 16


NO_FLAGS = Flag(0)


@dataclass(frozen=True, slots=True)
class AccountRef:
    """Where an account lives. `local` is the canonical local part (case-folded, unquoted), `domain` the A-label;
    `organisation_id` bounds inode sharing; `quota` in octets, 0 is unlimited; `organisation_quota` is the ceiling of
    all accounts of the organisation together."""

    id: str
    organisation_id: str
    domain: str
    local: str
    quota: int = 0
    organisation_quota: int = 0

    @property
    def address(self) -> str:
        return f"{self.local}@{self.domain}"

    @staticmethod
    def of(account: Account) -> AccountRef:
        """The directory's account as the store names it."""
        address = account.address
        local, ceiling = address.local.casefold(), account.organisation_quota
        return AccountRef(account.id, account.organisation_id, address.domain, local, account.quota, ceiling)


class Folder(NamedTuple):
    """One IMAP mailbox. `name` is NFC Unicode with "/" between levels; `special_use` as "\\\\Sent" or "". A named
    tuple, which is quick to make: LIST wants thousands."""

    id: str
    name: str
    uidvalidity: int
    uidnext: int
    highest_modseq: int
    messages: int
    unseen: int
    deleted: int
    size: int
    special_use: str = ""
    subscribed: bool = True


class Room(NamedTuple):
    """What may still be added to an account, in octets: up to `quota` in it (0 unlimited), and `spare` more in all
    accounts of its organisation together (None: no ceiling)."""

    quota: int = 0
    spare: int | None = None


class Message(NamedTuple):
    """One row of the index: all that a client asks for in its first synchronisation, without opening the file. A named
    tuple, because 100,000 of them are made for one FETCH: 0.6 µs each instead of a frozen dataclass's 4.3.

    `envelope`, `bodystructure`, `body` are the IMAP wire forms (RFC 9051 7.5.2) made by `message.facts`; `parts` is
    `message.mime.Structure.pack()`; `headers` the raw well-known fields, in their order (`message.facts.KEPT_FIELDS`).
    Fields that were not asked for (see `Column`) hold their empty defaults. Dates are Unix seconds.
    """

    uid: Uid
    flags: Flag
    keywords: tuple[str, ...] = ()
    modseq: ModSeq = ModSeq(0)
    internal_date: int = 0
    save_date: int = 0
    size: int = 0
    email_id: str = ""
    thread_id: str = ""
    envelope: bytes = b""
    bodystructure: bytes = b""
    body: bytes = b""
    parts: bytes = b""
    headers: bytes = b""
    preview: str = ""
    sent_date: int = 0


class Stretch(NamedTuple):
    """The flags of all messages with UIDs from one to another, for whoever knows these UIDs. `flags`: an octet each, in
    the order of UIDs; `keywords`: what each of them has, None when they differ (`flags` is empty then); `modseq`: the
    highest."""

    messages: int
    modseq: int = 0
    flags: bytes = b""
    keywords: tuple[str, ...] | None = ()


# Messages column by column, by the names of `Message`'s fields, ascending by UID: what is quick to make of very many.
# Always there are "uid", "flags" (bits of `Flag`), "keywords" (None or () where a message has none) and "modseq".
Table = Mapping[str, Sequence[Any]]


class Column(IntFlag):
    """What `Mailbox.rows` is to bring; uid, flags, keywords and modseq always come."""

    NONE = 0
    DATES = 1  # internal_date, save_date, size
    IDS = 2  # email_id, thread_id
    ENVELOPE = 4
    STRUCTURE = 8  # bodystructure, body
    PARTS = 16
    HEADERS = 32
    PREVIEW = 64
    SENT = 128  # sent_date


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What SELECT fixes (design.md section 5): the view is the UIDs below `uidnext` present at `modseq`."""

    folder: Folder
    uidvalidity: int
    uidnext: int
    modseq: int
    messages: int
    first_unseen: int  # sequence number of the first unseen message, 0 if none
    keywords: tuple[str, ...] = ()
    recent_from: int = MAX_UID  # what has this UID or a higher one is recent in the session (RFC 3501 2.3.2)
    recent: int = 0  # how many these are


@dataclass(frozen=True, slots=True)
class Appended:
    """A message that became visible."""

    folder_id: str
    uidvalidity: int
    uid: Uid
    modseq: ModSeq


@dataclass(frozen=True, slots=True)
class Copied:
    """The answer to COPY and MOVE: `pairs` of (source UID, target UID) in source order (RFC 4315 3). `removed`: what
    the source lost by a MOVE, where that is known."""

    uidvalidity: int
    pairs: tuple[tuple[Uid, Uid], ...]
    removed: Changes | None = None


@dataclass(frozen=True, slots=True)
class FlagsChanged:
    """The answer to STORE: rows as they are now (only `uid flags keywords modseq`), and the UIDs that failed
    UNCHANGEDSINCE (RFC 7162 3.1.3). `unseen`: others had changed them after the mod-sequence that whoever asked had
    seen. `modseq`: the one of this change, 0 where it changed nothing."""

    messages: tuple[Message, ...]
    modified: tuple[Uid, ...] = ()
    unseen: tuple[Uid, ...] = ()
    modseq: int = 0


@dataclass(frozen=True, slots=True)
class Changes:
    """All that happened in one folder after a mod-sequence: flag rows (only `uid flags keywords modseq`; new messages
    among them), UIDs gone (ascending), and where the folder stands now."""

    modseq: int
    uidnext: int
    messages: tuple[Message, ...] = ()
    vanished: tuple[Uid, ...] = ()
    gone: bool = False  # the folder itself was deleted


@dataclass(frozen=True, slots=True)
class Hint:
    """A wake-up between sessions and processes: something was committed; the listener reads what (never trusted)."""

    account_id: str
    folder_id: str
    modseq: int


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how one message is put: what `deliver` and `append` take beside the bytes."""

    folder: str = INBOX  # a name; created when it is a standard folder that is missing
    flags: Flag = NO_FLAGS
    keywords: Sequence[str] = field(default_factory=tuple)
    internal_date: float | None = None  # Unix seconds; now if None
    delivery_id: str = ""  # queue id and recipient: a redelivery after a crash is recognised by it


class SortKey(Enum):
    """What SORT may order by (RFC 5256 3; DISPLAYFROM and DISPLAYTO: RFC 5957 3)."""

    ARRIVAL = "ARRIVAL"
    CC = "CC"
    DATE = "DATE"
    DISPLAYFROM = "DISPLAYFROM"
    DISPLAYTO = "DISPLAYTO"
    FROM = "FROM"
    SIZE = "SIZE"
    SUBJECT = "SUBJECT"
    TO = "TO"


@dataclass(frozen=True, slots=True)
class SortCriterion:
    key: SortKey
    reverse: bool = False


class ThreadAlgorithm(Enum):
    """How THREAD groups messages (RFC 5256 3)."""

    ORDEREDSUBJECT = "ORDEREDSUBJECT"
    REFERENCES = "REFERENCES"


class ThreadNode(NamedTuple):
    """One message and what answers it, in order. `uid` 0: a parent that is missing from the result."""

    uid: int
    children: tuple[ThreadNode, ...] = ()


@dataclass(frozen=True, slots=True)
class Recycled:
    """What lies in the recycle bin: a removed account (`folder` "") or a deleted folder. `address` as it was then;
    `removed_at` in Unix seconds; `id` names the item for `StoreAdministration.restore`."""

    id: str
    account_id: str
    organisation_id: str
    address: str
    folder: str
    removed_at: int
    messages: int
    octets: int


@dataclass(frozen=True, slots=True)
class Restored:
    """Mail that came back: `folder` is the one above all that was made, "" when the account is as it was. `left_out`:
    a line for each folder and file that could not be read, with the cause."""

    folder: str
    folders: int
    messages: int
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Adopted:
    """What of another server's mail is here now: `copied` of `messages` were new in this run. `renumbered`: folders
    with mail whose UIDs the source does not tell; clients download them again."""

    folders: int
    messages: int
    octets: int
    copied: int
    renumbered: tuple[str, ...] = ()
