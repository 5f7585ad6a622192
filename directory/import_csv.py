"""The file of `mailbox import`: address, password or argon2id hash, quota, display name.

Takes what spreadsheets write: "," or ";", a byte-order mark, UTF-8 or Windows-1252, a header line or none. Refuses to
judge the values; `directory.importing` does, line by line.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from core.log import Secret
from directory.types import ImportRow

MAX_FILE = 32 * 1024 * 1024  # octets
MAX_ROWS = 100_000
_COLUMN_NAMES = ("adress", "address", "mail", "courriel", "boîte", "boite", "compte", "account", "user", "login")
_HASH_HEAD = re.compile(r"(?:\{ARGON2ID\})?\$argon2id\$v=\d+\$m=\d+")


class ImportFileError(ValueError):
    """The file as a whole cannot be read; the message names the line and is safe to show."""


def read_rows(path: Path) -> list[ImportRow]:
    """Every line of the file that is not empty. Raises `ImportFileError`, `OSError`."""
    with path.open("rb") as file:
        data = file.read(MAX_FILE + 1)
    return list(parse(data))


def parse(data: bytes) -> Iterator[ImportRow]:
    """Raises `ImportFileError` at the first line that is no CSV."""
    text = _decoded(data)
    separator = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    count, first = 0, True
    try:
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            header, first = first and _is_header(fields), False
            if header:
                continue
            count += 1
            if count > MAX_ROWS:
                raise ImportFileError(f"line {reader.line_num}: more than {MAX_ROWS} rows; split the file")
            yield _row(reader.line_num, _whole_hash(fields), separator)
    except csv.Error as error:
        raise ImportFileError(f"line {reader.line_num}: {error}") from error


def _decoded(data: bytes) -> str:
    if len(data) > MAX_FILE:
        raise ImportFileError("the file is larger than 32 MiB; split it")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data:
        raise ImportFileError("line 1: not a text file in UTF-8; save it as CSV (UTF-8)")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")  # what Excel writes in France unless told otherwise


def _separator(text: str) -> str:
    """The one after the address of the first line."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    places = {mark: first.find(mark) for mark in (",", ";") if mark in first}
    return min(places, key=places.__getitem__) if places else ","


def _is_header(fields: list[str]) -> bool:
    """A first line that names its columns. Anything else without "@" is a row, to be refused with its line number."""
    first = fields[0].casefold()
    return "@" not in first and any(word in first for word in _COLUMN_NAMES)


def _whole_hash(fields: list[str]) -> list[str]:
    """An argon2id hash has commas of its own: put together again what an unquoted one was split into."""
    if len(fields) >= 4 and _HASH_HEAD.fullmatch(fields[1].strip()) and fields[2].startswith("t="):
        return [fields[0], ",".join(fields[1:4]), *fields[4:]]
    return fields


def _row(line: int, fields: list[str], separator: str) -> ImportRow:
    """Missing fields are empty; a display name with the separator in it keeps it."""
    padded = [*fields, "", "", ""]
    name = separator.join(fields[3:]).strip().rstrip(separator)
    return ImportRow(line, padded[0].strip(), Secret(padded[1]), padded[2].strip(), name)
