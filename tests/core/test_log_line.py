"""A line is what the JSON encoder makes of the event, whichever way it is made, and is written whole."""

from __future__ import annotations

import enum
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from core import log


class Named(enum.StrEnum):
    IT = "it"


class Numbered(enum.IntEnum):
    ONE = 1


VALUES: tuple[object, ...] = (
    "", "plain", 'a"b', "a\\b", "a\nb", "\x00", "\x7f", "é", "\u2028", "\ud800", "~ !#[]'%s{}", "w" * 900, "w" * 2000,
    0, -7, 2**70, 1.5, float("nan"), True, False, None, ["a"], ["a", 'b"'], ("x", 1), [], {"k": "é"}, ["w" * 500] * 5,
    Named.IT, Numbered.ONE, log.Secret("x"), b"raw",
)  # fmt: skip


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("value", VALUES, ids=ascii)
def test_every_value_is_told_as_the_encoder_tells_it(value: object) -> None:
    stream = io.StringIO()
    log.configure("info", stream=stream)
    logger = log.get("test")
    with log.context(worker="w", told=value):
        for _ in range(2):
            logger.info("said", queue_id="q", value=value, size=3)
            logger.info("said", queue_id="q", value="another", size=4)
            logger.info("said")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 6
    told: list[dict[str, object]] = [
        {"queue_id": "q", "value": value, "size": 3}, {"queue_id": "q", "value": "another", "size": 4}, {},
    ] * 2  # fmt: skip
    for line, fields in zip(lines, told, strict=True):
        event = {"source": "test", **fields, "event": "said", "worker": "w", "told": value, "level": "info"}
        whole = json.dumps({**event, "timestamp": json.loads(line)["timestamp"]}, default=str)
        if len(whole) <= log.MAX_FIELD:
            assert line == whole
        else:
            assert list(json.loads(line)) == [*event, "timestamp"]


def test_names_that_are_said_twice_or_mean_something_are_told_once() -> None:
    stream = io.StringIO()
    log.configure("info", stream=stream)
    logger = log.get("test")
    with log.context(peer="outer", worker="w"):
        logger.info("said", peer="inner", level="mine", timestamp="mine", source="mine")
        logger.info("said", peer="inner")
        logger.info("said", **{'odd"name': 1, "_silent": False})
    first, second, third = map(json.loads, stream.getvalue().splitlines())
    assert list(first) == ["source", "peer", "level", "timestamp", "event", "worker"]
    assert (first["source"], first["peer"], first["level"]) == ("mine", "inner", "info")
    assert first["timestamp"] != "mine"
    assert list(second) == ["source", "peer", "event", "worker", "level", "timestamp"]
    assert second["peer"] == "inner"
    assert list(third) == ["source", 'odd"name', "event", "peer", "worker", "level", "timestamp"]


def test_whoever_sees_the_events_in_between_sees_those_of_loggers_in_use_and_of_new_ones() -> None:
    stream = io.StringIO()
    log.configure("info", stream=stream)
    old, new = log.get("old"), log.get("new")
    old.info("before")
    with capture_logs() as seen:
        old.info("said", number=1)
        new.info("said", number=2)
    old.info("after")
    new.info("after")
    assert [(event["source"], event["number"]) for event in seen] == [("old", 1), ("new", 2)]
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(event["source"], event["event"]) for event in told] == [
        ("old", "before"), ("old", "after"), ("new", "after"),
    ]  # fmt: skip


def test_the_observer_sees_name_and_fields_once_whichever_way_the_line_is_made() -> None:
    seen = list[tuple[object, object]]()
    log.configure("info", stream=io.StringIO(), observer=lambda event: seen.append((event["event"], event["reason"])))
    log.get("test").info("plain", reason="a")
    log.get("test").info("escaped", reason="é")
    log.get("test").info("long", reason="a" * 2000)
    assert seen == [("plain", "a"), ("escaped", "é"), ("long", "a" * 2000)]


class Narrow(io.FileIO):
    """Takes only so much, once, as a disk that becomes full does."""

    room = 40

    def write(self, data: bytes) -> int:  # type: ignore[override]  # is told octets only
        if self.room == 0:
            self.room = 1 << 20
            raise OSError(28, "No space left on device")
        taken = min(self.room, len(data))
        self.room -= taken
        return os.write(self.fileno(), bytes(data)[:taken])


def test_f169_a_disk_that_takes_part_of_a_line_gets_the_rest_first(tmp_path: Path) -> None:
    raw: io.RawIOBase = Narrow(str(tmp_path / "log"), "w")
    with io.TextIOWrapper(io.BufferedWriter(raw), line_buffering=True) as stream:
        log.configure("info", stream=stream)
        for number in range(4):
            log.get("test").info("said", number=number)
    told = [json.loads(line)["number"] for line in (tmp_path / "log").read_text().splitlines()]
    assert told == [0, 1, 2, 3]
