"""Operations on app passwords. Bounded by `directory.scope` like everything an administrator does."""

from __future__ import annotations

from collections.abc import Sequence

from core.address import Address
from core.log import Secret
from directory import app_passwords, rules, scope, scram
from directory.codes import refusal
from directory.repositories.credentials import StoredApp
from directory.types import Actor, AppPassword, Scope
from directory.work import Work

MAX_EACH = 50


async def add(
    work: Work,
    actor: Actor,
    address: Address,
    label: str,
    wanted: Scope,
    *,
    networks: Sequence[str],
    expires_at: float | None,
    bare_lines: bool,
) -> tuple[AppPassword, Secret]:
    account = (await scope.account(work, actor, address)).own
    now = work.now_ms() / 1000
    if bare_lines and wanted is not Scope.SEND_ONLY:
        raise refusal("bare-lines-need-send-only")
    if expires_at is not None and not now < expires_at < 2**40:
        raise refusal("invalid-expiry")
    if len(await work.credentials.apps(account.id)) >= MAX_EACH:
        raise refusal("app-passwords-full")
    clear = app_passwords.generate(work.new_token())
    about = AppPassword(
        work.new_id(), rules.name(label), wanted, app_passwords.networks(networks), expires_at, bare_lines, now
    )
    keys = scram.make_keys(clear, account.address.key)
    secret_hash = app_passwords.hashed(app_passwords.canonical(clear) or "")
    await work.credentials.add_app(account.id, StoredApp(about, secret_hash, keys.text()))
    work.tell("app-password-added", f"{account.address} ({about.label}, {wanted.value})", account.organisation_id)
    return about, Secret(clear)


async def all_(work: Work, actor: Actor, address: Address) -> Sequence[AppPassword]:
    account = (await scope.account(work, actor, address)).own
    return [app.about for app in await work.credentials.apps(account.id)]


async def remove(work: Work, actor: Actor, address: Address, app_id: str) -> None:
    account = (await scope.account(work, actor, address)).own
    if not rules.printable(app_id) or not await work.credentials.remove_apps(account.id, app_id):
        raise refusal("unknown-app-password")
    work.tell("app-password-removed", f"{account.address} ({app_id})", account.organisation_id)
