"""That the directory changed is told to who listens, by whichever process, and many changes at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from core.sqlite import Watch
from directory import news
from directory.news import News
from directory.service import SqlDirectory
from tests.directory.helpers import commune


def deaf() -> News:
    return News(None, lambda: None)


async def test_a_change_of_another_process_rings(directory: SqlDirectory, elsewhere: SqlDirectory) -> None:
    rang = asyncio.Event()
    stop = elsewhere.listen(rang.set)
    before = elsewhere.changes()
    await commune(directory, "Brou", "brou.test")
    await asyncio.wait_for(rang.wait(), 5)
    assert elsewhere.changes() > before
    stop()


async def test_many_changes_ring_once_in_a_while(
    directory: SqlDirectory, elsewhere: SqlDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "LOOK", 0.001)
    monkeypatch.setattr(news, "REST", 0.2)
    rings: list[float] = []
    stop = elsewhere.listen(lambda: rings.append(asyncio.get_running_loop().time()))
    for number in range(5):
        await commune(directory, f"Brou {number}", f"brou{number}.test")
        await asyncio.sleep(0.01)
    while len(rings) < 2:  # the last ones are not lost
        await asyncio.sleep(0.01)
    assert rings[1] - rings[0] >= news.REST * 0.9
    stop()


async def test_who_stopped_is_told_nothing_and_a_failing_one_is_not_the_others_affair(
    directory: SqlDirectory, elsewhere: SqlDirectory
) -> None:
    rang = asyncio.Event()

    def fail() -> None:
        raise ValueError("a bug")

    elsewhere.listen(rang.clear)()
    ends = [elsewhere.listen(fail), elsewhere.listen(rang.set)]
    await commune(directory, "Brou", "brou.test")
    await asyncio.wait_for(rang.wait(), 5)
    for end in ends:
        end()


async def test_where_the_database_does_not_tell_nobody_is_rung() -> None:
    quiet = deaf()
    assert not quiet.heed()
    quiet.listen(lambda: None)()
    assert quiet.changes == 0
    quiet.close()


async def test_what_was_kept_is_forgotten_before_anybody_is_told(tmp_path: Path) -> None:
    """A file that is not there cannot be known: each look is a change."""
    order: list[str] = []
    told = asyncio.Event()
    heard = News(Watch(tmp_path / "none.db"), lambda: order.append("forgotten"))

    def tell() -> None:
        order.append("told")
        told.set()

    heard.listen(tell)
    order.clear()
    await asyncio.wait_for(told.wait(), 5)
    assert order == ["forgotten", "told"]
    heard.close()
