"""GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208): what an account holds against what it may hold.

One quota root for an account: one's own, named "", and named by its address that of somebody else whose quota an
administrator lets one set. There is no other: what is not granted answers as if it were absent (promise P8). A resource
is told when it is limited; one's own account without limit has no root. Nobody sets his own quota: it is what the
commune was given and administrators share out, so QUOTASET is announced to whom it was granted, and SETQUOTA of "" is
NOPERM for everybody.
"""

from __future__ import annotations

from dataclasses import dataclass

from directory.rights import Right
from directory.types import Account
from imap import responses
from imap.command import AFTER_LOGIN, Command
from imap.errors import Bad, Code, No
from imap.permits import absent
from imap.responses import Ok
from imap.session import Session
from imap.wire.scanner import Scanner

ROOT = b""
UNIT = 1024  # RFC 9208 5.1: STORAGE counts in 1024 octets
MOST = 2**53 // UNIT  # of STORAGE: what the REST API takes at most, in octets


@dataclass(frozen=True, slots=True)
class Setting:
    """SETQUOTA: `limits` by the name of the resource, in capitals."""

    root: bytes
    limits: dict[str, int]


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


def _parse_set(scanner: Scanner) -> Setting:
    """setquota = "SETQUOTA" SP quota-root-name SP setquota-list"""
    scanner.space()
    root = scanner.astring()
    scanner.space()
    listed = scanner.parenthesised(lambda: _resource(scanner), empty=True)
    scanner.end()
    limits = dict(listed)
    if len(limits) != len(listed):
        raise Bad("a resource is named twice")
    return Setting(root, limits)


def _resource(scanner: Scanner) -> tuple[str, int]:
    name = scanner.keyword()
    scanner.space()
    return name, scanner.number(2**63 - 1)


def _resources(session: Session, quota: int, usage: tuple[int, int]) -> list[tuple[str, int, int]]:
    """(name, used, limit) of what is limited. Used is rounded up: full must look full."""
    octets, messages = usage
    most = session.limits.account_messages
    storage = [("STORAGE", -(-octets // UNIT), quota // UNIT)] if quota else []
    return [*storage, ("MESSAGE", messages, most)] if most else storage


async def _own(session: Session) -> list[tuple[str, int, int]]:
    return _resources(session, session.store.ref.quota, await session.store.usage())


async def _tell(session: Session, root: bytes, owner: Account) -> None:
    """The root of somebody else. RFC 9208 4.2.1: an empty list where nothing is limited, which may be set."""
    resources = _resources(session, owner.quota, await session.store.usage_of(owner))
    session.writer.write(responses.quota(root, resources))


async def _get(session: Session, root: bytes) -> Ok:
    if root != ROOT:
        await _tell(session, root, await _granted(session, root))
    elif resources := await _own(session):
        session.writer.write(responses.quota(ROOT, resources))
    else:  # no mailbox has this root, and a list of resources is never empty (RFC 9208 7)
        raise _absent()
    return Ok("GETQUOTA completed")


async def _get_root(session: Session, name: str) -> Ok:
    """Of one's own mailboxes of those, too, that are not there yet (RFC 9208 4.1.2)."""
    place = await session.store.find(name)  # refuses what is no name
    if session.store.namespaces.split(name) is None:
        resources = await _own(session)
        session.writer.write(responses.quota_root(name, [ROOT] if resources else [], utf8=session.utf8))
        if resources:
            session.writer.write(responses.quota(ROOT, resources))
        return Ok("GETQUOTAROOT completed")
    if place is None:
        raise absent()
    # How full the account of somebody else is, is his and the administrators' affair, and of whom they let.
    root = str(place.owner.address)
    owner = (await session.store.quota_roots()).get(root) if Right.READ in place.rights else None
    session.writer.write(responses.quota_root(name, [root.encode()] if owner else [], utf8=session.utf8))
    if owner is not None:
        await _tell(session, root.encode(), owner)
    return Ok("GETQUOTAROOT completed")


async def _set(session: Session, asked: Setting) -> Ok:
    """RFC 9208 4.1.3: what is not named is not limited any more."""
    if asked.root == ROOT:
        raise No("quotas are set by the administrators", Code.NOPERM)
    owner = await _granted(session, asked.root)
    quota = _wanted(asked.limits, session.limits.account_messages)
    await _tell(session, asked.root, await session.store.set_quota(owner, quota))
    return Ok("SETQUOTA completed")


def _wanted(limits: dict[str, int], most_messages: int) -> int:
    """In octets. The number of messages is a limit of the system: who leaves it out leaves it as it is, who names it
    must name what it is (the last example of RFC 9208 4.1.3)."""
    if limits.keys() - {"STORAGE", "MESSAGE"}:
        raise No("only STORAGE can be limited", Code.CANNOT)
    if limits.get("MESSAGE", most_messages) != most_messages:
        raise No("the number of messages is a limit of the system", Code.CANNOT)
    storage = limits.get("STORAGE")
    if storage == 0:  # RFC 9208 3.1.2: any usage prohibited; the directory's 0 is unlimited
        raise No("a mailbox that may hold nothing is suspended by an administrator", Code.CANNOT)
    if storage is not None and storage > MOST:
        raise No("a quota is not as large as that", Code.LIMIT)
    return (storage or 0) * UNIT


async def _granted(session: Session, root: bytes) -> Account:
    owner = (await session.store.quota_roots()).get(root.decode("utf-8", "replace"))
    if owner is None:
        raise _absent()
    return owner


def _absent() -> No:
    return No("no such quota root", Code.NONEXISTENT)


GETQUOTA = Command("GETQUOTA", AFTER_LOGIN, _parse_root, _get)
GETQUOTAROOT = Command("GETQUOTAROOT", AFTER_LOGIN, _parse_mailbox, _get_root)
SETQUOTA = Command("SETQUOTA", AFTER_LOGIN, _parse_set, _set)
