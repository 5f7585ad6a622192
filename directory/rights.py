"""The rights of an access list (RFC 4314 2.1) as a set, and the bundles that administrators grant. Pure.

Knows the letters of IMAP because they are what is stored; refuses to know commands and folders.
"""

from __future__ import annotations

from enum import Flag

LETTERS = "lrswipkxtea"  # in the order we write them
ANYONE = "anyone"  # RFC 4314 2: here everybody of the owner's organisation
NEGATIVE = "-"  # before a subject: the entry takes rights away (RFC 4314 2)


class Right(Flag):
    NONE = 0
    LOOKUP = 1  # l: seen in LIST
    READ = 2  # r: SELECT, STATUS
    SEEN = 4  # s: \Seen
    WRITE = 8  # w: flags other than \Seen and \Deleted
    INSERT = 16  # i: APPEND, COPY into it
    POST = 32  # p: send mail to it; not IMAP's to enforce
    CREATE = 64  # k: folders below it
    REMOVE = 128  # x: delete or rename the folder itself
    DELETE = 256  # t: \Deleted
    EXPUNGE = 512  # e
    ADMINISTER = 1024  # a: change the list


ALL = ~Right.NONE
ANY = Right.LOOKUP | Right.READ | Right.INSERT | Right.CREATE | Right.REMOVE | Right.ADMINISTER  # RFC 4314 4, MYRIGHTS
_OF = dict(zip(LETTERS, Right, strict=True))
# RFC 4314 2.1.1: what RFC 2086 called "create" and "delete".
OBSOLETE = {"c": Right.CREATE | Right.REMOVE, "d": Right.DELETE | Right.EXPUNGE}

# What "one call shares this mailbox" gives (REST and command line).
BUNDLES = {"read": "lr", "write": "lrswipkxte", "manage": LETTERS}


def parse(letters: str) -> Right:
    """Letters, the obsolete ones included, as a set. ValueError for one that is unknown (RFC 4314 3.1)."""
    rights = Right.NONE
    for letter in letters:
        found = _OF.get(letter) or OBSOLETE.get(letter)
        if found is None:
            raise ValueError(f"unknown right {letter!r}")
        rights |= found
    return rights


def letters(rights: Right) -> str:
    """As stored and as administrators see it."""
    return "".join(letter for letter, right in _OF.items() if right in rights)


def for_clients(rights: Right) -> str:
    """With the obsolete letters as soon as one of their members is there (RFC 4314 2.1.1)."""
    return letters(rights) + "".join(letter for letter, members in OBSOLETE.items() if rights & members)


def bundle(text: str) -> Right:
    """The name of a bundle, or letters. ValueError for anything else, and for nothing."""
    rights = parse(BUNDLES.get(text, text))
    if not rights:
        raise ValueError("no right at all")
    return rights
