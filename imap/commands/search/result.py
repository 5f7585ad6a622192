"""What a search or sort found, ready for the wire: SEARCH and SORT of IMAP4rev1, ESEARCH (RFC 9051 7.3.4, RFC 4731)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imap.commands.search.returns import Returns, Want
from imap.wire import sequence

TOGETHER = 8000  # numbers made and written at once


@dataclass(frozen=True, slots=True)
class Result:
    """`numbers` in the order of the result: ascending for SEARCH, as sorted for SORT; UIDs for the UID forms, message
    numbers else. `mod_seq`: the highest among the messages told, when the client searched by MODSEQ and found any (RFC
    7162 3.1.5)."""

    numbers: tuple[int, ...]
    by_uid: bool
    mod_seq: int | None = None
    scores: tuple[int, ...] = ()  # beside `numbers`, when a FUZZY key gave any (RFC 6203 4)


def plain(result: Result, kind: str) -> Iterator[bytes]:
    """`kind` SEARCH (RFC 3501 7.2.5) or SORT (RFC 5256 4), piece by piece; sent also when nothing matched, so that the
    client knows."""
    numbers = result.numbers
    yield f"* {kind}".encode("ascii")
    for start in range(0, len(numbers), TOGETHER):
        yield "".join([f" {number}" for number in numbers[start : start + TOGETHER]]).encode("ascii")
    yield b"\r\n" if result.mod_seq is None else b" (MODSEQ %d)\r\n" % result.mod_seq


def extended(result: Result, returns: Returns, correlator: bytes) -> bytes:
    """ESEARCH: what was asked for, and nothing of a result that is empty but its COUNT (RFC 4731 3.1). For a sorted
    result MIN and MAX are its ends and ALL keeps its order (RFC 5267 3)."""
    numbers = result.numbers
    words = [b"* ESEARCH " + correlator]
    if result.by_uid:
        words.append(b"UID")
    if numbers and Want.MIN in returns.wants:
        words.append(b"MIN %d" % numbers[0])
    if numbers and Want.MAX in returns.wants:
        words.append(b"MAX %d" % numbers[-1])
    if numbers and Want.ALL in returns.wants:
        words.append(b"ALL " + sequence.encode_in_order(numbers))
    if Want.COUNT in returns.wants:
        words.append(b"COUNT %d" % len(numbers))
    if returns.window:
        inside = returns.window.cut(numbers)
        words.append(b"PARTIAL (%b %b)" % (returns.window.text, sequence.encode_in_order(inside) or b"NIL"))
    if returns.relevancy:
        told = returns.window.cut(result.scores) if returns.window else result.scores
        words.append(b"RELEVANCY (%b)" % b" ".join(b"%d" % score for score in told))
    if result.mod_seq is not None:
        words.append(b"MODSEQ %d" % result.mod_seq)
    return b" ".join(words) + b"\r\n"


def told(numbers: tuple[int, ...], returns: Returns | None) -> tuple[int, ...]:
    """The part of a result that the answer is about: what SAVE keeps (RFC 5182 2.4) and whose mod-sequence is told
    (RFC 4731 3.2). COUNT and ALL are about everything, MIN, MAX and PARTIAL about what they name."""
    if returns is None or returns.wants & (Want.ALL | Want.COUNT) or not numbers:
        return numbers
    if not returns.wants & (Want.MIN | Want.MAX) and not returns.window:
        return numbers
    kept = set(returns.window.cut(numbers) if returns.window else ())
    if Want.MIN in returns.wants:
        kept.add(numbers[0])
    if Want.MAX in returns.wants:
        kept.add(numbers[-1])
    return tuple(number for number in numbers if number in kept)
