"""`tag=value; tag=value`: the list that DKIM signatures, DKIM keys and DMARC records are written in (RFC 6376 3.2).

Strict: a duplicate tag or an octet outside the grammar makes the whole list worthless (security.md row 82).
"""

from __future__ import annotations

import re

# tag-name = ALPHA *ALNUMPUNC
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# VALCHAR = %x21-3A / %x3C-7E; RFC 8616 3 adds UTF8-non-ascii. Blanks inside a value are part of it.
_VALUE = re.compile(r"(?:[!-:<-~\u0080-\U0010ffff](?:[ \t]*[!-:<-~\u0080-\U0010ffff])*)?")
_BLANK = " \t\r\n"
_FOLD = re.compile(r"\r\n(?=[ \t])")
MAX_TAGS = 100


class TagListError(ValueError):
    """The text is no tag list."""


def parse(data: bytes) -> dict[str, str]:
    """tag-list = tag-spec *( ";" tag-spec ) [ ";" ], in its order. Values keep blanks inside. Raises `TagListError`."""
    try:
        text = _FOLD.sub("", data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise TagListError("not UTF-8") from error
    specs = text.split(";")
    if not specs[-1].strip(_BLANK):
        specs.pop()
    if len(specs) > MAX_TAGS:
        raise TagListError("too many tags")
    tags: dict[str, str] = {}
    for spec in specs:
        name, equals, value = spec.partition("=")
        name, value = name.strip(_BLANK), value.strip(_BLANK)
        if not equals or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise TagListError("malformed tag")
        if name in tags:  # RFC 6376 3.2: tags with duplicate names MUST NOT occur
            raise TagListError("duplicate tag")
        tags[name] = value
    return tags


def without_blanks(value: str) -> str:
    """A base64 or list value with its folding white space gone (RFC 6376 3.2, 3.5)."""
    return re.sub(r"[ \t\r\n]+", "", value)
