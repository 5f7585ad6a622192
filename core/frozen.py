"""`dataclass` for the values that every message makes dozens of. The type checker sees the standard library's, and
refuses each assignment to a frozen one; when the program runs, a frozen one is an ordinary one that can be hashed.

Measured: a frozen dataclass is made five times as slowly, because each of its fields is set through
`object.__setattr__`, and that was a twentieth of a delivery's CPU. Modules whose values are rarely made keep the
standard library's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import dataclasses

    def dataclass(made=None, /, *, frozen=False, **options):
        return dataclasses.dataclass(made, unsafe_hash=frozen, **options)
