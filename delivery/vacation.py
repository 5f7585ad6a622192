"""The absence notice: who gets one, what it says, and that it never starts a war of robots (RFC 3834; row 136).

`withheld` is pure and names its reason. The answer has a null sender, says that it is automatic, and goes to the
envelope sender alone; a failure here never touches the message that was delivered.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import replace

from antispam.types import Authentication, Result
from core import log
from core.address import Address
from core.clock import Clock
from core.config import Limits
from core.envelope import Dsn
from core.errors import InvalidError, MailError
from core.ids import Ids
from delivery.commit import Received, Target
from delivery.forward import Keys
from delivery.queue.queue import Queue
from delivery.queue.rows import NewMessage, NewRecipient
from delivery.srs import is_rewritten
from delivery.types import Vacation
from directory.directory import Directory
from directory.types import Account
from dkim_keys.sign import sign_content
from message import compose, parameters
from message.address_list import Kind, parse_fields, to_address
from message.compose import Person
from message.content import BytesContent
from message.decode import words
from message.header import Field, Head, split
from message.trace import return_path

KNOWN_FOR = 15.0  # seconds until a change made elsewhere is seen here
MAX_QUOTED = 150  # characters of the original subject
# RFC 3834 2: addresses behind which nobody reads answers.
_ROBOT = re.compile(
    r"(?:owner-.*|.*-(?:request|owner|bounces?|return)|mailer-daemon|postmaster|no[-_.]?reply|do[-_.]?not[-_.]?reply"
    r"|ne[-_.]?pas[-_.]?r[eé]pondre|pas[-_.]?de[-_.]?r[eé]ponse|bounces?|listserv|majordomo)(?:\+.*)?",
    re.IGNORECASE,
)
_LIST_FIELDS = tuple(f"list-{name}".encode() for name in ("id", "help", "subscribe", "unsubscribe", "post", "owner"))
_BULK = frozenset({b"bulk", b"list", b"junk"})
# What Exchange and ticket systems say in the place of Auto-Submitted: no absence notice, no automatic answer, nothing.
_SUPPRESS, _SUPPRESSED = b"x-auto-response-suppress", frozenset({b"all", b"oof", b"autoreply"})
_ADDRESSED = (b"to", b"cc", b"resent-to", b"resent-cc")
# How Message-IDs of notices begin. What refers to one of the account's domain answers a robot: a person who does has
# been told already. Another domain's may stand in any thread.
_NOTICE = "absence."
_OF_NOTICE = re.compile(rb"<absence\.[^<>@\s]{1,100}@([^<>@\s]{1,255})>")
_REFERRING = (b"in-reply-to", b"references")
MAX_AUTHORS = 10  # of a From field that count as told

_log = log.get(__name__)


def withheld(
    sender: Address | None, head: Head, account: Address, reached: Address, found: Authentication | None, limits: Limits
) -> str:
    """Why this message is not answered, "" when it is. `reached`: the recipient that led to the account."""
    if sender is None:
        return "null-sender"
    if sender.without_subaddress().key == account.key:
        return "from-oneself"
    if _ROBOT.fullmatch(sender.local) or is_rewritten(sender):
        return "robot"
    if any(_word(field) != b"no" for field in head.all(b"auto-submitted")):  # RFC 3834 2, 5
        return "auto-submitted"
    if any(_SUPPRESSED & set(re.split(rb"[\s,;]+", field.value.lower())) for field in head.all(_SUPPRESS)):
        return "suppressed"
    if any(field.value.strip().lower() in _BULK for field in head.all(b"precedence")):
        return "bulk"
    if any(head.first(name) is not None for name in _LIST_FIELDS):
        return "list"
    if any(field.value.lower().lstrip().startswith(b"multipart/report") for field in head.all(b"content-type")):
        return "report"  # a bounce of a server that gave it a sender
    if _refers_to_notice(head, account.domain.encode("ascii")):
        return "answers-a-notice"  # by a robot that does not say so
    if found is not None and found.spf.result in (Result.FAIL, Result.SOFTFAIL):
        return "sender-forged"
    if not {account.key, reached.key, reached.without_subaddress().key} & _named(head, limits):
        return "not-addressed"  # RFC 3834 2: a blind copy, a group, a list without manners
    return ""


def _refers_to_notice(head: Head, domain: bytes) -> bool:
    fields = [field for name in _REFERRING for field in head.all(name)]
    return any(found.lower() == domain for field in fields for found in _OF_NOTICE.findall(field.value))


def _word(field: Field) -> bytes:
    """RFC 3834 5: comments (RFC 5322 3.2.2, comments in them too) may stand around the word, parameters behind it."""
    return parameters.parse(field.value, 0).head.lower()


def _named(head: Head, limits: Limits) -> set[str]:
    named = [address for name in _ADDRESSED for address in _addresses(head, name, limits)]
    return {key for address in named for key in (address.key, address.without_subaddress().key)}


def _addresses(head: Head, name: bytes, limits: Limits) -> list[Address]:
    found = []
    for entry in parse_fields(head, name, limits):
        if entry.kind is Kind.ADDRESS and entry.sound:
            with contextlib.suppress(ValueError):
                found.append(to_address(entry))
    return found


def writers(sender: Address, head: Head, limits: Limits) -> set[str]:
    """Under which he counts as told: lists and ticket systems have an envelope sender, or a detail, for each."""
    authors = _addresses(head, b"from", limits)[:MAX_AUTHORS]
    return {address.without_subaddress().key for address in (sender, *authors)}


class Responder:
    """`Responder(queue, directory, keys, clock, ids, limits, hostname)`; asked after a message was delivered."""

    def __init__(
        self, queue: Queue, directory: Directory, keys: Keys, clock: Clock, ids: Ids, limits: Limits, hostname: str
    ) -> None:
        self._queue = queue
        self._directory = directory
        self._keys = keys
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._hostname = hostname
        self._known: Mapping[str, Vacation] = {}
        self._until = float("-inf")

    async def respond(self, received: Received) -> None:
        """Answer for each account of a delivered message that is away. Never raises: the message is in its mailbox, and
        whatever goes wrong here, a bug too, must not have it refused or delivered again (promise P2)."""
        try:
            known = await self._away()
            away = [item for item in received.targets if not item.folder and item.account.id in known]
            if not away:
                return
            head = split(received.head, self._limits)
            for item in away:
                vacation = known[item.account.id]
                if vacation.covers(self._clock.now()):
                    await self._answer(received, head, item, vacation)
        except MailError as error:
            _log.warning("vacation-failed", code=error.code)
        except Exception:  # a bug in a notice costs no delivery
            _log.exception("vacation-failed", code="internal")

    async def _away(self) -> Mapping[str, Vacation]:
        """From memory mostly: an installation where nobody is away pays one look in 15 s."""
        if self._clock.monotonic() >= self._until:
            self._known = await self._queue.vacations()
            self._until = self._clock.monotonic() + KNOWN_FOR
        return self._known

    async def _answer(self, received: Received, head: Head, target: Target, vacation: Vacation) -> None:
        account, sender = target.account, received.sender
        found = received.verified.authentication if received.verified else None
        reason = withheld(sender, head, account.address, target.address, found, self._limits)
        if not reason and sender is not None:
            told = writers(sender, head, self._limits)
            reason = "" if await self._queue.tell_once(account.id, *told) else "told-already"
        if reason or sender is None:
            _log.info("vacation-withheld", account=account.id, reason=reason)
            return
        message = await self._message(sender, head, account, vacation)
        if received.require_tls:  # RFC 8689 6: it tells the subject of what was to be protected
            message = replace(message, require_tls=True)
        await self._queue.enqueue(message)
        _log.info("vacation-sent", account=account.id, queue_id=message.queue_id)

    async def _message(self, sender: Address, head: Head, account: Account, vacation: Vacation) -> NewMessage:
        now = self._clock.now()
        data = compose.text_message(
            sender=Person(account.address, account.display_name),
            recipients=[Person(sender)],
            subject=vacation.subject or _subject(head),
            text=vacation.text,
            now=now,
            message_id=_NOTICE + compose.new_message_id(self._ids, account.address.domain),
            extra=_about(head),
        )
        signature = await sign_content(BytesContent(data), await self._keys.signers(account.address.domain), now)
        ours = await self._directory.hosted_domain(sender.domain) is not None
        return NewMessage(
            queue_id=self._ids.queue_id(),
            sender=None,  # RFC 3834 3.3: nothing may answer it
            content=BytesContent(signature + data),
            recipients=(NewRecipient(sender, account.organisation_id, Dsn(frozenset({"NEVER"})), local=ours),),
            smtputf8=not (sender.ascii and account.address.ascii),
            local_prefix=return_path(None),
        )


def _subject(head: Head) -> str:
    """RFC 3834 3.1.5: "Auto: " and what the sender wrote, harmless characters only."""
    field = head.first(b"subject")
    text = words(field.value) if field is not None else ""
    clean = "".join(c if c.isprintable() else " " for c in text)[:MAX_QUOTED].strip()
    return f"Absence : {clean}" if clean else "Absence"


def _about(head: Head) -> list[bytes]:
    """RFC 3834 3.1.2, 3.1.6, 5: what it answers, and that nobody wrote it."""
    fields = [compose.raw_field("Auto-Submitted", "auto-replied")]
    field = head.first(b"message-id")
    text = field.value.decode("ascii", "replace") if field is not None else ""
    if re.fullmatch(r"<[!-;=?-~]{1,250}>", text):
        try:
            fields += [compose.raw_field("In-Reply-To", text), compose.raw_field("References", text)]
        except InvalidError:
            return fields
    return fields
