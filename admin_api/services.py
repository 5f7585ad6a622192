"""What the routes work with: the faces of the rooms to the left, put together by `beffroi.wiring`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.clock import Clock
from core.config import Limits
from core.resolver import Resolver
from delivery.types import QueueAdministration
from directory.directory import Directory
from dkim_keys.client_records import ClientService
from dkim_keys.keyring import Keyring
from store.store import Store


@dataclass(frozen=True, slots=True)
class Services:
    """`hostname` is the installation's public name: the MX of every hosted domain. `sts_policy`: the text of the
    MTA-STS policy that is published for them, "" for none; `client_services`: where mail programs read and send."""

    hostname: str
    limits: Limits
    directory: Directory
    keyring: Keyring
    store: Store
    queue: QueueAdministration
    resolver: Resolver
    clock: Clock
    sts_policy: str = ""
    client_services: Sequence[ClientService] = ()
