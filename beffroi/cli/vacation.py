"""`beffroi mailbox vacation`: the absence notice of a mailbox, with its dates."""

from __future__ import annotations

import contextlib
import datetime
from pathlib import Path

import typer

from beffroi.cli.console import console, refuse, run
from beffroi.cli.parse import address_argument
from beffroi.rooms import open_directory, open_queue
from core.config import Config
from delivery import absence
from delivery.types import Vacation
from directory.types import Actor

FILE = typer.Option(None, "--file", help="The text, from a file (UTF-8).")
SUBJECT = typer.Option("", "--subject", help="Empty: made of the message's own.")
START = typer.Option("", "--from", help="The first day, as 2026-12-24; today when left out.")
END = typer.Option("", "--until", help="The last day, as 2027-01-03.")
OFF = typer.Option(False, "--off", help="Take the notice back.")


def vacation(
    address: str,
    text: str = typer.Argument(""),
    file: Path | None = FILE,
    subject: str = SUBJECT,
    start: str = START,
    until: str = END,
    off: bool = OFF,
) -> None:
    """Set, show (without text and options) or take back (--off) what senders are told while somebody is away."""
    target = address_argument(address)
    told = _read(file) if file is not None else text
    wanted = _wanted(told, subject, start, until) if told and not off else None

    async def operation(config: Config) -> Vacation | None:
        async with open_directory(config) as directory, open_queue(config) as queue:
            account = await directory.account(Actor.console(), target)
            if wanted is not None or off:
                # Before, as the two have no transaction in common: nothing is done that nobody wrote down.
                await directory.record(Actor.console(), "vacation.remove" if off else "vacation.set", str(target))
                await queue.administration.set_vacation(account.id, wanted)
            return await queue.administration.vacation(account.id)

    found = run(operation)
    if found is None:
        console.answer({"address": str(target), "vacation": None}, f"{target}: no absence is set")
        return
    view = {"from": _shown(found.starts), "until": _shown(found.ends), "subject": found.subject, "text": found.text}
    console.answer(
        {"address": str(target), "vacation": view}, f"{target}: {view['from']} to {view['until']}\n{found.text}"
    )


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        refuse(f"{file}: {error.strerror}")
    except UnicodeDecodeError:
        refuse(f"{file}: no text in UTF-8")


def _wanted(text: str, subject: str, start: str, until: str) -> Vacation:
    """Whole days of this machine's time zone; the last one counts."""
    first = _day(start) if start else datetime.date.today()
    if not until:
        refuse("--until is needed: the last day of the absence")
    last = _day(until)
    if last < first:
        refuse("it ends before it begins")
    if not absence.fits(text, subject):
        refuse("the text or the subject is too long, or holds control characters")
    try:
        return Vacation(text, subject, _midnight(first), _midnight(last + datetime.timedelta(days=1)))
    except (OverflowError, ValueError):
        refuse("such days are beyond the calendar")


def _day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        refuse(f"{text}: not a day (write 2026-12-24)")


def _midnight(day: datetime.date) -> float:
    return datetime.datetime.combine(day, datetime.time()).astimezone().timestamp()


def _shown(seconds: float) -> str:
    at = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    with contextlib.suppress(OverflowError):  # the last hours of the calendar, which REST takes
        at = at.astimezone()
    return at.isoformat(timespec="minutes")
