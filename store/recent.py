"""The last orders and threads that were asked for: mail programs ask again for the same ones, page by page.

What a message sorts by never changes, so an answer holds as long as the same messages are there. Bounded for the whole
process; on the event loop alone.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

MOST = 1_000_000  # messages of all answers kept: some 100 MiB in the worst case, threads without end

Question = tuple[Hashable, ...]
Stamp = tuple[object, ...]  # equal: the folder holds the same messages


@dataclass(frozen=True, slots=True)
class _Kept:
    uids: array[int]
    stamp: Stamp
    answer: Any  # what the question has as its answer


class Recent:
    """`most`: messages of all answers together; past it the answer that was used longest ago goes."""

    def __init__(self, most: int = MOST) -> None:
        self._most, self._held = most, 0
        self._answers: OrderedDict[Question, _Kept] = OrderedDict()

    def find(self, question: Question, uids: Sequence[int], stamp: Stamp) -> Any:
        """The answer to a question about these UIDs; None when it is not known (any more)."""
        kept = self._answers.get(question)
        if kept is None or kept.stamp != stamp or kept.uids != array("I", uids):
            return None
        self._answers.move_to_end(question)
        return kept.answer

    def keep(self, question: Question, uids: Sequence[int], stamp: Stamp, answer: object) -> None:
        """`stamp` as it was when the answer was found."""
        before = self._answers.pop(question, None)
        self._held += len(uids) - (len(before.uids) if before else 0)
        self._answers[question] = _Kept(array("I", uids), stamp, answer)
        while self._held > self._most:
            self._held -= len(self._answers.popitem(last=False)[1].uids)
