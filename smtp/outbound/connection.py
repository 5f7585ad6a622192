"""One connection to a remote server: streams, patience, TLS; drives the generators of `dialogue`.

Every wait ends (RFC 5321 4.5.3.2). Whatever goes wrong is one exception, `Broken`, which tells when: after the final
dot a message may have been taken, and only then.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from core.envelope import Tls
from delivery.next_hop import Protocol, Route
from message.content import BLOCK, BytesContent, Content
from smtp.outbound.arguments import Capabilities
from smtp.outbound.dialogue import (
    PLAIN,
    Encryption,
    Manner,
    NoLogin,
    NoTls,
    Receive,
    Refused,
    Send,
    SendBody,
    Stage,
    StartTls,
    Talk,
)
from smtp.outbound.dialogue import opening as opening_talk
from smtp.outbound.mx import Target
from smtp.outbound.reply_parser import RemoteReply, ReplyFault, ReplyParser
from smtp.outbound.stuffing import BareLineEnd, DotStuffer
from smtp.outbound.tls_policy import TlsPolicy
from smtp.tls import facts, peer_chain

Value = TypeVar("Value")

READ = 16 * 1024
# Octets that a transport takes without making anybody wait: asyncio's default is four times that.
UNHURRIED = 16 * 1024
# RFC 5321 4.5.3.2.1 to .6, in seconds; for the rest what is ordinary.
PATIENCE: Mapping[Stage, float] = {
    Stage.GREETING: 300.0,
    Stage.EHLO: 300.0,
    Stage.STARTTLS: 120.0,
    Stage.AUTH: 120.0,
    Stage.RESET: 10.0,  # of a kept connection, which may be gone without a word
    Stage.MAIL: 300.0,
    Stage.RCPT: 300.0,
    Stage.DATA: 120.0,
    Stage.BLOCK: 180.0,
    Stage.FINAL: 600.0,
    Stage.QUIT: 2.0,
}
CONNECT = 30.0
HANDSHAKE = 30.0
HEARING = 3.0  # seconds that the answer to a final dot still gets when the runner stops
# OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_CERTIFICATE = {10: "certificate-expired", 62: "certificate-host-mismatch", 64: "certificate-host-mismatch"}


class Broken(Exception):
    """The connection is gone. `reason` is a stable word; `uncertain`: the whole message was sent, its answer was
    not seen; `tls`: the handshake failed, `failure` is RFC 8460 4.3's word for how, `source` the address we called
    from."""

    def __init__(self, reason: str, *, uncertain: bool = False, tls: bool = False, failure: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.uncertain = uncertain
        self.tls = tls
        self.failure = failure or ("validation-failure" if tls else "")
        self.source = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who we are: the name in EHLO, the addresses to call from (one per family), our patience."""

    hostname: str
    bind: tuple[str, ...] = ()
    patience: Mapping[Stage, float] = field(default_factory=lambda: PATIENCE)
    connect: float = CONNECT

    def local(self, address: str) -> tuple[str, int] | None:
        return next(((source, 0) for source in self.bind if (":" in source) == (":" in address)), None)


class Connection:
    """Open with `Connection.open`; owned by who opened it until `close` or `quit`."""

    def __init__(
        self,
        caller: Caller,
        target: Target,
        policy: TlsPolicy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.target = target
        self.policy = policy
        self.tls: Tls | None = None
        self.capabilities = Capabilities({})
        self.uses = 0
        self.domains: set[str] = set()  # of the recipients it was asked for
        self.proven = False  # something was heard of it since it was last taken to work
        self.cancelled = False  # while an answer to a final dot was awaited; whoever drives ends as soon as he has it
        self._caller = caller
        self._reader = reader
        self._writer = writer
        self._parser = ReplyParser()
        self._sent_all = False

    @classmethod
    async def open(cls, caller: Caller, target: Target, policy: TlsPolicy) -> Connection:
        """Connect and greet. Raises `Broken`, `Refused`, `NoTls`, `NoLogin`."""
        implicit = target.route is not None and target.route.protocol is Protocol.SMTPS
        try:
            async with asyncio.timeout(caller.connect):
                reader, writer = await asyncio.open_connection(
                    target.address, target.port, local_addr=caller.local(target.address), limit=READ
                )
        except TimeoutError as error:
            raise Broken("connect-timeout") from error
        except OSError as error:
            raise Broken("connect-failed") from error
        connection = cls(caller, target, policy, reader, writer)
        try:
            if implicit:
                await connection._handshake()
            encryption = Encryption.NEVER if implicit else policy.encryption
            talk = opening_talk(caller.hostname, encryption, manner(target.route))
            connection.capabilities = await connection.drive(talk)
        except (Refused, NoTls, NoLogin) as error:
            if isinstance(error, NoTls):
                error.source = connection.source
            await connection.part(error)
            raise
        except Broken as error:
            error.source = connection.source
            connection.close()
            raise
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def source(self) -> str:
        """The address we call from."""
        name = self._writer.get_extra_info("sockname")
        return str(name[0]) if name else ""

    def takes(self, domain: str) -> bool:
        """Whether a recipient there keeps to the server's RCPTDOMAINMAX, which counts in a session (RFC 9422 4.3)."""
        most = self.capabilities.limit("RCPTDOMAINMAX")
        return not most or domain in self.domains or len(self.domains) < most

    async def drive(self, talk: Talk[Value], content: Content | None = None) -> Value:
        """Run a dialogue to its value. Raises `Broken`, and what the dialogue raises."""
        self._sent_all = self.proven = False
        answer: RemoteReply | None = None
        try:
            while True:
                op = talk.send(answer)
                answer = None
                if isinstance(op, Send | SendBody):
                    self._be_in_step()
                if isinstance(op, Send):
                    await self._write(op.data, Stage.BLOCK)
                elif isinstance(op, Receive):
                    answer = await self._reply(op.stage)
                elif isinstance(op, StartTls):
                    await self._handshake()
                elif content is not None:
                    await self._body(content)
        except StopIteration as stop:
            value: Value = stop.value
            return value
        finally:
            talk.close()

    async def part(self, error: Refused | NoTls | NoLogin) -> None:
        """RFC 5321 4.1.1.10: nobody leaves without QUIT, but from a server that said 421 and leaves itself."""
        if isinstance(error, Refused) and error.reply.code == 421:
            self.close()
        else:
            await self.quit()

    async def quit(self) -> None:
        """A polite end; nobody waits for it long."""
        with contextlib.suppress(Broken):
            await self._write(b"QUIT\r\n", Stage.QUIT)
            await self._reply(Stage.QUIT)
        self.close()
        with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
            async with asyncio.timeout(self._caller.patience[Stage.QUIT]):
                await self._writer.wait_closed()

    def close(self) -> None:
        """What was not sent yet is of no use any more, and a peer that does not read, or does not end its TLS, would
        keep the socket for long."""
        if self.tls is not None or self._writer.transport.get_write_buffer_size():
            self.abort()
        else:
            self._writer.close()

    def abort(self) -> None:
        """Cut without a word: the way to take back a message whose final dot was not sent."""
        self._writer.transport.abort()

    async def _reply(self, stage: Stage) -> RemoteReply:
        try:
            reply = self._parser.pop()  # of pipelined commands the answers come together
            if reply is None:
                reply = await self._next(stage)
        except TimeoutError as error:
            raise self._broken(f"timeout-{stage.value}") from error
        except ReplyFault as error:
            raise self._broken(error.reason) from error
        except (OSError, ssl.SSLError) as error:
            raise self._broken("connection-lost") from error
        self.proven = True
        return reply

    async def _next(self, stage: Stage) -> RemoteReply:
        """Who is cancelled behind the final dot hears the answer out for a moment: without it the message would be sent
        again, to people who have it (fault 146)."""
        try:
            return await self._heard(HEARING if self.cancelled else self._caller.patience[stage])
        except asyncio.CancelledError:
            if self.cancelled or not self._sent_all:
                raise
            self.cancelled = True
        return await self._heard(HEARING)

    async def _heard(self, seconds: float) -> RemoteReply:
        async with asyncio.timeout(seconds):
            while (reply := self._parser.pop()) is None:
                data = await self._reader.read(READ)
                if not data:
                    raise self._broken("connection-lost")
                self._parser.feed(data)
        return reply

    def _be_in_step(self) -> None:
        """What a server said that nobody asked for would be taken for the answer to what we say next, and so on: one
        recipient's refusal for another's."""
        if self._parser.pending or _unread(self._reader):
            raise Broken("unasked-reply")

    def _broken(self, reason: str) -> Broken:
        return Broken(reason, uncertain=self._sent_all)

    async def _write(self, data: bytes, stage: Stage) -> None:
        try:
            self._writer.write(data)
            if self._writer.transport.get_write_buffer_size() <= UNHURRIED:
                await self._writer.drain()  # only tells whether the connection is gone
                return
            async with asyncio.timeout(self._caller.patience[stage]):
                await self._writer.drain()
        except TimeoutError as error:
            raise self._broken(f"timeout-{stage.value}") from error
        except (OSError, ssl.SSLError) as error:
            raise self._broken("connection-lost") from error

    async def _handshake(self) -> None:
        """Whatever the server said in clear beyond its 220 might be injected: then there is no TLS (row 26)."""
        if self._parser.pending:
            raise Broken("injected-reply", tls=True)
        try:
            async with asyncio.timeout(HANDSHAKE):
                await self._writer.start_tls(self.policy.context, server_hostname=self.policy.name or self.target.host)
        except ssl.SSLCertVerificationError as error:
            failure = _CERTIFICATE.get(error.verify_code, "certificate-not-trusted")
            raise Broken(failure, tls=True, failure=failure) from error
        except (OSError, ssl.SSLError, TimeoutError) as error:
            raise Broken("tls-failed", tls=True) from error
        if _unread(self._reader):
            raise Broken("injected-reply", tls=True)
        session = self._writer.get_extra_info("ssl_object")
        self.tls = facts(session)
        if self.policy.judge is not None and (failure := self.policy.judge(peer_chain(session))):
            raise Broken("tlsa-mismatch", tls=True, failure=failure)

    async def _body(self, content: Content) -> None:
        """Raises `Broken`; for bare line ends after cutting the connection, so that no part counts as a message. A
        small message goes with its final dot: one packet, at which the server looks once."""
        stuffer, small = DotStuffer(), b""
        try:
            for start in range(0, content.size, BLOCK):
                block = stuffer.feed(await read(content, start, min(start + BLOCK, content.size)))
                if content.size <= UNHURRIED:
                    small = block
                else:
                    await self._write(block, Stage.BLOCK)
            end = small + stuffer.end()
        except BareLineEnd:
            self.abort()
            raise
        self._sent_all = True
        await self._write(end, Stage.BLOCK)


def _unread(stream: asyncio.StreamReader) -> bool:
    """Whether octets arrived that nobody has read. asyncio offers no public look; a private one is taken here only."""
    buffer: bytearray = vars(stream)["_buffer"]
    return bool(buffer)


def manner(route: Route | None) -> Manner:
    if route is None:
        return PLAIN
    return Manner(route.protocol is Protocol.LMTP, route.user, route.password)


async def read(content: Content, start: int, stop: int) -> bytes:
    if isinstance(content, BytesContent) or stop <= len(content.head):
        return content.read(start, stop)
    return await asyncio.to_thread(content.read, start, stop)
