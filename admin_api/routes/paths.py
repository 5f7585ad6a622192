"""Addresses as a part of the path: an impossible one is simply not there (404), whatever is wrong with it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path

from core.address import AddressError, parse
from core.errors import NotFoundError


def _known_shape(address: Annotated[str, Path(max_length=400)]) -> str:
    try:
        parse(address)
    except AddressError as error:
        raise NotFoundError("no such address") from error
    return address


AddressPath = Annotated[str, Depends(_known_shape)]
