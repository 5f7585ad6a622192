"""Everything the server says, as bytes: tagged and untagged responses, response codes (RFC 9051 7).

Knows the forms and no state. Text comes from us only; names, keywords and strings from outside pass through
`wire.encode`, so nothing emitted breaks a line (promise P9).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache

from core.frozen import dataclass
from directory.rights import ALL, Right
from imap.errors import Code
from imap.namespaces import Namespaces
from imap.permits import allowed_flags
from imap.types import FlagSet, Ranges, SeqNum
from imap.wire import encode, sequence
from store.types import DELIMITER, Flag, ModSeq, Uid

CONTINUE = b"+ OK\r\n"  # for a synchronising literal
IDLING = b"+ idling\r\n"

FLAG_NAMES: tuple[tuple[Flag, bytes], ...] = (
    (Flag.ANSWERED, b"\\Answered"),
    (Flag.FLAGGED, b"\\Flagged"),
    (Flag.DELETED, b"\\Deleted"),
    (Flag.SEEN, b"\\Seen"),
    (Flag.DRAFT, b"\\Draft"),
)
ALL_FLAGS = Flag.SEEN | Flag.ANSWERED | Flag.FLAGGED | Flag.DELETED | Flag.DRAFT


@dataclass(frozen=True, slots=True)
class Ok:
    """How a handler says that all went well: the text and code of the tagged OK."""

    text: str
    code: str = Code.NONE


# --- status responses ------------------------------------------------------------------------------------------------

_DELIMITER = DELIMITER.encode("ascii")


def tagged(tag: str, status: str, text: str, code: str = "") -> bytes:
    """resp-cond-state after a tag: `status` is OK, NO or BAD."""
    return f"{tag} {status} {_code(code)}{text}\r\n".encode()


def untagged(status: str, text: str, code: str = "") -> bytes:
    """`status` is OK, NO, BAD, PREAUTH or BYE."""
    return f"* {status} {_code(code)}{text}\r\n".encode()


def _code(code: str) -> str:
    return f"[{code}] " if code else ""


def capability_code(names: Sequence[str]) -> str:
    return " ".join(("CAPABILITY", *names))


def append_uid(uidvalidity: int, uids: Sequence[int]) -> str:
    """APPENDUID, RFC 4315 3: `uids` ascending, one per message."""
    return f"APPENDUID {uidvalidity} {sequence.encode_numbers(uids).decode('ascii')}"


def copy_uid(uidvalidity: int, pairs: Sequence[tuple[Uid, Uid]]) -> Iterator[str]:
    """COPYUID, RFC 4315 3: two sets whose n-th members belong together. Neither is sorted: order is the meaning. In
    pieces (`sequence.in_order`)."""
    yield f"COPYUID {uidvalidity}"
    for numbers in ([source for source, _ in pairs], [target for _, target in pairs]):
        yield " "
        yield from (piece.decode("ascii") for piece in sequence.in_order(numbers))


def highest_modseq_code(modseq: int) -> str:
    """HIGHESTMODSEQ, RFC 7162 3.1.2.1."""
    return f"HIGHESTMODSEQ {modseq}"


def highest_modseq(modseq: int) -> bytes:
    return untagged("OK", "all changes up to here were told", highest_modseq_code(modseq))


def mailbox_id_code(folder_id: str) -> str:
    """MAILBOXID, RFC 8474 4.1 and 4.2."""
    return f"MAILBOXID ({folder_id})"


def selected(*, uidnext: int, uidvalidity: int, modseq: int, folder_id: str) -> bytes:
    """The numbers of a mailbox that is opened, in one piece (RFC 9051 6.3.2)."""
    return (
        f"* OK [UIDNEXT {uidnext}] next UID\r\n* OK [UIDVALIDITY {uidvalidity}] UIDs are valid\r\n"
        f"* OK [{highest_modseq_code(modseq)}] highest\r\n* OK [{mailbox_id_code(folder_id)}] this mailbox\r\n"
    ).encode("ascii")


def modified_code(numbers: Iterable[int]) -> str:
    """MODIFIED, RFC 7162 3.1.3: the messages that failed UNCHANGEDSINCE, by UID or number as the command."""
    return f"MODIFIED {sequence.encode_numbers(numbers).decode('ascii')}"


def in_progress(tag: str, done: int | None, goal: int | None) -> bytes:
    """INPROGRESS, RFC 9585 4: the goal is always above what is done; a tag with "]" cannot stand in a code."""
    word = "NIL" if "]" in tag else f'"{tag}"'
    if done is None:
        goal = None
    elif goal is not None:
        goal, done = (goal, min(done, goal - 1)) if goal > 0 else (None, done)
    counted = " ".join("NIL" if number is None else str(number) for number in (done, goal))
    return untagged("OK", "still working", f"INPROGRESS ({word} {counted})")


# --- mailbox size and flags ------------------------------------------------------------------------------------------


def exists(count: int) -> bytes:
    return b"* %d EXISTS\r\n" % count


def recent(count: int) -> bytes:
    """RFC 3501 7.3.2; never once IMAP4rev2 is enabled."""
    return b"* %d RECENT\r\n" % count


def expunge(number: SeqNum) -> bytes:
    return b"* %d EXPUNGE\r\n" % number


def _plain_list(bits: int) -> bytes:
    return encode.parenthesised([name for flag, name in FLAG_NAMES if flag & bits])


PLAIN_LISTS = tuple(_plain_list(bits) for bits in range(ALL_FLAGS + 1))  # most lists there are, made once


def _listed(names: bytes, keywords: Iterable[str]) -> bytes:
    """`names`: those of flags, with a blank between two."""
    words = [keyword.encode("ascii", "replace") for keyword in keywords]
    return encode.parenthesised([names, *words] if names else words)


_NAMES = tuple(listed[1:-1] for listed in PLAIN_LISTS)
_RECENT_NAMES = tuple(b" ".join(filter(None, (names, b"\\Recent"))) for names in _NAMES)
RECENT_LISTS = tuple(_listed(names, ()) for names in _RECENT_NAMES)


def flag_list(flags: int, keywords: Collection[str] = (), *, wildcard: bool = False) -> bytes:
    """The parenthesised list of a `Flag`'s bits; `wildcard` adds \\* (new keywords are allowed, PERMANENTFLAGS)."""
    if not (keywords or wildcard):
        return PLAIN_LISTS[flags]
    return _listed(_NAMES[flags], (*keywords, "\\*") if wildcard else keywords)


def recent_flag_list(flags: int, keywords: Collection[str] = ()) -> bytes:
    """The same with \\Recent (RFC 3501 2.3.2)."""
    return _listed(_RECENT_NAMES[flags], keywords) if keywords else RECENT_LISTS[flags]


@lru_cache(maxsize=64)  # mailboxes mostly have the same few
def flags(keywords: tuple[str, ...]) -> bytes:
    """FLAGS: all that this mailbox knows, RFC 9051 7.3.5."""
    return b"* FLAGS %b\r\n" % flag_list(ALL_FLAGS, keywords)


@lru_cache(maxsize=64)
def permanent_flags(
    keywords: tuple[str, ...], *, read_only: bool, rights: Right = ALL, most: int | None = None
) -> bytes:
    """What stays of what this client sets: RFC 4314 5.1.1 wants the rights in it. With `most` keywords there are no new
    ones to be made, which "\\*" would promise (RFC 9051 7.1)."""
    words = Right.WRITE in rights
    more = words and (most is None or len(keywords) < most)
    listed = b"()" if read_only else flag_list(allowed_flags(rights), keywords if words else (), wildcard=more)
    return b"* OK [PERMANENTFLAGS %b] Flags that stay\r\n" % listed


def fetch(number: SeqNum, items: Sequence[bytes]) -> bytes:
    """A whole FETCH response; long ones are sent in pieces by the FETCH command itself."""
    return b"* %d FETCH (%b)\r\n" % (number, b" ".join(items))


def fetch_flags(
    number: SeqNum,
    have: FlagSet | None,
    *,
    uid: Uid | None = None,
    modseq: ModSeq | None = None,
    uid_only: bool = False,
) -> bytes:
    """What STORE and unsolicited updates say; `modseq` once CONDSTORE is enabled (RFC 7162 3.1), then also without
    flags (`have` None: a .SILENT STORE). `uid_only`: the UID stands for the number (RFC 9586 3)."""
    items = [] if uid is None or uid_only else [b"UID %d" % uid]
    if have is not None:
        listed = recent_flag_list if have.recent else flag_list
        items.append(b"FLAGS %b" % listed(have.flags, have.keywords))
    if modseq is not None:
        items.append(b"MODSEQ (%d)" % modseq)
    if uid_only and uid is not None:
        return b"* %d UIDFETCH (%b)\r\n" % (uid, b" ".join(items))
    return fetch(number, items)


def vanished(ranges: Ranges, *, earlier: bool = False) -> bytes:
    """VANISHED, RFC 7162 3.2.10."""
    return b"* VANISHED %b%b\r\n" % (b"(EARLIER) " if earlier else b"", sequence.encode(ranges))


def uid_batches(tag: str, ranges: Ranges) -> bytes:
    """UIDBATCHES, RFC 10022 3.1.3: (highest, lowest) UID of each batch, the newest first."""
    told = b",".join(b"%d:%d" % pair for pair in ranges)
    return b'* UIDBATCHES (TAG "%b")%b\r\n' % (tag.encode("ascii"), b" " + told if told else b"")


def context_update(tag: str, word: str, places: Sequence[tuple[int, Sequence[int]]], *, by_uid: bool) -> bytes:
    """ADDTO and REMOVEFROM, RFC 5267 4.3.3 and 4.3.4: `places` are positions and numbers in the order of the result."""
    pairs = b" ".join(b"%d %b" % (position, sequence.encode_in_order(numbers)) for position, numbers in places)
    uid = b" UID" if by_uid else b""
    return b'* ESEARCH (TAG "%b")%b %b (%b)\r\n' % (tag.encode("ascii"), uid, word.encode("ascii"), pairs)


def correlator(tag: str, name: str = "", uidvalidity: int = 0, *, utf8: bool = False) -> bytes:
    """What an ESEARCH response belongs to: a command, and with `name` one mailbox of several (RFC 7377 4)."""
    word = b'TAG "%b"' % tag.encode("ascii")
    if not name:
        return b"(%b)" % word
    return b"(%b MAILBOX %b UIDVALIDITY %d)" % (word, encode.mailbox(name, utf8=utf8), uidvalidity)


# --- lists -----------------------------------------------------------------------------------------------------------


def listed(
    kind: str,
    attributes: Sequence[str],
    name: str,
    *,
    utf8: bool = False,
    child_info: Sequence[str] = (),
    old_name: str = "",
) -> bytes:
    """`kind` LIST or LSUB. `child_info`: selection options that children match (CHILDINFO, RFC 5258 3.5); `old_name`:
    what it was called before (OLDNAME, RFC 5465 5.4)."""
    extended = b' ("OLDNAME" (%b))' % encode.mailbox(old_name, utf8=utf8) if old_name else b""
    return list_line(kind, attributes, encode.mailbox(name, utf8=utf8), child_info, extended)


def list_line(
    kind: str, attributes: Sequence[str], name: bytes, child_info: Sequence[str] = (), extended: bytes = b""
) -> bytes:
    """`name` and `extended` on the wire."""
    if child_info:
        options = encode.parenthesised([b'"%b"' % option.encode("ascii") for option in child_info])
        extended = b' ("CHILDINFO" %b)' % options + extended
    return b"%b%b%b\r\n" % (_list_start(kind, tuple(attributes)), name, extended)


@lru_cache(256)  # there are few, and many lines begin with the same
def _list_start(kind: str, attributes: tuple[str, ...]) -> bytes:
    return b'* %b (%b) "%b" ' % (kind.encode("ascii"), " ".join(attributes).encode("ascii"), _DELIMITER)


def status(name: str, items: Sequence[tuple[str, str]], *, utf8: bool = False) -> bytes:
    pairs = " ".join(f"{key} {value}" for key, value in items).encode("ascii")
    return b"* STATUS %b (%b)\r\n" % (encode.mailbox(name, utf8=utf8), pairs)


def capability(names: Sequence[str]) -> bytes:
    return f"* CAPABILITY {' '.join(names)}\r\n".encode("ascii")


def enabled(names: Sequence[str]) -> bytes:
    return f"* {' '.join(('ENABLED', *names))}\r\n".encode("ascii")


def languages(names: Sequence[str]) -> bytes:
    """LANGUAGE, RFC 5255 3.3: the one that is spoken now, or all there are."""
    return f"* LANGUAGE ({' '.join(names)})\r\n".encode("ascii")


def server_id(fields: Sequence[tuple[str, str]]) -> bytes:
    """ID, RFC 2971 3.2."""
    words = [encode.quoted(word.encode("ascii")) for pair in fields for word in pair]
    return b"* ID %b\r\n" % encode.parenthesised(words)


def quota_root(name: str, roots: Sequence[bytes], *, utf8: bool = False) -> bytes:
    """QUOTAROOT, RFC 9208 4.2.2: the mailbox as it was named, then its quota roots (none: unlimited)."""
    words = [encode.mailbox(name, utf8=utf8), *(encode.astring(root) for root in roots)]
    return b"* QUOTAROOT %b\r\n" % b" ".join(words)


def quota(root: bytes, resources: Sequence[tuple[str, int, int]]) -> bytes:
    """QUOTA, RFC 9208 4.2.1: (resource, used, limit) of what is limited."""
    listed = " ".join(f"{name} {used} {limit}" for name, used, limit in resources).encode("ascii")
    return b"* QUOTA %b (%b)\r\n" % (encode.astring(root), listed)


def namespace(namespaces: Namespaces, *, utf8: bool = False) -> bytes:
    """NAMESPACE, RFC 2342 5: personal, other users', shared. The same for everybody, whatever is shared with him."""
    delimiter = DELIMITER.encode()
    prefixes = (namespaces.others + DELIMITER, namespaces.shared + DELIMITER)
    others, shared = (encode.quoted_mailbox(prefix, utf8=utf8) for prefix in prefixes)
    told = b'(("" "%b")) ((%b "%b")) ((%b "%b"))' % (delimiter, others, delimiter, shared, delimiter)
    return b"* NAMESPACE %b\r\n" % told


# --- access lists (RFC 4314 3.6 to 3.8) ---


def acl(name: str, entries: Sequence[tuple[str, str]], *, utf8: bool = False) -> bytes:
    """`entries`: identifier and rights."""
    pairs = [encode.astring(word.encode("utf-8")) for entry in entries for word in entry]
    return b"* ACL %b\r\n" % b" ".join([encode.mailbox(name, utf8=utf8), *pairs])


def list_rights(name: str, identifier: bytes, required: str, optional: Sequence[str], *, utf8: bool = False) -> bytes:
    """`identifier` in the client's spelling (RFC 4314 3.4)."""
    words = [encode.astring(word.encode("ascii")) for word in (required, *optional)]
    return b"* LISTRIGHTS %b\r\n" % b" ".join([encode.mailbox(name, utf8=utf8), encode.astring(identifier), *words])


def my_rights(name: bytes, rights: str) -> bytes:
    """`name` on the wire."""
    return b"* MYRIGHTS %b %b\r\n" % (name, encode.astring(rights.encode("ascii")))


# --- annotations (RFC 5464 4.4) ---


def metadata_changed(name: str, entries: Iterable[str], *, utf8: bool = False) -> bytes:
    """METADATA without values, RFC 5464 4.4.2: the entries that changed. `name` "" is the server."""
    where = encode.mailbox(name, utf8=utf8) if name else b'""'
    return b"* METADATA %b %b\r\n" % (where, b" ".join(encode.astring(entry.encode("ascii")) for entry in entries))


def metadata(name: bytes, values: Sequence[tuple[str, bytes | None]]) -> bytes:
    """`name` on the wire; of "" it is the server."""
    pairs = [
        part for entry, value in values for part in (encode.astring(entry.encode("ascii")), encode.nstring8(value))
    ]
    return b"* METADATA %b %b\r\n" % (name, encode.parenthesised(pairs))
