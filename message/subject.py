"""The base subject that threads and sorts messages (RFC 5256 2.1)."""

from __future__ import annotations

import re

from core.frozen import dataclass

_LONGEST = 2000  # characters looked at: more marks no thread
# subj-trailer = "(fwd)" / WSP
_TRAILER = re.compile(r"\(fwd\)\Z", re.IGNORECASE)
# subj-blob = "[" *BLOBCHAR "]" *WSP ; BLOBCHAR is any but "[" and "]"
_BLOB = re.compile(r"\[[^\[\]]*\] *")
# subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"; blobs may stand before it
_BLOBS_REFWD = re.compile(r"(?:\[[^\[\]]*\] *)*(?:re|fwd?) *(?:\[[^\[\]]*\] *)?:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Subject:
    """`base` in the sender's case (compare with casefold); `reply`: something that says reply or forward was taken
    off."""

    base: str
    reply: bool


def parse(text: str) -> Subject:
    """From a Subject as `decode.words` shows it, blanks folded: stripped as RFC 5256 2.1 says, step by step."""
    text, reply = text[:_LONGEST].strip(), False
    if text[:1] not in "[RrFf" and text[-1] != ")":  # mostly nothing has to be taken off; "" is in any string
        return Subject(text, False)
    while True:
        text, trailed = _without_trailers(text)
        text, led = _without_leaders(text)
        text, wrapped = _unwrapped(text)
        reply = reply or trailed or led or wrapped
        if not wrapped:
            return Subject(text, reply)


def _without_trailers(text: str) -> tuple[str, bool]:
    """Step 2."""
    stripped, found = text.rstrip(), False
    while _TRAILER.search(stripped[-5:]):
        stripped, found = stripped[:-5].rstrip(), True
    return stripped, found


def _without_leaders(text: str) -> tuple[str, bool]:
    """Steps 3 to 5: subj-leader = (*subj-blob subj-refwd) / WSP; then one blob, unless nothing would be left."""
    found = False
    while True:
        text = text.lstrip()
        if match := _BLOBS_REFWD.match(text):
            text, found = text[match.end() :], True
            continue
        match = _BLOB.match(text)
        if match is None or not text[match.end() :]:
            return text, found
        text = text[match.end() :]


def _unwrapped(text: str) -> tuple[str, bool]:
    """Step 6: "[fwd:" subject "]"."""
    if text[:5].lower() == "[fwd:" and text.endswith("]"):
        return text[5:-1], True
    return text, False
