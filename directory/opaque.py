"""The OpaqueString profile of passwords (RFC 8265 4.2): which spellings are one password, and which characters a new
one may have. Pure.

Code points whose use depends on their neighbours (RFC 5892 A: joiners, the middle dot) are let through: they belong to
emoji and to French writing ("agent·e·s"), and nobody but their owner ever reads them.
"""

from __future__ import annotations

import re
import unicodedata

# RFC 8264 9: LetterDigits, OtherLetterDigits, Spaces, Symbols, Punctuation, as general categories.
_FREEFORM = frozenset("Ll Lu Lo Nd Lm Mn Mc Lt Nl No Me Zs Sm Sc Sk So Pc Pd Ps Pe Pi Pf Po".split())
_JOINERS = "\u200c\u200d"
# What those categories hold and the class does not: RFC 8264 9.6 (disallowed exceptions), 9.9 (old Hangul Jamo), 9.13
# (default ignorable code points).
_EXCEPT = re.compile(
    "[\u0640\u07fa\u302e\u302f\u3031-\u3035\u303b\u1100-\u11ff\ua960-\ua97c\ud7b0-\ud7c6\ud7cb-\ud7fb"
    "\u034f\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def enforced(text: str) -> str:
    """RFC 8265 4.2.2: every space is the space bar's, then NFC; neither width nor case is touched."""
    return unicodedata.normalize("NFC", "".join(" " if unicodedata.category(char) == "Zs" else char for char in text))


def allowed(text: str) -> bool:
    """RFC 8265 4.2.1: no control, unassigned, private or invisible character; `text` is an enforced one."""
    known = all(unicodedata.category(char) in _FREEFORM or char in _JOINERS for char in text)
    return known and _EXCEPT.search(text) is None
