"""How many messages one command works on: all, unless the operator set a limit (RFC 9738). Pure.

Past the limit the newest are taken, the client is told the lowest UID of them and asks again for what lies below.
"""

from __future__ import annotations

from dataclasses import dataclass

from imap.errors import Code, No
from imap.responses import Ok
from imap.session import Session
from imap.types import Ranges, merge
from imap.view import View


@dataclass(frozen=True, slots=True)
class Share:
    """`ranges`: what is done of what was asked; `code`: MESSAGELIMIT when that is not all."""

    ranges: Ranges
    code: str = Code.NONE


def share(session: Session, view: View, ranges: Ranges) -> Share:
    """The newest messages of `ranges`, as many as one command may work on."""
    limit = session.message_limit
    if not limit:
        return Share(ranges)
    uids = view.known(ranges)
    return (
        Share(ranges) if len(uids) <= limit else Share(from_uid(ranges, uids[-limit]), limit_code(limit, uids[-limit]))
    )


def check_saved(session: Session, view: View, ranges: Ranges) -> None:
    """COPY is all or nothing, so past the limit it is nothing (RFC 9738 3.1)."""
    limit = session.save_limit
    if limit and len(uids := view.known(ranges)) > limit:
        raise No("too many messages to copy, try a smaller subset", limit_code(limit, uids[-limit]))


def check_asked(session: Session, asked: int) -> None:
    """Of commands that are refused as a whole: a PARTIAL range that is too long, THREAD (RFC 9738 3.1, 3.3)."""
    limit = session.message_limit
    if limit and asked > limit:
        raise No(f"more than {limit} messages in one command", limit_code(limit))


def from_uid(ranges: Ranges, lowest: int) -> Ranges:
    """What of `ranges` lies at or above a UID."""
    return merge((max(low, lowest), high) for low, high in ranges if high >= lowest)


def limit_code(limit: int, lowest: int | None = None) -> str:
    """MESSAGELIMIT (RFC 9738 5): the limit, and the lowest UID that was worked on."""
    return f"MESSAGELIMIT {limit}" if lowest is None else f"MESSAGELIMIT {limit} {lowest}"


def partly(session: Session, done: Ok, code: str) -> Ok:
    """`done` with the code of a share; where it has a code already, ours goes before it (RFC 9738 3.1)."""
    if not code:
        return done
    if not done.code:
        return Ok("completed for the newest messages", code)
    tell_partly(session, code)
    return done


def tell_partly(session: Session, code: str) -> None:
    """Beside another code, or before a NO."""
    if code:
        session.say("NO", "completed for the newest messages only", code)
