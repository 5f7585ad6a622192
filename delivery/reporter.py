"""Pays what is owed to senders: makes each report, decides where it goes, queues it in the debt's own transaction.

What a report says is `delivery.bounce`'s. A debt whose report cannot be made is dropped with an event, not retried for
ever. Reports to senders of ours are local deliveries, others go out; a report itself never causes one (null sender).
"""

from __future__ import annotations

from core import log
from core.clock import Clock
from core.errors import ConflictError
from core.ids import Ids
from core.envelope import Dsn
from delivery.bounce import compose
from delivery.queue.queue import Queue
from delivery.queue.reports import MESSAGES, Debt
from delivery.queue.rows import NewMessage, NewRecipient
from directory.directory import Directory
from message.content import BytesContent

_log = log.get(__name__)
