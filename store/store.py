"""The store's async face: narrow, the only thing that protocols and delivery see.

Commit, publish, acknowledge: every method that changes something returns after its commit is durable and its `Hint`
is published. Errors: `StorageError` (disk; nothing was kept), `QuotaError`, `NotFoundError` (folder or message gone),
`ConflictError` (folder exists), `InvalidError` (a name or keyword out of bounds).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from core.errors import MailError
from message.content import Content
from message.header import Head
from store.types import (
    NO_FLAGS,
    AccountRef,
    Adopted,
    Appended,
    Changes,
    Column,
    Copied,
    Flag,
    FlagsChanged,
    Folder,
    Hint,
    Message,
    Placement,
    Recycled,
    Restored,
    Snapshot,
    SortCriterion,
    Stretch,
    Table,
    ThreadAlgorithm,
    ThreadNode,
    Uid,
)

UidRanges = Sequence[tuple[int, int]]  # inclusive pairs, ascending, disjoint: ((1, 3), (7, 7))
Progress = Callable[[int, int, int], None]  # accounts done, of all; messages read so far (rebuild alone counts them)
LARGEST_SMALL = 64 * 1024  # octets of a message that `Mailbox.small` reads


class Spool(Protocol):
    """A message while it arrives: in memory up to 256 KiB, then an unsynced file whose space was reserved first."""

    @property
    def size(self) -> int: ...

    async def write(self, block: bytes) -> None:
        """Append. Raises `StorageError` when space is short (452 4.3.1); the spool is then useless."""

    def content(self) -> Content:
        """What arrived so far, readable until `close`."""

    async def close(self) -> None:
        """Forget it all; idempotent."""


class Staged(Protocol):
    """A message written and synced under a temporary name, visible to nobody; `deliver` links it where it belongs."""

    async def deliver(self, account: AccountRef, placement: Placement) -> Appended:
        """Make it visible in one account's folder. A second call with the same `delivery_id` answers the first
        result (a redelivery after a crash). Raises `QuotaError`, `StorageError`."""

    async def __aenter__(self) -> Staged: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the temporary name; what was delivered stays."""


class MessageFile(Protocol):
    """An open message: range reads of its exact bytes. `read` runs in a thread when it is long. Raises
    UnreadableError."""

    @property
    def size(self) -> int: ...

    async def read(self, start: int, stop: int) -> bytes: ...

    async def check(self, start: int, stop: int) -> None:
        """Before a length is announced that could not be taken back: what cannot be read is told now."""

    def close(self) -> None: ...


class Mailbox(Protocol):
    """One folder of an open account, by its id: it follows renames. Holds no lock and no transaction between calls."""

    @property
    def folder_id(self) -> str: ...

    async def snapshot(self, *, take_recent: bool = False) -> Snapshot:
        """What SELECT answers from; O(1) in the number of messages when the index is present. `take_recent`: what is
        recent in it is so for nobody else from now on (RFC 3501 2.3.2)."""

    async def recent_from(self, uidnext: int, *, take: bool) -> int:
        """What lies below `uidnext`, and from the answer on, is recent; with `take` for nobody else from now on."""

    async def uids(self, snapshot: Snapshot) -> Sequence[int]:
        """The UIDs of the snapshot in ascending order: present ones below its UIDNEXT and those expunged since."""

    def rows(self, ranges: UidRanges, columns: Column, *, blank: bool = False) -> AsyncIterator[Sequence[Message]]:
        """The messages present in these UIDs, ascending, in bounded batches; no cursor survives a batch. Those whose
        files cannot be read are left out where `columns` asks for what only files tell; after all others
        UnreadableError tells how many. `blank`: they come with empty columns instead (searches, RFC 5256 2.2)."""

    def tables(self, ranges: UidRanges, fields: tuple[str, ...]) -> AsyncIterator[Table]:
        """The same messages as `rows`, with these fields of `Message`, in batches that are never empty."""

    async def stretch(self, first: int, last: int) -> Stretch:
        """The flags of the messages present from UID `first` to `last`: some thousands at most, for they are read in
        one go."""

    async def open(self, uid: Uid) -> MessageFile:
        """Raises `NotFoundError` when it was expunged and its file is gone."""

    async def small(self, uids: Sequence[int]) -> Sequence[bytes]:
        """The octets of these messages, all held in memory: of so many, from the first on, as are small ones that can
        be read just so. Of the next one `open` tells more. NotFoundError: the folder is gone."""

    async def changes(self, since: int, uidnext: int) -> Changes:
        """All that happened after mod-sequence `since` (CONDSTORE, QRESYNC, NOOP). `uidnext`: what the caller had
        seen; vanished UIDs at or above it are left out."""

    async def store_flags(
        self,
        ranges: UidRanges,
        *,
        add: Flag = NO_FLAGS,
        remove: Flag = NO_FLAGS,
        replace: bool = False,
        add_keywords: Sequence[str] = (),
        remove_keywords: Sequence[str] = (),
        unchanged_since: int | None = None,
        seen: int | None = None,
    ) -> FlagsChanged:
        """`replace`: the flags become exactly `add` and `add_keywords`. Rows that did not change keep their
        mod-sequence (RFC 7162 3.1.3 allows it) and are still listed. `seen`: up to which mod-sequence the caller knows
        what happened; what others changed since is named."""

    async def expunge(self, ranges: UidRanges | None, *, only_deleted: bool = True) -> Changes:
        """Remove messages: those with \\Deleted within `ranges` (None: all). Journal, commit, publish, answer."""

    async def copy(self, ranges: UidRanges, target: str) -> Copied:
        """To folder `target` (a name): all or nothing, flags, keywords, dates kept. NotFoundError: no such folder."""

    async def move(self, ranges: UidRanges, target: str) -> Copied:
        """Like copy, then the sources are gone in the same commit when the account is the same (RFC 6851 3.3)."""

    async def replace(self, uid: Uid, content: Content, placement: Placement) -> Appended:
        """Append to `placement.folder` and expunge `uid` here in one commit (RFC 8508). NotFoundError: `uid` or the
        folder is gone, and nothing was appended. QuotaError counts the old message's room as free."""

    async def touch(self) -> None:
        """Raise the mod-sequence: something changed that belongs to the folder and is kept elsewhere (an annotation,
        RFC 7162 3.2)."""

    async def sort(self, uids: Sequence[int], criteria: Sequence[SortCriterion]) -> Sequence[int]:
        """`uids` (of this folder) in the order asked; those expunged meanwhile are left out."""

    async def threads(self, uids: Sequence[int], algorithm: ThreadAlgorithm) -> Sequence[ThreadNode]:
        """`uids` (of this folder) as threads; those expunged meanwhile are left out."""

    async def search_field(self, ranges: UidRanges, field: str, pattern: str) -> Sequence[int]:
        """UIDs whose header field (FROM, TO, CC, BCC or SUBJECT, in any case) contains `pattern`, compared as
        `message.collation.searchable` says; an empty pattern asks for the field (RFC 9051 6.4.4). ValueError: another
        field."""

    async def search_text(self, ranges: UidRanges, pattern: str, *, body_only: bool) -> Sequence[int]:
        """UIDs whose text (header and body, or body alone) contains `pattern` without case (RFC 9051 6.4.4)."""

    async def similar_words(self, word: str, most: int) -> Sequence[tuple[str, float]]:
        """Words of the account that are nearly `word` (`message.collation.searchable` form) and how nearly, the likest
        first; only what is indexed already."""


class AccountStore(Protocol):
    """One open account. Folder names are NFC Unicode with "/"; INBOX in any case means INBOX."""

    @property
    def ref(self) -> AccountRef: ...

    async def folders(self) -> Sequence[Folder]:
        """All, INBOX first, then by name; standard folders are made at first use of the account."""

    async def folder(self, name: str) -> Folder | None: ...

    async def recent(self, folders: Sequence[Folder]) -> Sequence[int]:
        """How many messages are recent in each for whoever selects it now; `folders` as this account gave them just
        before."""

    async def mailbox(self, name: str) -> Mailbox:
        """Raises `NotFoundError`."""

    async def glance(self, name: str, *, take_recent: bool = False) -> Snapshot | None:
        """`mailbox` and its `snapshot` in one look, which is all that SELECT takes nearly always. None: there is no
        such folder, or somebody may have changed its files; these two tell."""

    def opened(self, folder: Folder) -> Mailbox:
        """Of a folder that this account gave. Whether it is still there is told to whoever asks it something."""

    async def create(self, name: str, *, special_use: str = "", subscribed: bool = True) -> Folder:
        """With missing parents; a name that was subscribed to before stays so. InvalidError: name out of bounds (h097);
        QuotaError: too many folders."""

    async def rename(self, old: str, new: str) -> None:
        """With children; INBOX leaves an empty INBOX behind (RFC 9051 6.3.6)."""

    async def delete(self, name: str) -> None:
        """InvalidError for INBOX; children stay (their parent becomes a name without messages)."""

    async def subscribe(self, name: str, subscribed: bool) -> None: ...

    async def subscriptions(self) -> Sequence[str]:
        """Names, among them those whose folder is gone (RFC 9051 6.3.7)."""

    async def append(self, items: Sequence[tuple[Content, Placement]]) -> Sequence[Appended]:
        """All or nothing, into one folder, in order (RFC 3502)."""

    async def append_each(
        self, commands: Sequence[Sequence[tuple[Content, Placement]]]
    ) -> Sequence[Sequence[Appended] | MailError]:
        """`append` for each, in their order, with one sync for all where they fit: what became of each. A disk that
        fails them together is raised."""

    async def usage(self) -> tuple[int, int]:
        """(octets, messages) of the account, exact."""

    async def organisation_usage(self) -> int:
        """Octets of all accounts of the organisation, at most 5 s late; 0 where it has no ceiling. Whatever would add
        to it past `ref.organisation_quota` raises QuotaError, as for the account's own quota."""

    def listen(self, callback: Callable[[Hint], None]) -> Callable[[], None]:
        """Call `callback` on the loop for each change in this account, from any process; returns how to stop."""


class StoreAdministration(Protocol):
    """What an administrator does with whole accounts. Callers bound it by organisation."""

    async def recycled(self, organisation_id: str | None = None) -> Sequence[Recycled]:
        """What lies in the recycle bin, oldest first; None: of every organisation."""

    async def restore(self, ref: AccountRef, items: Sequence[Recycled]) -> Restored:
        """Bring items back into folders below a new one ("Restauration 2026-11-22"), beside what the account has; they
        stay in the bin until their time is over. NotFoundError: gone, or another organisation's; QuotaError."""

    async def restore_copy(self, ref: AccountRef, data: Path, folder: str | None = None) -> Restored:
        """The same from a copy of a data directory (a backup); `folder`: only that one and what is below it."""

    async def give_back(self, ref: AccountRef, item: Recycled) -> Restored:
        """A removed account becomes the account `ref` as it was, with its UIDs, so that mail programs download nothing
        again. ConflictError when `ref` holds mail already."""

    async def adopt(self, ref: AccountRef, maildir: Path, *, finish: bool) -> Adopted:
        """Copy a Dovecot Maildir++ with its UIDs, UIDVALIDITYs, flags, keywords and dates; the source stays. May be
        repeated: what is here already stays. With `finish` it becomes the account, which must hold no mail yet
        (ConflictError). NotFoundError, InvalidError: the source is no Maildir, or holds packed mail."""

    async def organisation_octets(self, organisation_id: str) -> int:
        """What its accounts hold together, at most 5 s late."""

    async def on_disk(self, domain: str | None = None) -> Sequence[AccountRef]:
        """Every account that has a directory, as its side file names it (quotas are the directory's to know)."""

    async def raise_numbers(self, domain: str | None) -> tuple[int, Sequence[str]]:
        """After files were brought back from an older copy: go on with UIDs and mod-sequences that nobody was given
        (fault 167). How many accounts do, and a line for each account and folder that does not, because it cannot be
        read or written: all others do."""

    async def left_alone(self, domain: str | None) -> Sequence[str]:
        """One line for each file in a folder that can be no message (a link, another user's file), and each folder that
        cannot be read: nobody is served it."""

    async def leftover(self, domain: str, local: str) -> AccountRef | None:
        """The account whose mail lies at an address on disk, whoever the directory knows there."""

    async def purge(self) -> int:
        """Unlink what lies in the bin for more than `limits.recycle_days`; the number of items."""


class Store(Protocol):
    """The whole store of one installation."""

    @property
    def administration(self) -> StoreAdministration: ...

    async def open(self) -> None:
        """Check the marker file, recover what a crash left, start the flusher and the hint listener. Raises
        `StorageError` when the data directory is not ours or is missing (fault 170)."""

    async def close(self) -> None:
        """Write exact floors and pending flag letters; clean stop."""

    async def account(self, ref: AccountRef) -> AccountStore:
        """Open (made at first use); cheap when it is in the LRU."""

    def opens_alone(self, ref: AccountRef) -> bool:
        """Whether `account` would open it now, and nobody waits for another to be opened."""

    def spool(self, *, limit: int, declared: int = 0) -> Spool: ...

    async def stage(
        self, prefix: bytes | Head, content: Content, *, first: AccountRef, skip: int = 0, synced: bool = True
    ) -> Staged:
        """Write `prefix` + `content[skip:]` once under `first`'s directory and sync it; it can then be delivered to
        several accounts. `prefix` is the new header lines (Return-Path, Received, results); with `skip` =
        len(content.head) the caller rewrites the whole header block, and may give it as the `Head` that it is. Not
        `synced`: who does nothing durable before `deliver` leaves it to that to wait for the sync."""

    async def remove_account(self, ref: AccountRef) -> None:
        """Into the recycle bin."""

    async def verify(self, domain: str | None, progress: Progress | None = None) -> Sequence[str]:
        """Files against index; one line per fault found, empty when all is well."""

    async def fill_text(self, domain: str | None) -> None:
        """Every message into its account's text index now, rather than when the account is quiet."""

    async def rebuild(self, domain: str | None, progress: Progress | None = None) -> int:
        """Make every index again from the files; the number of messages. Raises StorageError, which names the accounts
        that failed, when all others are done."""
