"""Values of `core.frozen` behave as the standard library's frozen ones do, but for the check at run time."""

from __future__ import annotations

import dataclasses

import pytest

from core.frozen import dataclass, once


@dataclass(frozen=True, slots=True)
class _Point:
    x: int
    y: int = 2


@dataclass
class _Plain:
    x: int


def test_a_frozen_value_is_compared_and_hashed_by_its_fields() -> None:
    assert _Point(1) == _Point(1, 2)
    assert len({_Point(1), _Point(1, 2), _Point(2)}) == 2


def test_a_frozen_value_has_slots_and_can_be_replaced() -> None:
    assert not hasattr(_Point(1), "__dict__")
    assert dataclasses.replace(_Point(1), y=3) == _Point(1, 3)


def test_a_plain_one_has_no_hash() -> None:
    with pytest.raises(TypeError):
        hash(_Plain(1))


def test_a_frozen_value_is_made_without_setting_each_field_through_object() -> None:
    """Which is what makes a frozen one of the standard library five times as slow."""
    assert "__setattr__" not in vars(_Point)


class _Counted:
    def __init__(self) -> None:
        self.times = 0

    @once
    def made(self) -> int:
        """Kept."""
        self.times += 1
        return self.times


def test_what_is_made_once_is_made_for_each_when_it_is_asked_for() -> None:
    one, other = _Counted(), _Counted()
    assert (one.times, one.made, one.made, other.times, other.made) == (0, 1, 1, 0, 1)
