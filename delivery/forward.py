"""What an alias sends on: under a sender whose bounces come back here (SRS), sealed for the next server (ARC).

A stranger's message leaves under an address of the alias's domain, so that SPF passes at the next server and its
bounces find their way; the seal tells what we had verified (RFC 8617 5.1). Bounces are sealed, too, and keep their
null sender; mail of our own people keeps its sender and has our signature. Refuses to decide who is told of failures:
that is the inbound policy (row 135).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from antispam.authentication import results
from antispam.types import Authentication, Result
from core import log
from core.address import Address
from core.clock import Clock
from core.errors import MailError
from core.frozen import dataclass
from delivery.content import Rewritten
from delivery.passed import Marks
from delivery.queue.rows import NewMessage, NewRecipient
from delivery.srs import Srs, is_rewritten
from directory.directory import Directory
from directory.types import AliasOf, Domain, Resolution
from dkim_keys import arc as sealing
from dkim_keys.sign import Signer, hash_body
from message.arc import ArcSet, ChainError, chain
from message.content import Content, head_length
from message.header import Head, split

_log = log.get(__name__)


class Keys(Protocol):
    """Whose signature a domain's mail gets: `dkim_keys.keyring.Keyring`."""

    async def signers(self, domain: str) -> tuple[Signer, ...]:
        """Empty for a domain without keys."""


class Rewriting:
    """The directory as recipients see it: the addresses that forwards leave under lead back to the first sender.
    Implements `delivery.routing.Addresses`."""

    def __init__(self, directory: Directory, srs: Srs, clock: Clock) -> None:
        self._directory = directory
        self._srs = srs
        self._clock = clock

    def resolve(self, address: Address) -> Coroutine[Any, Any, Resolution]:
        return self._rewritten(address) if is_rewritten(address) else self._directory.resolve(address)

    async def hosted_domain(self, name: str) -> Domain | None:
        return await self._directory.hosted_domain(name)

    async def _rewritten(self, address: Address) -> Resolution:
        found = await self._original(address)
        return await self._directory.resolve(address) if found is None else AliasOf((found,))

    async def _original(self, address: Address) -> Address | None:
        if await self._directory.hosted_domain(address.domain) is None:
            return None
        return self._srs.unwrap(address.local, self._clock.now())


@dataclass(frozen=True, slots=True)
class Verified:
    """What the first receiver here found out, for the seal. `address` is the peer's."""

    authentication: Authentication
    address: str


class Forwarder:
    """`Forwarder(directory, srs, keys, clock, hostname)`; shared by inbound and the local agent."""

    def __init__(self, directory: Directory, srs: Srs, keys: Keys, clock: Clock, hostname: str) -> None:
        self._directory = directory
        self._srs = srs
        self._marks = Marks(srs.key)
        self._keys = keys
        self._clock = clock
        self._hostname = hostname

    async def onward(self, message: NewMessage, verified: Verified | None = None) -> list[NewMessage]:
        """The message as it enters the queue, `message.recipients` being forwards and others: one for those that get
        it as it is, one for aliases that send it on under its own sender, one more for each domain whose aliases send
        it on under another (their queue ids with a suffix). Whom the sender named reads no mark: an alias may have been
        a blind copy (RFC 5321 7.2)."""
        direct: list[NewRecipient] = []
        passing: list[NewRecipient] = []
        moved: defaultdict[str, list[NewRecipient]] = defaultdict(list)
        foreign = await self._foreign(message.sender, verified)
        for item in message.recipients:
            (moved[item.via] if foreign and item.via else direct if item.passed is None else passing).append(item)
        made = [replace(message, recipients=tuple(direct))] if direct else []
        if passing:
            queue_id = f"{message.queue_id}-0" if direct else message.queue_id
            content = self._marked(message, message.content, passing)
            made.append(replace(message, queue_id=queue_id, recipients=tuple(passing), content=content))
        for number, (domain, recipients) in enumerate(sorted(moved.items()), 1):
            made.append(await self._moved(message, number, domain, recipients, verified))
        return made

    def came_back(self, head: Head, recipients: Iterable[NewRecipient]) -> frozenset[str]:
        """The keys of recipients that would send on what they have sent on before (row 134)."""
        return self._marks.found(head, _passed(recipients))

    def circles(self, data: bytes, recipient: Address) -> bool:
        """The same of one that waited in the queue, whose head `data` is or begins with."""
        return bool(self._marks.found(split(data[: head_length(data)]), (recipient,)))

    def _marked(self, message: NewMessage, content: Content, recipients: Iterable[NewRecipient]) -> Content:
        mark = self._marks.field(_passed(recipients), message.queue_id)
        head = content.head
        return Rewritten(mark + head, content, len(head)) if mark else content

    async def _foreign(self, sender: Address | None, verified: Verified | None) -> bool:
        """A null sender is rewritten by nobody, and a receiver has nothing but the seal to judge it by; our own notices
        need none."""
        if sender is None:
            return verified is not None
        return not await self._directory.hosted_domain(sender.domain)

    async def _moved(
        self,
        message: NewMessage,
        number: int,
        domain: str,
        recipients: Sequence[NewRecipient],
        verified: Verified | None,
    ) -> NewMessage:
        first = message.sender
        sender = first and self._srs.wrap(first, domain, self._clock.now())
        if first and sender is None:
            _log.warning("forward-keeps-sender", queue_id=message.queue_id, reason="too-long")
        content = await self._sealed(message, domain, verified) if verified is not None else message.content
        content = self._marked(message, content, recipients)
        _log.info("message-forwarded", queue_id=f"{message.queue_id}-{number}", of=message.queue_id, domain=domain)
        return replace(
            message,
            queue_id=f"{message.queue_id}-{number}",
            sender=sender or first,
            recipients=tuple(recipients),
            content=content,
        )

    async def _sealed(self, message: NewMessage, domain: str, verified: Verified) -> Content:
        """With one more ARC set in front; as it is when there is no key, or no chain that could be continued."""
        head = message.content.head
        before = _continued(head, verified.authentication)
        if before is None:
            return message.content
        try:
            signer = sealing.sealer(await self._keys.signers(domain))
        except MailError as error:
            _log.warning("forward-unsealed", queue_id=message.queue_id, code=error.code)
            return message.content
        if signer is None:
            return message.content
        fields = sealing.seal(
            head,
            await asyncio.to_thread(hash_body, message.content),
            signer,
            before=before,
            passed=verified.authentication.arc.result is Result.PASS,
            results=results.compose(self._hostname, verified.authentication, verified.address),
            now=self._clock.now(),
        )
        return Rewritten(fields + head, message.content, len(head))


def _passed(recipients: Iterable[NewRecipient]) -> list[Address]:
    return [item.passed for item in recipients if item.passed is not None]


def _continued(head: bytes, authentication: Authentication) -> tuple[ArcSet, ...] | None:
    """The chain so far; None when nothing can be added: it has no shape, is full, was found broken before, or could not
    be verified for want of DNS (a seal that says "fail" then would break it for good)."""
    try:
        before = chain(split(head[: head_length(head)]))
    except ChainError:
        return None
    arc = authentication.arc
    broken = arc.reason == "sealed-as-failed" or arc.result is Result.TEMPERROR
    return None if broken or len(before) >= sealing.LIMIT else before
