"""From what a server said, or why it could not be asked, to a result per recipient (RFC 3463, RFC 3464)."""

from __future__ import annotations

from core.status import Status, deferred
from delivery.types import JobRecipient, Result, ResultKind
from smtp.outbound.arguments import Capabilities
from smtp.outbound.reply_parser import RemoteReply, printable

MAX_TEXT = 300
_KINDS = {2: ResultKind.DELIVERED, 4: ResultKind.DEFERRED, 5: ResultKind.FAILED}
_REASONS = {2: "remote-accepted", 4: "remote-deferred", 5: "remote-refused"}


def from_answer(recipient: JobRecipient, answer: RemoteReply | Status, host: str, offered: Capabilities) -> Result:
    """`answer`: the final reply for this recipient, or our own judgement."""
    if isinstance(answer, Status):
        return from_status(recipient, answer, host)
    status = _status(answer)
    return Result(
        recipient.id,
        _KINDS[status.code // 100],
        status,
        remote=host,
        diagnostic=answer.diagnostic,
        relayed_dsn=answer.ok and "DSN" in offered,
        relayed_by=answer.ok and "DELIVERBY" in offered,
    )


def from_status(recipient: JobRecipient, status: Status, host: str = "") -> Result:
    return Result(recipient.id, _KINDS[status.code // 100], status, remote=host)


def unreachable(host: str, address: str, reason: str, *, tls: bool = False) -> Status:
    """Nobody there, somebody who broke off, or (`tls`) somebody whose TLS is not what is demanded (RFC 3463 3.8:
    X.7.5; the host did answer): always worth another try."""
    lost = reason.startswith("timeout") or reason == "connection-lost"
    enhanced = "4.7.5" if tls else "4.4.2" if lost else "4.4.1"
    return deferred(printable(f"{host} [{address}]: {reason.replace('-', ' ')}"), reason, enhanced)


def session_refused(reply: RemoteReply) -> Status:
    """A server that does not serve us now: RFC 5321 3.1 makes 554 final for it, not for the message: another host, or
    another day, may take it."""
    return deferred(printable(f"Session refused: {reply.diagnostic}")[:MAX_TEXT], "session-refused", "4.4.0")


def _status(reply: RemoteReply) -> Status:
    family = reply.code // 100
    enhanced = reply.enhanced or f"{family}.0.0"
    text = " ".join(reply.lines).removeprefix(reply.enhanced).strip() or reply.diagnostic
    return Status(reply.code, enhanced, text[:MAX_TEXT], _REASONS[family])
