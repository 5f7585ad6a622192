"""Input made worse in a few places, the same each time for the same dice."""

from __future__ import annotations

import random
from collections.abc import Sequence


def mutated(dice: random.Random, data: bytes, tokens: Sequence[bytes]) -> bytes:
    """Octets taken out, put in twice or fifty times, or replaced by a token of the grammar."""
    for _ in range(dice.randint(1, 8)):
        at = dice.randrange(len(data) + 1)
        cut = at + dice.choice([0, 0, 1, 2, 20, 40])
        piece = dice.choice([dice.choice(tokens), data[at : at + 40], dice.randbytes(2)])
        data = data[:at] + piece * dice.choice([1, 1, 1, 50]) + data[cut:]
    return data
