"""LIST's wildcards (RFC 9051 6.3.9): "*" is anything, "%" anything within one level.

Matched in one pass whatever the pattern is: the states of a small automaton are the bits of one number, so no pattern
makes a name cost more than its length (security.md promise P7).
"""

from __future__ import annotations

import re

from store.types import DELIMITER, INBOX

_RUNS = re.compile(r"[*%]{2,}")
_WILDCARD = re.compile(r"[*%]")
_LENGTH = len(INBOX)
MAX_PATTERN = 2048  # characters; longer than any name


class Pattern:
    """`reference` is put before `pattern`: a plain prefix, as names are absolute here."""

    def __init__(self, reference: str, pattern: str) -> None:
        # Neighbouring wildcards mean one: "*" when it is among them.
        self.text = _RUNS.sub(lambda run: "*" if "*" in run[0] else "%", reference + pattern)
        self._possible = len(self.text) <= MAX_PATTERN
        self._literals: dict[str, int] = {}
        self._star = self._percent = 0
        for index, char in enumerate(self.text if self._possible else ""):
            if char == "*":
                self._star |= 1 << index
            elif char == "%":
                self._percent |= 1 << index
            else:
                self._literals[char] = self._literals.get(char, 0) | 1 << index
        self._accept = 1 << len(self.text)
        self._start = _WILDCARD.split(self.text, maxsplit=1)[0]
        self._start_in_inbox = self._start[:_LENGTH].upper() + self._start[_LENGTH:]
        self._rest = self.text[len(self._start) :]

    def matches(self, name: str) -> bool:
        """INBOX is matched without case (RFC 9051 5.1), also as the level above others."""
        if not self._possible:
            return False
        inbox = name.startswith(INBOX) and name[_LENGTH : _LENGTH + 1] in ("", DELIMITER)
        if not name.startswith(self._start_in_inbox if inbox else self._start):
            return False
        if len(self._rest) <= 1:  # what nearly all clients ask needs no automaton
            return self._ends(name[len(self._start) :])
        wild = self._star | self._percent
        states = self._skip(1, wild)
        for index, char in enumerate(name):
            stay = states & (self._star if char == DELIMITER else wild)
            same = self._literals.get(char, 0)
            if inbox and index < _LENGTH:
                same |= self._literals.get(char.lower(), 0)
            states = self._skip(stay | (states & same) << 1, wild)
            if not states:
                return False
        return bool(states & self._accept)

    def _ends(self, end: str) -> bool:
        """Behind the text before the only wildcard, which is the last character."""
        return self._rest == "*" or not end or (self._rest == "%" and DELIMITER not in end)

    @staticmethod
    def _skip(states: int, wild: int) -> int:
        """A wildcard may match nothing; two never stand together, so one step is enough."""
        return states | (states & wild) << 1
