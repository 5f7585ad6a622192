"""The words of an HTML part, without its markup: for previews and search, never for showing as HTML.

Fed decoded text in pieces; linear in every shape, because each character is passed over once. Script, style and
comments are left out, block elements part words, inline ones do not.
"""

from __future__ import annotations

import html
import re
from enum import Enum

_BLOCKS = frozenset(
    "address article aside blockquote body br center dd div dl dt fieldset figure footer form h1 h2 h3 h4 h5 h6 head "
    "header hr html li main nav ol option p pre section select table tbody td tfoot th thead title tr ul".split()
)
_SKIPPED = frozenset(("script", "style", "template", "noscript", "svg"))
_TAG_NAME = re.compile(r"/?([A-Za-z][A-Za-z0-9]*)")
# html.unescape makes a number of any run of digits; Python refuses (ValueError) past some thousands of them.
_ABSURD_ENTITY = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{8,});?")
_LONGEST_TAG = 64 * 1024  # a "<" whose ">" is further off is text


class _State(Enum):
    TEXT = "text"
    COMMENT = "comment"
    SKIPPED = "skipped"


class Stripper:
    """`feed` pieces, then `flush`; both return the text that became certain."""

    __slots__ = ("_closing", "_held", "_skipping", "_state")

    def __init__(self) -> None:
        self._state = _State.TEXT
        self._held = ""
        self._skipping = ""
        self._closing = -1  # where the next ">" is in what is being read, so that no "<" looks for it again

    def feed(self, piece: str) -> str:
        return self._run(self._held + piece, final=False)

    def flush(self) -> str:
        return self._run(self._held, final=True)

    def _run(self, data: str, *, final: bool) -> str:
        out: list[str] = []
        position = 0
        self._closing = -1
        while position < len(data):
            state = self._state
            step = self._step(data, position, out, final)
            if step == position and self._state is state:  # an empty script ends where it begins
                break
            position = step
        self._held = "" if final else data[position:]
        return "".join(out)

    def _step(self, data: str, position: int, out: list[str], final: bool) -> int:
        """Where to go on; `position` itself when more input is needed."""
        if self._state is _State.COMMENT:
            return self._skip_to("-->", data, position, final)
        if self._state is _State.SKIPPED:
            return self._skip_to(f"</{self._skipping}", data, position, final)
        opening = data.find("<", position)
        if opening != position:
            return self._text(data, position, opening, out, final)
        return self._tag(data, position, out, final)

    def _skip_to(self, mark: str, data: str, position: int, final: bool) -> int:
        match = re.compile(re.escape(mark), re.IGNORECASE).search(data, position)
        if match is None:  # all but a tail that may hold the start of the mark is gone for good
            return len(data) if final else max(position, len(data) - len(mark) + 1)
        comment = self._state is _State.COMMENT
        self._state = _State.TEXT
        return match.end() if comment else match.start()

    def _text(self, data: str, position: int, opening: int, out: list[str], final: bool) -> int:
        end = len(data) if opening < 0 else opening
        if opening < 0 and not final:  # an entity may go on in the next piece
            ampersand = data.rfind("&", max(position, end - 32), end)
            if ampersand >= 0 and ";" not in data[ampersand:]:
                end = ampersand
        out.append(html.unescape(_ABSURD_ENTITY.sub("\ufffd", data[position:end])))
        return end

    def _tag(self, data: str, position: int, out: list[str], final: bool) -> int:
        if data.startswith("<!--", position):
            self._state = _State.COMMENT
            return position + 4
        if not final and len(data) - position < 4 and "<!--".startswith(data[position:]):
            return position
        if self._closing < position:
            found = data.find(">", position)
            self._closing = len(data) if found < 0 else found
        closing = self._closing
        if closing == len(data) and not final and closing - position < _LONGEST_TAG:
            return position
        if closing == len(data) or closing - position >= _LONGEST_TAG:
            out.append("<")
            return position + 1
        match = _TAG_NAME.match(data, position + 1, closing)
        name = match[1].lower() if match else ""
        if name in _SKIPPED and data[position + 1] != "/" and data[closing - 1] != "/":
            self._state, self._skipping = _State.SKIPPED, name
        if name in _BLOCKS or name in _SKIPPED:
            out.append("\n")
        return closing + 1
