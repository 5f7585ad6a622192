"""`sequence-set` on the wire: parse and write (RFC 9051 9). Knows neither messages nor which numbers exist."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, count, pairwise
from operator import ne

from imap.errors import BadSyntax
from imap.types import MAX_NUMBER, SAVED, STAR, TURN, SequenceSet, ranges_of

# seq-number = nz-number / "*"; seq-range = seq-number ":" seq-number
# sequence-set = (seq-number / seq-range) ["," sequence-set]; sequence-set =/ seq-last-command: "$" alone, or at the end
_NUMBER = rb"(?:[1-9][0-9]{0,9}|\*)"
PATTERN = re.compile(rb"%b(?::%b)?(?:,%b(?::%b)?)*(?:,\$)?|\$" % ((_NUMBER,) * 4))  # "$": RFC 5182 5


_NEXT = (1).__add__


def parse(text: bytes) -> SequenceSet:
    """What `PATTERN` matched. Raises `BadSyntax` for numbers past 2^32 - 1."""
    numbers, dollar, _ = text.partition(b"$")
    if not numbers:
        return SAVED
    parts = numbers.rstrip(b",").split(b",")
    if b":" in numbers or b"*" in numbers:
        return SequenceSet(tuple(map(_pair, parts)), saved=bool(dollar))
    each = tuple(map(int, parts))
    _check(max(each))
    return SequenceSet(tuple(zip(each, each, strict=True)), saved=bool(dollar))


def _pair(part: bytes) -> tuple[int, int]:
    first, colon, last = part.partition(b":")
    low = _number(first)
    return low, _number(last) if colon else low


def _number(digits: bytes) -> int:
    if digits == b"*":
        return STAR
    return _check(int(digits))


def _check(number: int) -> int:
    if number > MAX_NUMBER:
        raise BadSyntax("number too large in a sequence set")
    return number


def encode(ranges: Iterable[tuple[int, int]]) -> bytes:
    """Ranges as the wire writes them: ((1, 3), (7, 7)) > 1:3,7."""
    return b",".join(b"%d" % low if low == high else b"%d:%d" % (low, high) for low, high in ranges)


def in_order(numbers: Sequence[int]) -> Iterator[bytes]:
    """Numbers in their order, rising neighbours joined: 4 5 6 2 > 4:6,2. In pieces, each some milliseconds of work, and
    without a line that runs for each number: one COPYUID tells tens of thousands."""
    begin = 0  # of the run whose end is not known yet
    for start in range(0, len(numbers), TURN):
        some = numbers[start : start + TURN + 1]
        ends = list(compress(count(start + 1), map(ne, some[1:], map(_NEXT, some))))
        if ends:
            yield _runs(numbers, [begin, *ends]) + b","
            begin = ends[-1]
    if numbers:
        yield _runs(numbers, [begin, len(numbers)])


def _runs(numbers: Sequence[int], bounds: Sequence[int]) -> bytes:
    """Each from one bound to the next."""
    if len(bounds) - 1 == bounds[-1] - bounds[0]:  # no two of them are neighbours
        return ",".join(map(str, numbers[bounds[0] : bounds[-1]])).encode("ascii")
    return encode((numbers[start], numbers[end - 1]) for start, end in pairwise(bounds))


def encode_in_order(numbers: Iterable[int]) -> bytes:
    """The same at once."""
    return b"".join(in_order(list(numbers)))


def encode_numbers(numbers: Iterable[int]) -> bytes:
    """Any numbers as one ascending set."""
    return encode(ranges_of(numbers))
