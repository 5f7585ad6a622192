"""Dovecot's side files and names, from octets to values. Pure; damaged lines are left out, as Dovecot does."""

from __future__ import annotations

from dataclasses import dataclass, field

from core import utf7
from store.types import DELIMITER

UID_MAX = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class UidList:
    """`uids` by file name without its flags. `uidvalidity` 0: the file was absent or damaged."""

    uidvalidity: int = 0
    uidnext: int = 1
    uids: dict[str, int] = field(default_factory=dict)


def uid_list(data: bytes) -> UidList:
    """dovecot-uidlist: `3 V<uidvalidity> N<next uid> G<guid>`, then `<uid> <fields> :<file name>`; version 1 has
    `1 <uidvalidity> <next uid>` and `<uid> <file name>`."""
    head, *lines = data.decode("utf-8", "surrogateescape").split("\n")
    version, *fields = head.split(" ")
    if version == "1" and len(fields) >= 2:
        uidvalidity, uidnext = _number(fields[0]), _number(fields[1])
    elif version == "3":
        told = {item[:1]: item[1:] for item in fields}
        uidvalidity, uidnext = _number(told.get("V", "")), _number(told.get("N", ""))
    else:
        return UidList()
    uids: dict[str, int] = {}
    for line in lines:
        uid_text, _, rest = line.partition(" ")
        name = rest.partition(":")[2] if version == "3" else rest
        uid = _number(uid_text)
        if uid and name:
            uids[base_name(name)] = uid
    return UidList(uidvalidity, max([uidnext, *(uid + 1 for uid in uids.values())]), uids)


def _number(text: str) -> int:
    value = int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else 0
    return value if value <= UID_MAX else 0


def base_name(name: str) -> str:
    """What stays of a file name while its flags change."""
    return name.partition(":2,")[0]


def keywords(data: bytes) -> dict[int, str]:
    """dovecot-keywords: `<index> <word>`; index 0 is the letter "a"."""
    found: dict[int, str] = {}
    for line in data.decode("ascii", "replace").split("\n"):
        index, _, word = line.partition(" ")
        if index.isdecimal() and int(index) < 26 and word:
            found[int(index)] = word
    return found


def subscriptions(data: bytes) -> list[str]:
    """Folder names with "/". Version 1: one name a line, "." between levels. Version 2: after a line `V\\t2`, levels
    separated by tabs."""
    lines = [line for line in data.split(b"\n") if line]
    if lines and lines[0].startswith(b"V\t"):
        return [DELIMITER.join(level(part) for part in line.split(b"\t")) for line in lines[1:]]
    return [DELIMITER.join(level(part) for part in line.split(b".")) for line in lines]


def folder_of(directory: str) -> str:
    """`.Envoy&AOk-s.2026` > "Envoyés/2026"; "" > INBOX's own directory is not asked for."""
    parts = directory.encode("utf-8", "surrogateescape")[1:].split(b".")
    return DELIMITER.join(level(part) for part in parts)


def level(part: bytes) -> str:
    """Modified UTF-7; UTF-8 where the server was told to write that, and what is neither as it stands."""
    try:
        return utf7.decode(part)
    except utf7.Utf7Error:
        return part.decode("utf-8", "replace").replace(DELIMITER, "-")


# What a message file begins with when it is no plain text: refused, because nobody could read it afterwards.
PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"Dovecot-LZ4": "lz4",
    b"CRYPTED\x03\x07": "mail_crypt",
}
LONGEST_MAGIC = max(map(len, PACKED))


def packing(start: bytes) -> str:
    """How the file is packed, "" for plain text."""
    return next((name for magic, name in PACKED.items() if start.startswith(magic)), "")
