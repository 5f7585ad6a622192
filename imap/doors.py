"""What a session asks of the world around it, as Protocols: its connection, the count of connections, who learns.

Who implements them knows sockets, shared memory and Rspamd; sessions and handlers know these words alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from core.wake import Wake
from directory.types import Account
from store.store import Mailbox
from store.types import Uid


class Link(Protocol):
    """What a handler may ask of its connection, beyond writing: the few commands that read or change it."""

    @property
    def remote(self) -> str:
        """The peer's address, for directory and log."""

    @property
    def secure(self) -> bool:
        """TLS is on."""

    @property
    def certificate(self) -> bytes:
        """The client's verified certificate (DER), b"" without."""

    @property
    def loopback(self) -> bool: ...

    async def read_line(self, *, limit: int) -> bytes:
        """One raw line without CRLF, outside the command grammar (AUTHENTICATE, RFC 9051 6.2.2). Raises `Bad` when
        it is longer than `limit`, `ConnectionError` at the end of the connection."""

    async def idle_line(self, wake: Wake, timeout: float) -> bytes | None:
        """Wait for a line, for `wake` or for `timeout` seconds, whichever is first: the line, or None."""

    def literal(self) -> AsyncIterator[bytes]:
        """The announced literal of APPEND or REPLACE, in blocks; asks for it first when it synchronises. Raises
        `ConnectionError` when the peer leaves in the middle."""

    async def rest_of_command(self) -> bytes:
        """What follows the literal, up to CRLF or up to and with the announcement of the next literal."""

    @property
    def append_at_hand(self) -> bool:
        """The next command is an APPEND of one message, and all of it has come."""

    def wake(self) -> None:
        """There is something to tell between two commands (`Session.notices`)."""

    def before_tls(self) -> None:
        """Raises `Bye` when clear text was pipelined behind STARTTLS (security.md row 21)."""

    async def start_tls(self) -> None:
        """The tagged OK has been sent; from now on TLS."""

    @property
    def can_start_tls(self) -> bool: ...

    @property
    def compressed(self) -> bool: ...

    def before_compression(self) -> None:
        """Raises `Bye` when clear text was pipelined behind COMPRESS: it could not be told from compressed octets."""

    async def compress(self) -> None:
        """The tagged OK has been sent; from now on both directions are compressed (RFC 4978 3)."""

    def before_clear_text(self) -> None:
        """Raises `Bye` when more was pipelined behind UNAUTHENTICATE within the compressed stream."""

    async def uncompress(self) -> None:
        """The tagged OK has been sent; from now on nothing is compressed (RFC 8437 4.1)."""

    def logged_in(self, account: Account) -> None:
        """Wider bounds and longer timeouts from now on; takes the account's seat. Raises `Bye` when none is free."""

    def logged_out(self) -> None:
        """The bounds, the timeout and the seat of a connection before login again. Raises `Bye` when none is free."""


class Seats(Protocol):
    """Counts connections, once per machine (security.md, Decided); `seats.TallySeats` by `core.tally`."""

    def take_address(self, address: str) -> bool:
        """A connection before login; False when `limits.connections_per_address` are taken."""

    def leave_address(self, address: str) -> None: ...

    def take_account(self, account_id: str, address: str) -> bool:
        """After login; False when `limits.imap_connections_per_account` are taken."""

    def leave_account(self, account_id: str) -> None: ...


class Teacher(Protocol):
    """Learns from what people do with their mail; `antispam.learn.Learner` teaches rspamd."""

    def teach(self, mailbox: Mailbox, uids: Sequence[Uid], *, spam: bool) -> None:
        """These messages were moved into Junk (`spam`) or out of it. Never waits, never raises."""
