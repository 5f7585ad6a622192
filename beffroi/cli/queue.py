"""`beffroi queue list | show | retry | hold | release | drop | trace`. What changes something is audited."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict

import typer

from beffroi.cli.console import console, run
from beffroi.rooms import open_directory, open_queue_administration
from core.config import Config
from core.envelope import Schedule
from delivery.types import QueueAdministration, QueuedMessage, TraceEntry
from directory.types import Actor

app = typer.Typer(no_args_is_help=True, help="Mail that waits to leave.")


def view(message: QueuedMessage) -> dict[str, object]:
    return {
        "queue_id": message.queue_id,
        "sender": message.sender or "<>",
        "size": message.size,
        "age": int(time.time() - message.created),
        "held": message.held,
        "held_by": ", ".join(message.held_by),
        "priority": message.schedule.priority,
        "recipients": [recipient.address for recipient in message.recipients],
    }


@app.command("list")
def list_() -> None:
    """What is queued, oldest first."""

    async def operation(config: Config) -> list[QueuedMessage]:
        async with open_queue_administration(config) as queue:
            return await queue.list(None)

    rows = [view(message) for message in run(operation)]
    console.table(rows, ("queue_id", "sender", "size", "age", "held_by", "priority", "recipients"))


@app.command("show")
def show(queue_id: str) -> None:
    """One message with the state and last answer of each recipient."""

    async def operation(config: Config) -> QueuedMessage:
        async with open_queue_administration(config) as queue:
            return await queue.show(None, queue_id)

    message = run(operation)
    lines = [f"{key}: {item}" for key, item in view(message).items() if key != "recipients"]
    lines += _times(message.schedule)
    lines += [f"  {r.address}: {r.state}, {r.attempts} attempts, {r.last_status}" for r in message.recipients]
    console.answer(asdict(message), "\n".join(lines))


def _times(schedule: Schedule) -> list[str]:
    """What its sender asked for, where he did."""
    found = []
    if schedule.release_at:
        found.append(f"release_at: {_moment(schedule.release_at)}")
    if schedule.by_mode:
        found.append(f"deliver_by: {_moment(schedule.deliver_by)} ({schedule.by_mode})")
    return found


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def _act(queue_id: str, action: Callable[[QueueAdministration], Awaitable[None]], done: str) -> None:
    async def operation(config: Config) -> None:
        async with open_queue_administration(config) as queue, open_directory(config) as directory:
            await action(queue)
            await directory.record(Actor.console(), f"queue.{done.replace(' ', '-')}", queue_id)

    run(operation)
    console.answer({"queue_id": queue_id, "change": done}, f"{queue_id}: {done}")


@app.command("retry")
def retry(queue_id: str) -> None:
    """Try again now."""
    _act(queue_id, lambda queue: queue.retry(None, queue_id), "due now")


@app.command("hold")
def hold(queue_id: str) -> None:
    """Do not try until released."""
    _act(queue_id, lambda queue: queue.hold(None, queue_id), "held")


@app.command("release")
def release(queue_id: str) -> None:
    """Undo `hold`."""
    _act(queue_id, lambda queue: queue.release(None, queue_id), "released")


@app.command("drop")
def drop(queue_id: str) -> None:
    """Remove from the queue without a bounce."""
    _act(queue_id, lambda queue: queue.drop(None, queue_id), "dropped")


def entry_view(entry: TraceEntry) -> dict[str, object]:
    return {"at": _moment(entry.at), **{key: value for key, value in asdict(entry).items() if key != "at"}}


@app.command("trace")
def trace(text: str) -> None:
    """Where is my message? By address, Message-ID or queue id; what was accepted and what became of it."""

    async def operation(config: Config) -> list[TraceEntry]:
        async with open_queue_administration(config) as queue, open_directory(config) as directory:
            await directory.record(Actor.console(), "queue.trace", text)
            return list(await queue.trace(None, text))

    rows = [entry_view(entry) for entry in run(operation)]
    console.table(rows, ("at", "queue_id", "event", "sender", "recipient", "status", "remote"))
