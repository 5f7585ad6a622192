"""All commands there are: the only list, and what `imap.dispatch` looks up. A UID form is a row of its own."""

from __future__ import annotations

from typing import Any

from imap.command import Command
from imap.commands.acl import DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS, SETACL
from imap.commands.append import APPEND
from imap.commands.authenticate import AUTHENTICATE
from imap.commands.cancel_update import CANCELUPDATE
from imap.commands.capability import CAPABILITY
from imap.commands.check import CHECK
from imap.commands.close import CLOSE, UNSELECT
from imap.commands.compress import COMPRESS
from imap.commands.copy import COPY, MOVE, UID_COPY, UID_MOVE
from imap.commands.create import CREATE
from imap.commands.delete import DELETE
from imap.commands.enable import ENABLE
from imap.commands.esearch import ESEARCH, UID_ESEARCH
from imap.commands.expunge import EXPUNGE, UID_EXPUNGE
from imap.commands.fetch.handle import FETCH, UID_FETCH
from imap.commands.id import ID
from imap.commands.idle import IDLE
from imap.commands.language import LANGUAGE
from imap.commands.list import LIST, LSUB
from imap.commands.login import LOGIN
from imap.commands.logout import LOGOUT
from imap.commands.metadata import GETMETADATA, SETMETADATA
from imap.commands.namespace import NAMESPACE
from imap.commands.noop import NOOP
from imap.commands.notify import NOTIFY
from imap.commands.quota import GETQUOTA, GETQUOTAROOT, SETQUOTA
from imap.commands.rename import RENAME
from imap.commands.replace import REPLACE, UID_REPLACE
from imap.commands.search.handle import SEARCH, UID_SEARCH
from imap.commands.select import EXAMINE, SELECT
from imap.commands.sort import SORT, UID_SORT
from imap.commands.starttls import STARTTLS
from imap.commands.status import STATUS
from imap.commands.store import STORE, UID_STORE
from imap.commands.subscribe import SUBSCRIBE, UNSUBSCRIBE
from imap.commands.thread import THREAD, UID_THREAD
from imap.commands.uid_batches import UIDBATCHES
from imap.commands.unauthenticate import UNAUTHENTICATE

_ROWS: tuple[Command[Any], ...] = (
    # any state
    CAPABILITY,
    NOOP,
    LOGOUT,
    LANGUAGE,
    ID,
    # before login
    STARTTLS,
    LOGIN,
    AUTHENTICATE,
    # after login
    ENABLE,
    SELECT,
    EXAMINE,
    LIST,
    LSUB,
    STATUS,
    CREATE,
    DELETE,
    RENAME,
    SUBSCRIBE,
    UNSUBSCRIBE,
    NAMESPACE,
    GETQUOTA,
    GETQUOTAROOT,
    SETQUOTA,
    GETACL,
    SETACL,
    DELETEACL,
    LISTRIGHTS,
    MYRIGHTS,
    GETMETADATA,
    SETMETADATA,
    APPEND,
    IDLE,
    COMPRESS,
    NOTIFY,
    ESEARCH,
    UID_ESEARCH,
    UNAUTHENTICATE,
    # selected
    CHECK,
    CLOSE,
    UNSELECT,
    EXPUNGE,
    UID_EXPUNGE,
    FETCH,
    UID_FETCH,
    SEARCH,
    UID_SEARCH,
    SORT,
    UID_SORT,
    THREAD,
    UID_THREAD,
    STORE,
    UID_STORE,
    COPY,
    UID_COPY,
    MOVE,
    UID_MOVE,
    REPLACE,
    UID_REPLACE,
    UIDBATCHES,
    CANCELUPDATE,
)

TABLE: dict[str, Command[Any]] = {row.name: row for row in _ROWS}
