"""`beffroi queue list | show | shape | retry | hold | release | drop | trace`. What changes something is audited."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from beffroi.cli.console import console, refuse, run
from beffroi.rooms import open_any_queue, open_directory, open_queue_administration
from core.address import AddressError, parse
from core.config import Config
from core.domain import DomainError, to_ascii
from core.envelope import Schedule
from core.errors import NotFoundError
from delivery.types import (
    EVERYTHING,
    SHAPE_AGES,
    Action,
    Picked,
    QueuedMessage,
    QueuedRecipient,
    QueueShape,
    TraceEntry,
)
from directory.types import Actor

app = typer.Typer(no_args_is_help=True, help="Mail that waits to leave.")


Sender = Annotated[str | None, typer.Option(help='Only of this sender; "" for notices, which have none.')]
To = Annotated[str | None, typer.Option("--domain", help='Only to this domain; "" for mailboxes here.')]
Held = Annotated[bool | None, typer.Option("--held/--not-held", help="Only what is held, or is not.")]
All = Annotated[bool, typer.Option("--all", help="Everything.")]
Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing.")]
QueueIds = Annotated[list[str] | None, typer.Argument(metavar="[QUEUE_ID]...")]


COUNTED = 1000  # messages that a question tells the number of


class By(StrEnum):
    DOMAIN = "domain"
    SENDER = "sender"


def picked(sender: str | None, domain: str | None, held: bool | None) -> Picked:
    """In the spelling of the queue."""
    try:
        return Picked(
            str(parse(sender)) if sender and sender != "<>" else sender and "",
            to_ascii(domain) if domain else domain,
            held,
        )
    except (AddressError, DomainError) as error:
        raise typer.BadParameter(str(error)) from error


def view(message: QueuedMessage) -> dict[str, object]:
    waiting = [item for item in message.recipients if item.state in ("waiting", "active")]
    return {
        "queue_id": message.queue_id,
        "sender": message.sender or "<>",
        "size": message.size,
        "age": int(time.time() - message.created),
        "held": message.held,
        "held_by": ", ".join(message.held_by),
        "priority": message.schedule.priority,
        # whom it still waits for, as mailq has it; "show" tells of everybody
        "recipients": [recipient.address for recipient in waiting or message.recipients],
        "next_attempt": _next(waiting),
        "last_status": next((item.last_status for item in waiting if item.last_status), ""),
    }


def _next(waiting: Sequence[QueuedRecipient]) -> str:
    """Of those whom nothing holds."""
    if any(item.state == "active" for item in waiting):
        return "now"
    times = [item.next_attempt for item in waiting if not item.held]
    return _moment(min(times)) if times else ""


@app.command("list")
def list_(
    sender: Sender = None,
    domain: To = None,
    held: Held = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 1000,
) -> None:
    """What is queued, oldest first: next attempt (UTC) and last answer of the first that waits."""
    wanted = picked(sender, domain, held)

    async def operation(config: Config) -> list[QueuedMessage]:
        async with open_queue_administration(config) as queue:
            return await queue.list(None, limit=limit, picked=wanted)

    rows = [view(message) for message in run(operation)]
    columns = ("queue_id", "sender", "size", "age", "held_by", "priority", "recipients", "next_attempt", "last_status")
    console.table(rows, columns)


@app.command("show")
def show(queue_id: str) -> None:
    """One message with the state and last answer of each recipient. Its text is nobody's but its recipients'."""

    async def operation(config: Config) -> QueuedMessage:
        async with open_queue_administration(config) as queue:
            return await queue.show(None, queue_id)

    message = run(operation)
    lines = [f"{key}: {item}" for key, item in view(message).items() if key not in _OF_RECIPIENTS]
    lines += _times(message.schedule)
    for item in message.recipients:
        lines += _told(item)
    console.answer(asdict(message), "\n".join(lines))


_OF_RECIPIENTS = ("recipients", "next_attempt", "last_status")


def _told(item: QueuedRecipient) -> list[str]:
    lines = [f"  {item.address}: {item.state}, {item.attempts} attempts, {item.last_status}"]
    if item.state == "waiting" and not item.held:
        lines.append(f"    next attempt: {_moment(item.next_attempt)}")
    if item.last_attempt:
        said = ": ".join(text for text in (item.remote, item.diagnostic) if text)
        lines.append(f"    last attempt: {_moment(item.last_attempt)} {said}".rstrip())
    return lines


@app.command("shape")
def shape(by: Annotated[By, typer.Option(help="Recipients of each domain, or of each sender.")] = By.DOMAIN) -> None:
    """Who waits for which domain, and since when: recipients in all, and by the age of their message in minutes."""

    async def operation(config: Config) -> Sequence[QueueShape]:
        async with open_queue_administration(config) as queue:
            return await queue.shape(None, by.value)

    console.table(shape_rows(run(operation)), (*_SHAPED, *_AGES))


_SHAPED = ("name", "total")
_AGES = (*(str(age) for age in SHAPE_AGES), f"{SHAPE_AGES[-1]}+")


def shape_rows(shapes: Sequence[QueueShape]) -> list[dict[str, object]]:
    """The sum of all first."""
    sums = [sum(column) for column in zip(*(item.counts for item in shapes), strict=True)] or [0] * len(_AGES)
    lines = [QueueShape("TOTAL", sum(sums), tuple(sums)), *shapes]
    return [{"name": item.name, "total": item.total, **dict(zip(_AGES, item.counts, strict=True))} for item in lines]


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


def _act(action: Action, done: str, queue_ids: Sequence[str] | None, wanted: Picked, everything: bool) -> None:
    """To the messages named, or to all that are meant."""
    ways = (bool(queue_ids), wanted != EVERYTHING, everything)
    if sum(ways) != 1:
        raise typer.BadParameter("name messages, or say which by --sender, --domain, --held; or --all")
    if queue_ids:
        _act_on(queue_ids, action, done)
        return

    async def operation(config: Config) -> int:
        async with open_queue_administration(config) as queue, open_directory(config) as directory:
            # Before: it is done in parts, and may fail behind one of them.
            await directory.record(Actor.console(), f"queue.{done.replace(' ', '-')}", wanted.text)
            return await queue.act(None, wanted, action)

    count = run(operation)
    console.answer({"messages": count, "change": done}, f"{count} messages: {done}")


def _act_on(queue_ids: Sequence[str], action: Action, done: str) -> None:
    """One that left meanwhile keeps nothing from being done to the others."""

    async def operation(config: Config) -> list[str]:
        absent = []
        async with open_queue_administration(config) as queue, open_directory(config) as directory:
            ways = {"retry": queue.retry, "hold": queue.hold, "release": queue.release, "drop": queue.drop}
            for queue_id in queue_ids:
                try:
                    await queue.show(None, queue_id)  # what is not there leaves no line in the audit
                    # Before, as the two have no transaction in common: nothing is done that nobody wrote down.
                    await directory.record(Actor.console(), f"queue.{done.replace(' ', '-')}", queue_id)
                    await ways[action](None, queue_id)
                except NotFoundError:
                    absent.append(queue_id)
                    continue
                console.answer({"queue_id": queue_id, "change": done}, f"{queue_id}: {done}")
        return absent

    absent = run(operation)
    if absent:
        refuse(f"no such message in the queue: {', '.join(absent)}")


@app.command("retry")
def retry(
    queue_ids: QueueIds = None, sender: Sender = None, domain: To = None, held: Held = None, all_: All = False
) -> None:
    """Try again now."""
    _act("retry", "due now", queue_ids, picked(sender, domain, held), all_)


@app.command("hold")
def hold(
    queue_ids: QueueIds = None, sender: Sender = None, domain: To = None, held: Held = None, all_: All = False
) -> None:
    """Do not try until released."""
    _act("hold", "held", queue_ids, picked(sender, domain, held), all_)


@app.command("release")
def release(
    queue_ids: QueueIds = None, sender: Sender = None, domain: To = None, held: Held = None, all_: All = False
) -> None:
    """Undo `hold`; of a message that is named also a lock or a suspension."""
    _act("release", "released", queue_ids, picked(sender, domain, held), all_)


@app.command("drop")
def drop(
    queue_ids: QueueIds = None,
    sender: Sender = None,
    domain: To = None,
    held: Held = None,
    all_: All = False,
    yes: Yes = False,
) -> None:
    """Remove from the queue without a bounce. Where no message is named it asks first."""
    wanted = picked(sender, domain, held)
    if not queue_ids and (all_ or wanted != EVERYTHING) and not yes:
        _ask(wanted)
    _act("drop", "dropped", queue_ids, wanted, all_)


def _ask(wanted: Picked) -> None:
    """Nothing brings back what is dropped, and nobody is told of it."""

    async def operation(config: Config) -> int:
        async with open_queue_administration(config) as queue:
            return len(await queue.list(None, limit=COUNTED + 1, picked=wanted))

    count = run(operation)
    if not count:
        return
    many = f"plus de {COUNTED} messages" if count > COUNTED else f"{count} message{'s' * (count > 1)}"
    question = f"Supprimer définitivement de la file {many} ({wanted.text}), sans prévenir personne ?"
    if not console.confirm(question):
        refuse("rien n'a été supprimé : pour ne pas être interrogé, ajoutez --yes (nothing was dropped: add --yes)")


@app.command("assign")
def assign() -> None:
    """Make the queue on PostgreSQL this directory's. Instances with another directory do not start with it any more."""

    async def operation(config: Config) -> None:
        if not config.database.queue:
            refuse("database.queue is empty: the queue is a file of this installation, and nobody else's")
        async with open_any_queue(config) as queue, open_directory(config) as directory:
            await directory.record(Actor.console(), "queue.assign", "")
            await queue.assign(await directory.identity())

    run(operation)
    console.answer({"change": "assigned"}, "the queue is this directory's")


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
