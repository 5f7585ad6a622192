"""Arguments of the command line as values of the house; a malformed one ends with one line and exit code 1."""

from __future__ import annotations

from beffroi.cli.console import refuse
from core.address import Address, AddressError, parse
from core.config import parse_size


def address_argument(text: str) -> Address:
    try:
        return parse(text)
    except AddressError as error:
        refuse(f"{text}: {error}")


def octets(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        refuse(str(error))
