"""The life of one IMAP connection: greeting, commands one after the other, timeouts, the end.

Joins channel, framing, session and dispatch, and is the `Link` that the few commands use which read by themselves
(APPEND, AUTHENTICATE, IDLE, STARTTLS). Decides about time and bounds; knows no command.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from ipaddress import ip_address

from core.log import context, get
from core.wake import Wake
from directory.types import Account
from imap import capability, dispatch, responses
from imap.channel import HIGH_INPUT, Channel
from imap.errors import Bad, Bye, Code
from imap.language import DEFAULT
from imap.notify import tell_or_give_up
from imap.seats import Admission
from imap.session import Notices, Services, Session
from imap.types import State
from imap.wire.framing import (
    ANY_LITERAL,
    LITERAL_MINUS,
    Bounds,
    Complete,
    Continue,
    Event,
    Framer,
    Piece,
    Refused,
    Rest,
    Streamed,
)
from imap.writer import Writer

log = get(__name__)

GATHER = 0.05  # seconds between two looks at busy mailboxes (security.md row 38)


@dataclass(frozen=True, slots=True)
class Door:
    """How a connection came in. `contexts` gives the TLS context of the moment (certificates are reloaded), None
    when there is no TLS; `implicit`: TLS from the first octet (RFC 8314)."""

    contexts: Callable[[], ssl.SSLContext] | None
    implicit: bool


class Connection:
    """`run` is the task of the connection; `finish` and `cut` are the owner's ways to end it."""

    __slots__ = (
        "_admission",
        "_bad",
        "_channel",
        "_door",
        "_framer",
        "_login_deadline",
        "_remote",
        "_services",
        "_table",
        "_woken",
        "_writer",
        "checked",
        "session",
    )

    def __init__(
        self, services: Services, door: Door, table: dispatch.Table, channel: Channel, admission: Admission
    ) -> None:
        self._services = services
        self._door = door
        self._table = table
        self._channel = channel
        self._admission = admission
        self._remote = admission.address
        limits = services.limits
        self._framer = Framer(self._strangers_bounds())
        self._writer = Writer(channel)
        self.session = Session(services, self, self._writer)
        self.checked = -1  # the directory's version at which the login was last known to stand
        self._login_deadline = self._now() + limits.imap_login_timeout
        self._bad = 0
        self._woken: Callable[[], None] | None = None

    # --- the loop --------------------------------------------------------------------------------------------------

    async def run(self, connection_id: str) -> None:
        """Serve until the end; raises only `CancelledError`."""
        with context(conn=connection_id, peer=self._remote):
            reason = "logout"
            try:
                await self._greet()
                while self.session.state is not State.LOGOUT:
                    event = await self._event()
                    if isinstance(event, Complete | Streamed):
                        answer = await dispatch.run(self.session, self._table, event.data)
                        self._done(event, answer)
                    else:
                        await self._serve(event)
                    # A pipeline of commands that never wait must not keep other connections waiting (promise P7).
                    await asyncio.sleep(0)
            except Bye as bye:
                reason = bye.text
                await self._say_bye(bye)
            except (OSError, TimeoutError) as error:
                reason = type(error).__name__
            finally:
                await dispatch.forget(self.session)
                self._end(reason)

    async def _greet(self) -> None:
        code = responses.capability_code(capability.names(self.session))
        self._writer.write(responses.untagged("OK", f"{self._services.hostname} Beffroi ready", code))
        await self._writer.drain()

    def _done(self, command: Complete | Streamed, answer: dispatch.Answer | None) -> None:
        if isinstance(command, Streamed) and not self._framer.abandon():
            raise Bye("literal too large", Code.TOOBIG)
        self._count(answer is not None and answer.bad)

    async def _serve(self, event: Refused | Continue | Piece | Rest) -> None:
        match event:
            case Refused(tag, error, fatal):
                if fatal:
                    raise Bye(error.text, error.code)
                status = "BAD" if isinstance(error, Bad) else "NO"
                self._writer.write(responses.tagged(tag, status, self.session.words(error.text), error.code))
                await self._writer.drain()
                self._count(True)
            case Continue():
                await self._ask()
            case Piece() | Rest():
                raise RuntimeError("a literal nobody asked for")

    async def _ask(self) -> None:
        self._writer.write(responses.CONTINUE)
        await self._writer.drain()

    def _count(self, bad: bool) -> None:
        """A client that speaks another protocol is not worth a session (rows 33, 94). After login what was understood
        clears the count: a session may last for days. A stranger's count is not cleared: what a browser is made to
        post here can hold NOOP between its lines."""
        limits = self._services.limits
        before_login = self.session.state is State.NOT_AUTHENTICATED
        self._bad = self._bad + bad if bad or before_login else 0
        if self._bad >= (limits.imap_bad_before_login if before_login else limits.imap_bad_after_login):
            raise Bye("too many invalid commands", Code.CLIENTBUG)

    async def _say_bye(self, bye: Bye) -> None:
        try:
            self._writer.write(responses.untagged("BYE", self.session.words(bye.text), bye.code))
            self._writer.flush()
        except OSError:
            return

    def _end(self, reason: str) -> None:
        self.session.notify(None)
        self._channel.close()
        if self.account_id is not None:
            log.info("imap-session-ended", reason=reason, account=self.account_id, sent=self._writer.sent)
        elif reason != "logout":
            log.debug("imap-connection-ended", reason=reason)

    # --- input -----------------------------------------------------------------------------------------------------

    async def _event(self) -> Event:
        began: float | None = None
        since = self._now()
        while (event := self._framer.next_event()) is None:
            if began is None and self._framer.midway:
                began = self._now()
            notices = self.session.notices
            if notices is None or began is not None:
                await self._read(self._patience(began))
            else:
                await self._attend(notices, since + self._services.limits.imap_idle - self._now())
        return event

    async def _attend(self, notices: Notices, seconds: float) -> None:
        """Between two commands: more input, or else what the client wants to be told unasked (RFC 5465)."""
        wake = Wake()
        self._channel.watcher = self._woken = wake.set
        try:
            if not self._channel.readable and not notices.due.is_set():
                self._channel.rest()
                async with asyncio.timeout(seconds):
                    await wake.wait()
        except TimeoutError as error:
            raise Bye("idle for too long", Code.NONE) from error
        finally:
            self._channel.watcher = self._woken = None
        if self._channel.readable:
            self._take()
        elif notices.due.is_set():
            await tell_or_give_up(self.session, notices)
            await self._writer.drain()
            await asyncio.sleep(GATHER)

    def wake(self) -> None:
        if self._woken is not None:
            self._woken()

    def _patience(self, began: float | None) -> float:
        """Seconds to wait for more: until the login deadline, to finish a command that has begun (row 36), or for the
        next command."""
        limits = self._services.limits
        if self.session.state is State.NOT_AUTHENTICATED:
            return self._login_deadline - self._now()
        return limits.imap_idle if began is None else began + limits.idle_command - self._now()

    def _now(self) -> float:
        return self._services.clock.monotonic()

    async def _read(self, seconds: float) -> None:
        if seconds <= 0:  # a peer whose octets always lie ready must not outlive its time
            raise Bye("too slow", Code.NONE)
        if self._framer.midway and not self._channel.readable:
            self._channel.acknowledge()
        try:
            data = await self._channel.read(seconds)
        except TimeoutError as error:
            raise Bye("idle for too long", Code.NONE) from error
        if not data:
            raise ConnectionResetError("the peer is gone")
        self._framer.feed(data)

    # --- Link: what handlers use -----------------------------------------------------------------------------------

    @property
    def remote(self) -> str:
        return self._remote

    @property
    def secure(self) -> bool:
        return self._channel.secure

    @property
    def certificate(self) -> bytes:
        return self._channel.certificate

    @property
    def loopback(self) -> bool:
        return ip_address(self._remote).is_loopback

    @property
    def can_start_tls(self) -> bool:
        return self._door.contexts is not None and not self._channel.secure

    async def read_line(self, *, limit: int) -> bytes:
        began = self._now()
        while (line := self._framer.next_line(limit)) is None:
            await self._read(self._patience(began))
        return line

    async def idle_line(self, wake: Wake, timeout: float) -> bytes | None:
        self._channel.watcher, alarms = wake.set, self._services.alarms
        try:
            line = await self._line_at_hand()
            if line is None:
                self._channel.rest()
                alarms.begin(wake, timeout)
                try:
                    await wake.wait()
                finally:
                    alarms.end(wake)
                line = await self._line_at_hand()
            return line
        finally:
            self._channel.watcher = None

    async def _line_at_hand(self) -> bytes | None:
        if self._channel.readable:
            self._take()
        return self._framer.next_line(self._services.limits.imap_line_before_login)

    def _take(self) -> None:
        data = self._channel.take()
        if not data and self._channel.ended:
            raise ConnectionResetError("the peer is gone")
        self._framer.feed(data)

    async def literal(self) -> AsyncIterator[bytes]:
        limits = self._services.limits
        if self._framer.accept():
            await self._ask()
        deadline = self._now() + limits.imap_stall + self._framer.needed / limits.minimum_rate
        while True:
            event = await self._literal_event(deadline)
            if not isinstance(event, Piece):
                raise RuntimeError("framing lost the literal")
            if event.data:
                yield event.data
            if event.last:
                return

    async def rest_of_command(self) -> bytes:
        event = await self._literal_event(self._now() + self._services.limits.imap_stall)
        if isinstance(event, Refused):
            raise Bye(event.error.text, event.error.code) if event.fatal else event.error
        if not isinstance(event, Rest):
            raise RuntimeError("framing lost the rest of the command")
        return event.data

    @property
    def append_at_hand(self) -> bool:
        if self._framer.append_at_hand:
            return True
        if self._channel.compressed or not self._channel.buffered or self._framer.pending > HIGH_INPUT:
            return False  # (octets that inflate to nothing good must be met by who reads, and once only)
        with contextlib.suppress(Bye, OSError):  # whoever reads next meets it again
            self._take()  # the rest of it may lie there
        return self._framer.append_at_hand

    async def _literal_event(self, deadline: float) -> Event:
        """Neither a stall nor a trickle holds the spool for ever (row 36)."""
        while (event := self._framer.next_event()) is None:
            await self._read(min(self._services.limits.imap_stall, deadline - self._now()))
        return event

    def before_tls(self) -> None:
        self._channel.hold()
        if self._framer.pending or self._channel.buffered:
            raise Bye("clear text after STARTTLS", Code.CLIENTBUG)

    async def start_tls(self) -> None:
        assert self._door.contexts is not None
        self.before_tls()
        await self._channel.start_tls(self._door.contexts(), self._services.limits.tls_handshake)
        # Nothing said in the clear counts any more (RFC 9051 6.2.1, security.md row 22).
        self._framer = Framer(self._framer.bounds)
        self.session.identify(())
        self.session.language = DEFAULT  # RFC 5255 7

    @property
    def compressed(self) -> bool:
        return self._channel.compressed

    def before_compression(self) -> None:
        if self._framer.pending or self._channel.buffered:
            raise Bye("clear text after COMPRESS", Code.CLIENTBUG)

    async def compress(self) -> None:
        self._channel.compress()

    def before_clear_text(self) -> None:
        if self._framer.pending:
            raise Bye("compressed text after UNAUTHENTICATE", Code.CLIENTBUG)

    async def uncompress(self) -> None:
        self._channel.uncompress()

    def logged_in(self, account: Account) -> None:
        limits = self._services.limits
        if not self._admission.log_in(account.id):
            raise Bye("too many connections of this account", Code.LIMIT)
        self._bad = 0
        discard = 2 * max(limits.message_octets, limits.imap_literals)
        self._framer.bounds = Bounds(
            limits.imap_line, limits.imap_literals, discard, stream=True, unasked=self._unasked()
        )

    def logged_out(self) -> None:
        account = self.account_id
        if not self._admission.log_out():
            raise Bye("too many connections from your address", Code.LIMIT)
        log.info("imap-session-ended", reason="unauthenticate", account=account, sent=self._writer.sent)
        self._bad = 0
        self._login_deadline = self._now() + self._services.limits.imap_login_timeout
        self._framer.bounds = self._strangers_bounds()

    def _strangers_bounds(self) -> Bounds:
        before = self._services.limits.imap_line_before_login
        return Bounds(line=before, literals=before, discard=before, stream=False, unasked=self._unasked())

    def _unasked(self) -> int:
        return LITERAL_MINUS if self._services.settings.literal_minus else ANY_LITERAL

    # --- the owner's ways to end it --------------------------------------------------------------------------------

    @property
    def account_id(self) -> str | None:
        return self._admission.account_id

    def finish(self, bye: Bye) -> None:
        """End as soon as the running command is done (clean stop, a suspended account)."""
        self._channel.interrupt(bye)

    def cut(self) -> None:
        """End now, in the middle of whatever it is."""
        self._channel.abort()
