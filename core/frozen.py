"""`dataclass` and `once` for the values that every message makes dozens of. The type checker sees the standard
library's, and refuses each assignment to a frozen one; when the program runs, a frozen one is an ordinary one that can
be hashed, and `once` is `cached_property` without its lock: who comes between makes the same again.

Measured: a frozen dataclass is made five times as slowly, because each of its fields is set through
`object.__setattr__`, and that was a twentieth of a delivery's CPU; the lock was two thirds of what a value took that is
made once. Modules whose values are rarely made keep the standard library's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from functools import cached_property

    once = cached_property
else:
    import dataclasses

    def dataclass(made=None, /, *, frozen=False, **options):
        return dataclasses.dataclass(made, unsafe_hash=frozen, **options)

    class once:
        def __init__(self, make):
            self._make = make

        def __set_name__(self, _owner, name):
            self._name = name

        def __get__(self, instance, _owner):
            made = instance.__dict__[self._name] = self._make(instance)
            return made
