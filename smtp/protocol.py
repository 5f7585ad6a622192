"""The server session on a socket: aiosmtpd's skeleton with what must differ (aiosmtpd is touched here only).

aiosmtpd 1.4.6 brings the command loop and its last resort; commands in ASCII, as nearly all are, are run where they are
read, since its loop takes ten times as much for each as finding its row in our table. Replaced, because of what it
lacks: the reader (strict, bounded lines), the command table, replies, timers (reset in DATA, 421 before closing),
STARTTLS (through `loop.start_tls`, which is uvloop's own), DATA (whole blocks), and the end of a connection: nothing is
cancelled because a peer left; what arrived whole is delivered (security.md row 20). Decisions live in `session`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import aiosmtpd.smtp
from aiosmtpd.smtp import SMTP

from core.envelope import Listener, Peer
from core.log import context, get
from core.networks import plain_address
from core.tls import client_certificate
from smtp import replies
from smtp.commands import COMMANDS, UNKNOWN
from smtp.conversation import Conversation, Service
from smtp.gate import Refusal
from smtp.guards import STRESSED_PATIENCE
from smtp.replies import Reply
from smtp.session import Session
from smtp.stream import Hangup, PeerReader
from smtp.tls import facts

if TYPE_CHECKING:
    from smtp.listeners import Server

log = get(__name__)

BANNER = "ESMTP Beffroi"
LMTP_BANNER = "LMTP Beffroi"
GATHERED = 16 * 1024  # octets of replies held back while more commands wait
FOREVER = float("inf")

_UNHANDLED = "500 Error: ("  # then the words of an exception


def _stock(status: str) -> bytes:
    """Where even our last resort failed, aiosmtpd would have the sender give the message up, and tell him of our
    files."""
    if status.startswith(_UNHANDLED):
        return replies.INTERNAL.encode()
    return status.encode("ascii", "replace") + b"\r\n"


def _unsaid(*_: object) -> None:
    """For aiosmtpd's `sanitized_log`, which makes texts of each line for a log that is off (`core.log`)."""


aiosmtpd.smtp.sanitized_log = _unsaid  # type: ignore[assignment]  # whose two uses ask nothing of it


class _Table:
    """Our command table in the shape that aiosmtpd's loop asks: `get(verb)` gives what to await with the argument."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, verb: str) -> Callable[[str | None], Awaitable[None]]:
        return partial(self._session.run, COMMANDS.get(verb, UNKNOWN))


class _Unknown:
    """In the place of aiosmtpd's session: `Session` knows who speaks, and says it to the log."""

    peer = None
    extended_smtp = False  # `command_size_limit` holds for every command


class SmtpProtocol(SMTP):
    """One connection, the `Link` of its session. `server` owns it until the session task has ended.

    What aiosmtpd's constructor and `connection_made` make for each connection is not made: they search for handlers,
    and make a stream, a writer, a session and an envelope, of which its loop asks only what stands here as attributes
    of the class. Measured: that was a tenth of what a session costs."""

    command_size_limit = 1 << 30  # `PeerReader` has the bounds
    enable_SMTPUTF8 = True
    require_starttls = False
    session = _Unknown()  # type: ignore[assignment]  # all that its loop asks of one
    _tls_handshake_okay = True
    _tls_protocol = None
    _proxy_timeout = None
    _enforce_call_limit = False

    source: PeerReader  # from `connection_made` on

    def __init__(
        self,
        service: Service,
        server: Server,
        loop: asyncio.AbstractEventLoop,
        *,
        counted: tuple[str, int] | None = None,
    ) -> None:
        """`counted`: the peer that the gate let in already, itself or behind a balancer."""
        self.loop = loop
        self.hostname = service.hostname
        self.__ident__ = LMTP_BANNER if service.role is Listener.LMTP else BANNER
        self.transport = None
        self._handler_coroutine = None
        self._timeout_handle = None
        self.reason = "peer-left"
        self.stopping = False
        self._counted = counted
        self._service = service
        self._owner = server
        self._dialogue: Session | None = None
        self._link: asyncio.Transport | None = None
        self._encrypted = False
        self._held = b""  # replies
        self._choked = False  # the peer does not read
        self._drained: asyncio.Future[None] | None = None  # of a session that waits until it does
        self._deadline = FOREVER
        self._alarm = FOREVER  # when the timer fires; uvloop's handles do not say it when that is at once
        self._cut: int | None = None  # its number among those that linger

    # --- connection ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        link = cast(asyncio.Transport, transport)  # uvloop's own transports are no subclasses
        peer = self._counted or link.get_extra_info("peername") or ("0.0.0.0", 0)
        address = plain_address(peer[0])
        refusal = None if self._counted is not None else self._service.gate.enter(address)
        if refusal is not None:
            self._turn_away(link, address, refusal)
            return
        self._link = link
        session = link.get_extra_info("ssl_object")
        tls = facts(session)
        self._encrypted = tls is not None
        who = Peer(address, peer[1], self._service.role, self._service.ids.queue_id(), tls=tls)
        self._dialogue = Session(Conversation(self._service, who, certificate=client_certificate(session)), self)
        self._smtp_methods = _Table(self._dialogue)  # type: ignore[assignment]  # as for the reader below
        self._owner.add(self)
        self.transport = link
        self.source = PeerReader(link, self._service.limits, self.expect)
        self._writer = link  # type: ignore[assignment]  # aiosmtpd's loop asks it for `close()` alone
        self.expect()
        self._handler_coroutine = self.loop.create_task(self._handle_client())

    def _turn_away(self, transport: asyncio.Transport, address: str, refusal: Refusal) -> None:
        log.warning("smtp-turned-away", peer=address, listener=self._service.role.value, reason=refusal.value)
        transport.write(replies.TURNED_AWAY[refusal].encode())
        transport.close()

    def data_received(self, data: bytes) -> None:
        if self._link is not None:
            self.source.fed(data)

    def connection_lost(self, error: Exception | None) -> None:
        """The session notices at its next read; only then does its task end."""
        self._disarm()
        if self._cut is not None:
            self._owner.lingering.end(self._cut)
        self.transport = None
        if self._link is not None:
            self._link = None
            self.source.ended(error)
            self.resume_writing()

    def eof_received(self) -> bool | None:
        """A peer that only stopped sending still gets its answers; TLS cannot be half closed."""
        if self._link is None:
            return None
        self.source.ended()
        return not self._encrypted

    # --- what the server asks --------------------------------------------------------------------------------------

    def stop(self) -> None:
        """The server closes: an idle session ends now, a transaction may end first."""
        self.stopping = True
        talk = self._dialogue.talk if self._dialogue else None
        if talk is not None and talk.transaction is None and talk.exchange is None:
            self.end(replies.SHUTTING_DOWN, "shutdown")

    @property
    def task(self) -> asyncio.Task[None] | None:
        return self._handler_coroutine

    def dismiss(self) -> None:
        """It had its time: 421 wherever it stands (RFC 5321 3.8), then the end."""
        if not self.source.closed:
            self.end(replies.SHUTTING_DOWN, "shutdown")
        elif self._link is not None:
            self._link.abort()

    # --- timers: one handle per connection that is re-armed only when it fires too early ---------------------------

    def expect(self, seconds: float | None = None) -> None:
        if seconds is None:
            seconds = self._patience()
        self._deadline = self.loop.time() + seconds
        if self._timeout_handle is None or self._alarm > self._deadline:
            self._arm()

    def _patience(self) -> float:
        limits, session = self._service.limits, self._dialogue
        if session is None:
            return limits.idle_before_mail
        talk = session.talk
        seconds = limits.idle_command if talk.mail_seen else limits.idle_before_mail
        if session.budget.stressed:
            seconds = min(seconds, STRESSED_PATIENCE)
        return seconds if talk.ends == FOREVER else max(0.0, min(seconds, talk.time_left))

    def rest(self) -> None:
        self._deadline = FOREVER

    def _reset_timeout(self, duration: float | None = None) -> None:
        """aiosmtpd's, before each command: what is waited for has its time where it is waited for."""

    def _arm(self) -> None:
        self._disarm()
        self._alarm = self._deadline
        self._timeout_handle = self.loop.call_at(self._deadline, self._timeout_cb)

    def _disarm(self) -> None:
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
            self._timeout_handle = None

    def _timeout_cb(self) -> None:
        self._timeout_handle = None
        if self._link is None or self._deadline == FOREVER:
            return
        if self.loop.time() < self._deadline:
            self._arm()
        else:
            self.end(replies.TIMEOUT, "timeout")

    # --- the session task ------------------------------------------------------------------------------------------

    async def _handle_client(self) -> None:
        assert self._dialogue is not None
        with context(connection=self._dialogue.talk.peer.connection):
            try:
                if await self._dialogue.begin():
                    await super()._handle_client()
            except Hangup:
                pass
            finally:
                try:
                    await self._dialogue.close()
                finally:
                    self._leave(self._dialogue)

    @property
    def _reader(self) -> SmtpProtocol:  # type: ignore[override]  # aiosmtpd's loop asks it for `readuntil()` alone
        return self

    async def readuntil(self) -> bytes:
        """Run the commands that come, up to the first one that is not ASCII: its loop's, and so is whatever goes wrong.
        Empty when the session is over."""
        source, session = self.source, self._dialogue
        assert session is not None
        while self.transport is not None:
            line = await source.readuntil()
            if not line.isascii():
                return line
            verb, _, argument = str(line, "ascii")[:-2].partition(" ")
            await session.run(COMMANDS.get(verb.upper(), UNKNOWN), argument.strip())
        return b""

    async def handle_exception(self, error: Exception) -> Any:
        assert self._dialogue is not None
        await self._dialogue.fault(error)
        return None  # whatever was to say is said

    def _leave(self, session: Session) -> None:
        self._disarm()
        self._flush()
        self._close()
        session.talk.leave()
        self._owner.discard(self)
        # Behind the last reply, which leaves at the end of this turn of the loop.
        self.loop.call_soon(_log_end, session, self.source.received, self.reason)
        self._let_go()

    def _let_go(self) -> None:
        """Of all that holds us, too: a session's memory is free at its end, and the collector, whose look at some
        hundreds of them took 7 ms, has nothing to look for."""
        self._dialogue = None
        del self._smtp_methods, self.source.expect

    # --- replies ---------------------------------------------------------------------------------------------------

    async def push(self, status: Any) -> None:
        """A `Reply`; a string is aiosmtpd's own word; None was said already. Held while further commands wait
        (RFC 2920 3.2)."""
        if status is None or self.source.closed:
            return
        self._held += _stock(status) if isinstance(status, str) else status.encode()
        if self.source.line_waiting and len(self._held) < GATHERED:
            return
        self._flush()
        if self._choked or self._link is None:
            await self.send()

    async def send(self) -> None:
        """A peer that does not read its replies has as long as one that does not speak (row 37)."""
        self._flush()
        if self._link is not None and self._choked:
            self.expect()
            self._drained = self.loop.create_future()
            await self._drained
        if self._link is None:
            raise Hangup

    def pause_writing(self) -> None:
        self._choked = True

    def resume_writing(self) -> None:
        self._choked = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held and self._link is not None:
            self._link.write(held)

    def end(self, reply: Reply | None, reason: str) -> None:
        if self.source.closed:
            return
        self.reason = reason
        if reply is not None:
            self._held += reply.encode()
        self._flush()
        self._close()

    def _close(self) -> None:
        self.source.closed = True
        self.transport = None  # so aiosmtpd's loop ends, without an exception where nobody waits for a line
        if self._link is not None and self._cut is None:
            self._link.close()
            # A peer that never reads would keep the last reply, and us, for ever (row 37).
            self._cut = self._owner.lingering.begin(self._link.abort)

    # --- TLS -------------------------------------------------------------------------------------------------------

    async def handshake(self, first: bytes) -> bool:
        tls = self._service.tls
        assert tls is not None
        assert self._link is not None
        assert self._dialogue is not None
        self.rest()
        self._link.write(first)
        # From the caller's look at the buffer to the switch of protocols nothing is awaited; what is in the buffer
        # afterwards came under TLS, maybe together with the end of the handshake.
        self.source.forget()
        try:
            transport = await self.loop.start_tls(
                self._link,
                self,
                tls.context,
                server_side=True,
                ssl_handshake_timeout=self._service.limits.tls_handshake,
            )
        except (OSError, ssl.SSLError) as error:
            self.reason = "tls-failed"
            log.info("smtp-tls-failed", peer=self._dialogue.talk.peer.address, error=type(error).__name__)
            return False
        if transport is None or self._link is None:  # the peer left in the middle
            return False
        self._adopt(transport)
        session = transport.get_extra_info("ssl_object")
        self._dialogue.talk.secured(facts(session), client_certificate(session))
        self.expect()
        return True

    def _adopt(self, transport: asyncio.Transport) -> None:
        self.transport = self._link = transport
        self._writer = transport  # type: ignore[assignment]  # as above
        self._encrypted = True
        self.source.moved(transport)


def _log_end(session: Session, received: int, reason: str) -> None:
    talk, budget = session.talk, session.budget
    log.info(
        "smtp-connection",
        peer=talk.peer.address,
        listener=talk.peer.listener.value,
        helo=talk.peer.helo,
        tls=talk.peer.tls.version if talk.peer.tls else "",
        login=talk.login_name,
        commands=talk.commands,
        messages=talk.messages,
        errors=budget.errors,
        refused=budget.refused_recipients,
        received=received,
        reason=reason,
    )
