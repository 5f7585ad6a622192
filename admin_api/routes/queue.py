"""The queue: what waits to leave, and what an administrator does with it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, status

from admin_api.access import AnyAdministrator, Rooms
from admin_api.paging import MAX_PAGE, After, Limit
from admin_api.schemas_queue import (
    HopText,
    QueueActionIn,
    QueueActionOut,
    QueuedMessageOut,
    QueueShapeOut,
    SenderText,
    TraceEntryOut,
)
from admin_api.services import Services
from core.errors import NotFoundError
from delivery.types import Action, Picked
from directory.types import Actor

router = APIRouter(tags=["queue"])

QueueId = Annotated[str, Path(max_length=64)]
SearchText = Annotated[str, Query(max_length=320, pattern=r"^[^\x00-\x1f\x7f]*$")]


@router.get("/queue")
async def list_queue(
    actor: AnyAdministrator,
    rooms: Rooms,
    sender: Annotated[SenderText | None, Query()] = None,
    domain: Annotated[HopText | None, Query()] = None,
    held: bool | None = None,
    after: After = "",
    limit: Limit = MAX_PAGE,
) -> list[QueuedMessageOut]:
    """Oldest first, in pages by queue id; a commune sees its own. `sender` "" is that of notices, `domain` "" is
    here."""
    wanted = Picked(sender, domain, held)
    found = await rooms.queue.list(actor.organisation_id, limit=limit, picked=wanted, after=after)
    return [QueuedMessageOut.of(item) for item in found]


@router.get("/queue-shape")
async def shape_queue(
    actor: AnyAdministrator, rooms: Rooms, by: Literal["domain", "sender"] = "domain"
) -> list[QueueShapeOut]:
    """Recipients that wait, by their domain or by sender, the most first, and since how long."""
    return [QueueShapeOut.of(item) for item in await rooms.queue.shape(actor.organisation_id, by)]


@router.post("/queue-actions")
async def act_on_queue(body: QueueActionIn, actor: AnyAdministrator, rooms: Rooms) -> QueueActionOut:
    """Retry, hold, release or drop many messages at once: all that fit what is said. Audited before: it is done in
    parts, and may fail behind one of them."""
    await rooms.directory.record(actor, f"queue.{body.action}", body.picked.text)
    count = await rooms.queue.act(actor.organisation_id, body.picked, body.action)
    if not count:
        raise NotFoundError("no such message in the queue", code="queue-not-found")
    return QueueActionOut(messages=count)


@router.get("/trace")
async def trace(actor: AnyAdministrator, rooms: Rooms, text: SearchText = "") -> list[TraceEntryOut]:
    """Where is my message? `text` is an address, a Message-ID or a queue id. What was accepted and what became of it,
    in its order: at most 1,000 entries of the newest 100 messages. Each search is audited."""
    if not text:
        return []
    await rooms.directory.record(actor, "queue.trace", text)
    return [TraceEntryOut.of(item) for item in await rooms.queue.trace(actor.organisation_id, text)]


@router.get("/queue/{queue_id}")
async def show_queued(queue_id: QueueId, actor: AnyAdministrator, rooms: Rooms) -> QueuedMessageOut:
    return QueuedMessageOut.of(await rooms.queue.show(actor.organisation_id, queue_id))


@router.post("/queue/{queue_id}/retry", status_code=status.HTTP_204_NO_CONTENT)
async def retry(queue_id: QueueId, actor: AnyAdministrator, rooms: Rooms) -> None:
    """Due now."""
    await _audit(rooms, actor, "retry", queue_id)
    await rooms.queue.retry(actor.organisation_id, queue_id)


@router.post("/queue/{queue_id}/hold", status_code=status.HTTP_204_NO_CONTENT)
async def hold(queue_id: QueueId, actor: AnyAdministrator, rooms: Rooms) -> None:
    await _audit(rooms, actor, "hold", queue_id)
    await rooms.queue.hold(actor.organisation_id, queue_id)


@router.post("/queue/{queue_id}/release", status_code=status.HTTP_204_NO_CONTENT)
async def release(queue_id: QueueId, actor: AnyAdministrator, rooms: Rooms) -> None:
    await _audit(rooms, actor, "release", queue_id)
    await rooms.queue.release(actor.organisation_id, queue_id)


@router.delete("/queue/{queue_id}", status_code=status.HTTP_204_NO_CONTENT)
async def drop(queue_id: QueueId, actor: AnyAdministrator, rooms: Rooms) -> None:
    """Removed without a bounce."""
    await _audit(rooms, actor, "drop", queue_id)
    await rooms.queue.drop(actor.organisation_id, queue_id)


async def _audit(rooms: Services, actor: Actor, action: Action, queue_id: str) -> None:
    """Before, as the queue and the audit have no transaction in common: nothing is done that nobody wrote down. What
    is absent, or another's, is 404 and leaves no line."""
    await rooms.queue.show(actor.organisation_id, queue_id)
    await rooms.directory.record(actor, f"queue.{action}", queue_id)
