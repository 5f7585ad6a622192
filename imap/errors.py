"""How a command ends when it does not end with OK: NO, BAD, BYE, and the translator of the house's errors.

A `code` is what stands between brackets (RFC 9051 7.1, RFC 5530); `text` is ours, short and ASCII, never input. Every
tagged NO and BAD carries one. A NO has the code of its cause. A BAD is CLIENTBUG, "the server has detected a client
bug", which RFC 5530 3 allows beside BAD, unless a more precise one is registered: TOOBIG for what is over a size (RFC
7888 5), UIDREQUIRED (RFC 9586 3), and AUTHENTICATIONFAILED for a login that the client gave up itself, which RFC 9051
6.2.2 wants answered BAD although nothing is wrong with the client.
"""

from __future__ import annotations

from enum import StrEnum

from core.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    MailError,
    NotFoundError,
    QuotaError,
    RefusedError,
    TemporaryError,
)


class Code(StrEnum):
    """Response codes without arguments; those with arguments are made by functions of `imap.responses`."""

    NONE = ""
    ALREADYEXISTS = "ALREADYEXISTS"
    AUTHENTICATIONFAILED = "AUTHENTICATIONFAILED"
    CANNOT = "CANNOT"
    CLIENTBUG = "CLIENTBUG"
    CLOSED = "CLOSED"
    EXPUNGEISSUED = "EXPUNGEISSUED"
    HASCHILDREN = "HASCHILDREN"
    INUSE = "INUSE"
    LIMIT = "LIMIT"
    NONEXISTENT = "NONEXISTENT"
    NOPERM = "NOPERM"
    OVERQUOTA = "OVERQUOTA"
    PRIVACYREQUIRED = "PRIVACYREQUIRED"
    READ_ONLY = "READ-ONLY"
    READ_WRITE = "READ-WRITE"
    SERVERBUG = "SERVERBUG"
    TOOBIG = "TOOBIG"
    TOOFEW = "TOOFEW"
    TOOMANY = "TOOMANY"
    TRYCREATE = "TRYCREATE"
    UIDREQUIRED = "UIDREQUIRED"
    UNAVAILABLE = "UNAVAILABLE"
    UNKNOWN_CTE = "UNKNOWN-CTE"


class ImapError(Exception):
    """`code` is the response code ("" for none), `text` what a person reads."""

    def __init__(self, text: str, code: str = Code.NONE) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class No(ImapError):
    """Tagged NO: the command was understood and cannot be done."""


class Bad(ImapError):
    """Tagged BAD: the command is wrong, or not allowed in this state; counted (security.md section 2)."""

    def __init__(self, text: str, code: str = Code.CLIENTBUG) -> None:
        super().__init__(text, code)


class BadSyntax(Bad):
    """Tagged BAD: the bytes do not follow the grammar."""


class Bye(ImapError):
    """Untagged BYE, then the connection closes."""


# First match counts, so children stand before parents.
_BY_CLASS: tuple[tuple[type[MailError], Code], ...] = (
    (NotFoundError, Code.NONEXISTENT),
    (ConflictError, Code.INUSE),  # somebody else was quicker: it may be tried again (RFC 5530 3)
    (InvalidError, Code.CANNOT),
    (ForbiddenError, Code.NOPERM),
    (QuotaError, Code.OVERQUOTA),
    (TemporaryError, Code.UNAVAILABLE),
    (RefusedError, Code.CANNOT),
    (MailError, Code.UNAVAILABLE),
)
# Causes whose code is more precise than their class (the `code` of `core.errors.MailError`).
_BY_CAUSE: dict[str, Code] = {
    "folder-exists": Code.ALREADYEXISTS,
    "too-many-folders": Code.LIMIT,
    "acl-full": Code.LIMIT,
    "too-many-keywords": Code.LIMIT,
    "keyword-too-long": Code.LIMIT,
    "uids-exhausted": Code.LIMIT,
    "too-large": Code.TOOBIG,
    "no-message": Code.EXPUNGEISSUED,
}


def translate(error: MailError) -> No:
    """A house error as the NO a client understands (RFC 5530 3)."""
    code = _BY_CAUSE.get(error.code)
    if code is None:
        code = next(code for kind, code in _BY_CLASS if isinstance(error, kind))
    return No(printable(error.public), code)


def printable(text: str) -> str:
    """resp-text is printable ASCII here (RFC 9051 9, promise P9), and never empty."""
    kept = "".join(char if " " <= char <= "~" else "?" for char in text[:200])
    return kept or "cannot"
