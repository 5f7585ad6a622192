"""Lists in pages: sorted by a key that stays, asked on with the last one of the page before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, TypeVar

from fastapi import Query

T = TypeVar("T")

MAX_PAGE = 1000

After = Annotated[str, Query(max_length=700, description="The key of the last one of the page before.")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Ask again with `after` while a page is full.")]


def page(items: Iterable[T], key: Callable[[T], str], after: str, limit: int) -> list[T]:
    """What comes behind `after`, which need not exist any more."""
    return sorted((item for item in items if key(item) > after), key=key)[:limit]
