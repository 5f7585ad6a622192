"""What is logged: one JSON object a line, bounded, escaped, without secrets (h142, f169, promise P10)."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from core import log


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    before = structlog.get_config()
    yield io.StringIO()
    structlog.configure(**before)


def events(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_h142_hostile_values_stay_one_bounded_line(stream: io.StringIO) -> None:
    log.configure("info", stream=stream)
    log.get("test").info("greeted", helo='x\r\n{"event": "forged"}\x1b[31m', agent="a" * 1_000_000)
    (event,) = events(stream)
    assert event["event"] == "greeted"
    assert len(str(event["agent"])) <= log.MAX_FIELD + 1
    assert "\x1b" not in stream.getvalue()
    hostile = "".join(map(chr, (*range(32), *range(127, 160), 0x2028, 0x2029, 0x202E, 0xFEFF, 0xD800)))
    log.get("test").info("named", name=hostile, form="%s%n{0}", many=["x" * 900] * 999, table={hostile: "y" * 9000})
    line = stream.getvalue().split("\n")[1]
    assert line.isascii()
    assert line.isprintable()
    assert stream.getvalue().count("\n") == 2
    told = json.loads(line)
    assert (told["name"], told["form"]) == (hostile, "%s%n{0}")
    assert told["many"] == ["x" * 900, "…"]
    assert len(told["table"]) == log.MAX_FIELD + 1


def test_h142_what_libraries_say_is_one_event_too(stream: io.StringIO) -> None:
    log.configure("info", stream=stream)
    log.configure("info", stream=stream)  # again, at a reload: told once
    logging.getLogger("somebody").warning('got %r\r\n{"event": "forged"}', "x\x1b[31m")
    logging.getLogger("somebody").info("noise")
    unfit = logging.LogRecord("somebody", logging.WARNING, "", 1, "bad %d", ("words",), None)
    log._Libraries().handle(unfit)
    try:
        raise ValueError("a\nb")
    except ValueError:
        logging.getLogger("asyncio").exception("Task exception was never retrieved")
    told = events(stream)
    assert [(item["event"], item["level"], item["library"]) for item in told] == [
        ("library", "warning", "somebody"), ("library", "warning", "somebody"), ("library", "error", "asyncio"),
    ]  # fmt: skip
    assert told[1]["text"] == "bad %d"
    assert "Traceback" in str(told[2]["exception"])
    assert stream.getvalue().count("\n") == 3


def test_a_secret_prints_as_stars(stream: io.StringIO) -> None:
    log.configure("info", stream=stream)
    log.get("test").info("login", password=log.Secret("hunter2"))
    assert "hunter2" not in stream.getvalue() + repr(log.Secret("hunter2")) + f"{log.Secret('hunter2')}"


def test_a_line_is_what_json_dumps_says_in_the_order_it_was_said(stream: io.StringIO) -> None:
    log.configure("info", stream=stream)
    fields = {"text": 'é\u2028\ud800"', "many": [1, 2.5, None, True], "nan": float("nan"), "table": {"a": ("b",)}}
    log.get("test").info("said", **fields, other=log.Secret("x"))
    line = stream.getvalue()
    level = line.rindex(', "level"')
    assert line[:level] + "}" == json.dumps(
        {"source": "test", **fields, "other": log.Secret("x"), "event": "said"}, default=str
    )
    assert list(json.loads(line))[-2:] == ["level", "timestamp"]


def test_what_is_below_the_level_is_not_said_and_an_exception_is_an_error(stream: io.StringIO) -> None:
    log.configure("error", stream=stream)
    logger = log.get("test")
    try:
        raise ValueError("a\nb")
    except ValueError:
        logger.debug("one")
        logger.info("two")
        logger.warning("three")
        logger.exception("four", told=1)
    logger.error("five")
    first, second = events(stream)
    assert (first["event"], first["level"], first["told"]) == ("four", "error", 1)
    assert "ValueError: a\nb" in str(first["exception"])
    assert "exc_info" not in first
    assert (second["event"], "exception" in second) == ("five", False)


def test_f169_a_closed_stream_stops_nothing(stream: io.StringIO) -> None:
    log.configure("info", stream=stream)
    stream.close()
    log.get("test").info("still-alive")


def test_f151_a_figure_that_cannot_be_counted_stops_nothing(stream: io.StringIO) -> None:

    def failing(_: object) -> None:
        raise OSError(30, "Read-only file system", "/srv/mail/run/metrics/counter_1.db")

    log.configure("info", stream=stream, observer=failing)
    log.get("test").info("still-alive")
    assert [event["event"] for event in events(stream)] == ["still-alive"]


def test_the_context_is_on_every_event_inside(stream: io.StringIO) -> None:
    log.configure("info", stream=stream)
    with log.context(conn="c1"):
        log.get("test").info("inside")
    log.get("test").info("outside")
    inside, outside = events(stream)
    assert inside["conn"] == "c1"
    assert "conn" not in outside


def test_inside_silence_only_warnings_are_told_and_counted(stream: io.StringIO) -> None:
    seen = list[str]()
    log.configure("info", stream=stream, observer=lambda event: seen.append(str(event["event"])))
    with log.silence():
        log.get("test").info("unheard")
        log.get("test").warning("heard")
    log.get("test").info("after")
    assert [event["event"] for event in events(stream)] == seen == ["heard", "after"]
    assert "_silent" not in stream.getvalue()
