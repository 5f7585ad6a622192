"""Operations on accounts. Passwords arrive here already hashed: nothing slow runs inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence

from core.address import Address
from directory import rules, scope
from directory.codes import refusal
from directory.repositories.accounts import PERSON, SHARED, NewAccount
from directory.repositories.credentials import NewCredential
from directory.types import Account, Actor, State
from directory.work import Work


async def may_add(work: Work, actor: Actor, address: Address) -> str:
    """The id of the domain in which `address` is free; raises what `add` would."""
    domain = await scope.domain(work, actor, address.domain)
    if await work.accounts.taken([address.key]):
        raise refusal("address-taken")
    return domain.id


async def add(
    work: Work, actor: Actor, address: Address, *, secret_hash: str, quota: int, display_name: str, shared: bool
) -> Account:
    """`secret_hash` "" makes an account that nobody can log in to yet."""
    domain = await scope.domain(work, actor, address.domain)
    if await work.accounts.taken([address.key]):
        raise refusal("address-taken")
    account = Account(
        id=work.new_id(),
        address=rules.account_address(address),
        organisation_id=domain.organisation_id,
        display_name=rules.display_name(display_name),
        quota=rules.quota(quota),
        state=State.ACTIVE,
        shared=shared,
    )
    await work.accounts.add([NewAccount(account, domain.id, work.new_id(), work.now_ms())])
    if secret_hash:
        await work.credentials.add([_credential(work, account.id, secret_hash)])
    work.tell("mailbox-added", str(address), account.organisation_id)
    return account


async def all_(work: Work, actor: Actor, domain: str | None) -> Sequence[Account]:
    name = (await scope.domain(work, actor, domain)).name if domain is not None else None
    return await work.accounts.all(scope.bound(actor), name)


async def set_password(work: Work, actor: Actor, address: Address, secret_hash: str) -> None:
    """Whoever knew the old one may have made app passwords: they end with it (security.md row 117)."""
    account = (await scope.account(work, actor, address)).own
    await work.credentials.remove_apps(account.id)
    await work.credentials.replace_password(_credential(work, account.id, secret_hash))
    work.tell("mailbox-password-set", str(account.address), account.organisation_id)


async def set_quota(work: Work, actor: Actor, address: Address, quota: int) -> None:
    await _update(work, actor, address, "mailbox-quota-set", {"quota": rules.quota(quota)})


async def set_display_name(work: Work, actor: Actor, address: Address, display_name: str) -> None:
    await _update(work, actor, address, "mailbox-renamed", {"display_name": rules.display_name(display_name)})


async def set_shared(work: Work, actor: Actor, address: Address, shared: bool) -> None:
    await _update(work, actor, address, "mailbox-kind-set", {"kind": SHARED if shared else PERSON})


async def set_state(work: Work, actor: Actor, address: Address, state: State) -> None:
    await _update(work, actor, address, f"mailbox-{state.value}", {"state": state.value})


async def remove(work: Work, actor: Actor, address: Address) -> Account:
    """Aliases forget it as a target; one that leads here alone must be removed first, else its mail had no way.
    Another organisation's aliases neither hinder nor change: that they exist is not to be told (promise P8), and to
    them this was an address outside."""
    account = (await scope.account(work, actor, address)).own
    key = account.address.key
    own = [a for a in await work.aliases.leading_to([key]) if a.organisation_id == account.organisation_id]
    if any(all(target.key == key for target in alias.targets) for alias in own):
        raise refusal("alias-leads-here")
    await work.aliases.drop_target(key, [alias.id for alias in own])
    await work.accounts.remove(account.id, key)
    work.tell("mailbox-removed", str(account.address), account.organisation_id)
    return account


async def _update(work: Work, actor: Actor, address: Address, action: str, values: dict[str, object]) -> None:
    account = (await scope.account(work, actor, address)).own
    await work.accounts.update(account.id, values)
    work.tell(action, str(account.address), account.organisation_id)


def _credential(work: Work, account_id: str, secret_hash: str) -> NewCredential:
    return NewCredential(work.new_id(), account_id, secret_hash, work.now_ms())
