"""The quota of a mailbox set by somebody who holds none of an administrator's roles: over IMAP (RFC 9208 4.1.3).

An administrator granted it for this one mailbox, with its share. It is set as he would set it and audited the same, but
never past what the commune has; the ceiling of the whole commune bounds it besides, whatever single mailboxes may hold.
"""

from __future__ import annotations

from directory import rules, scope
from directory.codes import refusal
from directory.repositories.grants import SET_QUOTA
from directory.services import accounts
from directory.types import Account, Actor
from directory.work import Work


async def set_granted(work: Work, actor: Actor, by: Account, owner: Account, quota: int) -> Account:
    """`quota` in octets, 0 unlimited. The account as it is then. That `by` has the right "a" there is the caller's to
    check (RFC 9208 6)."""
    kept = (await scope.account(work, actor, owner.address)).own
    if kept.id != owner.id or not await work.grants.exists(kept.id, by.id, SET_QUOTA):
        raise refusal("quota-not-granted")
    if kept.organisation_quota and not 0 < rules.quota(quota) <= kept.organisation_quota:
        raise refusal("quota-over-ceiling")
    await accounts.set_quota(work, actor, kept.address, quota)
    return (await scope.account(work, actor, kept.address)).own
