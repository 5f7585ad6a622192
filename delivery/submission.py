"""A message from one of our own people (submission role): checked, completed, signed, kept (design.md section 4).

The login owns the envelope sender and every author in the header (RFC 6409 6.1); what the mail client left out is
added, what it must not tell is removed, and the signature comes last. Implements `delivery.types.Acceptor`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import Protocol

from core import log
from core.address import Address, AddressError, parse
from core.clock import Clock
from core.config import Config
from core.envelope import Dsn, Envelope, Peer, Schedule
from core.errors import MailError
from core.ids import Ids
from core.status import Status, refused
from delivery import stamp
from delivery.alerts import LOCKED, NEAR_LIMIT, Alerts
from delivery.authorship import NOT_YOURS, Authors, not_owned, read_authors
from delivery.commit import Committer, Plan, Target, refusal, traced_id
from delivery.envelopes import envelope_of
from delivery.hygiene import clean, unqualified
from delivery.inbound import SENDER_OK, TOO_MANY, looped
from delivery.queue.allowance import Rules
from delivery.queue.queue import Queue
from delivery.reception import TOO_LARGE, Arrived, SpooledReception
from delivery.routing import ACCEPTED, RELAY, judge_recipient
from delivery.spread import LOOP, SILENT, Spread, spread
from delivery.toll import DAILY_LIMIT, Toll
from delivery.types import BINARY, MailParameters, Reception, Transaction
from directory.directory import Directory
from directory.types import Account, LocalAccount, State
from dkim_keys.sign import BodyDigest, Signer, sign
from message.address_list import from_domains
from message.header import Head
from store.store import Store
from store.types import AccountRef, Flag

SENT_USE = "\\Sent"  # RFC 6154 2
# RFC 6409 4.2: nothing is completed here, for what we would guess is somebody else's.
UNQUALIFIED = refused("the recipient's domain is not fully qualified", "unqualified-domain", "5.1.2")
NO_LOGIN = refused("authentication required", "no-login", "5.7.0", code=530)
SUSPENDED = refused("this account is suspended", "suspended", "5.7.1")
# RFC 4865 6: code and status of a user's quota of future releases (RFC 6710 gave X.7.16 a second meaning).
TOO_MANY_KEPT = refused("too many messages are kept back for this account", "too-many-kept-back", "5.7.16", code=552)

_log = log.get(__name__)


class Keys(Protocol):
    """Whose signature a domain's mail gets: `dkim_keys.keyring.Keyring`."""

    async def signers(self, domain: str) -> tuple[Signer, ...]:
        """Empty for a domain without keys."""


class Submission:
    """One instance serves all sessions of a process; `Transaction.peer.account_id` is the login."""

    def __init__(
        self,
        config: Config,
        directory: Directory,
        store: Store,
        keys: Keys,
        committer: Committer,
        queue: Queue,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._config = config
        self._limits = config.limits
        self._directory = directory
        self._store = store
        self._keys = keys
        self._committer = committer
        self._queue = queue
        self._clock = clock
        self._ids = ids
        self._alerts = Alerts(queue, clock, ids, config.hostname)

    # --- what a session asks -----------------------------------------------------------------------------------------

    async def sender(self, peer: Peer, address: Address | None, parameters: MailParameters) -> Status:
        """The null sender is allowed: a read receipt (RFC 8098 3) has it; its From is checked with the message."""
        if parameters.size > self._limits.message_octets:
            return TOO_LARGE
        try:
            account = await self._account(peer)
            if isinstance(account, Status):
                return account
            if address is not None and not await self._directory.may_send_as(account, address):
                return NOT_YOURS
            return await self._kept_back(account, parameters.schedule) or SENDER_OK
        except MailError as error:
            return refusal(error)

    async def recipient(self, transaction: Transaction, address: Address, dsn: Dsn) -> Status:
        count = len(transaction.recipients)
        if count >= self._limits.recipients_submission:
            return TOO_MANY
        if "." not in address.domain and not self._routed(address.domain):
            return UNQUALIFIED
        try:
            account = await self._account(transaction.peer)
            if isinstance(account, Status):
                return account
            if self._limited(transaction.peer):
                sent = await self._queue.sent_recently(account.id)
                if sent + count + 1 > self._limits.account_recipients_per_day:
                    return DAILY_LIMIT
            status = await judge_recipient(
                self._directory, self._store, address, depth=self._limits.alias_depth, size=transaction.parameters.size
            )
        except MailError as error:
            _log.warning("recipient-unresolved", queue_id=transaction.queue_id, code=error.code, **error.fields)
            return refusal(error)
        return ACCEPTED if status is RELAY else status

    def begin(self, transaction: Transaction) -> Reception:
        spool = self._store.spool(limit=self._limits.message_octets, declared=transaction.parameters.size)

        async def complete(arrived: Arrived[BodyDigest]) -> Status:
            return await self.accept(transaction, arrived)

        binary = transaction.parameters.body == BINARY
        return SpooledReception(spool, self._limits, lambda _head: BodyDigest(), complete, binary=binary, ours=True)

    # --- the way of one message --------------------------------------------------------------------------------------

    async def accept(self, transaction: Transaction, arrived: Arrived[BodyDigest]) -> Status:
        """250: durable. Otherwise nobody gets it."""
        envelope = envelope_of(transaction, eight_bit=arrived.eight_bit)
        account = await self._account(transaction.peer)
        if isinstance(account, Status):
            return self._closed(envelope, account)
        authors = read_authors(arrived.head, self._limits)
        refused_as = await self._refused(account, envelope, arrived, authors)
        if refused_as is not None or isinstance(authors, Status):
            return self._closed(envelope, refused_as or NOT_YOURS, account)
        head = unqualified(arrived.head, self._limits, self._routed) or clean(
            arrived.head, self._limits, smtputf8=envelope.smtputf8
        )
        if isinstance(head, Status):
            return self._closed(envelope, head, account)
        arrived = replace(arrived, head=head)
        found = await self._spread(transaction, head, account.organisation_id)
        if found.refusal is not None:
            return self._closed(envelope, found.refusal, account)
        denied = await self._kept_back(account, envelope.schedule)  # others may have come since MAIL
        if denied is not None:
            return self._closed(envelope, denied, account)
        toll = self._toll(transaction.peer, account, envelope)
        status = await self._kept(account, transaction, envelope, arrived, authors.domain, found, toll)
        self._alert(account, toll)
        return self._closed(envelope, status, account)

    async def _spread(self, transaction: Transaction, head: Head, relay_for: str) -> Spread:
        """As `Inbound._spread`: only what has sent it on before fails."""
        depth = self._limits.alias_depth
        resolve = partial(spread, self._directory, transaction.recipients, depth=depth, relay_for=relay_for)
        found = await resolve()
        came_back = self._committer.came_back(head, found.outgoing)
        return await resolve(ended=came_back) if came_back else found

    async def _refused(
        self, account: Account, envelope: Envelope, arrived: Arrived[BodyDigest], authors: Authors | Status
    ) -> Status | None:
        if looped(arrived.head, self._config):
            return LOOP
        if isinstance(authors, Status):
            return authors
        names: Sequence[Address] = authors.names if envelope.sender is None else (envelope.sender, *authors.names)
        stranger = await not_owned(self._directory, account, names)
        if stranger is None:
            return None
        _log.warning("sender-not-owned", queue_id=envelope.queue_id, account=account.id, address=str(stranger))
        return NOT_YOURS

    async def _kept(
        self,
        account: Account,
        transaction: Transaction,
        envelope: Envelope,
        arrived: Arrived[BodyDigest],
        domain: str,
        found: Spread,
        toll: Toll | None,
    ) -> Status:
        try:
            plan = await self._plan(account, transaction, envelope, arrived, domain, found)
        except MailError as error:
            _log.warning("submission-failed", queue_id=envelope.queue_id, code=error.code, **error.fields)
            return refusal(error)
        return await self._committer.commit(replace(plan, toll=toll))

    async def _plan(
        self,
        account: Account,
        transaction: Transaction,
        envelope: Envelope,
        arrived: Arrived[BodyDigest],
        domain: str,
        found: Spread,
    ) -> Plan:
        copies = await self._copies(account, arrived.head)
        now = self._clock.now()
        hop = stamp.Hop(self._config.hostname, envelope, transaction.peer, now)
        message_id = f"{self._ids.object_id()}@{domain}"
        head = stamp.submitted(arrived.head, hop, message_id=message_id)
        signers = await self._keys.signers(domain)
        if not signers:
            _log.warning("message-unsigned", queue_id=envelope.queue_id, domain=domain)
        else:
            head = sign(head, arrived.verification.digest(), signers, now) + head
        return Plan(
            envelope=envelope,
            head=head,
            body=arrived.content,
            skip=len(arrived.content.head),
            local_prefix=stamp.logged_in(envelope.sender, self._config.hostname),
            targets=(*found.targets, *copies),
            outgoing=found.outgoing,
            account_id=account.id,
            submitter=await self._submitter(account, transaction.parameters.auth),
            message_id=traced_id(arrived.head, message_id),
        )

    async def _submitter(self, account: Account, named: str | None) -> str:
        """RFC 4954 5: with no word from the client it is the account; a name counts as far as it is the account's own;
        every other is as if the client had said that it names nobody."""
        if named is None:
            return str(account.address)
        try:
            address = parse(named)
        except AddressError:
            return ""
        return named if await self._directory.may_send_as(account, address) else ""

    async def _copies(self, account: Account, head: Head) -> list[Target]:
        """Who writes in the name of another account leaves a copy in that account's Sent, read, so that all who share
        it see what was answered."""
        owners: dict[str, Account] = {}
        for author in from_domains(head, self._limits).addresses:
            meaning = await self._directory.resolve(author)
            if isinstance(meaning, LocalAccount) and meaning.account.id != account.id:
                owners[meaning.account.id] = meaning.account
        return [
            Target(owner, owner.address, SILENT, folder=await self._sent(owner), flags=Flag.SEEN)
            for owner in owners.values()
        ]

    async def _sent(self, owner: Account) -> str:
        opened = await self._store.account(AccountRef.of(owner))
        found = next((folder.name for folder in await opened.folders() if folder.special_use == SENT_USE), None)
        return found or self._config.imap.folders.sent

    # --- small questions ---------------------------------------------------------------------------------------------

    async def _account(self, peer: Peer) -> Account | Status:
        """Asked at each step: a suspension counts within seconds, not at the next login."""
        account = await self._directory.account_by_id(peer.account_id) if peer.account_id else None
        if account is None:
            return NO_LOGIN
        return account if account.state is State.ACTIVE else SUSPENDED

    def _routed(self, domain: str) -> bool:
        """A name of the operator's own, with a route, may be a single label."""
        return domain in self._config.delivery.routes

    def _limited(self, peer: Peer) -> bool:
        """`limits.exempt`: networks without per-account limits (the mairie's own application servers)."""
        try:
            address = ip_address(peer.address)
        except ValueError:
            return True
        return not any(address in network for network in self._limits.exempt_networks)

    def _toll(self, peer: Peer, account: Account, envelope: Envelope) -> Toll | None:
        """None: this peer's mail is not counted."""
        if not self._limited(peer):
            return None
        limits = self._limits
        rules = Rules(
            limits.account_recipients_per_day, limits.account_new_recipients_per_day, limits.account_hijack_per_hour
        )
        return Toll(account.id, [item.address.key for item in envelope.recipients], rules)

    def _alert(self, account: Account, toll: Toll | None) -> None:
        """Near the day's end, and when a stranger's hand is seen, the commune hears of it."""
        if toll is None or toll.charge is None:
            return
        if toll.charge.locked:
            self._alerts.raise_(LOCKED, account)
        elif toll.charge.warn:
            self._alerts.raise_(NEAR_LIMIT, account)

    async def _kept_back(self, account: Account, schedule: Schedule) -> Status | None:
        """Our queue is no archive: so many messages of one account may wait for a time that it chose. Told at MAIL (RFC
        4865 6)."""
        if schedule.release_at <= self._clock.now():
            return None
        try:
            count = await self._queue.kept_back(account.id)
        except MailError as error:
            return refusal(error)
        return TOO_MANY_KEPT if count >= self._limits.future_release_messages else None

    def _closed(self, envelope: Envelope, status: Status, account: Account | None = None) -> Status:
        priority = envelope.schedule.priority
        _log.info(
            "message-accepted" if status.ok else "message-refused",
            queue_id=envelope.queue_id,
            account=account.id if account else "",
            sender=str(envelope.sender or ""),
            recipients=[str(item.address) for item in envelope.recipients],
            decision="submitted" if status.ok else "",
            reason=status.reason,
            status=str(status),
            **({"priority": priority} if priority else {}),  # RFC 6710 4.1
        )
        return status
