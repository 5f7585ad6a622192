"""In which language the server speaks to people (RFC 5255 3). Pure.

English is what everybody starts with, as i-default wants: ASCII, and what programs and logs know. The
words behind a code that only programs read (UIDNEXT, COPYUID and the like) stay English.
"""

from __future__ import annotations

from collections.abc import Iterable

from imap import french

DEFAULT = "i-default"
PREFERRED = "fr"  # what "default" asks for: what is preferred here (RFC 5255 3.2)
SPOKEN = (PREFERRED, "en", DEFAULT)
LOOKED_AT = 4  # subtags of a range: none that is spoken has more, and a line has room for thirty thousand


def chosen(ranges: Iterable[str]) -> str | None:
    """The first of these language ranges that is spoken, by lookup (RFC 4647 3.4): "fr-CA" finds "fr". None: none."""
    by_key = {language.lower(): language for language in SPOKEN} | {"default": PREFERRED, "*": PREFERRED}
    for wanted in ranges:
        subtags = wanted.lower().split("-", LOOKED_AT)[:LOOKED_AT]
        while subtags:
            if found := by_key.get("-".join(subtags)):
                return found
            subtags.pop()
            if subtags and len(subtags[-1]) == 1:  # RFC 4647 3.4: what a single character begins goes with it
                subtags.pop()
    return None


def said(language: str, text: str) -> str:
    return french.said(text) if language == "fr" else text
