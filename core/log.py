"""Structured logging: one JSON object a line on standard output, one event a fact (structlog is touched here only).

Values come from hostile input, so every string is escaped by the JSON encoder and cut at 1 KiB (security.md row 142).
Secrets travel as `Secret`, which prints as stars everywhere.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Protocol

import structlog

from core.log_line import MAX_FIELD as MAX_FIELD
from core.log_line import SILENT, encoded, moment, ordinary

_CONTEXT: ContextVar[Mapping[str, object]] = ContextVar("beffroi_log", default=MappingProxyType({}))
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


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
    logger: Any = _Logger(name)
    made: Log = logger
    return made


class _Logger:
    """structlog's, which is looked for whenever something is said until `configure` was called, and then no more."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __getattr__(self, name: str) -> Any:
        bound = structlog.get_logger(source=self._source).bind()
        method = getattr(bound, name)
        if isinstance(bound, _Bound):
            method = bound.kept(name, self._source)
            setattr(self, name, method)
        return method


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
    return context(**{SILENT: True})


Observer = Callable[[MutableMapping[str, Any]], None]
Step = Callable[[object, str, MutableMapping[str, Any]], str]


def configure(level: str = "info", *, stream: Any = None, observer: Observer | None = None) -> None:
    """Once per process, before anything is logged. A closed or full stream never stops the mail (fault 169).
    `observer` sees each event that is logged (the metrics do)."""
    line, lines = _line(observer), _Stream(stream or sys.stdout)
    structlog.configure(
        processors=[line],
        wrapper_class=_bound(_LEVELS[level], line, observer),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [*(handler for handler in root.handlers if not isinstance(handler, _Libraries)), _Libraries()]
    # aiosmtpd's is noise and may carry arguments of commands.
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    logging.getLogger("mail.debug").setLevel(logging.CRITICAL)


class _Bound(structlog.BoundLoggerBase):
    """structlog's logger with methods of its own, as its wrapper_class may have: structlog's hand the fields through
    four calls, which copy them each time."""

    error: Callable[..., None]
    kept: Callable[[str, str], Callable[..., None]]

    def exception(self, event: str, **fields: object) -> None:
        self.error(event, **{"exc_info": True, **fields})


def _bound(least: int, line: Step, observer: Observer | None) -> type[_Bound]:
    """What is below `least` ends where it is called."""
    heard = {name: _method(name) if level >= least else _unheard for name, level in _LEVELS.items()}

    def kept(self: Any, name: str, source: str) -> Callable[..., None]:
        """The method of a logger that is nothing but its source."""
        method: Callable[..., None] = getattr(self, name)
        return _saying(self, name, source, line, observer) if _LEVELS.get(name, 0) >= least else method

    return type("_Bound", (_Bound,), {**heard, "kept": kept})


def _saying(bound: Any, level: str, source: str, line: Step, observer: Observer | None) -> Callable[..., None]:
    """Says ordinary events at once, as long as their lines are ours to make (tests come between)."""
    steps, ours = bound._processors, [line]
    thoroughly, write = getattr(bound, level), bound._logger.msg

    def say(event: str, **fields: object) -> None:
        if steps == ours and (said := ordinary(level, source, event, fields, _CONTEXT.get())):
            fields["event"] = event
            _observed(observer, fields)
            write(said)
        else:
            thoroughly(event, **fields)

    return say


def _method(level: str) -> Callable[..., None]:
    def method(self: Any, event: str, **fields: object) -> None:
        told: Any = {**self._context, **fields, "event": event}
        try:
            for step in self._processors:
                told = step(self._logger, level, told)
        except structlog.DropEvent:
            return
        self._logger.msg(told)

    return method


def _unheard(_self: object, _event: str, **_fields: object) -> None:
    """An event of a level that nobody wants."""


def _line(observer: Observer | None) -> Step:
    """An event as its line, in one step instead of structlog's five."""

    def step(logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        if "exc_info" in event:
            event = structlog.processors.format_exc_info(logger, method, event)
        for key, value in _CONTEXT.get().items():
            event.setdefault(key, value)
        if event.pop(SILENT, False) and method in ("debug", "info"):
            raise structlog.DropEvent
        event["level"] = method
        event["timestamp"] = moment()
        _observed(observer, event)
        return encoded(event)

    return step


def _observed(observer: Observer | None, event: MutableMapping[str, Any]) -> None:
    if observer is not None:
        try:
            observer(event)
        except Exception:  # a figure that cannot be counted stops neither the line nor the mail
            return


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
        raw = getattr(getattr(stream, "buffer", None), "raw", None)
        self._file = raw if isinstance(raw, io.FileIO) else None

    def msg(self, line: str) -> None:
        """Nothing of ours waits in the stream's layers, so they are needed from the first trouble on only: what a full
        disk took a part of is theirs to go on with."""
        rest = f"{line}\n"
        if self._file is not None:
            try:
                if not (rest := rest[self._file.write(rest.encode()) or 0 :]):
                    return
            except (OSError, ValueError):  # the other way says so again
                pass
            self._file = None
        try:
            self._stream.write(rest)
            self._stream.flush()
        except (OSError, ValueError):
            return
