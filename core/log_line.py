"""How an event becomes its line: one JSON object, to the octet what json.dumps(event, default=str) makes of it.

Several lines are said of each message. What lies between the values of one (names, quotes, commas) is the same whenever
it is said, so it is made once; texts in which nothing is to be escaped are put there as they are, and all of them are
looked through at once. Of a line that takes longer than an ordinary one, the encoder makes the whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import lru_cache
from json.encoder import c_make_encoder, encode_basestring_ascii  # type: ignore[attr-defined]  # see _ENCODER
from operator import itemgetter
from typing import Any, NamedTuple

MAX_FIELD = 1024
SILENT = "_silent"  # in the context of an event: see `core.log.silence`
# json.JSONEncoder makes itself one of these for each line, which costs a fifth of the line. Default, escapes and
# separators are those of json.dumps(line, default=str); circles are not looked for.
_ENCODER = c_make_encoder(None, str, encode_basestring_ascii, None, ": ", ", ", False, False, True)
# Octets that the encoder escapes become others, all the rest stay what they are.
_PLAIN = bytes(octet if 32 <= octet < 127 and octet not in b'"\\' else octet ^ 1 for octet in range(256))
_FORMS = 1024  # how many events are known with their names and types; a few hundred are in the code
_SECOND = 1_000_000_000
_EPOCH = date(1970, 1, 1).toordinal()


class _Form(NamedTuple):
    parts: list[str]  # what is said between the values, each of which has the place behind; the last is the time
    texts: Callable[[tuple[Any, ...]], Iterable[str]]  # the values that are put there as they are
    others: tuple[tuple[int, Callable[[Any], str]], ...]  # where the others go, and how they are written


def ordinary(level: str, source: str, event: str, fields: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    """Empty when it takes `encoded`: for a text to be escaped, a long line, a name said twice or with a meaning."""
    values = (*fields.values(), *context.values())
    form = _form(level, source, event, len(fields), (*fields, *context), (*map(type, values),))
    if form is None:
        return ""
    texts = "".join(form.texts(values))
    if not texts.isascii() or (octets := texts.encode()).translate(_PLAIN) is not octets:
        return ""
    parts = form.parts.copy()
    parts[1:-2:2] = values
    parts[-2] = moment()
    for place, written in form.others:
        parts[place] = written(parts[place])
    line = "".join(parts)
    return line if len(line) <= MAX_FIELD else ""


@lru_cache(maxsize=_FORMS)
def _form(
    level: str, source: str, event: str, own: int, names: tuple[str, ...], types: tuple[type, ...]
) -> _Form | None:
    """`own` of the names are the event's, those of its context are told behind it."""
    fields, context = dict.fromkeys(names[:own], "\0"), dict.fromkeys(names[own:], "\0")
    told = {"source": source, **fields, "event": event, **context, "level": level, "timestamp": "\0"}
    if len(told) != len(names) + 4 or str not in types or "exc_info" in told or SILENT in told:
        return None
    between = _json(told).split(_json("\0"))
    for place, kind in enumerate((*types, str)):
        if kind is str:
            between[place] += '"'
            between[place + 1] = '"' + between[place + 1]
    parts = ["", *(part for known in between for part in ("", known))][2:]
    others = ((2 * place + 1, str if kind is int else _json) for place, kind in enumerate(types) if kind is not str)
    return _Form(parts, itemgetter(*(place for place, kind in enumerate(types) if kind is str)), tuple(others))


def encoded(event: Mapping[str, Any]) -> str:
    line = _json(event)
    return line if len(line) <= MAX_FIELD else _json({key: _cut(key, value) for key, value in event.items()})


def moment() -> str:
    """RFC 3339, to the microsecond."""
    now = time.time_ns()
    return _second(now // _SECOND) + str(1_000_000 + now % _SECOND // 1000)[1:] + "Z"


@lru_cache(maxsize=1)  # under load many lines are of one second
def _second(seconds: int) -> str:
    day, rest = divmod(seconds, 86400)
    return f"{_day(day)}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}."


@lru_cache(maxsize=1)
def _day(days: int) -> str:
    return date.fromordinal(_EPOCH + days).isoformat()


def _json(value: object) -> str:
    return "".join(_ENCODER(value, 0))


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
