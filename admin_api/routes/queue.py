"""The queue: what waits to leave, and what an administrator does with it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, status

from admin_api.access import AnyAdministrator, Rooms
from admin_api.schemas import QueuedMessageOut

router = APIRouter(tags=["queue"])

QueueId = Annotated[str, Path(max_length=64)]


@router.get("/queue")
async def list_queue(actor: AnyAdministrator, rooms: Rooms) -> list[QueuedMessageOut]:
    """Oldest first, at most 1,000; a commune sees its own."""
    return [QueuedMessageOut.of(item) for item in await rooms.queue.list(actor.organisation_id)]


@router.get("/queue/{queue_id}")
async def show_queued(queue_id: QueueId, actor: AnyAdministrator, rooms: Rooms) -> QueuedMessageOut:
    return QueuedMessageOut.of(await rooms.queue.show(actor.organisation_id, queue_id))


@router.post("/queue/{queue_id}/retry", status_code=status.HTTP_204_NO_CONTENT)
async def retry(queue_id: QueueId, actor: AnyAdministrator, rooms: Rooms) -> None:
    """Due now."""
    await rooms.queue.retry(actor.organisation_id, queue_id)


@router.post("/queue/{queue_id}/hold", status_code=status.HTTP_204_NO_CONTENT)
async def hold(queue_id: QueueId, actor: AnyAdministrator, rooms: Rooms) -> None:
    await rooms.queue.hold(actor.organisation_id, queue_id)


@router.post("/queue/{queue_id}/release", status_code=status.HTTP_204_NO_CONTENT)
async def release(queue_id: QueueId, actor: AnyAdministrator, rooms: Rooms) -> None:
    await rooms.queue.release(actor.organisation_id, queue_id)


@router.delete("/queue/{queue_id}", status_code=status.HTTP_204_NO_CONTENT)
async def drop(queue_id: QueueId, actor: AnyAdministrator, rooms: Rooms) -> None:
    """Removed without a bounce."""
    await rooms.queue.drop(actor.organisation_id, queue_id)
