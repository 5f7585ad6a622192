"""GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208): what the account holds against what it may hold.

One quota root, the account itself, named "". A resource is told when it is limited; an account without limit has no
root. Limits are the administrators' affair: QUOTASET is not announced and SETQUOTA answers NOPERM.
"""

from __future__ import annotations

from imap import responses
from imap.command import AFTER_LOGIN, Command
from imap.errors import Code, No
from imap.permits import absent
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner

ROOT = b""
UNIT = 1024  # RFC 9208 5.1: STORAGE counts in 1024 octets


def _parse_root(scanner: Scanner) -> bytes:
    """getquota = "GETQUOTA" SP quota-root-name"""
    scanner.space()
    root = scanner.astring()
    scanner.end()
    return root


def _parse_mailbox(scanner: Scanner) -> str:
    """getquotaroot = "GETQUOTAROOT" SP mailbox"""
    scanner.space()
    name = scanner.mailbox()
    scanner.end()
    return name


def _parse_set(scanner: Scanner) -> bytes:
    """setquota = "SETQUOTA" SP quota-root-name SP setquota-list"""
    scanner.space()
    root = scanner.astring()
    scanner.space()
    scanner.parenthesised(lambda: _resource(scanner), empty=True)
    scanner.end()
    return root


def _resource(scanner: Scanner) -> None:
    scanner.atom()
    scanner.space()
    scanner.number(2**63 - 1)


async def _resources(session: Session) -> list[tuple[str, int, int]]:
    """(name, used, limit) of what is limited. Used is rounded up: full must look full."""
    octets, messages = await session.store.usage()
    quota, most = session.store.ref.quota, session.limits.account_messages
    storage = [("STORAGE", -(-octets // UNIT), quota // UNIT)] if quota else []
    return [*storage, ("MESSAGE", messages, most)] if most else storage


async def _get(session: Session, root: bytes) -> Ok:
    _check_root(root)
    resources = await _resources(session)
    if not resources:  # no mailbox has this root, and a list of resources is never empty (RFC 9208 5)
        raise _absent()
    session.writer.write(responses.quota(ROOT, resources))
    return Ok("GETQUOTA completed")


async def _get_root(session: Session, name: str) -> Ok:
    """Of one's own mailboxes of those, too, that are not there yet (RFC 9208 4.1.2)."""
    place = await session.store.find(name)  # refuses what is no name
    if session.store.namespaces.split(name) is not None:
        # The account of somebody else: how full it is, is his and the administrators' affair.
        if place is None:
            raise absent()
        session.writer.write(responses.quota_root(name, [], utf8=session.utf8))
        return Ok("GETQUOTAROOT completed")
    resources = await _resources(session)
    session.writer.write(responses.quota_root(name, [ROOT] if resources else [], utf8=session.utf8))
    if resources:
        session.writer.write(responses.quota(ROOT, resources))
    return Ok("GETQUOTAROOT completed")


async def _set(session: Session, root: bytes) -> Ok:
    _check_root(root)
    raise No("quotas are set by the administrators", Code.NOPERM)


def _check_root(root: bytes) -> None:
    if root != ROOT:
        raise _absent()


def _absent() -> No:
    return No("no such quota root", Code.NONEXISTENT)


GETQUOTA = Command("GETQUOTA", AFTER_LOGIN, _parse_root, _get)
GETQUOTAROOT = Command("GETQUOTAROOT", AFTER_LOGIN, _parse_mailbox, _get_root)
SETQUOTA = Command("SETQUOTA", AFTER_LOGIN, _parse_set, _set)
