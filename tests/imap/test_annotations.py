"""When `imap.annotations.Watch` looks again where the directory does not tell: with each beat of its asker's timer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any, cast

from core.clock import ManualClock
from imap.annotations import EVERY, SERVER, Watch
from imap.session import Session
from tests.fakes.imap_world import World


class Writer:
    def __init__(self) -> None:
        self.told: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.told.append(data)


class Annotations:
    """Of the server; each reading finds another value and takes `seconds`."""

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds
        self.readings = 0

    async def read(self, _me: object, _owner: object, _ids: Collection[str]) -> Mapping[str, Mapping[str, bytes]]:
        self._clock.advance(self._seconds)
        self.readings += 1
        return {SERVER: {"/private/comment": b"%d" % self.readings}}


async def _folders() -> list[Any]:
    return []


def _session(clock: ManualClock, annotations: Annotations, changes: list[int]) -> tuple[Session, Writer]:
    directory = SimpleNamespace(changes=lambda: changes[-1], annotations=annotations)
    writer = Writer()
    session = SimpleNamespace(
        services=SimpleNamespace(clock=clock, directory=directory),
        store=SimpleNamespace(folders=_folders, namespaces=None),
        login=SimpleNamespace(account=World().alice),
        writer=writer,
        utf8=False,
    )
    return cast(Session, session), writer


async def test_each_beat_of_a_timer_of_the_same_period_finds_what_changed() -> None:
    clock = ManualClock()
    annotations = Annotations(clock, seconds=0.05)  # the timer's beats do not wait for the look
    session, writer = _session(clock, annotations, [0])
    watch = Watch(lambda folder, own: False, server=True)
    await watch.begin(session)
    begun = clock.monotonic()
    for beat in range(1, 5):
        clock.advance(begun + beat * EVERY - clock.monotonic())
        await watch.tell(session)
        assert len(writer.told) == beat


async def test_between_two_beats_nothing_is_read_but_what_the_directory_tells_of() -> None:
    clock, changes = ManualClock(), [0]
    annotations = Annotations(clock, seconds=0.0)
    session, writer = _session(clock, annotations, changes)
    watch = Watch(lambda folder, own: False, server=True)
    await watch.begin(session)
    clock.advance(EVERY - 0.1)
    await watch.tell(session)
    assert (annotations.readings, writer.told) == (1, [])
    changes.append(1)
    await watch.tell(session)
    await watch.tell(session)
    assert (annotations.readings, len(writer.told)) == (2, 1)
    clock.advance(3 * EVERY)
    await watch.tell(session)
    await watch.tell(session)
    assert annotations.readings == 3
