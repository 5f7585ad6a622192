"""One session's way from command to command: place in the pipeline, step, blame, message, exchange, TLS.

Reads like RFC 5321 4.1.4 and knows no socket: what it needs of one is the Protocol `Link`. Every message gets exactly
one final reply and leaves a clean slate (security.md rows 10-15, 20-23).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from core.envelope import Listener
from core.log import get
from core.networks import within
from core.status import Status, accepted, deferred
from delivery.types import BINARY, Reception, Transaction
from smtp import replies
from smtp.auth import resume
from smtp.commands import Command, perform
from smtp.conversation import FOREVER, Blame, Chunk, Conversation, Step, Then
from smtp.data import ChunkDecoder, DataDecoder
from smtp.guards import Budget, RateMeter, foreign_protocol
from smtp.intake import DISCARD, D, FarTooBig, Intake, TooSlow
from smtp.replies import Reply
from smtp.stream import READ, Hangup, LineFault, PeerReader
from smtp.turns import Turn

log = get(__name__)

BREATH = 16  # commands of a pipelined flood after which other sessions get their turn
TOO_LATE = deferred("Delivery took too long, try again later", "finish-timeout")
MORE = accepted("more chunks to come", "more")
SMALL_CHUNK = 1024  # octets; smaller ones that are not the last count as idle commands
BUG = deferred("Internal error, try again later", "bug")


class Link(Protocol):
    """The connection as a session sees it. `reason` tells the log why it ended."""

    reason: str

    @property
    def source(self) -> PeerReader: ...

    @property
    def stopping(self) -> bool:
        """The server wants to close."""

    def expect(self, seconds: float | None = None) -> None:
        """The peer has so long to do something; None: until the next command."""

    def rest(self) -> None:
        """The peer owes us nothing while we work."""

    async def push(self, status: Reply) -> None:
        """Send, or hold while more commands wait."""

    async def send(self) -> None:
        """Send what is held."""

    def end(self, reply: Reply | None, reason: str) -> None:
        """A last word, then cut; waits for nothing."""

    async def handshake(self, first: bytes) -> bool:
        """Send `first`, then become TLS; False: it failed. No plain octet is read after `first`."""


class Session:
    """`begin` before the banner, then `run` for each command, `fault` for each exception."""

    def __init__(self, talk: Conversation, link: Link) -> None:
        self.talk = talk
        stressed = talk.service.role is Listener.MX and talk.service.gate.stressed
        self.budget = Budget(talk.service.limits, stressed)
        self._link = link
        self._chunks: Intake[ChunkDecoder] | None = None

    async def begin(self) -> bool:
        """Silence until the banner (row 10). False: the session is over."""
        link = self._link
        if self.talk.peer.tls is not None:  # what came with the handshake's last octets is handed on behind our task
            await asyncio.sleep(0)
        if not link.source.waiting:
            return True
        if foreign_protocol(await link.source.block(READ)):
            link.end(replies.FOREIGN_PROTOCOL, "foreign-protocol")
        else:
            link.end(replies.EARLY_TALKER, "early-talker")
        return False

    async def run(self, command: Command, argument: str | None) -> None:
        link, talk = self._link, self.talk
        if link.source.waiting and self._must_be_last(command):
            link.end(replies.PIPELINING, "pipelining")
            return
        if talk.ends < FOREVER and talk.time_left <= 0:  # however busily it is spent
            link.end(replies.TIMEOUT, "timeout")
            return
        if command.junk and self.budget.junk_command():
            link.end(replies.TOO_MANY_COMMANDS, "junk")
            return
        link.rest()
        step = await perform(talk, command, argument or "")
        if self._chunks is not None and not talk.chunking:
            await self.close()
        if step.then is Then.NEXT:
            await self._answer(step)
        else:
            await self._follow(step)
        if talk.commands % BREATH == 0:
            await asyncio.sleep(0)

    async def fault(self, error: Exception) -> None:
        """The last resort: a bad line, or a bug, which is told to the log and not to the peer."""
        self.talk.exchange = None
        if isinstance(error, LineFault):
            if error.close:
                self._link.end(error.reply, "bad-line")
            else:
                await self._answer(Step(error.reply, blame=Blame.ERROR))
            return
        log.exception("smtp-bug", peer=self.talk.peer.address)
        self.talk.reset()
        await self._answer(Step(replies.INTERNAL, blame=Blame.ERROR))

    def _must_be_last(self, command: Command) -> bool:
        """RFC 2920 3.1; before EHLO, and after HELO, nothing at all is pipelined."""
        return command.last or not self.talk.greeted or not self.talk.peer.extended

    async def _follow(self, step: Step) -> None:
        if step.then is Then.STARTTLS:
            await self._starttls(step.reply)
            return
        if step.chunk is not None:
            await self._chunk(step, step.chunk)
            return
        if step.then is Then.DATA and self.talk.transaction is not None:
            await self._data(step, self.talk.transaction)
            return
        await self._answer(step)
        if step.then is Then.AUTH:
            await self._authenticate()
        elif step.then is Then.CLOSE:
            self._close(step.reply)

    def _close(self, last: Reply) -> None:
        """RFC 5321 3.8: nobody is left without 221 or 421."""
        if last.code == 221:
            self._link.end(None, "quit")
        elif last.code == 421:
            self._link.end(None, "refused")
        else:
            self._link.end(replies.OUT_OF_STEP, "out-of-step")

    async def _answer(self, step: Step) -> None:
        if step.reply is replies.RECIPIENT_OK:
            self.budget.recipient_accepted()
            self._asked_for(known=True)
        over = False
        if step.blame is not Blame.NONE:
            wait, over = self._blame(step)
            if wait:
                await asyncio.sleep(wait)
        await self._link.push(step.reply)
        if over and step.blame is Blame.JUNK:
            self._link.end(replies.TOO_MANY_COMMANDS, "junk")
        elif over:
            self._link.end(replies.TOO_MANY_ERRORS, "errors")
        elif self._link.stopping and step.then is Then.NEXT and self.talk.transaction is None:
            self._link.end(replies.SHUTTING_DOWN, "shutdown")

    def _blame(self, step: Step) -> tuple[float, bool]:
        """How long to wait before the reply, and whether it is the last one."""
        if step.blame is Blame.ERROR:
            return self.budget.error()
        if step.blame is Blame.JUNK:
            return 0.0, self.budget.junk_command()
        if step.blame is Blame.LOGIN:
            return self.budget.login_failed()
        wait, harvesting = self.budget.recipient_refused()
        return wait, self._asked_for(known=False) or (harvesting and not self._trusted)

    def _asked_for(self, *, known: bool) -> bool:
        """Strangers are counted across sessions; True: this one is banned now."""
        talk = self.talk
        if talk.service.role is not Listener.MX:
            return False
        banned = talk.service.gate.recipient(talk.peer.address, known=known)
        if banned:
            log.warning("smtp-banned", peer=talk.peer.address, refused=self.budget.refused_recipients)
        return banned

    @property
    def _trusted(self) -> bool:
        return self.talk.service.role is Listener.MX and self.talk.service.gate.trusted(self.talk.peer.address)

    async def _authenticate(self) -> None:
        """Lines of a SASL exchange until it ends; they are never logged."""
        while self.talk.exchange is not None:
            line = await self._link.source.auth_line()
            self._link.rest()
            await self._answer(await resume(self.talk, line))

    async def _starttls(self, ready: Reply) -> None:
        await self._link.send()
        if self._link.source.waiting:  # injected plain text: RFC 3207 6, row 21
            self._link.end(replies.PIPELINING, "pipelining")
        elif not await self._link.handshake(ready.encode()):
            raise Hangup

    # --- DATA and BDAT -----------------------------------------------------------------------------------------------

    async def _data(self, step: Step, transaction: Transaction) -> None:
        turn = await self.talk.service.turns.next()
        try:
            await self._answer(step)
            decoder = DataDecoder(self._line_limit, mend=self._mends)
            intake = self._intake(self.talk.service.acceptor.begin(transaction), decoder)
            await self._receive(transaction, intake, self._arrived(intake, turn), last=True)
        finally:
            turn.over()

    @staticmethod
    async def _arrived(intake: Intake[DataDecoder], turn: Turn) -> Status | None:
        refusal = await intake.run()
        turn.ended()
        return refusal

    async def _chunk(self, step: Step, chunk: Chunk) -> None:
        """RFC 3030 2: the octets come, whatever we think of them."""
        if chunk.size > DISCARD * self.talk.service.limits.message_octets:
            self._link.end(replies.TOO_BIG, "far-too-big")
            raise Hangup
        if not chunk.last and chunk.size < SMALL_CHUNK and self.budget.junk_command():  # row 13
            self._link.end(replies.TOO_MANY_COMMANDS, "junk")
            raise Hangup
        if not self._link.source.has(chunk.size):  # RFC 2920 3.2: who waits for input holds no replies back
            await self._link.send()
        transaction = self.talk.transaction
        if transaction is None or not step.reply.good:
            await self._skip(chunk.size)
            await self._answer_each(step, self.talk.taken if self._for_each and chunk.last else 1)
            if chunk.last and transaction is None:
                self.talk.taken = 0
            return
        if self._chunks is None:
            self.talk.chunking = True
            decoder = ChunkDecoder(self._line_limit, binary=transaction.parameters.body == BINARY)
            self._chunks = self._intake(self.talk.service.acceptor.begin(transaction), decoder)
        intake = self._chunks
        await self._receive(transaction, intake, intake.chunk(chunk.size, last=chunk.last), last=chunk.last)
        if self.talk.chunking:
            await self._answer(step)

    async def _skip(self, size: int) -> None:
        """Nobody wants these octets, and they come no slower than those of a message, and within the time of one (row
        36): else whoever announces many holds his connection for days, without a login or a recipient."""
        meter, clock, limits = self._meter(), self.talk.service.clock, self.talk.service.limits
        ends = clock.monotonic() + limits.transaction if self.talk.login is None else float("inf")
        while size:
            begin = clock.monotonic()
            self._link.expect(max(0.0, min(limits.data_stall, self.talk.time_left, ends - begin)))
            got = len(await self._link.source.block(min(size, READ)))
            self._link.rest()
            meter.add(clock.monotonic() - begin, got)
            if meter.too_slow:
                self._link.end(replies.TOO_SLOW, "too-slow")
                raise Hangup
            size -= got

    async def close(self) -> None:
        """A message whose chunks did not all come is forgotten: after RSET, a new greeting, or with the session."""
        if self._chunks is not None:
            chunks, self._chunks = self._chunks, None
            await chunks.reception.abort()

    async def _receive(
        self, transaction: Transaction, intake: Intake[D], arrival: Awaitable[Status | None], *, last: bool
    ) -> None:
        """A message, its one final reply, a clean slate. Not `last`: a good chunk leaves everything open."""
        more, replies_due = False, self.talk.taken if self._for_each and last else 1
        try:
            status = await self._message(intake, arrival, last=last)
            more = status is MORE
        except (Hangup, TooSlow, FarTooBig) as error:
            if isinstance(error, TooSlow):
                self._link.end(replies.TOO_SLOW, "too-slow")
            elif isinstance(error, FarTooBig):
                self._link.end(replies.TOO_BIG, "far-too-big")
            _log_transaction(transaction, Status(421, "4.4.2", "", self._link.reason), intake.decoder.size)
            raise Hangup from None
        finally:
            if not more:
                self._chunks, taken = None, self.talk.taken
                self.talk.reset()
                if not last:  # the chunks that follow are refused, the last one for each recipient (RFC 2033 4.3)
                    self.talk.taken = taken
        if more:
            return
        self.talk.messages += 1
        self.budget.mail_received()
        # Behind the answer, which leaves at the end of this turn of the loop.
        asyncio.get_running_loop().call_soon(_log_transaction, transaction, status, intake.decoder.size)
        blame = Blame.ERROR if status.permanent else Blame.NONE
        await self._answer_each(Step(replies.of(status), blame=blame), replies_due)

    async def _answer_each(self, step: Step, count: int) -> None:
        """So many times; RFC 2033 4.3: zero replies for nobody."""
        for _ in range(1, count):
            await self._link.push(step.reply)
        if count:
            await self._answer(step)

    @property
    def _for_each(self) -> bool:
        """RFC 2033 4.2 and 4.3: one reply for each RCPT that was accepted, one for a chunk that was not the last."""
        return self.talk.service.role is Listener.LMTP

    @property
    def _mends(self) -> bool:
        """Only a device whose owner listed it is forgiven its bare line ends (security.md, Decided)."""
        return self.talk.login is not None and self.talk.login.bare_lines

    @property
    def _line_limit(self) -> int:
        return self.talk.service.limits.data_line

    def _intake(self, reception: Reception, decoder: D) -> Intake[D]:
        service = self.talk.service
        return Intake(
            reader=self._link.source,
            reception=reception,
            decoder=decoder,
            meter=self._meter(),
            clock=service.clock,
            size_limit=service.limits.message_octets,
            wait=self._expect_data,
            rest=self._link.rest,
        )

    def _meter(self) -> RateMeter:
        service = self.talk.service
        rate = service.limits.minimum_rate_submission if service.submission else service.limits.minimum_rate
        return RateMeter(0 if service.exempt and within(self.talk.peer.address, service.exempt) else rate)

    def _expect_data(self) -> None:
        """The stall deadline; on the MX the whole transaction has one, too."""
        limits = self.talk.service.limits
        stall = limits.submission_stall if self.talk.service.submission else limits.data_stall
        self._link.expect(max(0.0, min(stall, self.talk.time_left)))

    async def _message(self, intake: Intake[D], arrival: Awaitable[Status | None], *, last: bool) -> Status:
        """Delivery finishes exactly what arrived whole; anything else it forgets (promise P2)."""
        finished = arrived = False
        try:
            refusal = await arrival
            arrived = True
            if refusal is not None:
                return refusal
            if not last:
                finished = True
                return MORE
            status = await self._finished(intake.reception)
            finished = status is not TOO_LATE
            return status
        except (Hangup, TooSlow, FarTooBig, ConnectionError):
            raise
        except Exception:
            log.exception("smtp-bug", peer=self.talk.peer.address)
            if not arrived:  # what is left of the message must not be read as commands
                self._link.end(replies.INTERNAL, "bug")
                raise Hangup from None
            return BUG
        finally:
            if not finished:
                await intake.reception.abort()

    async def _finished(self, reception: Reception) -> Status:
        try:
            return await self.talk.service.finishing.within(reception.finish())
        except TimeoutError:
            return TOO_LATE


def _log_transaction(transaction: Transaction, status: Status, size: int) -> None:
    log.info(
        "smtp-transaction",
        queue_id=transaction.queue_id,
        peer=transaction.peer.address,
        sender=str(transaction.sender or ""),
        recipients=len(transaction.recipients),
        size=size,
        status=f"{status.code} {status.enhanced}",
        reason=status.reason,
    )
