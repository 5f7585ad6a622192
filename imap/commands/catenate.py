"""The parts of CATENATE: text that the client sends, and pieces of messages it names by URL (RFC 4469, RFC 5092).

A URL is relative and names a message of the account: "/INBOX;UIDVALIDITY=7/;UID=20/;SECTION=1.2", or of the selected
mailbox: ";UID=20". One with a host must be of this server, and of whoever is logged in. What it does not find, and
every other server, is BADURL. Reads; commits nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from core.errors import NotFoundError
from imap.commands.fetch.items import Body
from imap.commands.fetch.parse import parse
from imap.commands.fetch.source import Source
from imap.errors import ImapError, No
from imap.session import Session
from imap.wire.scanner import Scanner
from message.content import BLOCK
from store.store import Mailbox
from store.types import INBOX, Column, Uid

MAX_URL = 2048
# RFC 5092 11: imapurl and inetwork-path, then ipath-query with iuid; the hierarchy of the mailbox may hold "/" itself.
# Some forget the "/" before ";UID" (RFC 5092 11: iuid).
_URL = re.compile(
    r"(?:(?:imap:)?//(?:(?P<user>[^/@;]+)?(?:;AUTH=[^/@;]+)?@)?(?P<host>[^/@:;]+)(?::[0-9]{1,5})?(?=/))?"
    r"(?:/(?P<mailbox>[^;]+?)(?:;UIDVALIDITY=(?P<validity>[1-9][0-9]{0,9}))?/?)?;UID=(?P<uid>[1-9][0-9]{0,9})"
    r"(?:/;SECTION=(?P<section>[^;]+?))?(?:/;PARTIAL=(?P<start>[0-9]{1,19})(?:\.(?P<length>[1-9][0-9]{0,18}))?)?",
    re.IGNORECASE,
)
_TELLABLE = "!\"#$%&'()*+,/:;<=>?@[\\^`{|}"  # beside letters, digits and "_.-~", which always are


@dataclass(frozen=True, slots=True)
class Part:
    """`url` None: a literal follows, and ")" behind it when `closing`; the literal is the URL when `is_url`."""

    url: bytes | None
    closing: bool = False
    is_url: bool = False


def read_part(scanner: Scanner) -> Part:
    """cat-part = "URL" SP astring / "TEXT" SP literal / "UTF8" SP "(" literal8 ")" (RFC 4469 5, RFC 6855 4)"""
    if scanner.try_token(b"URL "):
        return Part(None, is_url=True) if scanner.peek() == b"{" else Part(scanner.astring())
    if scanner.try_token(b"UTF8 ("):
        return Part(None, closing=True)
    scanner.token(b"TEXT ")
    return Part(None)


async def copy_part(session: Session, url: bytes) -> AsyncIterator[bytes]:
    """The octets that `url` names, in blocks. Raises `No` BADURL."""
    match = _URL.fullmatch(url.decode("ascii", "replace"))
    if match is None or len(url) > MAX_URL or not _ours(session, match):
        raise _bad(url)
    body = _body(match, url)
    try:
        mailbox = await _mailbox(session, match["mailbox"], url)
        snapshot = await mailbox.snapshot()
        if match["validity"] is not None and int(match["validity"]) != snapshot.uidvalidity:
            raise _bad(url)
        uid = Uid(int(match["uid"]))
        rows = [row async for batch in mailbox.rows([(uid, uid)], Column.PARTS | Column.HEADERS) for row in batch]
        if not rows:
            raise _bad(url)
        file = await mailbox.open(uid)
    except NotFoundError:
        raise _bad(url) from None
    try:
        value = await Source(rows[0], file).value(body)
        if value is None:
            raise _bad(url)
        if isinstance(value, bytes):
            yield value
            return
        for start in range(value[0], value[1], BLOCK):
            yield await file.read(start, min(start + BLOCK, value[1]))
    finally:
        file.close()


def _ours(session: Session, match: re.Match[str]) -> bool:
    """RFC 5092 3: a URL without a user is anybody's, and here that of the session."""
    if match["host"] is not None and match["host"].lower() != session.services.hostname.lower():
        return False
    who, login = match["user"], session.login
    if who is None or login is None:
        return True
    return unquote_to_bytes(who).decode("utf-8", "replace").casefold() == login.account.address.key


async def _mailbox(session: Session, text: str | None, url: bytes) -> Mailbox:
    """enc-mailbox: percent-encoded UTF-8 (RFC 5092 3); without one the selected mailbox is the base (RFC 4469 3),
    whatever it is called by now."""
    if text is None:
        if session.selection is None:
            raise _bad(url)
        return session.selection.mailbox
    try:
        name = unicodedata.normalize("NFC", unquote_to_bytes(text).decode("utf-8"))
    except UnicodeDecodeError:
        raise _bad(url) from None
    return await session.store.mailbox(INBOX if name.upper() == INBOX else name)


def _body(match: re.Match[str], url: bytes) -> Body:
    """The same section and partial that FETCH BODY.PEEK reads."""
    section = unquote_to_bytes(match["section"] or "")
    partial = b""
    if match["start"] is not None:
        partial = b"<%b.%b>" % (match["start"].encode(), (match["length"] or str(2**63 - 1)).encode())
    try:
        (item,) = parse(Scanner(b" 1 BODY.PEEK[" + section + b"]" + partial)).items
    except ImapError:
        raise _bad(url) from None
    if not isinstance(item, Body):
        raise _bad(url)
    return item


def _bad(url: bytes) -> No:
    """RFC 4469 4, 5: the URL is always told. What a response code cannot hold, "]", and what nothing of ours may
    (promise P9), stands percent-encoded there; of one that is too long the beginning."""
    return No("this URL names nothing here", f"BADURL {quote(url[:MAX_URL], safe=_TELLABLE)}")
