"""A message from the world, and what of it waits in the queue."""

from __future__ import annotations

from tests.delivery.conftest import World

MAIL = b"From: a@sender.test\r\nTo: maire@ville.test\r\nSubject: Bonjour\r\n\r\nUn texte.\r\n..point\r\n"


async def queued(world: World) -> dict[str, list[tuple[str, str]]]:
    """queue id > (address, state)."""
    messages = await world.queue.administration.list(None)
    return {item.queue_id: [(r.address, r.state) for r in item.recipients] for item in messages}
