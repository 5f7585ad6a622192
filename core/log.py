"""Structured logging: one JSON object a line on standard output, one event a fact (structlog is touched here only).

Values come from hostile input, so every string is escaped by the JSON encoder and cut at 1 KiB (security.md row 142).
Secrets travel as `Secret`, which prints as stars everywhere.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import c_make_encoder, encode_basestring_ascii  # type: ignore[attr-defined]  # see _ENCODER
from types import MappingProxyType
from typing import Any, Protocol

import structlog

MAX_FIELD = 1024
_CONTEXT: ContextVar[Mapping[str, object]] = ContextVar("beffroi_log", default=MappingProxyType({}))
_SILENT = "_silent"  # in the context: see `silence`
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
# json.JSONEncoder makes itself one of these for each line, which costs a fifth of the line. Default, escapes and
# separators are those of json.dumps(line, default=str); circles are not looked for.
_ENCODER = c_make_encoder(None, str, encode_basestring_ascii, None, ": ", ", ", False, False, True)
_UNCOUNTED = contextlib.suppress(Exception)  # a figure that cannot be counted stops neither the line nor the mail


class Secret:
    """A password or token on its way: shows nothing when printed, logged or formatted; `reveal()` gives the value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__


class Log(Protocol):
    """What the house may say. `event` is a stable hyphenated name, fields are facts."""

    def debug(self, event: str, **fields: object) -> Any: ...

    def info(self, event: str, **fields: object) -> Any: ...

    def warning(self, event: str, **fields: object) -> Any: ...

    def error(self, event: str, **fields: object) -> Any: ...

    def exception(self, event: str, **fields: object) -> Any: ...


def get(name: str) -> Log:
    """The logger of one module; `name` becomes the field `source`."""
    logger: Log = structlog.get_logger(source=name)
    return logger


class _Fields:
    """No generator, nor a token: thousands of connections that idle are inside of one each."""

    __slots__ = ("_before", "_inside")

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._before = _CONTEXT.get()
        self._inside = {**self._before, **fields}

    def __enter__(self) -> None:
        _CONTEXT.set(self._inside)

    def __exit__(self, *_: object) -> None:
        _CONTEXT.set(self._before)


def context(**fields: object) -> contextlib.AbstractContextManager[None]:
    """Fields that every event inside carries, in this task and the tasks it starts (the connection id, mostly)."""
    return _Fields(fields)


def silence() -> contextlib.AbstractContextManager[None]:
    """What is said inside, in this task and the tasks it starts, concerns nobody unless it is a warning or worse."""
    return context(**{_SILENT: True})


Observer = Callable[[MutableMapping[str, Any]], None]


def configure(level: str = "info", *, stream: Any = None, observer: Observer | None = None) -> None:
    """Once per process, before anything is logged. A closed or full stream never stops the mail (fault 169).
    `observer` sees each event that is logged (the metrics do)."""
    structlog.configure(
        processors=[_line(observer)],
        wrapper_class=_bound(_LEVELS[level]),
        logger_factory=lambda *_: _Stream(stream or sys.stdout),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [*(handler for handler in root.handlers if not isinstance(handler, _Libraries)), _Libraries()]
    # aiosmtpd's is noise and may carry arguments of commands.
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    logging.getLogger("mail.debug").setLevel(logging.CRITICAL)


def _bound(least: int) -> type[structlog.BoundLoggerBase]:
    """structlog's logger with methods of its own, as its wrapper_class may have: structlog's hand the fields through
    four calls, which copy them each time. What is below `least` ends where it is called."""
    methods = {name: _method(name) if level >= least else _unheard for name, level in _LEVELS.items()}
    return type("_Bound", (structlog.BoundLoggerBase,), {**methods, "exception": _exception})


def _method(name: str) -> Callable[..., None]:
    def method(self: Any, event: str, **fields: object) -> None:
        told: Any = {**self._context, **fields, "event": event}
        try:
            for processor in self._processors:
                told = processor(self._logger, name, told)
        except structlog.DropEvent:
            return
        self._logger.msg(told)

    return method


def _exception(self: Log, event: str, **fields: object) -> None:
    self.error(event, **{"exc_info": True, **fields})


def _unheard(_self: object, _event: str, **_fields: object) -> None:
    """An event of a level that nobody wants."""


def _line(observer: Observer | None) -> Callable[..., str]:
    """An event as its line, in one step instead of structlog's five: several are logged for each message, and the steps
    were measured to cost it more than the lines."""

    def processor(logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        if "exc_info" in event:
            event = structlog.processors.format_exc_info(logger, method, event)
        for key, value in _CONTEXT.get().items():
            event.setdefault(key, value)
        if event.pop(_SILENT, False) and method in ("debug", "info"):
            raise structlog.DropEvent
        event["level"] = method
        event["timestamp"] = _moment(time.time_ns())
        if observer is not None:
            with _UNCOUNTED:
                observer(event)
        line = _json(event)
        return line if len(line) <= MAX_FIELD else _shortened(event)

    return processor


def _moment(nanoseconds: int) -> str:
    """RFC 3339, to the microsecond."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{_second(seconds)}.{rest // 1000:06}Z"


@lru_cache(maxsize=1)  # under load many lines are of one second
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _json(value: object) -> str:
    return "".join(_ENCODER(value, 0))


def _shortened(event: Mapping[str, Any]) -> str:
    return _json({key: _cut(key, value) for key, value in event.items()})


def _cut(key: str, value: Any) -> Any:
    """Looked at in long lines only: no field is longer than its line. Of a list as much as fits stays one."""
    if isinstance(value, int | float | None) or key == "exception":
        return value
    if isinstance(value, str):
        return value[:MAX_FIELD] + "…" if len(value) > MAX_FIELD else value
    text = _json(value)
    if len(text) <= MAX_FIELD:
        return value
    if not isinstance(value, list | tuple):
        return text[:MAX_FIELD] + "…"
    kept: list[Any] = []
    room = MAX_FIELD
    for item in value:
        room -= len(_json(item)) + 2
        if room < 0:
            break
        kept.append(item)
    return [*kept, "…"]


class _Libraries(logging.Handler):
    """What libraries say through the standard module is an event, too: a bare line, or a traceback of many, is nothing
    that whoever reads this log can read (row 142)."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):  # arguments that do not fit the words
            text = str(record.msg)
        tell = get(__name__).error if record.levelno >= logging.ERROR else get(__name__).warning
        tell("library", library=record.name, text=text, **({"exc_info": record.exc_info} if record.exc_info else {}))


class _Stream:
    """A line writer that swallows a broken pipe: logging is never a reason to lose mail."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return
