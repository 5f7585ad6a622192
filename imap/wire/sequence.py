"""`sequence-set` on the wire: parse and write (RFC 9051 9). Knows neither messages nor which numbers exist."""

from __future__ import annotations

import re
from collections.abc import Iterable

from imap.errors import BadSyntax
from imap.types import MAX_NUMBER, SAVED, STAR, Ranges, SequenceSet, ranges_of

# seq-number = nz-number / "*"; seq-range = seq-number ":" seq-number
# sequence-set = (seq-number / seq-range) ["," sequence-set]; sequence-set =/ seq-last-command: "$" alone, or at the end
_NUMBER = rb"(?:[1-9][0-9]{0,9}|\*)"
PATTERN = re.compile(rb"%b(?::%b)?(?:,%b(?::%b)?)*(?:,\$)?|\$" % ((_NUMBER,) * 4))  # "$": RFC 5182 5


def parse(text: bytes) -> SequenceSet:
    """What `PATTERN` matched. Raises `BadSyntax` for numbers past 2^32 - 1."""
    numbers, dollar, _ = text.partition(b"$")
    if not numbers:
        return SAVED
    return SequenceSet(tuple(_pair(part) for part in numbers.rstrip(b",").split(b",")), saved=bool(dollar))


def _pair(part: bytes) -> tuple[int, int]:
    first, colon, last = part.partition(b":")
    low = _number(first)
    return low, _number(last) if colon else low


def _number(digits: bytes) -> int:
    if digits == b"*":
        return STAR
    number = int(digits)
    if number > MAX_NUMBER:
        raise BadSyntax("number too large in a sequence set")
    return number


def encode(ranges: Ranges) -> bytes:
    """Ranges as the wire writes them: ((1, 3), (7, 7)) > 1:3,7."""
    return b",".join(b"%d" % low if low == high else b"%d:%d" % (low, high) for low, high in ranges)


def encode_in_order(numbers: Iterable[int]) -> bytes:
    """Numbers in their order, rising neighbours joined: 4 5 6 2 > 4:6,2."""
    numbers = list(numbers)
    if not numbers:
        return b""
    first, last = numbers[0], numbers[-1]
    if last - first == len(numbers) - 1 > 0 and numbers == list(range(first, last + 1)):  # often, and at once
        return b"%d:%d" % (first, last)
    runs: list[str] = []
    low = high = -1
    for number in numbers:
        if number != high + 1 or low < 0:
            if low >= 0:
                runs.append(f"{low}" if low == high else f"{low}:{high}")
            low = number
        high = number
    if low >= 0:
        runs.append(f"{low}" if low == high else f"{low}:{high}")
    return ",".join(runs).encode("ascii")


def encode_numbers(numbers: Iterable[int]) -> bytes:
    """Any numbers as one ascending set."""
    return encode(ranges_of(numbers))
