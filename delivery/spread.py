"""All recipients of one message, sorted: mailboxes here, addresses elsewhere; each once, whatever leads there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from core.address import Address, AddressError, parse
from core.envelope import Dsn
from core.frozen import dataclass
from core.status import Status, refused
from delivery.commit import Target
from delivery.queue.rows import NewRecipient
from delivery.routing import RELAY, UNKNOWN, Addresses, Route, route

SILENT = Dsn(frozenset({"NEVER"}))
LOOP = refused("this message is going in circles", "mail-loop", "5.4.6", code=554)


@dataclass(frozen=True, slots=True)
class Spread:
    """`outgoing` holds addresses elsewhere, lists whose sender wants to hear of them, and addresses of ours that were
    accepted at RCPT and are gone since, or have sent it on before: these fail in the queue, so that their sender hears
    of it. `refusal` is set when nobody at all is left."""

    targets: tuple[Target, ...]
    outgoing: tuple[NewRecipient, ...]
    refusal: Status | None = None

    def asking(self, change: Callable[[Dsn], Dsn]) -> Spread:
        """With other wishes for notices."""
        outgoing = [replace(item, dsn=change(item.dsn)) for item in self.outgoing]
        return Spread(
            tuple(replace(item, dsn=change(item.dsn)) for item in self.targets),
            tuple(item for item in outgoing if not item.expanded or "SUCCESS" in item.dsn.notify),
            self.refusal,
        )


def silent(_dsn: Dsn) -> Dsn:
    """Nobody is told anything."""
    return SILENT


def without_success(dsn: Dsn) -> Dsn:
    """Failures and delays as asked, successes not. (An empty NOTIFY would mean the default, RFC 3461 4.1.)"""
    if "SUCCESS" not in dsn.notify:
        return dsn
    return replace(dsn, notify=dsn.notify - {"SUCCESS"} or SILENT.notify)


def with_original(dsn: Dsn, address: Address) -> Dsn:
    """An address that is replaced stays known: reports name what the sender wrote (RFC 3461 5.2.1, ORCPT). An ORCPT
    that is no address could not be named in its place, and the report would tell where an alias leads."""
    kind = "rfc822" if address.ascii else "utf-8"
    return dsn if _is_address(dsn.original) else replace(dsn, original=f"{kind};{address}")


def _is_address(original: str) -> bool:
    try:
        return bool(parse(original.partition(";")[2]))
    except AddressError:
        return False


def _itself(found: Route, address: Address) -> bool:
    """Whether a recipient is an account's own address and nothing else: it is not replaced."""
    return len(found.accounts) == 1 and not found.forwards and found.accounts[0].address.key == address.key


def _outdoes(later: Dsn, earlier: Dsn) -> bool:
    """Of two recipients that lead to one place the first counts, unless only the other asks to hear of success."""
    return "SUCCESS" in later.notify and "SUCCESS" not in earlier.notify


async def spread(
    directory: Addresses,
    recipients: Iterable[tuple[Address, Dsn]],
    *,
    depth: int,
    relay_for: str | None = None,
    ended: Collection[str] = (),
) -> Spread:
    """Resolve what RCPT accepted. `relay_for`: the organisation of a logged-in sender, who may send anywhere; None
    for strangers, who may not. `ended`: keys of those to whom it came back. Raises `TemporaryError` when the directory
    is away."""
    targets: dict[str, Target] = {}
    outgoing: dict[str, NewRecipient] = {}
    lost: list[tuple[NewRecipient, Status]] = []
    for address, dsn in recipients:
        found = LOOP if address.key in ended else await route(directory, address, depth=depth)
        if found is RELAY and relay_for is not None:
            outgoing[address.key] = NewRecipient(address, relay_for, dsn)
        elif isinstance(found, Status):
            owner = await directory.hosted_domain(address.domain)
            lost.append((NewRecipient(address, owner.organisation_id if owner else "", dsn, local=True), found))
        elif _itself(found, address):
            target = Target(found.accounts[0], address, dsn)
            first = targets.setdefault(target.account.id, target)
            if first is not target and _outdoes(dsn, first.dsn):
                targets[target.account.id] = target
        else:
            asked = with_original(dsn, address)
            if len(found.accounts) + len(found.forwards) > 1 and "SUCCESS" in dsn.notify:
                # RFC 3461 5.2.7.3 (c): one notice for the list, none for each of its members.
                owner = await directory.hosted_domain(address.domain)  # the list's: its members lie anywhere (P8)
                of = owner.organisation_id if owner else ""
                outgoing[f"list {address.key}"] = NewRecipient(address, of, dsn, expanded=True)
                asked = without_success(asked)
            for account in found.accounts:
                target = Target(account, address, dsn if account.address.key == address.key else asked)
                if _outdoes(target.dsn, targets.setdefault(account.id, target).dsn):
                    targets[account.id] = target
            for to in found.forwards:
                onward = NewRecipient(to.address, to.organisation_id, asked, forwarded=True, via=to.via, passed=address)
                if _outdoes(onward.dsn, outgoing.setdefault(to.address.key, onward).dsn):
                    outgoing[to.address.key] = onward
    if not targets and not outgoing:
        return Spread((), (), lost[0][1] if lost else UNKNOWN)
    elsewhere = (*outgoing.values(), *(item for item, _ in lost)) if outgoing or lost else ()
    return Spread(tuple(targets.values()), elsewhere)
