"""Names on disk: directories of accounts and folders, and the file name of a message.

Percent-encoding keeps every separator, dot, control character and non-ASCII octet out of directory names (security.md
rows 97, 111), and the word "index" too, which belongs to index files alone (design.md section 5).
Refuses to touch the disk.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from core.errors import InvalidError
from core.frozen import dataclass
from core.ids import twenty
from store.types import DELIMITER, INBOX, Flag

MAX_ENCODED = 200  # octets of a directory name; longer folder names live under ".#<id>"
LONG = ".#"
MAX_NAME = 1000  # octets of a folder name in UTF-8
MAX_LEVELS = 20
MAKING = ".new."  # begins the names of accounts and folders that are being made, or were when somebody was cut off
HOST = "beffroi"  # the place of the host name in a Maildir file name: one name whatever machine wrote it

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+=@")
_MADE = re.compile(r"\.new\.[0-9a-z]{20}")  # `MAKING` and an object id
_RESERVED = re.compile("inde(x)", re.IGNORECASE)


def encode(text: str) -> str:
    """One path component without "/", "." or any byte outside letters, digits and `-_+=@`; reversible."""
    plain = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in text.encode("utf-8"))
    return _RESERVED.sub(lambda match: match[0][:4] + f"%{ord(match[1]):02X}", plain)


def decode(text: str) -> str:
    """Back again. Raises ValueError when the octets are no UTF-8."""
    return unquote_to_bytes(text).decode("utf-8")


def account_directory(local: str) -> str:
    """`-rf` > `%2Drf`, `a.b` > `a.b`, `..` > `%2E.`: dots stay readable except a leading one. Raises InvalidError."""
    name = ".".join(encode(piece) for piece in local.split("."))
    if name.startswith(("-", ".")):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if not local or len(name) > MAX_ENCODED:
        raise InvalidError("local part is empty or too long", code="invalid-name")
    return name


def account_local(directory: str) -> str:
    """The local part back from its directory name. Raises ValueError."""
    return decode(directory)


@lru_cache(maxsize=1024)
def folder_name(name: str) -> str:
    """The one spelling of a folder name: NFC, INBOX in capitals at the first level. Raises InvalidError (row 97)."""
    if name == INBOX:  # asked for most
        return INBOX
    text = unicodedata.normalize("NFC", name)
    levels = text.split(DELIMITER)
    if levels[0].upper() == INBOX:
        levels[0] = INBOX
    if len(text.encode("utf-8", "surrogatepass")) > MAX_NAME or len(levels) > MAX_LEVELS:
        raise InvalidError("folder name is too long", code="invalid-name")
    if any(not _good_level(level) for level in levels):
        raise InvalidError("folder name is not allowed", code="invalid-name")
    return DELIMITER.join(levels)


def _good_level(level: str) -> bool:
    if level in ("", ".", "..") or level != level.strip(" "):
        return False
    return all(unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp") for char in level)


def folder_directory(name: str, folder_id: str) -> str:
    """INBOX is the account's own directory (""); others `.Parent.Child`, or `.#<id>` past 200 octets."""
    if name == INBOX:
        return ""
    encoded = "." + ".".join(encode(level) for level in name.split(DELIMITER))
    if encoded.startswith(MAKING):  # "new/x" is a folder like any other
        encoded = f".%{ord(encoded[1]):02X}{encoded[2:]}"
    return encoded if len(encoded) <= MAX_ENCODED else LONG + folder_id


def being_made(directory: str) -> bool:
    """Whether somebody makes it, or was cut off: nobody's folder, and in nobody's way. What another program or a hand
    calls `.new.x` is a folder."""
    return _MADE.fullmatch(directory) is not None


def directory_folder(directory: str) -> str | None:
    """The folder name a directory tells; None when its side file tells it (`.#<id>`) or it is no folder of ours."""
    if not directory:
        return INBOX
    if not directory.startswith(".") or directory.startswith((".#", "..")):
        return None
    try:
        return folder_name(DELIMITER.join(decode(level) for level in directory[1:].split(".")))
    except (ValueError, InvalidError):
        return None


# -- file names ----------------------------------------------------------------------------------------------------

_LETTERS = {"D": Flag.DRAFT, "F": Flag.FLAGGED, "R": Flag.ANSWERED, "S": Flag.SEEN, "T": Flag.DELETED}
_FLAG_ORDER = tuple((letter, int(flag)) for letter, flag in _LETTERS.items())
_SYSTEM = tuple("".join(letter for letter, bit in _FLAG_ORDER if flags & bit) for flags in range(32))
_BITS = dict(_FLAG_ORDER)
KEYWORD_LETTERS = 26
BELIEVED = 1 << 31  # UIDs from here on are believed below the folder's floor alone: RFC 9051 2.3.1.1 has 2^32 of them
_UNUSED = "ABCEGHIJKLMNOQUVWXYZ"  # of the capitals; "P" is other programs'
_KEYWORDS_IN_NAME = (1 << KEYWORD_LETTERS) - 1
_FILE = re.compile(
    r"(?P<saved>\d{1,12})\.M(?P<unique>[0-9A-Za-z]{1,60})\.beffroi,U=(?P<uid>[1-9]\d{0,9}),S=(?P<size>\d{1,15})"
    r":2,(?P<letters>[A-Za-z]*)"
)
_FOREIGN = re.compile(r"(?:,S=(?P<size>\d+))?(?:,W=\d+)?(?::2,(?P<letters>[A-Za-z]*))?$")


@dataclass(frozen=True, slots=True)
class FileName:
    """A message's file name taken apart: `saved` is SAVEDATE, `size` counts octets with CRLF, `flags` the system bits
    and `keywords` the first 26 keyword bits of its letters; `others` are letters we do not know and keep."""

    saved: int
    unique: str
    uid: int
    size: int
    flags: int = 0
    keywords: int = 0
    others: str = ""

    def __str__(self) -> str:
        return file_name(self.saved, self.unique, self.uid, self.size, self.letters)

    @property
    def letters(self) -> str:
        return letters(self.flags, self.keywords, self.others)

    @property
    def base(self) -> str:
        return f"{self.saved}.M{self.unique}.{HOST},U={self.uid},S={self.size}"


def file_name(saved: int, unique: str, uid: int, size: int, info: str) -> str:
    """The name of a message's file; `info` as `letters` makes it."""
    return f"{saved}.M{unique}.{HOST},U={uid},S={size}:2,{info}"


def unique_of(name: str) -> str:
    """The unique part of a name that `file_name` made."""
    return name.partition(".M")[2].partition(".")[0]


@lru_cache(maxsize=1024)  # a folder's messages share a few sets of flags
def letters(flags: int, keywords: int, others: str = "") -> str:
    """The info letters in ASCII order, as every Maildir reader expects them."""
    if not flags and not keywords and not others:
        return ""
    system = _SYSTEM[flags & 31]
    named = keywords & _KEYWORDS_IN_NAME
    custom = "".join(chr(97 + bit) for bit in range(KEYWORD_LETTERS) if named >> bit & 1) if named else ""
    return ("".join(sorted(system + others)) if others else system) + custom


def read_letters(text: str) -> tuple[int, int, str]:
    """(system flags, keyword bits, unknown letters) of info letters."""
    flags = keywords = 0
    others = ""
    for letter in text:
        if letter in _BITS:
            flags |= _BITS[letter]
        elif letter.islower():
            keywords |= 1 << (ord(letter) - 97)
        elif letter not in others:
            others += letter
    return flags, keywords, others


def with_letters(name: str, flags: int, keywords: int) -> str:
    """The same file name carrying other flags; letters we do not know stay."""
    base, _, old = name.partition(":2,")
    others = read_letters(old)[2]
    return f"{base}:2,{letters(flags, keywords, others)}"


def spare_names(name: str) -> Iterator[str]:
    """Others that tell the same, with a letter that nobody knows, for a name that somebody else's file has."""
    base, _, told = name.partition(":2,")
    flags, keywords, others = read_letters(told)
    for letter in _UNUSED:
        if letter not in others:
            yield f"{base}:2,{letters(flags, keywords, others + letter)}"


def parse(name: str) -> FileName | None:
    """None for names we did not make: foreign files."""
    match = _FILE.fullmatch(name)
    if not match:
        return None
    uid = int(match["uid"])
    if uid > 0xFFFFFFFF:
        return None
    flags, keywords, others = read_letters(match["letters"])
    return FileName(int(match["saved"]), match["unique"], uid, int(match["size"]), flags, keywords, others)


def believed(uid: int, floor: int) -> bool:
    """Whether a folder may have given the UID that a file's name tells. `floor`: none at or above it was given, as far
    as its side file is the newest. A lower one still keeps UIDs (a side file that is lost or older), but no file may
    take so many of them that none are left for the messages to come."""
    return uid < max(floor, BELIEVED)


def foreign_letters(name: str) -> tuple[int, int]:
    """(system flags, keyword bits) another program's file name carries."""
    match = _FOREIGN.search(name)
    flags, keywords, _ = read_letters(match["letters"] or "") if match else (0, 0, "")
    return flags, keywords


def delivery_unique(delivery_id: str) -> str:
    """The unique part of a delivery, from its queue id and recipient: a redelivery after a crash makes the same."""
    digest = hashlib.sha256(delivery_id.encode("utf-8", "surrogatepass")).digest()
    return "d" + twenty(int.from_bytes(digest[:13]) >> 4)


def is_delivery(unique: str) -> bool:
    return unique.startswith("d")


def fresh_unique(object_id: str) -> str:
    """The unique part of a message that has no delivery id; `object_id` is random."""
    return "a" + object_id
