"""Directory, store, authenticator, scanner and agent in memory: what delivery talks to, with faults on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

from antispam.types import Authentication, Dkim, Dmarc, Iprev, Origin, Result, Spf, Unscanned, Verdict
from core.address import Address, parse
from core.envelope import Envelope, Peer
from core.errors import MailError
from core.ids import base32
from core.status import accepted
from delivery.types import Job, ResultKind
from delivery.types import Result as DeliveryResult
from directory.types import Account, AliasOf, Domain, ForeignDomain, LocalAccount, Resolution, State, UnknownUser
from message.content import BytesContent, Content
from message.header import LIMITS, Head, split
from store.types import AccountRef, Appended, Flag, Folder, ModSeq, Placement, Uid


class FakeDirectory:
    """Only what delivery asks. `account("maire@ville.test")` adds the domain too; organisation ids are domain names."""

    def __init__(self) -> None:
        self.domains: set[str] = set()
        self.accounts: dict[str, Account] = {}
        self.aliases: dict[str, tuple[Address, ...]] = {}
        self.grants: set[tuple[str, str]] = set()
        self.failure: MailError | None = None

    def account(
        self, text: str, *, quota: int = 0, state: State = State.ACTIVE, organisation_quota: int = 0
    ) -> Account:
        address = parse(text)
        self.domains.add(address.domain)
        made = Account(
            f"id-{address.key}", address, address.domain, "", quota, state, organisation_quota=organisation_quota
        )
        self.accounts[address.key] = made
        return made

    def alias(self, text: str, *targets: str) -> None:
        address = parse(text)
        self.domains.add(address.domain)
        self.aliases[address.key] = tuple(parse(target) for target in targets)

    async def resolve(self, address: Address) -> Resolution:
        if self.failure:
            raise self.failure
        if address.domain not in self.domains:
            return ForeignDomain()
        for candidate in (address, address.without_subaddress()):
            if candidate.key in self.accounts:
                return LocalAccount(self.accounts[candidate.key])
            if candidate.key in self.aliases:
                return AliasOf(self.aliases[candidate.key])
        if address.local.casefold() in ("postmaster", "abuse") and self.accounts:
            return LocalAccount(next(iter(self.accounts.values())))
        return UnknownUser()

    async def hosted_domain(self, name: str) -> Domain | None:
        return Domain(name, name, name, State.ACTIVE) if name in self.domains else None

    async def account_by_id(self, account_id: str) -> Account | None:
        return next((item for item in self.accounts.values() if item.id == account_id), None)

    async def may_send_as(self, account: Account, address: Address) -> bool:
        own = address.without_subaddress().key == account.address.key
        return own or (account.id, address.key) in self.grants


class FakeSpool:
    def __init__(self, store: FakeStore) -> None:
        self._store = store
        self._data = bytearray()
        self.closed = False

    @property
    def size(self) -> int:
        return len(self._data)

    async def write(self, block: bytes) -> None:
        self._store.fail("spool")
        self._data += block

    def content(self) -> Content:
        return BytesContent(bytes(self._data))

    async def close(self) -> None:
        self.closed = True


class FakeStaged:
    def __init__(self, store: FakeStore, data: bytes) -> None:
        self._store = store
        self._data = data

    async def deliver(self, account: AccountRef, placement: Placement) -> Appended:
        self._store.fail(f"deliver:{account.local}@{account.domain}")
        known = self._store.by_delivery_id.get((account.id, placement.delivery_id))
        if known is None:
            self._store.events.append(f"deliver {account.local}")
            box = self._store.boxes.setdefault((f"{account.local}@{account.domain}", placement.folder), [])
            box.append(self._data)
            self._store.flags[f"{account.local}@{account.domain}", placement.folder] = placement.flags
            known = Appended(placement.folder, 1, Uid(len(box)), ModSeq(1))
            self._store.by_delivery_id[account.id, placement.delivery_id] = known
        return known

    async def __aenter__(self) -> FakeStaged:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.staged -= 1


class FakeAccountStore:
    def __init__(self, used: int, together: int) -> None:
        self._used, self._together = used, together

    async def organisation_usage(self) -> int:
        return self._together

    async def usage(self) -> tuple[int, int]:
        return self._used, 1

    async def folders(self) -> list[Folder]:
        return []


class FakeStore:
    """`boxes[(address, folder)]`: the bytes that became visible. `failures[point]`: raised, once each, in order;
    points are "spool", "stage", "deliver:<address>"."""

    def __init__(self) -> None:
        self.boxes: dict[tuple[str, str], list[bytes]] = {}
        self.by_delivery_id: dict[tuple[str, str], Appended] = {}
        self.flags: dict[tuple[str, str], Flag] = {}
        self.failures: dict[str, list[Exception]] = {}
        self.used: dict[str, int] = {}
        self.staged = 0
        self.spools: list[FakeSpool] = []
        self.events: list[str] = []

    def fail(self, point: str) -> None:
        if self.failures.get(point):
            raise self.failures[point].pop(0)

    def spool(self, *, limit: int, declared: int = 0) -> FakeSpool:
        made = FakeSpool(self)
        self.spools.append(made)
        return made

    async def stage(
        self, prefix: bytes | Head, content: Content, *, first: AccountRef, skip: int = 0, synced: bool = True
    ) -> FakeStaged:
        self.fail("stage")
        self.staged += 1
        self.events.append("stage")
        if isinstance(prefix, Head) and prefix.stands(len(bytes(prefix)), LIMITS):
            assert prefix == split(bytes(prefix))
        return FakeStaged(self, bytes(prefix) + content.read(skip, content.size))

    async def account(self, ref: AccountRef) -> FakeAccountStore:
        return FakeAccountStore(self.used.get(f"{ref.local}@{ref.domain}", 0), self.used.get(ref.organisation_id, 0))

    def inbox(self, address: str) -> list[bytes]:
        return self.boxes.get((address, "INBOX"), [])

    def junk(self, address: str) -> list[bytes]:
        return self.boxes.get((address, "Junk"), [])


def vouched(
    *,
    spf: Result = Result.NONE,
    dkim: Iterable[Dkim] = (),
    dmarc: Result = Result.NONE,
    policy: str = "",
    disposition: str = "none",
) -> Authentication:
    return Authentication(
        Spf(spf, "mailfrom", "sender.test"),
        tuple(dkim),
        Dmarc(dmarc, "sender.test", policy, disposition),
        Iprev(Result.PASS, "mx.sender.test"),
    )


class FakeVerification:
    def __init__(self, head: bytes) -> None:
        self.head = head
        self.body = bytearray()

    def feed(self, block: bytes) -> None:
        self.body += block


class FakeAuthenticator:
    """Answers `opinion`; `seen` is the last verification, to compare what it was fed."""

    def __init__(self, opinion: Authentication | None = None) -> None:
        self.opinion = opinion or vouched()
        self.seen: FakeVerification | None = None
        self.hangs: Callable[[], object] | None = None

    def origin(self, peer: Peer, sender: Address | None) -> Origin | None:
        return None

    def begin(self, head: Head, origin: Origin | None = None) -> FakeVerification:
        self.seen = FakeVerification(bytes(head))
        return self.seen

    async def authenticate(
        self, peer: Peer, sender: Address | None, authors: Sequence[str], verification: FakeVerification
    ) -> Authentication:
        return self.opinion


class FakeScanner:
    def __init__(self, opinion: Verdict | Unscanned | Exception) -> None:
        self.opinion = opinion
        self.scanned: list[tuple[bytes, Envelope]] = []

    async def scan(
        self, content: Content, prefix: bytes, envelope: Envelope, peer: Peer, user: str = ""
    ) -> Verdict | Unscanned:
        self.scanned.append((prefix + content.read(0, content.size), envelope))
        if isinstance(self.opinion, Exception):
            raise self.opinion
        return self.opinion


class ScriptedAgent:
    """Answers by `answer(job)`; without one delivers all. Keeps every job and its bytes."""

    def __init__(self, answer: Callable[[Job], list[DeliveryResult]] | None = None) -> None:
        self.answer = answer or delivered
        self.jobs: list[Job] = []
        self.bytes: list[bytes] = []

    async def deliver(self, job: Job) -> list[DeliveryResult]:
        self.jobs.append(job)
        self.bytes.append(job.content.read(0, job.content.size) if job.content.size < 1 << 18 else b"")
        return self.answer(job)


def delivered(job: Job) -> list[DeliveryResult]:
    return [DeliveryResult(item.id, ResultKind.DELIVERED, accepted(), "mx.test") for item in job.recipients]


class CountingIds:
    """Ids that tests can foretell: q000001, q000002 …"""

    def __init__(self) -> None:
        self._count = 0

    def queue_id(self) -> str:
        self._count += 1
        return "q" + base32(self._count, 15)

    object_id = queue_id
    token = queue_id
