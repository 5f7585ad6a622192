"""How texts are compared: one rule for order and equality, one for finding. Pure.

`casemap` is i;unicode-casemap (RFC 5051 2), which SORT and THREAD must use (RFC 5256 2, RFC 5255 4.5). `searchable` is
what SEARCH looks in: whatever is equal without case is equal in it, and so is what differs in accents only, because
people leave them out ("helene" finds "Hélène"). Both work character by character, so a part of a text becomes that part
of its form: a substring stays one.
"""

from __future__ import annotations

import re
import unicodedata

# Combining diacritical marks. Signs that make another letter (Hebrew points, Indic vowels) are not among them.
_MARKS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")
# What people type for what a word processor makes of it.
_AS_TYPED = str.maketrans({"œ": "oe", "æ": "ae", "’": "'", "‘": "'", "ʼ": "'", "ı": "i"})
_WHITE_SPACE = re.compile(r"\s+")


def casemap(text: str) -> str:
    """The form in which two texts have the order and the equality of i;unicode-casemap (compare code points)."""
    if text.isascii():
        return text.upper()
    titled = text.translate(_TITLES) if max(text) < _BEYOND else "".join(map(_title, text))
    return unicodedata.normalize("NFKD", titled)


def _title(char: str) -> str:
    """RFC 5051 2: the titlecase mapping of UnicodeData.txt, which is always one character."""
    mapped = char.title()
    return mapped if len(mapped) == 1 else char


_BEYOND = "\u0530"  # behind Latin, Greek and Cyrillic letters, whose mappings are kept
_TITLES = {point: title for point in range(ord(_BEYOND)) if (title := _title(chr(point))) != chr(point)}


def searchable(text: str) -> str:
    """The form in which a pattern is looked for: without case, compatibility forms and accents; œ is "oe", a curly
    apostrophe a straight one."""
    if text.isascii():
        return text.lower()
    folded = _decomposed(_decomposed(text.casefold()).casefold())
    return _MARKS.sub("", folded).translate(_AS_TYPED)


def _decomposed(text: str) -> str:
    return unicodedata.normalize("NFKD", text)


def one_line(text: str) -> str:
    """White space as single blanks, as header values are compared: their folding means nothing."""
    return _WHITE_SPACE.sub(" ", text)
