"""What an administrator of a commune is told by mail: an account near its limit, an account whose sending was locked.

To postmaster@ of the account's domain, who always exists; in French and English, marked as automatic (RFC 3834 5), with
a null sender so that nothing answers. An alert is queued behind the answer, and in the log in any case.
"""

from __future__ import annotations

from dataclasses import dataclass

from core import log
from core.address import Address
from core.clock import Clock
from core.ids import Ids
from delivery.queue.queue import Queue
from delivery.queue.rows import NewMessage, NewRecipient
from directory.types import Account
from message import compose
from message.compose import Person
from message.content import BytesContent
from message.trace import return_path

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Alert:
    """`event` is its name in the log; `french` and `english` have a place for the account's address."""

    event: str
    subject: str
    french: str
    english: str


NEAR_LIMIT = Alert(
    "sending-near-limit",
    "Envois bientôt limités pour {address}",
    "Le compte {address} a utilisé plus de 80 % des envois permis en 24 heures.\n"
    "Au-delà de la limite, ses messages seront refusés jusqu'au lendemain.\n",
    "The account {address} has used more than 80 % of what it may send in 24 hours.\n",
)
LOCKED = Alert(
    "sending-locked",
    "Envois bloqués pour {address}",
    "Le compte {address} écrit soudain à beaucoup de destinataires nouveaux : son mot de passe est peut-être connu\n"
    "d'un tiers. Ses envois sont bloqués ; il reçoit toujours son courrier.\n\n"
    "À faire : changer son mot de passe, vérifier l'ordinateur, puis lever le blocage\n"
    "(beffroi mailbox unlock {address}).\n",
    "The account {address} suddenly writes to many new recipients; its password may be known to somebody else.\n"
    "Its sending is locked, it still receives. Change the password, then unlock it (beffroi mailbox unlock).\n",
)


class Alerts:
    """Makes the mail of an alert and hands it to the queue."""

    def __init__(self, queue: Queue, clock: Clock, ids: Ids, hostname: str) -> None:
        self._queue = queue
        self._clock = clock
        self._ids = ids
        self._hostname = hostname

    def raise_(self, alert: Alert, account: Account) -> None:
        """Never raises, and nobody waits for it: the message that met the limit is answered whatever becomes of it."""
        _log.warning(alert.event, account=account.id, address=str(account.address))
        try:
            self._queue.enqueue_later(self._message(alert, account))
        except Exception:  # a bug in an alert is told in the log alone
            _log.exception("alert-lost", account=account.id, event_name=alert.event)

    def _message(self, alert: Alert, account: Account) -> NewMessage:
        to = Address("postmaster", account.address.domain)
        address = account.address.display()
        text = f"{alert.french}\n-- \n{alert.english}".format(address=address)
        data = compose.text_message(
            sender=Person(Address("postmaster", self._hostname), "Beffroi"),
            recipients=[Person(to)],
            subject=alert.subject.format(address=address),
            text=text,
            now=self._clock.now(),
            message_id=compose.new_message_id(self._ids, self._hostname),
            extra=[compose.raw_field("Auto-Submitted", "auto-generated")],
        )
        return NewMessage(
            queue_id=self._ids.queue_id(),
            sender=None,
            content=BytesContent(data),
            recipients=(NewRecipient(to, account.organisation_id, local=True),),
            local_prefix=return_path(None),
        )
