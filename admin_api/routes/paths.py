"""Addresses as a part of the path: an impossible one is simply not there (404), whatever is wrong with it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path

from core.address import AddressError, parse
from core.errors import NotFoundError


def known_shape(address: str) -> str:
    """`address` itself, or `NotFoundError`."""
    try:
        parse(address)
    except AddressError as error:
        raise NotFoundError("no such address") from error
    return address


def _address(address: Annotated[str, Path(max_length=400)]) -> str:
    return known_shape(address)


AddressPath = Annotated[str, Depends(_address)]
