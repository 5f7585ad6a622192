"""What a mailbox sends by itself and whether it may send at all: the absence notice, the lock after a hijack. The audit
is told before: it and the queue have no transaction in common, and nothing is done that nobody wrote down."""

from __future__ import annotations

import datetime
from typing import Annotated

from fastapi import APIRouter, status
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, model_validator

from admin_api.access import AnyAdministrator, Rooms
from admin_api.faults import fault
from admin_api.routes.paths import AddressPath
from admin_api.schemas import Model, address_of
from core.errors import NotFoundError
from delivery import absence
from delivery.types import Vacation

router = APIRouter(tags=["sending"])


def _plain(text: str) -> str:
    if not absence.is_plain(text):
        raise fault("control_characters")
    return text


def _line(text: str) -> str:
    if not text.isprintable():
        raise fault("control_characters")
    return text


def _written(moment: object) -> object:
    """Pydantic reads numbers, also within quotation marks, as seconds: a year alone would be an evening of 1970."""
    if not isinstance(moment, datetime.datetime) and not (isinstance(moment, str) and moment[4:5] == "-"):
        raise fault("moment")
    return moment


# Text, as JSON has no dates; not strict for that alone.
Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_written)]


class VacationModel(Model):
    """From `starts` until `ends`, each with its time zone."""

    text: Annotated[str, Field(min_length=1, max_length=absence.MAX_TEXT), AfterValidator(_plain)]
    subject: Annotated[
        str,
        Field(max_length=absence.MAX_SUBJECT, description="Empty: made of the message's own."),
        AfterValidator(_line),
    ] = ""
    starts: Moment
    ends: Moment

    @model_validator(mode="after")
    def _ordered(self) -> VacationModel:
        if self.ends <= self.starts:
            raise fault("ends_before_it_begins")
        return self


@router.get("/mailboxes/{address}/vacation")
async def show_vacation(address: AddressPath, actor: AnyAdministrator, rooms: Rooms) -> VacationModel:
    account = await rooms.directory.account(actor, address_of(address))
    found = await rooms.queue.vacation(account.id)
    if found is None:
        raise NotFoundError("no absence is set", code="no-vacation")
    return VacationModel(text=found.text, subject=found.subject, starts=_time(found.starts), ends=_time(found.ends))


@router.put("/mailboxes/{address}/vacation", status_code=status.HTTP_204_NO_CONTENT)
async def set_vacation(address: AddressPath, wanted: VacationModel, actor: AnyAdministrator, rooms: Rooms) -> None:
    """Everybody who writes within the dates is told once in seven days; lists and robots are not."""
    account = await rooms.directory.account(actor, address_of(address))
    vacation = Vacation(wanted.text, wanted.subject, wanted.starts.timestamp(), wanted.ends.timestamp())
    await rooms.directory.record(actor, "vacation.set", str(account.address))
    await rooms.queue.set_vacation(account.id, vacation)


@router.delete("/mailboxes/{address}/vacation", status_code=status.HTTP_204_NO_CONTENT)
async def remove_vacation(address: AddressPath, actor: AnyAdministrator, rooms: Rooms) -> None:
    """Also when there is none."""
    account = await rooms.directory.account(actor, address_of(address))
    await rooms.directory.record(actor, "vacation.remove", str(account.address))
    await rooms.queue.set_vacation(account.id, None)


@router.post("/mailboxes/{address}/unlock", status_code=status.HTTP_204_NO_CONTENT)
async def unlock(address: AddressPath, actor: AnyAdministrator, rooms: Rooms) -> None:
    """It may send again, after a hijack pattern locked its sending. Also when it was not locked."""
    account = await rooms.directory.account(actor, address_of(address))
    await rooms.directory.record(actor, "mailbox.unlock", str(account.address))
    await rooms.queue.unlock(account.id)


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
